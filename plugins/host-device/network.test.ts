import { describe, expect, test } from 'vitest'
import { render } from '../../shared/plan/render.js'
import { link, netns, type Row, show } from '../../shared/testing/golden.js'
import { type DeviceNetwork, forgetRules, moveRouting, restoreNetwork } from './network.js'

// What of the host's network goes with a device.

const mac = '02:00:00:00:aa:01'
const own = { family: 'inet', local: '192.0.2.3', prefixlen: 24, scope: 'global', broadcast: '192.0.2.255' }
const six = { family: 'inet6', local: '2001:db8::3', prefixlen: 64, scope: 'global' }
const route = (dst: string, more: object = {}) => ({
  ...{ type: '1', dst, dev: 'hd0', table: '254', protocol: '4', scope: '0', flags: [] },
  ...more,
})
const gateway = { gateway: '192.0.2.1' }

interface There {
  readonly addresses?: readonly object[]
  readonly routes?: readonly object[]
  readonly routes6?: readonly object[]
  readonly rules?: readonly object[]
  readonly rules6?: readonly object[]
}

function add(
  { addresses = [own], routes = [], routes6 = [], rules = [], rules6 = [] }: There,
  more: Partial<Row> = {},
) {
  const answer = (...lists: (readonly object[])[]) => lists.map((one) => `${JSON.stringify(one)}\n`).join('')
  return show({
    plugin: 'host-device',
    verb: 'ADD',
    config: { device: 'hd0', useInterfaceNetwork: true },
    answers: {
      'ip -j -d addr show dev hd0': link('hd0', { address: mac, flags: ['UP'], addr_info: addresses }),
      'container# ip -j -d addr show dev eth0': { status: 1, stderr: 'Device "eth0" does not exist.' },
      'ip -N -j -d -4 -batch -': answer(rules, routes),
      'ip -N -j -d -6 -batch -': answer(rules6, routes6),
    },
    ...more,
  })
}

const linesOf = async (there: There, pattern: RegExp) => {
  const { plan, status, json } = await add(there)
  expect(status, JSON.stringify(json)).toBe(0)
  return plan.split('\n').filter((line) => pattern.test(line))
}

describe('addresses', () => {
  const rows: [what: string, address: object, lines: string[]][] = [
    ['of global scope', own, ['container# ip addr add 192.0.2.3/24 brd + dev eth0']],
    ['of IPv6', six, ['container# ip addr add 2001:db8::3/64 dev eth0 nodad']],
    ['of the link', { ...six, scope: 'link' }, []],
    ['of the host', { ...own, scope: 'host' }, []],
    ['of IPv6 that run out', { ...six, dynamic: true }, []],
    ['of IPv4 that run out', { ...own, dynamic: true }, ['container# ip addr add 192.0.2.3/24 brd + dev eth0']],
    ['without one', { family: 'inet', prefixlen: 24, scope: 'global' }, []],
  ]
  test.each(rows)('%s', async (_, address, lines) => {
    const found = await linesOf({ addresses: [address] }, /addr add/)
    expect(found.map((line) => line.replace(/ (nodad|noprefixroute)/g, ''))).toEqual(
      lines.map((line) => line.replace(' nodad', '')),
    )
  })
})

describe('routes', () => {
  const rows: [what: string, there: There, moved: boolean][] = [
    ['over the device', { routes: [route('198.51.100.0/24', gateway)] }, true],
    ['over another', { routes: [route('198.51.100.0/24', { ...gateway, dev: 'lan0' })] }, false],
    ['of the kernel', { routes: [route('198.51.100.0/24', { protocol: '2' })] }, false],
    ['of a router', { routes6: [route('2001:db8:1::/64', { protocol: '9', gateway: 'fe80::1' })] }, false],
    ['of the table local', { routes: [route('198.51.100.0/24', { ...gateway, table: '255' })] }, false],
    ['to link-local addresses', { routes6: [route('fe80::/64')] }, false],
    ['of IPv6', { routes6: [route('2001:db8:1::/64', { gateway: 'fe80::1' })] }, true],
  ]
  test.each(rows)('%s', async (_, there, moved) => {
    expect((await linesOf(there, /ip (-6 )?route/)).length).toBe(moved ? 1 : 0)
  })

  test('stand in the order in which each finds its way, and in the result', async () => {
    const there = {
      routes: [
        route('default', { ...gateway, metric: 100 }),
        route('203.0.113.0/24', { scope: '253' }),
        route('198.51.100.0/24', { ...gateway, table: '77' }),
        route('203.0.114.0/24'),
      ],
    }
    const { plan, json } = await add(there)
    const order = plan.split('\n').flatMap((line) => /ip route \w+ (\S+)/.exec(line)?.[1] ?? [])
    expect(order).toEqual(['203.0.113.0/24', '203.0.114.0/24', '0.0.0.0/0', '198.51.100.0/24'])
    expect(json.routes).toEqual([
      { dst: '203.0.113.0/24', table: 254, scope: 253 },
      { dst: '203.0.114.0/24', table: 254 },
      { dst: '0.0.0.0/0', gw: '192.0.2.1', priority: 100, table: 254 },
      { dst: '198.51.100.0/24', gw: '192.0.2.1', table: 77 },
    ])
    expect(json.ips).toEqual([{ address: '192.0.2.3/24', interface: 0 }])
  })
})

describe('rules', () => {
  const routes = [route('198.51.100.0/24', { ...gateway, table: '77' })]
  const rule = { priority: 100, src: '192.0.2.3', table: '77' }
  const rows: [what: string, rule: object, line: string | undefined][] = [
    ['from an address of the device', rule, 'ip rule add priority 100 from 192.0.2.3 table 77'],
    [
      'from its subnet',
      { ...rule, src: '192.0.2.0', srclen: 24 },
      'ip rule add priority 100 from 192.0.2.0/24 table 77',
    ],
    ['from another address', { ...rule, src: '192.0.2.4' }, undefined],
    ['from a subnet beside', { ...rule, src: '192.0.2.128', srclen: 25 }, undefined],
    ['from anywhere', { ...rule, src: 'all' }, undefined],
    ['to a table without a route of the device', { ...rule, table: '78' }, undefined],
    ['to no table', { priority: 100, src: '192.0.2.3' }, undefined],
    [
      'with a mark',
      { ...rule, fwmark: '0x1', fwmask: '0xff' },
      'ip rule add priority 100 from 192.0.2.3 fwmark 0x1/0xff table 77',
    ],
    ['for packets of the device', { ...rule, iif: 'hd0' }, 'ip rule add priority 100 from 192.0.2.3 iif eth0 table 77'],
    ['for packets of another', { ...rule, oif: 'lan0' }, 'ip rule add priority 100 from 192.0.2.3 oif lan0 table 77'],
  ]
  test.each(rows)('%s', async (_, one, line) => {
    const { plan } = await add({ routes, rules: [one] })
    const lines = plan.split('\n').filter((text) => text.includes(' rule '))
    expect(lines).toEqual(line === undefined ? [] : [`container# ${line}`])
  })

  test('of IPv6', async () => {
    const { plan } = await add({
      addresses: [six],
      routes6: [route('2001:db8:1::/64', { gateway: 'fe80::1', table: '77' })],
      rules6: [{ priority: 9, src: '2001:db8::', srclen: 64, table: '77' }],
    })
    expect(plan).toContain('container# ip -6 rule add priority 9 from 2001:db8::/64 table 77\n')
  })

  test('that cannot be said here stay, which is told', async () => {
    const { plan } = await add({ routes, rules: [{ ...rule, uid_start: 7 }] })
    expect(plan).toContain('host-device: the rule 100 stays with the host alone: uid_start')
    expect(plan).not.toContain('rule add')
  })
})

describe('the way back', () => {
  const network: DeviceNetwork = {
    addresses: [
      { address: '192.0.2.3/24', broadcast: '192.0.2.255' },
      { address: '2001:db8::3/64', nodad: true },
    ],
    routes: [{ words: ['198.51.100.0/24', 'via', '192.0.2.1', 'dev', 'hd0'], table: 77 }],
    rules: [
      ['from', '192.0.2.3', 'iif', 'hd0', 'table', '77'],
      ['from', '2001:db8::3', 'table', '77'],
    ],
  }

  test('all is put where it was; what is there already stays', () => {
    const plan = restoreNetwork('hd0', network)
    expect(render(plan).split('\n').slice(0, -1)).toEqual([
      'ip addr add 192.0.2.3/24 brd 192.0.2.255 dev hd0',
      'ip addr add 2001:db8::3/64 dev hd0 nodad',
      expect.stringMatching(/^ip route \w+ 198.51.100.0\/24 table 77 via 192.0.2.1 dev hd0$/),
      'ip rule add from 192.0.2.3 iif hd0 table 77',
      'ip -6 rule add from 2001:db8::3 table 77',
    ])
    for (const { argv, tolerate } of plan) expect(tolerate, argv.join(' ')).toContain('exists')
  })

  test('the rules of the container go by the names there', () => {
    const plan = forgetRules(network, { device: 'hd0', ifName: 'eth0' }, netns)
    expect(plan.map(({ argv }) => argv.join(' '))).toEqual([
      'rule del from 192.0.2.3 iif eth0 table 77',
      '-6 rule del from 2001:db8::3 table 77',
    ])
    for (const one of plan) expect([one.netns, one.tolerate]).toEqual([netns, ['absent']])
  })

  test('what was moved in is taken back when the ADD fails', () => {
    const plan = moveRouting(network, { device: 'hd0', ifName: 'eth0', netns })
    const rules = plan.filter(({ argv }) => argv.includes('rule'))
    expect(rules.map(({ undo = [] }) => undo.map(({ argv }) => argv.join(' ')))).toEqual([
      ['rule del from 192.0.2.3 iif eth0 table 77'],
      ['-6 rule del from 2001:db8::3 table 77'],
    ])
  })
})

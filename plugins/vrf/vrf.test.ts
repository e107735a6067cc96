import { describe, expect, test } from 'vitest'
import { needsRun, type Row, show } from '../../shared/testing/golden.js'

interface Look {
  links?: object[]
  four?: object[]
  six?: object[]
  rules?: object[]
}

const linkOf = (ifname: string, more: object = {}) => ({
  ifindex: 7,
  ifname,
  flags: ['UP'],
  mtu: 1500,
  addr_info: [],
  ...more,
})
const vrf = (table: number, more: object = {}) =>
  linkOf('blue', { linkinfo: { info_kind: 'vrf', info_data: { table } }, ...more })
const eth0 = linkOf('eth0')
const route = (dst: string, more: object = {}) => ({
  type: '1',
  dst,
  dev: 'eth0',
  table: '254',
  protocol: '3',
  flags: [],
  ...more,
})

function looks({ links = [eth0], four = [], six = [], rules = [] }: Look = {}): Record<string, string> {
  const kernel = JSON.stringify([{ src: 'all', table: '255' }, ...rules, { src: 'all', table: '254' }])
  return {
    'flock *': '',
    'container# ip -j -d addr show': JSON.stringify(links),
    'container# ip -N -j -d -4 -batch -': `${kernel}\n${JSON.stringify(four)}\n`,
    'container# ip -N -j -d -6 -batch -': `${kernel}\n${JSON.stringify(six)}\n`,
  }
}

const prevResult = { ips: [{ address: '10.1.0.5/24' }] }
const call = (verb: Row['verb'], config: object = {}, look: Look = {}, more: Partial<Row> = {}) =>
  show({ plugin: 'vrf', verb, config: { vrfname: 'blue', ...config }, answers: looks(look), ...more })

/** The plan behind the line about the record. */
async function planOf(look: Look = {}, config: object = {}): Promise<string[]> {
  const { plan, status, json } = await call('ADD', { prevResult, ...config }, look)
  expect(status, JSON.stringify(json)).toBe(0)
  expect(json).toMatchObject(prevResult)
  return plan.trimEnd().replaceAll('container# ip ', '').split('\n').slice(1)
}

describe('ADD', () => {
  test('makes the VRF and puts the interface into it, with its addresses and all its routes', async () => {
    const inside = linkOf('eth0', {
      addr_info: [
        { family: 'inet', local: '10.1.0.5', prefixlen: 24, scope: 'global' },
        { family: 'inet6', local: 'fd01::5', prefixlen: 64, scope: 'global' },
        { family: 'inet6', local: 'fd02::5', prefixlen: 64, scope: 'global', tentative: true },
        { family: 'inet6', local: 'fd03::5', prefixlen: 64, scope: 'global', dynamic: true },
        { family: 'inet6', local: 'fe80::5', prefixlen: 64, scope: 'link' },
      ],
    })
    const four = [
      route('default', { gateway: '10.1.0.1' }),
      route('default', { gateway: '10.9.0.1', dev: 'eth1' }),
      route('10.1.0.0/24', { protocol: '2', scope: '253', prefsrc: '10.1.0.5' }),
      route('172.17.0.0/16', { scope: '253' }),
      route('10.5.0.0/16', { gateway: '10.1.0.1', table: '5000', metric: 7 }),
      route('10.1.0.5', { type: '2', protocol: '2', table: '255', scope: '254' }),
    ]
    const six = [
      route('fd01::/64', { protocol: '2', metric: 256, pref: 'medium' }),
      route('fe80::/64', { protocol: '2', metric: 256, pref: 'medium' }),
      route('default', { gateway: 'fd01::1', metric: 1024, pref: 'medium' }),
    ]
    expect(await planOf({ links: [inside], four, six })).toEqual([
      'link add name blue type vrf table 1',
      'link set dev blue up',
      'addr del fd01::5/64 dev eth0',
      'addr del fd02::5/64 dev eth0',
      'link set dev eth0 master blue',
      'addr add fd01::5/64 dev eth0 nodad',
      'addr add fd02::5/64 dev eth0',
      'route append 172.17.0.0/16 table 1 dev eth0 proto 3 scope 253',
      'route append 0.0.0.0/0 table 1 via 10.1.0.1 dev eth0 proto 3',
      'route append 10.5.0.0/16 table 5000 via 10.1.0.1 dev eth0 proto 3 metric 7',
      'route append ::/0 table 1 via fd01::1 dev eth0 proto 3 metric 1024',
    ])
  })

  const free: [what: string, look: Look, config: object, table: number][] = [
    ['the first', {}, {}, 1],
    ['none of another VRF', { links: [eth0, { ...vrf(1), ifname: 'red' }, { ...vrf(3), ifname: 'green' }] }, {}, 2],
    ['none of a rule', { rules: [{ src: '10.0.0.1', table: '1' }] }, {}, 2],
    ['none of a route', { six: [route('fd09::/64', { table: '1', dev: 'eth1' })] }, {}, 2],
    ['the one of the configuration', {}, { table: 42 }, 42],
    [
      'none of the kernel',
      { rules: Array.from({ length: 252 }, (_, index) => ({ src: '10.0.0.1', table: String(index + 1) })) },
      {},
      256,
    ],
  ]
  test.each(free)('takes a free table: %s', async (_, look, config, table) => {
    expect((await planOf(look, config))[0]).toBe(`link add name blue type vrf table ${table}`)
  })

  test('uses a VRF that is there', async () => {
    const four = [route('default', { gateway: '10.1.0.1' })]
    for (const config of [{}, { table: 9 }]) {
      expect(await planOf({ links: [eth0, vrf(9)], four }, config)).toEqual([
        'link set dev eth0 master blue',
        'route append 0.0.0.0/0 table 9 via 10.1.0.1 dev eth0 proto 3',
      ])
    }
  })

  test('again changes nothing', async () => {
    const four = [route('default', { gateway: '10.1.0.1', table: '9' })]
    expect(await planOf({ links: [linkOf('eth0', { master: 'blue' }), vrf(9)], four })).toEqual([
      'route append 0.0.0.0/0 table 9 via 10.1.0.1 dev eth0 proto 3',
    ])
  })
})

describe('what is refused before anything is touched', () => {
  const rows: [what: string, config: object, look: Look, code: number, text: string][] = [
    ['no name', { prevResult, vrfname: undefined }, {}, 7, 'vrfname: found nothing'],
    ['a name that no link has', { prevResult, vrfname: 'abcdefghijklmnopq' }, {}, 7, 'vrfname'],
    ['no chain', {}, {}, 7, 'Required prevResult missing'],
    ['a version before 0.3.1', { prevResult, cniVersion: '0.3.0' }, {}, 1, 'incompatible CNI versions'],
    ['no interface', { prevResult }, { links: [] }, 100, 'could not get link by name eth0'],
    [
      'a name of another link',
      { prevResult, vrfname: 'lo' },
      { links: [eth0, linkOf('lo')] },
      103,
      'Netlink lo is not a VRF',
    ],
    [
      'another table',
      { prevResult, table: 8 },
      { links: [eth0, vrf(9)] },
      7,
      'already exist with different routing table 9',
    ],
    [
      'an interface of another master',
      { prevResult },
      { links: [linkOf('eth0', { master: 'br0' })] },
      100,
      'interface eth0 has already a master set: br0',
    ],
  ]
  test.each(rows)('%s', async (_, config, look, code, text) => {
    const { plan, status, json } = await call('ADD', config, look)
    expect({ plan, status, code: json.code }, JSON.stringify(json)).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })
})

describe('CHECK', () => {
  const inside = linkOf('eth0', { master: 'blue' })
  const check = (links: object[], config: object = {}) => call('CHECK', { prevResult, ...config }, { links })

  test('is content with what ADD made', async () => {
    expect(await check([inside, vrf(9)], { table: 9 })).toMatchObject({ status: 0, json: undefined })
  })

  test.each([
    ['no VRF', [inside], {}, 'blue: found "none", expected a VRF'],
    ['another link', [inside, linkOf('blue', { linkinfo: { info_kind: 'bridge' } })], {}, 'blue: found "bridge"'],
    ['another table', [inside, vrf(9)], { table: 8 }, 'table of blue: found 9, expected 8'],
    ['down', [inside, vrf(9, { flags: [] })], {}, 'expected the flag UP'],
    ['outside', [eth0, vrf(9)], {}, 'master of eth0: found "none", expected blue'],
    ['no interface', [vrf(9)], {}, 'master of eth0: found "no such link"'],
  ])('%s', async (_, links, config, text) => {
    expect((await check(links, config)).json).toMatchObject({ code: 105, details: expect.stringContaining(text) })
  })
})

describe('DEL', () => {
  const forget = '# forget /run/podwire/vrf/net/dd6ccc806f763e1c\n'
  const inside = linkOf('eth0', { master: 'blue' })
  const rows: [what: string, links: object[], plan: string][] = [
    [
      'the last interface takes the VRF with it',
      [inside, vrf(9)],
      'container# ip link set dev eth0 nomaster\ncontainer# ip link del dev blue\n',
    ],
    [
      'another interface keeps it',
      [inside, linkOf('eth1', { master: 'blue' }), vrf(9)],
      'container# ip link set dev eth0 nomaster\n',
    ],
    ['an interface that never was inside', [eth0, vrf(9)], ''],
    ['no VRF', [eth0], ''],
    ['a link that is no VRF', [inside, linkOf('blue')], ''],
  ]
  test.each(rows)('%s', async (_, links, plan) => {
    expect(await call('DEL', {}, { links })).toMatchObject({ plan: `${plan}${forget}`, status: 0 })
  })

  test.each(['', '/run/netns/none-such'])('is content with the namespace "%s"', async (CNI_NETNS) => {
    expect(await call('DEL', { table: 'x' }, {}, { env: { CNI_NETNS } })).toMatchObject({ status: 0 })
  })
})

test('STATUS asks the kernel for a VRF; GC without stale records does nothing', async ({ skip }) => {
  skip(...needsRun)
  const probe = 'unshare --net ip -batch -'
  expect((await call('STATUS', {}, {}, { answers: { [probe]: '' } })).status).toBe(0)
  const none = { status: 2, stderr: 'Error: Unknown device type.' }
  expect((await call('STATUS', {}, {}, { answers: { [probe]: none } })).json).toMatchObject({ code: 50 })
  expect(await call('GC', { 'cni.dev/valid-attachments': [] })).toMatchObject({ plan: '', status: 0 })
})

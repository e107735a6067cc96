import { describe, expect, test } from 'vitest'
import { link, type Row, show } from '../../shared/testing/golden.js'

const lan = link('lan0', { address: '02:00:00:00:00:0a' })
const answers = { 'ip -j -d addr show dev lan0': lan }
const creation = (mode: string) => `ip link add name eth0 link lan0 netns /proc/self/ns/net type ipvlan mode ${mode}`
const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'lan0' }],
  ips: [{ address: '10.1.2.3/24', gateway: '10.1.2.1', interface: 0 }],
  routes: [{ dst: '10.0.0.0/8' }],
}
const add = (config: object, more: Partial<Row> = {}) =>
  show({ plugin: 'ipvlan', verb: 'ADD', config, answers, ...more })

describe('behind another plugin', () => {
  test('prevResult brings master, addresses and routes; the interface is the whole result', async () => {
    const { plan, json } = await add({ prevResult, mtu: 9000 })
    const lines = plan.trim().split('\n')
    expect(lines.slice(0, 2)).toEqual([
      expect.stringMatching('# note ipvlan of net/c1 in /run/podwire/ipvlan/net/'),
      creation('l2').replace(' netns', ' mtu 9000 netns'),
    ])
    expect(lines.slice(-3)).toEqual([
      'container# ip addr add 10.1.2.3/24 brd + dev eth0',
      'container# ip link set dev eth0 up',
      'container# ip route prepend 10.0.0.0/8 via 10.1.2.1 dev eth0',
    ])
    expect(json).toEqual({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:0a', sandbox: '/proc/self/ns/net' }],
      ips: [{ address: '10.1.2.3/24', gateway: '10.1.2.1', interface: 0 }],
      routes: [{ dst: '10.0.0.0/8' }],
    })
  })

  test.each<[string, string]>([
    ['l3', 'l3'],
    ['l3s', 'l3s'],
    ['', 'l2'],
  ])('mode %j is %s, and a master in the configuration counts', async (mode, words) => {
    const named = { ...prevResult, interfaces: [{ name: 'a' }, { name: 'b' }] }
    expect((await add({ prevResult: named, master: 'lan0', mode })).plan).toContain(creation(words))
  })
})

describe('l3 without a gateway', () => {
  const ips = [{ address: '10.1.2.3/32' }, { address: 'fd00::9/128' }]
  const routed = (routes: object[]) => ({ ...prevResult, ips, routes })

  test('each family without routes gets a default route that makes way for others', async () => {
    const { plan, json } = await add({ prevResult: routed([]), mode: 'l3' })
    expect(plan).toContain('container# ip route prepend 0.0.0.0/0 dev eth0 metric 4096\n')
    expect(plan).toContain('container# ip route prepend ::/0 dev eth0 metric 4096\n')
    expect(json.routes).toEqual([
      { dst: '0.0.0.0/0', priority: 4096 },
      { dst: '::/0', priority: 4096 },
    ])
  })

  test('but not where there are routes, a gateway, or neighbours', async () => {
    const { json } = await add({ prevResult: routed([{ dst: '10.0.0.0/8' }]), mode: 'l3s' })
    expect(json.routes).toEqual([{ dst: '10.0.0.0/8' }, { dst: '::/0', priority: 4096 }])
    expect((await add({ prevResult: { ...prevResult, routes: [] }, mode: 'l3' })).json.routes).toBeUndefined()
    expect((await add({ prevResult: routed([]), mode: 'l2' })).json.routes).toBeUndefined()
  })
})

describe('what is refused before anything is touched', () => {
  test.each<[string, object, string]>([
    [
      'no addresses from anywhere',
      { master: 'lan0' },
      'ipam.type: found nothing, expected an IPAM plugin, or addresses',
    ],
    ['prevResult without addresses', { prevResult: { ...prevResult, ips: [] } }, 'ipam.type'],
    [
      'prevResult with two interfaces and no master',
      { prevResult: { ...prevResult, interfaces: [{ name: 'a' }, { name: 'b' }] } },
      'prevResult.interfaces: found ["a","b"], expected one interface with the name of a link',
    ],
    [
      'prevResult with a name that no link has',
      { prevResult: { ...prevResult, interfaces: [{ name: 'dummy9381c30abed' }] } },
      'prevResult.interfaces: found ["dummy9381c30abed"], expected one interface with the name of a link',
    ],
    [
      'a probe where nobody answers',
      { ipam: { type: 'host-local' }, mode: 'l3', addressConflictDetection: true },
      'addressConflictDetection: found true, expected false: in this mode',
    ],
    ['an unknown mode', { prevResult, mode: 'l4' }, 'mode: found "l4", expected one of "l2", "l3", "l3s"'],
  ])('%s', async (_, config, text) => {
    const { plan, json } = await add(config)
    expect({ plan, code: json.code }).toEqual({ plan: '', code: 7 })
    expect(json.details).toContain(text)
  })
})

describe('a master whose children have another mode', () => {
  const child = (mode: string) => ({ linkinfo: { info_kind: 'ipvlan', info_data: { mode } } })
  const text =
    'mode: found "l2", expected "l3", as the link shim has on lan0; fix: use one mode for all networks on a master'

  test('is refused before anything is made: a child beside it on the host', async () => {
    const above = { 'ip -j -d addr show dev shim': link('shim', child('l3')) }
    const files = { '/sys/class/net/lan0/upper_shim': '', '/sys/class/net/lan0/mtu': '1500' }
    const refused = await add({ prevResult }, { answers: { ...answers, ...above }, files })
    expect(refused.plan).not.toContain('ip link add')
    expect(refused.json).toMatchObject({ code: 7, details: expect.stringContaining(text) })
    const same = await add({ prevResult, mode: 'l3' }, { answers: { ...answers, ...above }, files })
    expect(same.plan).toContain(creation('l3'))
  })

  test('and one in the container, where other links have theirs', async () => {
    const links = [
      link('lan0'),
      link('shim', { link: 'lan0', ...child('l3') }),
      link('far', { link: 'b', ...child('l3s') }),
    ]
    const inside = {
      'container# ip -j -d addr show dev lan0': lan,
      'container# ip -j -d addr show': `[${links.map((one) => one.slice(1, -1))}]`,
    }
    const refused = await add({ prevResult, linkInContainer: true }, { answers: inside })
    expect(refused).toMatchObject({ plan: '', json: { code: 7, details: expect.stringContaining(text) } })
    const same = await add({ prevResult, linkInContainer: true, mode: 'l3' }, { answers: inside })
    expect(same.plan).toContain('type ipvlan mode l3')
  })
})

describe('CHECK', () => {
  const mine = {
    ...prevResult,
    interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:0a', sandbox: '/proc/self/ns/net' }],
    routes: [],
  }
  const check = (config: object) => {
    const data = { info_kind: 'ipvlan', info_data: { mode: 'l3' } }
    const child = {
      address: '02:00:00:00:00:0a',
      link_index: 7,
      linkinfo: data,
      addr_info: [{ family: 'inet', local: '10.1.2.3', prefixlen: 24 }],
    }
    const all = { ...answers, 'container# ip -j -d addr show dev eth0': link('eth0', child) }
    return show({ plugin: 'ipvlan', verb: 'CHECK', config: { prevResult: mine, ...config }, answers: all })
  }

  test('is content, with the master named or not', async () => {
    expect(await check({ mode: 'l3', master: 'lan0' })).toMatchObject({ status: 0, json: undefined })
    expect(await check({ mode: 'l3' })).toMatchObject({ status: 0, json: undefined })
  })

  test('finds that another child has changed the mode of the master', async () => {
    const { json } = await check({})
    expect(json).toMatchObject({ code: 105, details: 'interface eth0 mode: found "l3", expected l2' })
  })
})

test('DEL needs neither master nor prevResult nor addresses', async () => {
  const { plan, status } = await show({ plugin: 'ipvlan', verb: 'DEL', config: {}, answers: {} })
  expect({ status, plan }).toEqual({
    status: 0,
    plan: expect.stringMatching(
      /^container# ip link del dev eth0\ncontainer# ip link del dev newdd6ccc806f76\n# forget \/run\/podwire\/ipvlan\/net\/\w+\n$/,
    ),
  })
})

test('GC asks the IPAM plugin', async () => {
  const row = { plugin: 'ipvlan', verb: 'GC', config: { ipam: { type: 'true' } }, env: { CNI_PATH: '/bin' } } as const
  expect(await show(row)).toMatchObject({ status: 0, plan: '# CNI_COMMAND=GC /bin/true\n' })
})

import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { link, type Row, show } from '../../shared/testing/golden.js'

// Where ipam.type leads to this very program, static answers within the process, as in the one binary.
const CNI_PATH = mkdtempSync(join(tmpdir(), 'macvlan-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
const foreign = mkdtempSync(join(tmpdir(), 'foreign-'))
writeFileSync(join(foreign, 'other'), '')
afterAll(() => {
  for (const folder of [CNI_PATH, foreign]) rmSync(folder, { recursive: true })
})

const four = { address: '10.1.2.3/24', gateway: '10.1.2.1' }
const six = { address: 'fd00::9/64', gateway: 'fd00::1' }
// A hash of the golden boot ID, network "net", container "c1", interface "eth0".
const mac = '02:44:f2:92:f0:84'
const lan = link('lan0', { address: '02:00:00:00:00:0a' })
const master = { 'ip -j -d addr show dev lan0': lan }

function call(verb: Row['verb'], addresses: readonly object[], config: object = {}, more: Partial<Row> = {}) {
  const ipam = addresses.length > 0 ? { type: 'static', addresses } : {}
  const row = { plugin: 'macvlan', verb, config: { master: 'lan0', ipam, ...config }, answers: master, ...more }
  return show({ ...row, env: { CNI_PATH, ...more.env } })
}

const setting = (key: string, value: string) => `container# sysctl -w net/${key}=${value}`
const creation = (words: string) =>
  `ip link add name eth0 link lan0 ${words} netns /proc/self/ns/net type macvlan mode bridge`
const quiet = [setting('ipv6/conf/eth0/accept_ra', '0'), setting('ipv6/conf/eth0/autoconf', '0')]
const announcing = [
  setting('ipv4/conf/eth0/arp_notify', '1'),
  setting('ipv6/conf/eth0/ndisc_notify', '1'),
  setting('ipv6/conf/eth0/router_solicitation_delay', '0'),
  setting('ipv6/neigh/eth0/retrans_time_ms', '300'),
]

describe('ADD', () => {
  test('both families', async () => {
    const routes = [{ dst: '0.0.0.0/0' }, { dst: 'fd01::/16' }]
    const ipam = { type: 'static', addresses: [four, six], routes }
    const { plan, json } = await call('ADD', [four, six], { ipam, mtu: 1400, dns: { nameservers: ['10.1.2.53'] } })
    expect(plan.trim().split('\n')).toEqual([
      creation(`address ${mac} mtu 1400`),
      ...quiet,
      ...announcing,
      setting('ipv6/conf/lo/disable_ipv6', '0'),
      setting('ipv6/conf/eth0/disable_ipv6', '0'),
      setting('ipv6/conf/eth0/keep_addr_on_down', '1'),
      'container# ip addr add 10.1.2.3/24 brd + dev eth0',
      'container# ip addr add fd00::9/64 dev eth0',
      'container# ip link set dev eth0 up',
      'container# ip route prepend 0.0.0.0/0 via 10.1.2.1 dev eth0',
      'container# ip route prepend fd01::/16 via fd00::1 dev eth0',
      setting('ipv6/neigh/eth0/retrans_time_ms', '1000'),
    ])
    expect(json).toEqual({
      cniVersion: '1.1.0',
      dns: { nameservers: ['10.1.2.53'] },
      interfaces: [{ name: 'eth0', mac, sandbox: '/proc/self/ns/net' }],
      ips: [
        { ...four, interface: 0 },
        { ...six, interface: 0 },
      ],
      routes: [{ dst: '0.0.0.0/0' }, { dst: 'fd01::/16' }],
    })
  })

  const lines: [what: string, addresses: object[], config: object, more: Partial<Row>, expected: string[]][] = [
    ['IPv4 alone switches IPv6 off', [four], {}, {}, [setting('ipv6/conf/eth0/disable_ipv6', '1')]],
    [
      'without IPAM it only comes up',
      [],
      {},
      {},
      [creation(`address ${mac}`), ...quiet, 'container# ip link set dev eth0 up'],
    ],
    [
      'router advertisements where asked for',
      [four],
      { acceptRA: true },
      {},
      [
        setting('ipv6/conf/eth0/accept_ra', '2'),
        setting('ipv6/conf/eth0/autoconf', '1'),
        setting('ipv6/conf/eth0/disable_ipv6', '0'),
      ],
    ],
    ["a MAC address of one's own", [], { mac: '02-00-00-00-00-0B' }, {}, [creation('address 02:00:00:00:00:0b')]],
    [
      'CNI_ARGS before the configuration',
      [],
      { mac: '02:00:00:00:00:0b' },
      { env: { CNI_ARGS: 'MAC=02:00:00:00:00:0C' } },
      [creation('address 02:00:00:00:00:0c')],
    ],
    [
      'the runtime before all',
      [],
      { runtimeConfig: { mac: '02:00:00:00:00:0d' } },
      { env: { CNI_ARGS: 'MAC=02:00:00:00:00:0c' } },
      [creation('address 02:00:00:00:00:0d')],
    ],
    [
      'mode and queue length',
      [],
      { mode: 'vepa', bcqueuelen: 5000 },
      {},
      [creation(`address ${mac}`).replace('bridge', 'vepa bcqueuelen 5000')],
    ],
    [
      'passthru has the MAC address of the master',
      [],
      { mode: 'passthru' },
      {},
      [creation('').replace('  ', ' ').replace('bridge', 'passthru')],
    ],
    [
      'a name that the host has, too, comes by renaming',
      [],
      {},
      {
        links: ['eth0'],
        answers: {
          ...master,
          'container# ip -j -d addr show dev eth0': { status: 1, stderr: 'Device "eth0" does not exist.' },
        },
      },
      [
        creation(`address ${mac}`).replace('eth0', 'newdd6ccc806f76'),
        'container# ip link set dev newdd6ccc806f76 name eth0',
      ],
    ],
    [
      'a master in the container',
      [],
      { linkInContainer: true },
      { answers: { 'container# ip -j -d addr show dev lan0': lan } },
      [`container# ip link add name eth0 link lan0 address ${mac} type macvlan mode bridge`],
    ],
  ]
  test.each(lines)('%s', async (_, addresses, config, more, expected) => {
    const { plan, status, json } = await call('ADD', addresses, config, more)
    expect(status, JSON.stringify(json)).toBe(0)
    expect(plan.split('\n')).toEqual(expect.arrayContaining(expected))
  })

  const routes: [dst: string, gw?: string][] = [['::/0'], ['fd01::/16'], ['::/0', 'fe80::1'], ['fe80::/10']]
  test.each(routes)('IPv6 is on where the route to %s %s needs it', async (dst, gw) => {
    const route = gw === undefined ? { dst } : { dst, gw }
    const ipam = { type: 'static', addresses: [four], routes: [{ dst: '0.0.0.0/0' }, route] }
    const { plan } = await call('ADD', [four], { ipam })
    expect(plan.split('\n').filter((line) => line.includes('disable_ipv6'))).toEqual([
      setting('ipv6/conf/eth0/disable_ipv6', '0'),
    ])
    expect(plan).toContain(`ip route prepend ${dst} ${gw === undefined ? '' : `via ${gw} `}dev eth0`)
  })

  test('another IPAM plugin is asked when the link is up, and the addresses are announced at its next coming up', async () => {
    const { plan } = await call('ADD', [], { ipam: { type: 'other' } }, { env: { CNI_PATH: foreign } })
    expect(plan.trim().split('\n')).toEqual([
      creation(`address ${mac}`),
      ...quiet,
      ...announcing,
      'container# ip link set dev eth0 up',
      '# note ipam of net/c1 in /run/podwire/ipam/net/dd6ccc806f763e1c',
      `# CNI_COMMAND=ADD ${foreign}/other`,
      'container# ip link set dev eth0 down',
      ...quiet,
      setting('ipv6/conf/eth0/disable_ipv6', '1'),
      ...announcing,
      'container# ip addr add 192.0.2.2/24 brd + dev eth0',
      'container# ip link set dev eth0 up',
    ])
  })

  test.each([
    [[four], { keepIPv6: true }],
    [[], {}],
  ])('IPv6 stays on: %j %j', async (addresses, config) => {
    expect((await call('ADD', addresses, config)).plan).not.toContain('disable_ipv6')
  })
})

describe('hostAccess', () => {
  const addr_info = [
    { family: 'inet', local: '10.9.9.9', prefixlen: 24, scope: 'global' },
    { family: 'inet', local: '10.1.2.5', prefixlen: 24, scope: 'global' },
    { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
  ]
  const answers = { 'ip -j -d addr show dev lan0': link('lan0', { addr_info }) }
  const shim = 'shim44d6cd0695b'

  test('a shim, a way to the container, and the host at the shim', async () => {
    const { plan } = await call('ADD', [four], { hostAccess: true }, { answers })
    expect(plan.slice(plan.indexOf('# note host-access')).split('\n')).toEqual([
      '# note host-access of net/c1 in /run/podwire/host-access/net/dd6ccc806f763e1c',
      `ip link add name ${shim} link lan0 address 02:2b:46:e6:f5:18 type macvlan mode bridge`,
      `sysctl -w net/ipv6/conf/${shim}/accept_ra=0`,
      `sysctl -w net/ipv4/conf/${shim}/arp_ignore=8`,
      `sysctl -w net/ipv6/conf/${shim}/autoconf=0`,
      `sysctl -w net/ipv6/conf/${shim}/accept_dad=0`,
      `ip link set dev ${shim} up`,
      `ip route replace 10.1.2.3/32 dev ${shim} src 10.1.2.5`,
      'container# ip neigh replace 10.1.2.5 lladdr 02:2b:46:e6:f5:18 dev eth0 nud permanent',
      '',
    ])
  })

  const withShim = (more: object) => {
    const look = { [`ip -j -d addr show dev ${shim}`]: link(shim, { link: 'lan0', ...more }) }
    return call('ADD', [four], { hostAccess: true }, { answers: { ...answers, ...look }, links: ['lan0', shim] })
  }

  test('a shim that is there and up is used; one that is down is set up', async () => {
    const up = await withShim({ flags: ['UP'] })
    expect(up.plan).toContain(`ip route replace 10.1.2.3/32 dev ${shim} src 10.1.2.5\n`)
    expect(up.plan).not.toContain(`ip link set dev ${shim} up`)
    expect((await withShim({ flags: [] })).plan).toContain(`ip link set dev ${shim} up\n`)
  })

  test('another link of its name is refused', async () => {
    const { json } = await withShim({ link: 'lan1', flags: ['UP'] })
    expect(json).toMatchObject({
      code: 103,
      msg: expect.stringContaining(`"${shim}" already exists and is no child of lan0`),
    })
  })

  test('where the host has no address of the family there is only the way', async () => {
    const { plan } = await call('ADD', [six], { hostAccess: true }, { answers })
    expect(plan).toContain(`ip route replace fd00::9/128 dev ${shim}\n`)
    expect(plan).not.toContain('ip neigh')
  })
})

describe('what is refused before anything is touched', () => {
  const rows: [what: string, config: object, more: Partial<Row>, code: number, text: string][] = [
    [
      'hostAccess to what cannot be reached',
      { hostAccess: true, mode: 'vepa' },
      {},
      7,
      'hostAccess: found true, expected false unless',
    ],
    ['a probe without IPAM', { addressConflictDetection: true }, {}, 7, 'expected false without an IPAM plugin'],
    ['an unknown mode', { mode: 'foo' }, {}, 7, 'mode: found "foo", expected one of "bridge", "private"'],
    ['a MAC address that is none', { mac: 'zz' }, {}, 7, 'mac: found "zz"'],
    ['the same in CNI_ARGS', {}, { env: { CNI_ARGS: 'MAC=zz' } }, 7, 'CNI_ARGS MAC: found "zz"'],
    ["an MTU above the master's", { mtu: 1501 }, {}, 7, 'invalid MTU 1501, must be [0, master MTU(1500)]'],
    ['a negative MTU', { mtu: -1 }, {}, 7, 'mtu: found -1'],
    ['a negative queue length', { bcqueuelen: -1 }, {}, 7, 'bcqueuelen: found -1'],
    [
      'two ways to say the master',
      { masterMAC: '02:00:00:00:00:0a' },
      {},
      7,
      'masterMAC: found "02:00:00:00:00:0a", expected nothing beside master',
    ],
    ['a master that would be two words', { master: 'a b' }, {}, 7, 'master: found "a b"'],
    ['a version that needs an address', { cniVersion: '0.2.0' }, {}, 7, '0.3.0 or later'],
    ['an IPAM plugin that is not there', { ipam: { type: 'none-such' } }, {}, 107, 'install the plugin "none-such"'],
    [
      'an interface that is there, where only renaming helps',
      {},
      { links: ['eth0'], answers: { ...master, 'container# ip -j -d addr show dev eth0': link('eth0') } },
      103,
      'the container has an interface eth0 already',
    ],
  ]
  test.each(rows)('%s', async (_, config, more, code, text) => {
    const { plan, status, json } = await call('ADD', [], config, more)
    expect({ plan, status, code: json.code }).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })
})

describe('CHECK', () => {
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0', mac, sandbox: '/proc/self/ns/net' }],
    ips: [{ ...four, interface: 0 }],
  }
  const good = {
    address: mac,
    link_index: 7,
    linkinfo: { info_kind: 'macvlan', info_data: { mode: 'bridge' } },
    addr_info: [{ family: 'inet', local: '10.1.2.3', prefixlen: 24 }],
  }
  const check = (child: object, config: object = {}) =>
    call(
      'CHECK',
      [four],
      { prevResult, ...config },
      {
        answers: { ...master, 'container# ip -j -d addr show dev eth0': link('eth0', { ...good, ...child }) },
      },
    )

  test('is content with what ADD made', async () => {
    expect(await check({}, { mtu: 1500 })).toMatchObject({ status: 0, json: undefined })
  })

  test.each<[string, object, object, string]>([
    ['another kind', { linkinfo: { info_kind: 'veth' } }, {}, 'interface eth0 kind: found "veth", expected macvlan'],
    ['another mode', {}, { mode: 'vepa' }, 'interface eth0 mode: found "bridge", expected vepa'],
    ['another MTU', {}, { mtu: 1400 }, 'interface eth0 mtu: found 1500, expected 1400'],
    ['another master', { link_index: 9 }, {}, 'master of eth0: found "number 9", expected lan0, number 7'],
    ['another MAC address', { address: '02:00:00:00:00:01' }, {}, 'interface eth0 MAC'],
    ['no address', { addr_info: [] }, {}, 'interface eth0 addresses: found [], expected 10.1.2.3/24'],
  ])('%s', async (_, child, config, text) => {
    const { json } = await check(child, config)
    expect(json).toMatchObject({ code: 105, details: expect.stringContaining(text) })
  })
})

describe('DEL', () => {
  const both = 'container# ip link del dev eth0\ncontainer# ip link del dev newdd6ccc806f76\n'

  test('asks neither for the master nor for a good configuration', async () => {
    const { plan, status } = await call('DEL', [], { mode: 'foo', mac: 'zz', master: '' })
    expect(status).toBe(0)
    expect(plan).toContain(both)
  })

  test('is content without a namespace', async () => {
    const plan = '# forget /run/podwire/host-access/net/dd6ccc806f763e1c\n'
    for (const CNI_NETNS of ['', '/run/netns/none-such']) {
      expect(await call('DEL', [four], {}, { env: { CNI_NETNS } })).toEqual({ plan, status: 0, json: undefined })
    }
  })
})

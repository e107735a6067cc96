import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stateRoot } from '../shared/exec/state.js'
import { link, netns, type Row, show } from '../shared/testing/golden.js'
import { nothing, openStage, type Stage } from '../shared/testing/live.js'

// Each plugin's calls as they are made, not only shown, on a machine whose tools do as they are told. What packets find
// then is for conformance/; here it is that a call does what its dry run shows, that whatever fails leaves nothing, and
// that DEL and GC take all away.

// Where ipam.type leads to this very program, static answers within the process, as in the one binary.
const CNI_PATH = mkdtempSync(join(tmpdir(), 'life-'))
const dataDir = mkdtempSync(join(tmpdir(), 'life-data-'))
const leaseDir = mkdtempSync(join(tmpdir(), 'life-leases-'))
for (const name of ['static', 'bridge', 'host-local']) symlinkSync(process.execPath, join(CNI_PATH, name))
afterAll(() => {
  for (const folder of [CNI_PATH, dataDir, leaseDir]) rmSync(folder, { recursive: true })
})

type Life = Omit<Row, 'verb'> & {
  /** What is answered to DEL and GC where it differs. */
  readonly later?: Row['answers']
  /** False for a plugin that knows by names alone what to take away. */
  readonly hasRecord?: boolean
}

const linkOf = (ifname: string, more: object = {}) => ({
  ifindex: 7,
  ifname,
  flags: ['UP'],
  mtu: 1500,
  addr_info: [],
  ...more,
})
const routing = (...routes: object[]) => {
  const rules = [
    { src: 'all', table: '255' },
    { src: 'all', table: '254' },
  ]
  return `${JSON.stringify(rules)}\n${JSON.stringify(routes)}\n`
}
const looksInside = {
  'container# ip -N -j -d -4 -batch -': routing({
    ...{ type: '1', dst: '10.1.2.0/24', dev: 'eth0', table: '254', protocol: '2', scope: '253', flags: [] },
    prefsrc: '10.1.2.3',
  }),
  'container# ip -N -j -d -6 -batch -': routing(),
}
const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'cni0' }, { name: 'vethx' }, { name: 'eth0', sandbox: netns }],
  ips: [{ address: '10.1.2.3/24', gateway: '10.1.2.1', interface: 2 }],
}
const absent = { status: 1, stderr: 'Device "eth0" does not exist.' }
const ends = {
  'container# ip -j -d addr show dev eth0': link('eth0', {
    ifindex: 2,
    link_index: 9,
    linkinfo: { info_kind: 'veth' },
  }),
  'ip -j -d addr show dev vethx': link('vethx', { ifindex: 9, link_index: 2, linkinfo: { info_kind: 'veth' } }),
}
const noRules = { status: 1, stderr: 'Error: No such file or directory' }

const ipam = {
  type: 'static',
  addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }],
  routes: [{ dst: '0.0.0.0/0' }],
}
const gateway = link('cni0', {
  address: '02:aa:00:00:00:01',
  flags: ['UP'],
  linkinfo: { info_kind: 'bridge' },
  addr_info: [{ family: 'inet', local: '10.1.2.1', prefixlen: 24 }],
})
const lan = {
  address: '02:00:00:00:00:0a',
  addr_info: [{ family: 'inet', local: '10.1.2.100', prefixlen: 24, scope: 'global' }],
}
const nat = '-N CNI-HOSTPORT-DNAT'
const published = [
  { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
  { hostPort: 53, containerPort: 5353, protocol: 'udp', hostIP: '192.0.2.1' },
]
const madeInside = {
  'container# ip -j -d addr show dev eth0': link('eth0', { address: '02:00:00:00:00:01', flags: ['UP', 'LOWER_UP'] }),
}
const sockets = ['tcp', 'tcp6', 'udp', 'udp6'].map((name) => [`/proc/net/${name}`, ''])

const subnetOfNode = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.2.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
`

const lives: Record<string, Life> = {
  flannel: {
    plugin: 'flannel',
    config: { dataDir, ipam: { dataDir: leaseDir } },
    env: { CNI_PATH },
    links: ['cni0'],
    files: { '/proc/sys/net/ipv4/ip_forward': '0', '/run/flannel/subnet.env': subnetOfNode },
    answers: { 'ip -j -d addr show dev cni0': gateway, 'nft *': noRules },
  },
  'bridge with addresses': {
    plugin: 'bridge',
    config: { ipam, isGateway: true, ipMasq: true },
    env: { CNI_PATH },
    links: ['cni0'],
    files: { '/proc/sys/net/ipv4/ip_forward': '0' },
    answers: { 'ip -j -d addr show dev cni0': gateway, 'nft *': noRules },
  },
  'bridge with addresses and iptables': {
    plugin: 'bridge',
    config: { ipam, ipMasq: true, ipMasqBackend: 'iptables' },
    env: { CNI_PATH },
    links: ['cni0'],
    answers: { 'ip -j -d addr show dev cni0': gateway, 'nft *': noRules },
  },
  ptp: {
    plugin: 'ptp',
    config: { ipam, ipMasq: true },
    env: { CNI_PATH },
    files: { '/proc/sys/net/ipv4/ip_forward': '0' },
    answers: { 'nft *': noRules },
  },
  'macvlan with the host': {
    plugin: 'macvlan',
    config: { master: 'lan0', hostAccess: true, ipam },
    env: { CNI_PATH },
    links: ['lan0'],
    answers: { 'ip -j -d addr show dev lan0': link('lan0', lan), 'container# arping *': '', ...madeInside },
  },
  tuning: {
    plugin: 'tuning',
    config: { prevResult, dataDir, mtu: 1400, promisc: true, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } },
    answers: {
      'container# grep *': '/proc/sys/net/ipv4/conf/eth0/arp_filter:0\n',
      'container# ip -j -d addr show dev eth0': link('eth0', { address: '02:00:00:00:00:01', txqlen: 1000 }),
    },
  },
  tap: {
    plugin: 'tap',
    config: { ipam },
    env: { CNI_PATH },
    answers: madeInside,
    hasRecord: false,
  },
  dummy: { plugin: 'dummy', config: { ipam }, env: { CNI_PATH }, answers: madeInside, hasRecord: false },
  loopback: { plugin: 'loopback', hasRecord: false, answers: { 'container# ip *': link('lo', { flags: ['UP'] }) } },
  'firewall by iptables': {
    plugin: 'firewall',
    config: { prevResult, backend: 'iptables' },
    answers: { 'nft *': noRules },
  },
  'portmap by iptables': {
    plugin: 'portmap',
    config: { prevResult, backend: 'iptables', runtimeConfig: { portMappings: published } },
    files: { ...Object.fromEntries(sockets), '/proc/net/route': 'Iface\n' },
    answers: { 'nft *': noRules, 'iptables-save -t nat': nat },
  },

  'bridge with a guard': {
    plugin: 'bridge',
    config: { macspoofchk: true, hairpinMode: true },
    links: ['cni0'],
    answers: {
      'ip -j -d addr show dev cni0': link('cni0', { address: '02:aa:00:00:00:01', linkinfo: { info_kind: 'bridge' } }),
      'nft *': noRules,
    },
  },
  'host-device': {
    plugin: 'host-device',
    config: { device: 'hd0' },
    answers: {
      'ip -j -d addr show dev hd0': link('hd0', { address: '02:00:00:00:aa:01', flags: ['UP'] }),
      'container# ip -j -d addr show dev eth0': absent,
      'container# ip -j -d addr show dev devdd6ccc806f76': absent,
    },
    later: { 'container# ip -j -d addr show': '[]', 'container# ip *': absent, 'ip *': '[]' },
  },
  bandwidth: {
    plugin: 'bandwidth',
    config: { prevResult, ingressRate: 8e6, ingressBurst: 80_000, egressRate: 16e6, egressBurst: 160_000 },
    answers: ends,
    later: { 'ip *': '[]', 'tc *': '[]' },
  },
  sbr: {
    plugin: 'sbr',
    config: { prevResult },
    answers: { ...looksInside, 'container# ip -j -d addr show dev eth0': link('eth0') },
  },
  vrf: {
    plugin: 'vrf',
    config: { vrfname: 'blue', prevResult },
    answers: {
      ...looksInside,
      'container# ip -j -d addr show': JSON.stringify([linkOf('eth0')]),
      'container# ip -j -d addr show dev blue': absent,
    },
  },
  firewall: {
    plugin: 'firewall',
    config: { prevResult, backend: 'nftables' },
    answers: { 'nft *': '{"nftables": []}', 'dbus-send *': noRules },
  },
  portmap: {
    plugin: 'portmap',
    config: {
      prevResult,
      backend: 'nftables',
      runtimeConfig: { portMappings: published },
    },
    answers: { 'nft *': noRules },
    files: { ...Object.fromEntries(sockets), '/proc/net/route': 'Iface\n' },
  },
}

let stage: Stage
beforeEach(() => {
  stage = openStage()
})
afterEach(() => stage.close())

/** Files that are no locks: those stay. */
const kept = () =>
  [...stage.state(), ...readdirSync(dataDir)].filter((file) => !file.endsWith('lock') && !file.startsWith('.'))
const plain = (line: string) => line.replaceAll(/['"\\]/g, '')

/** What a call made that is an attachment's own, by what takes it away: links but for the shared shim, elements. */
function madeBy(changes: readonly string[]): string[] {
  return changes.flatMap((line) => {
    const link = /ip link add name (?!shim)(\S+)/.exec(line)
    if (link) return [`ip link del dev ${link[1]}`]
    const element = /^nft (?:add|create) element (\S+ \S+ \S+) \{ (.*?)(?: comment .*| : .*| \})$/.exec(line)
    return element ? [`nft delete element ${element[1]} { ${element[2]} }`] : []
  })
}

/** What of that a call has not taken away. */
function leftOf(changes: readonly string[], removed: readonly string[]): string[] {
  return madeBy(changes).filter((line) => !removed.some((one) => one.includes(line.replace(/ \}$/, ''))))
}

describe.each(Object.entries(lives))('%s', (_, { later, hasRecord = true, ...life }) => {
  const row = (verb: Row['verb'], more: object = {}): Row => {
    const answers = verb === 'DEL' || verb === 'GC' ? { ...later, ...life.answers } : { ...life.answers }
    return { ...life, verb, answers, config: { ...life.config, ...more } }
  }
  const gc = { 'cni.dev/valid-attachments': [] }

  test('ADD does what its dry run shows, and nothing else; it has a record', async () => {
    const { plan, status: planned } = await show({ ...row('ADD'), answers: { ...nothing, ...life.answers } })
    const shown = plan.split('\n').map(plain)
    expect(planned, plan).toBe(0)
    const { status, changes, json, said } = await stage.perform(row('ADD'))
    expect([status, said], JSON.stringify(json)).toEqual([0, ''])
    expect(changes.length).toBeGreaterThan(0)
    expect(changes.filter((line) => !shown.includes(plain(line)))).toEqual([])
    expect(kept().length > 0).toBe(hasRecord)
  })

  test('whatever is refused, nothing is left of it, and the next ADD works', async () => {
    const whole = await stage.perform(row('ADD'))
    await stage.perform(row('DEL'))
    const before = kept()
    let failures = 0
    for (let failing = 1; failing <= whole.changes.length; failing++) {
      const { status, json, changes } = await stage.perform(row('ADD'), failing)
      if (status === 0) break
      expect(leftOf(changes, changes), `refused at ${failing}`).toEqual([])
      failures += 1
      expect(json).toMatchObject({ code: expect.any(Number), msg: expect.any(String) })
      expect(kept(), `refused at ${failing}: ${JSON.stringify(json)}`).toEqual(before)
    }
    expect(failures).toBeGreaterThan(0)
    expect((await stage.perform(row('ADD'))).status).toBe(0)
  })

  test('DEL takes all away, any number of times', async () => {
    await stage.perform(row('ADD'))
    for (let time = 0; time < 2; time++) {
      const { status, json } = await stage.perform(row('DEL'))
      expect([status, json]).toEqual([0, undefined])
      expect(kept()).toEqual([])
    }
  })

  test('a record that says nothing, or not what it should, does not stop DEL', async () => {
    for (const data of [{}, null, { mac: 7, addresses: 'x', guarded: 'yes' }]) {
      await stage.perform(row('ADD'))
      for (const file of stage.state().filter((one) => !one.endsWith('lock'))) {
        const path = join(stateRoot, file)
        const text = readFileSync(path, 'utf8')
        if (text.startsWith('{')) writeFileSync(path, JSON.stringify({ ...JSON.parse(text), data }))
      }
      const { status, json } = await stage.perform(row('DEL'))
      expect([status, json], JSON.stringify(data)).toEqual([0, undefined])
      expect(kept()).toEqual([])
    }
  })

  test('GC takes away what no valid attachment has, and nothing without a list', async () => {
    await stage.perform(row('ADD'))
    const noted = kept()
    const valid = { 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }
    for (const more of [{}, valid]) {
      const { status, json } = await stage.perform(row('GC', more))
      expect([status, kept()], JSON.stringify(json)).toEqual([0, noted])
    }
    const { status, json } = await stage.perform(row('GC', gc))
    expect([status, kept()], JSON.stringify(json)).toEqual([0, []])
  })
})

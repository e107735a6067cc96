import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { stateRoot } from '../shared/exec/state.js'
import type { Row } from '../shared/testing/golden.js'
import { openStage, type Performed, type Stage } from '../shared/testing/live.js'
import { createMemory, type Link, type Memory, secondNetns } from '../shared/testing/memory.js'

// Calls one after another on a machine that remembers what they change: what one made the next one finds.

const CNI_PATH = mkdtempSync(join(tmpdir(), 'remembered-'))
const dataDir = mkdtempSync(join(tmpdir(), 'remembered-data-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => {
  for (const folder of [CNI_PATH, dataDir]) rmSync(folder, { recursive: true })
})

interface Case {
  readonly plugin: string
  /** The configuration of the first or the second container. */
  readonly config: (number: 1 | 2) => object
  readonly host?: readonly Partial<Link>[]
  readonly container?: (number: 1 | 2) => readonly Partial<Link>[]
  readonly files?: Readonly<Record<string, string>>
  readonly answers?: Row['answers']
  readonly env?: Row['env']
  readonly settings?: Readonly<Record<string, string>>
  /** What nft(8) is told first: what others have made. */
  readonly others?: string
  /** What ADD makes and CHECK does not look at. */
  readonly unchecked?: RegExp
  /** What DEL leaves that finds no record: nobody else knows of it. */
  readonly unknown?: RegExp
  /** What stays behind the last attachment, because all share it. */
  readonly stays?: RegExp
  /** True where all is in the container and ends with it: GC gives leases back and leaves links. */
  readonly isInside?: boolean
  /** False where a second ADD of the same is refused, as the interface is there. */
  readonly isRepeatable?: boolean
}

const address = (number: number) => `10.1.2.${number + 2}`
const chained = (number: number, more: object = {}) => ({
  prevResult: {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'cni0' }, { name: `vethx${number}` }, { name: 'eth0', sandbox: '/proc/self/ns/net' }],
    ips: [
      { address: `${address(number)}/24`, gateway: '10.1.2.1', interface: 2 },
      { address: `fd00::${number + 2}/64`, gateway: 'fd00::1', interface: 2 },
    ],
  },
  ...more,
})
const sockets = Object.fromEntries(['tcp', 'tcp6', 'udp', 'udp6'].map((name) => [`/proc/net/${name}`, '']))

const ports = (number: number) => ({
  runtimeConfig: {
    portMappings: [
      { hostPort: 8080 + number, containerPort: 80, protocol: 'tcp' },
      { hostPort: 50 + number, containerPort: 5353, protocol: 'udp', hostIP: '192.0.2.1' },
      ...[0, 1, 2, 3].map((one) => ({
        hostPort: 9000 + 10 * number + one,
        containerPort: 9000 + 10 * number + one,
        protocol: 'tcp',
      })),
    ],
  },
})
const portmapFiles = {
  ...sockets,
  '/proc/net/route': 'Iface\n',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
}

const ipam = (number: number) => ({
  type: 'static',
  addresses: [{ address: `${address(number)}/24`, gateway: '10.1.2.1' }],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '10.9.0.0/16', gw: '10.1.2.9' }],
})
const lan = { ifname: 'lan0', address: '02:00:00:00:00:0a', flags: ['UP'] }
const lanAddress = { family: 'inet', local: '10.1.2.100', prefixlen: 24, scope: 'global' }
const eth0 = {
  ifname: 'eth0',
  address: '02:00:00:00:00:07',
  addr_info: [{ family: 'inet', local: '10.1.2.3', prefixlen: 24, scope: 'global' }],
}
const both = (number: number) => {
  const { addresses, ...others } = ipam(number)
  return { ...others, addresses: [...addresses, { address: `fd00::${number + 2}/64`, gateway: 'fd00::1' }] }
}
const veths = [1, 2].map((number) => ({
  ...{ ifname: `vethx${number}`, ifindex: 100 + number, link_index: 2 },
  linkinfo: { info_kind: 'veth' },
}))
const forwards = { '/proc/sys/net/ipv4/ip_forward': '0' }
const isUp = { 'container# arping *': '', 'nsenter *arping *': '' }

const cases: Record<string, Case> = {
  'firewall by nftables': {
    unchecked: /^ip6?tables|podwire rule|element firewall_within/,
    unknown: /element firewall_(bridges|within)/,
    plugin: 'firewall',
    config: (number) => chained(number, { backend: 'nftables', ingressPolicy: 'isolated' }),
    stays: /^ip6?tables filter -A|^nft \S+ podwire rule/,
  },
  'firewall by iptables': {
    plugin: 'firewall',
    config: (number) => chained(number, { backend: 'iptables', ingressPolicy: 'isolated' }),
    stays: /CNI-(FORWARD|ADMIN|ISOLATION-STAGE-1)$|STAGE-\d .* -j RETURN$/,
  },
  'portmap by nftables': {
    unchecked: /podwire rule/,
    plugin: 'portmap',
    config: (number) => chained(number, { backend: 'nftables', ...ports(number) }),
    files: portmapFiles,
    stays: /^nft \S+ podwire rule/,
  },
  'portmap by iptables': {
    unchecked: /^iptables raw/,
    plugin: 'portmap',
    config: (number) => chained(number, { backend: 'iptables', ...ports(number) }),
    files: portmapFiles,
    stays: /-A CNI-HOSTPORT-(MASQ|SETMARK)|-j CNI-HOSTPORT-(MASQ|DNAT)$|^iptables raw/,
  },
  bridge: {
    unchecked: /podwire rule|^host address|element (allowed_macs|guarded_ports)/,
    plugin: 'bridge',
    config: (number) => ({
      ...{ ipam: ipam(number), isGateway: true, ipMasq: true, macspoofchk: true, hairpinMode: true, mtu: 1400 },
    }),
    files: forwards,
    isRepeatable: false,
    stays: /^host (link|address).* cni0|^nft \S+ podwire rule/,
  },
  'bridge by iptables': {
    unchecked: /^host address| -j ACCEPT$/,
    plugin: 'bridge',
    config: (number) => ({ ipam: ipam(number), isGateway: true, ipMasq: true, ipMasqBackend: 'iptables' }),
    files: forwards,
    isRepeatable: false,
    stays: /^host (link|address).* cni0/,
  },
  'bridge with a VLAN': {
    unchecked: /^host address|^host link (cni0.7|vethe66b4fdfa66) /,
    plugin: 'bridge',
    config: (number) => ({ ipam: ipam(number), isGateway: true, vlan: 7 }),
    files: forwards,
    isRepeatable: false,
    stays: /^host (link|address).* cni0/,
  },
  ptp: {
    unchecked: /podwire rule|^container route 10\.1\.2\./,
    plugin: 'ptp',
    config: (number) => ({ ipam: ipam(number), ipMasq: true, mtu: 1400 }),
    files: forwards,
    isRepeatable: false,
    stays: /^nft \S+ podwire rule/,
  },
  macvlan: {
    plugin: 'macvlan',
    isInside: true,
    config: (number) => ({ master: 'lan0', ipam: ipam(number), mtu: 1400 }),
    host: [lan],
    answers: isUp,
    isRepeatable: false,
  },
  'macvlan with the host': {
    unknown: /shim/,
    plugin: 'macvlan',
    isInside: true,
    config: (number) => ({ master: 'lan0', hostAccess: true, ipam: ipam(number) }),
    host: [{ ...lan, addr_info: [lanAddress] }],
    answers: isUp,
    isRepeatable: false,
  },
  ipvlan: {
    plugin: 'ipvlan',
    isInside: true,
    config: (number) => ({ master: 'lan0', mode: 'l2', ipam: ipam(number) }),
    host: [lan],
    answers: isUp,
    isRepeatable: false,
  },
  vlan: {
    plugin: 'vlan',
    isInside: true,
    config: (number) => ({ master: 'lan0', vlanId: 4 + number, ipam: ipam(number) }),
    host: [lan],
    answers: isUp,
    isRepeatable: false,
  },
  dummy: { plugin: 'dummy', isInside: true, config: (number) => ({ ipam: ipam(number) }), isRepeatable: false },
  tap: { plugin: 'tap', isInside: true, config: (number) => ({ ipam: ipam(number), mtu: 1400 }), isRepeatable: false },
  'host-device': {
    unknown: /host link hd1 /,
    plugin: 'host-device',
    config: (number) => ({ device: `hd${number}`, ipam: ipam(number) }),
    host: [1, 2].map((number) => ({
      ...{ ifname: `hd${number}`, address: `02:00:00:00:aa:0${number}`, flags: ['UP'], ifalias: `was ${number}` },
      parentdev: `0000:0${number}:00.0`,
    })),
    isRepeatable: false,
  },
  bandwidth: {
    unchecked: /ingress/,
    unknown: /vethx1 (ingress|root|bwp)/,
    plugin: 'bandwidth',
    config: (number) =>
      chained(number, { ingressRate: 8e6, ingressBurst: 80_000, egressRate: 16e6, egressBurst: 160_000 }),
    host: [1, 2].map((number) => ({
      ...{ ifname: `vethx${number}`, ifindex: 100 + number, link_index: 2 },
      linkinfo: { info_kind: 'veth' },
    })),
    container: (number) => [{ ...eth0, ifindex: 2, link_index: 100 + number, linkinfo: { info_kind: 'veth' } }],
  },
  'firewall by nftables, behind chains that drop': {
    unchecked: /podwire rule|element firewall_within|^ip6tables/,
    unknown: /element firewall_(bridges|within)/,
    plugin: 'firewall',
    config: (number) => chained(number, { backend: 'nftables', ingressPolicy: 'same-bridge' }),
    others: [
      ...['inet site', 'ip filter', 'ip6 other'].map((table) => `add table ${table}`),
      ...['inet site fwd', 'ip filter FORWARD', 'ip6 other fwd'].map(
        (chain) => `add chain ${chain} { type filter hook forward priority 0 ; policy drop ; }`,
      ),
      'add rule inet site fwd ct state established accept',
    ].join('\n'),
    stays: /^ip6?tables filter -A|^nft \S+ podwire rule|admitted by the firewall plugin/,
  },
  'firewall by firewalld': {
    plugin: 'firewall',
    unchecked: /podwire rule|element firewall_within/,
    unknown: /element firewall_(bridges|within)/,
    config: (number) => chained(number, { backend: 'firewalld', ingressPolicy: 'isolated', firewalldZone: 'work' }),
    env: { DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=127.0.0.1,port=9' },
    stays: /^nft \S+ podwire rule/,
  },
  'firewall by firewalld, which is the default where it runs': {
    plugin: 'firewall',
    config: (number) => chained(number),
    env: { DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=127.0.0.1,port=9' },
  },
  'firewall by iptables, same-bridge': {
    plugin: 'firewall',
    config: (number) => chained(number, { backend: 'ip6tables', ingressPolicy: 'same-bridge' }),
    stays: /CNI-(FORWARD|ADMIN|ISOLATION-STAGE-1)$|STAGE-\d .* -j RETURN$/,
  },
  'portmap by nftables with conditions': {
    unchecked: /podwire rule/,
    plugin: 'portmap',
    config: (number) =>
      chained(number, {
        ...{ backend: 'nftables', masqAll: true, conditionsV4: ['ip saddr', '10.0.0.0/8'], ...ports(number) },
      }),
    files: portmapFiles,
    stays: /^nft \S+ podwire rule/,
  },
  'portmap by nftables without masquerade': {
    unchecked: /podwire rule/,
    plugin: 'portmap',
    config: (number) => chained(number, { backend: 'nftables', snat: false, ...ports(number) }),
    files: portmapFiles,
    stays: /^nft \S+ podwire rule/,
  },
  'portmap by iptables with conditions and a mark': {
    plugin: 'portmap',
    config: (number) =>
      chained(number, {
        ...{ backend: 'iptables', masqAll: true, markMasqBit: 5, conditionsV4: ['-s', '10.0.0.0/8'], ...ports(number) },
      }),
    files: portmapFiles,
    unchecked: /^iptables raw/,
    stays: /-A CNI-HOSTPORT-(MASQ|SETMARK)|-j CNI-HOSTPORT-(MASQ|DNAT)$|^iptables raw/,
  },
  'portmap by iptables with a chain for marks': {
    plugin: 'portmap',
    config: (number) => chained(number, { externalSetMarkChain: 'KUBE-MARK-MASQ', ...ports(number) }),
    files: portmapFiles,
    unchecked: /^iptables raw/,
    stays: /-A CNI-HOSTPORT-(MASQ|SETMARK)|-j CNI-HOSTPORT-(MASQ|DNAT)$|^iptables raw|KUBE-MARK-MASQ/,
  },
  'bridge without addresses': {
    plugin: 'bridge',
    config: () => ({ bridge: 'br1', promiscMode: true, portIsolation: true, vlanTrunk: [{ id: 7 }] }),
    isRepeatable: false,
    stays: /^host link br1/,
  },
  'bridge without an interface in the container that is up': {
    plugin: 'bridge',
    config: () => ({ disableContainerInterface: true }),
    isRepeatable: false,
    stays: /^host link cni0/,
  },
  'bridge with both families': {
    unchecked: /podwire rule|^host address/,
    plugin: 'bridge',
    config: (number) => ({ ipam: both(number), isDefaultGateway: true, forceAddress: true, ipMasq: true }),
    files: { ...forwards, '/proc/sys/net/ipv6/conf/all/forwarding': '0' },
    isRepeatable: false,
    stays: /^host (link|address).* cni0|^nft \S+ podwire rule/,
  },
  'ptp with both families': {
    unchecked: /podwire rule|^container route (10\.1\.2\.|fd00:)/,
    plugin: 'ptp',
    config: (number) => ({ ipam: both(number), ipMasq: true, ipMasqBackend: 'nftables' }),
    files: { ...forwards, '/proc/sys/net/ipv6/conf/all/forwarding': '0' },
    isRepeatable: false,
    stays: /^nft \S+ podwire rule/,
  },
  'macvlan in the container': {
    plugin: 'macvlan',
    isInside: true,
    config: (number) => ({ master: 'lan0', linkInContainer: true, mode: 'private', ipam: ipam(number) }),
    container: () => [lan],
    answers: isUp,
    isRepeatable: false,
  },
  'host-device with its network': {
    plugin: 'host-device',
    config: (number) => ({ device: `hd${number}`, useInterfaceNetwork: true }),
    host: [1, 2].map((number) => ({
      ...{ ifname: `hd${number}`, address: `02:00:00:00:aa:0${number}`, flags: ['UP'] },
      ...{ parentdev: `0000:0${number}:00.0`, permaddr: `02:00:00:00:aa:0${number}` },
      addr_info: [{ family: 'inet', local: `192.0.${number}.3`, prefixlen: 24, scope: 'global' }],
    })),
    unknown: /^host (link|address).* ?hd1/,
    isRepeatable: false,
  },
  'host-device that is no hardware': {
    plugin: 'host-device',
    config: (number) => ({ device: `hd${number}` }),
    host: [1, 2].map((number) => ({
      ...{ ifname: `hd${number}`, address: `02:00:00:00:aa:0${number}`, flags: [] },
      linkinfo: { info_kind: 'dummy' },
    })),
    isRepeatable: false,
    unknown: /host link hd1 |container link eth0/,
  },
  'bandwidth towards the container alone': {
    plugin: 'bandwidth',
    config: (number) => chained(number, { ingressRate: 8e6, ingressBurst: 80_000 }),
    host: veths,
    container: (number) => [{ ...eth0, ifindex: 2, link_index: 100 + number, linkinfo: { info_kind: 'veth' } }],
    unknown: /vethx1 root/,
  },
  tuning: {
    plugin: 'tuning',
    isInside: true,
    config: (number) =>
      chained(number, {
        ...{ dataDir, mac: '02:00:00:00:00:77', mtu: 1400, promisc: true, allmulti: true, txQLen: 500 },
        sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.core.somaxconn': '512' },
      }),
    container: () => [eth0],
    settings: { 'net/ipv4/conf/eth0/arp_filter': '0', 'net/core/somaxconn': '4096' },
  },
  loopback: { plugin: 'loopback', isInside: true, config: () => ({}), container: () => [{ ifname: 'lo', flags: [] }] },
  'vrf with a table': {
    plugin: 'vrf',
    config: (number) => chained(number, { vrfname: 'blue', table: 77 }),
    container: () => [eth0],
  },
  'sbr with a table': {
    plugin: 'sbr',
    config: (number) => chained(number, { table: 77 }),
    container: () => [eth0],
    unknown: /table 77/,
  },
  sbr: {
    unknown: /table 10/,
    plugin: 'sbr',
    config: (number) => chained(number),
    container: () => [eth0],
  },
  vrf: {
    plugin: 'vrf',
    config: (number) => chained(number, { vrfname: 'blue' }),
    container: () => [eth0],
  },
}

const row = (one: Case, verb: Row['verb'], number: 1 | 2 = 1, more: object = {}): Row => ({
  plugin: one.plugin,
  verb,
  config: { ...one.config(number), ...more },
  env: { CNI_PATH, CNI_CONTAINERID: `c${number}`, ...(number === 2 ? { CNI_NETNS: secondNetns } : {}), ...one.env },
  ...(one.answers ? { answers: one.answers } : {}),
  ...(one.files ? { files: one.files } : {}),
})

/** Runs `body` on a machine of its own. */
async function on<T>(one: Case, body: (stage: Stage, memory: Memory) => Promise<T>): Promise<T> {
  const { host = [], container = () => [], settings = {}, others = '' } = one
  const memory = createMemory({ host, container: container(1), container2: container(2), settings })
  memory.run({ argv: ['nft', '-f', '-'], stdin: others })
  const stage = openStage(memory)
  try {
    return await body(stage, memory)
  } finally {
    stage.close()
  }
}

async function succeed(stage: Stage, asked: Row): Promise<Performed> {
  const performed = await stage.perform(asked)
  expect(performed.status, `${asked.verb} ${JSON.stringify(performed.json)}`).toBe(0)
  return performed
}

const nothing = /^$/
const kept = (stage: Stage) => stage.state().filter((file) => !file.endsWith('lock'))
const without = (things: readonly string[], others: readonly string[]) => things.filter((one) => !others.includes(one))

describe.each(Object.entries(cases))('%s', (_, one) => {
  const { stays = nothing, unchecked = nothing, unknown = nothing, isRepeatable = true, isInside = false } = one
  const own = (memory: Memory) => memory.things().filter((thing) => !stays.test(thing))

  test('CHECK finds what ADD made', async () => {
    await on(one, async (stage) => {
      const { json } = await succeed(stage, row(one, 'ADD'))
      expect((await succeed(stage, row(one, 'CHECK', 1, { prevResult: json }))).json).toBeUndefined()
    })
  })

  test('CHECK tells whatever is taken away of that, but what is listed', async () => {
    await on(one, async (stage, memory) => {
      const before = memory.things()
      const { json } = await succeed(stage, row(one, 'ADD'))
      const made = without(memory.things(), before)
      const restore = memory.save()
      const unnoticed: string[] = []
      for (const thing of made) {
        memory.remove(thing)
        const { status } = await stage.perform(row(one, 'CHECK', 1, { prevResult: json }))
        if (status === 0) unnoticed.push(thing)
        restore()
      }
      expect(unnoticed).toEqual(made.filter((thing) => unchecked.test(thing)))
    })
  })

  test(`ADD again ${isRepeatable ? 'makes nothing more' : 'is refused, and changes nothing'}`, async () => {
    await on(one, async (stage, memory) => {
      await succeed(stage, row(one, 'ADD'))
      const [made, files] = [memory.things(), kept(stage)]
      const { status } = await stage.perform(row(one, 'ADD'))
      expect([status, memory.things(), kept(stage)]).toEqual([isRepeatable ? 0 : 1, made, files])
    })
  })

  test('whatever is refused, nothing is left of it', async () => {
    await on(one, async (stage, memory) => {
      const [before, files, restore] = [own(memory), kept(stage), memory.save()]
      for (let failing = 1; ; failing++) {
        const { status, changes } = await stage.perform(row(one, 'ADD'), failing)
        if (status === 0) {
          expect(failing, `${changes.length} changes`).toBeGreaterThan(1)
          return
        }
        expect([own(memory), kept(stage)], `refused at ${failing}`).toEqual([before, files])
        restore()
      }
    })
  })

  test('DEL and GC take away what is their own, and nothing of another', async () => {
    const alone = await on(one, async (stage, memory) => {
      await succeed(stage, row(one, 'ADD', 2))
      return [own(memory), kept(stage)]
    })
    const valid = { 'cni.dev/valid-attachments': [{ containerID: 'c2', ifname: 'eth0' }] }
    for (const asked of [row(one, 'DEL'), ...(isInside ? [] : [row(one, 'GC', 1, valid)])]) {
      await on(one, async (stage, memory) => {
        await succeed(stage, row(one, 'ADD'))
        const { json } = await succeed(stage, row(one, 'ADD', 2))
        await succeed(stage, asked)
        expect([own(memory), kept(stage)], asked.verb).toEqual(alone)
        await succeed(stage, row(one, 'CHECK', 2, { prevResult: json }))
      })
    }
  })

  test('GC of a network without attachments takes away what only they shared', async () => {
    await on(one, async (stage, memory) => {
      const before = own(memory)
      await succeed(stage, row(one, 'ADD'))
      await succeed(stage, row(one, 'GC', 1, { 'cni.dev/valid-attachments': [] }))
      if (!isInside) expect([own(memory), kept(stage)]).toEqual([before, []])
      expect(memory.things().filter((thing) => / rule (masquerade|portmap_hairpin)_\d/.test(thing))).toEqual([])
    })
  })

  test('DEL without a record', async () => {
    await on(one, async (stage, memory) => {
      const before = own(memory)
      await succeed(stage, row(one, 'ADD'))
      rmSync(stateRoot, { recursive: true, force: true })
      await succeed(stage, row(one, 'DEL'))
      expect(own(memory).filter((thing) => !unknown.test(thing))).toEqual(
        before.filter((thing) => !unknown.test(thing)),
      )
      expect(own(memory).some((thing) => unknown.test(thing))).toBe(unknown !== nothing)
    })
  })
})

test('a second interface of a container has its own ifb where the first one has the usual name', async () => {
  const bandwidth = cases['bandwidth'] as Case
  const second = (verb: Row['verb'], more: object = {}): Row => {
    const asked = row(bandwidth, verb, 2, more)
    return { ...asked, env: { ...asked.env, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: secondNetns } }
  }
  await on(bandwidth, async (stage, memory) => {
    const other = { ...second('ADD'), env: { ...second('ADD').env, CNI_IFNAME: 'net1' } }
    const one = await succeed(stage, row(bandwidth, 'ADD'))
    const named = memory.run({
      argv: ['nsenter', `--net=${secondNetns}`, 'ip', '-batch', '-'],
      stdin: 'link set dev eth0 name net1',
    })
    expect(named).toEqual({})
    const two = await succeed(stage, other)
    const ifbs = [one, two].map(({ json }) => json.interfaces.at(-1).name)
    expect(ifbs).toEqual(['bwp623e1c388032', expect.stringMatching(/^bwp[0-9a-f]{12}$/)])
    expect(ifbs[0]).not.toBe(ifbs[1])
    await succeed(stage, row(bandwidth, 'DEL'))
    await succeed(stage, { ...other, verb: 'CHECK', config: { ...other.config, prevResult: two.json } })
    expect(memory.things().filter((thing) => thing.startsWith(`host link ${ifbs[0]} `))).toEqual([])
    await succeed(stage, { ...other, verb: 'DEL' })
    expect(memory.things().filter((thing) => thing.startsWith('host link bwp'))).toEqual([])
  })
})

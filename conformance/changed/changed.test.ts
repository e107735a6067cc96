import { afterAll, beforeAll, describe, expect, vi } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { Chain, type Conflist, type PluginConfig } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import { Killer } from '../harness/killer.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { compareLines, difference, takeSnapshot } from '../harness/snapshot.js'

// A configuration that is edited while containers run: DEL and GC are given the new one, and take away what ADD made by
// the old.

const ranges = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]]
const ipam = { type: 'host-local', ranges }
const bridge: PluginConfig = { type: 'bridge', bridge: 'br2', isDefaultGateway: true, ipam }
const macvlan: PluginConfig = { type: 'macvlan', master: 'uplink', ipam }
const ptp: PluginConfig = { type: 'ptp', ipam }
const portmap: PluginConfig = { type: 'portmap', capabilities: { portMappings: true } }
const bandwidth: PluginConfig = {
  type: 'bandwidth',
  ingressRate: 1e6,
  ingressBurst: 1e6,
  egressRate: 1e6,
  egressBurst: 1e6,
}

interface Row {
  readonly what: string
  /** The chain at ADD. */
  readonly before: readonly PluginConfig[]
  /** Plugin by plugin, what the chain has at DEL and GC instead; undefined removes a key. */
  readonly after: readonly object[]
}

/** A key behind a bridge. */
const chained = (what: string, plugin: PluginConfig, after: object): Row => ({
  what: `${plugin.type}: ${what}`,
  before: [bridge, plugin],
  after: [{}, after],
})
/** A key of a plugin that makes an interface. */
const alone = (what: string, plugin: PluginConfig, after: object): Row => ({
  what: `${plugin.type}: ${what}`,
  before: [plugin],
  after: [after],
})

const gone = undefined
const rows: readonly Row[] = [
  alone('macspoofchk removed', { ...bridge, macspoofchk: true }, { macspoofchk: gone }),
  alone('macspoofchk added', bridge, { macspoofchk: true }),
  alone('ipMasq removed', { ...bridge, ipMasq: true }, { ipMasq: gone }),
  alone('ipMasq by iptables removed', { ...bridge, ipMasq: true, ipMasqBackend: 'iptables' }, { ipMasq: gone }),
  alone(
    'ipMasqBackend to iptables',
    { ...bridge, ipMasq: true, ipMasqBackend: 'nftables' },
    { ipMasqBackend: 'iptables' },
  ),
  alone(
    'ipMasqBackend to nftables',
    { ...bridge, ipMasq: true, ipMasqBackend: 'iptables' },
    { ipMasqBackend: 'nftables' },
  ),
  alone(
    'promiscMode, portIsolation and hairpinMode',
    { ...bridge, promiscMode: true, portIsolation: true },
    {
      promiscMode: gone,
      portIsolation: gone,
      hairpinMode: true,
    },
  ),
  alone('isDefaultGateway removed', bridge, { isDefaultGateway: gone }),
  alone('another bridge', { ...bridge, ipMasq: true, macspoofchk: true }, { bridge: 'br3' }),
  alone('another mac', { ...bridge, macspoofchk: true, args: { cni: { mac: '02:00:00:00:00:07' } } }, { args: gone }),
  alone('ipMasq removed', { ...ptp, ipMasq: true }, { ipMasq: gone }),
  alone('ipMasqBackend changed', { ...ptp, ipMasq: true, ipMasqBackend: 'iptables' }, { ipMasqBackend: 'nftables' }),
  alone('hostAccess removed', { ...macvlan, hostAccess: true }, { hostAccess: gone }),
  alone('hostAccess removed with its master', { ...macvlan, hostAccess: true }, { hostAccess: gone, master: 'other' }),
  alone('another master', { ...macvlan, hostAccess: true }, { master: 'other' }),
  alone('another mode', { ...macvlan, hostAccess: true }, { hostAccess: gone, mode: 'private' }),
  alone('another owner', { type: 'tap', owner: 7, multiQueue: true, ipam }, { owner: gone, multiQueue: gone }),
  chained('backend to iptables', { ...portmap, backend: 'nftables' }, { backend: 'iptables' }),
  chained('backend to nftables', { ...portmap, backend: 'iptables' }, { backend: 'nftables' }),
  chained('backend removed', { ...portmap, backend: 'iptables' }, { backend: gone }),
  chained('snat off', { ...portmap, snat: true }, { snat: false }),
  chained('masqAll removed', { ...portmap, masqAll: true }, { masqAll: gone }),
  chained(
    'conditions changed',
    { ...portmap, conditionsV4: ['ip', 'saddr', '!=', '10.9.0.0/16'] },
    {
      conditionsV4: ['ip', 'saddr', '!=', '10.8.0.0/16'],
    },
  ),
  chained(
    'conditions of iptables removed',
    { ...portmap, conditionsV4: ['!', '-s', '10.9.0.0/16'] },
    { conditionsV4: gone },
  ),
  chained('markMasqBit changed', { ...portmap, backend: 'iptables', markMasqBit: 11 }, { markMasqBit: 12 }),
  chained('capabilities removed', portmap, { capabilities: gone }),
  chained('backend to iptables', { type: 'firewall', backend: 'nftables' }, { backend: 'iptables' }),
  chained('backend to nftables', { type: 'firewall', backend: 'iptables' }, { backend: 'nftables' }),
  chained('ingressPolicy removed', { type: 'firewall', ingressPolicy: 'same-bridge' }, { ingressPolicy: gone }),
  chained('ingressPolicy isolated removed', { type: 'firewall', ingressPolicy: 'isolated' }, { ingressPolicy: gone }),
  chained('ingressPolicy changed', { type: 'firewall', ingressPolicy: 'isolated' }, { ingressPolicy: 'same-bridge' }),
  chained(
    'ingressPolicy and backend changed',
    { type: 'firewall', backend: 'iptables', ingressPolicy: 'same-bridge' },
    { backend: 'nftables', ingressPolicy: 'open' },
  ),
  chained('egress removed', bandwidth, { egressRate: gone, egressBurst: gone }),
  chained('all removed', bandwidth, { ingressRate: gone, ingressBurst: gone, egressRate: gone, egressBurst: gone }),
  chained('rates changed', bandwidth, { ingressRate: 2e6, egressRate: 3e6 }),
  chained(
    'sysctl and attributes removed',
    { type: 'tuning', sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' }, mtu: 1400, promisc: true, allmulti: true },
    { sysctl: gone, mtu: gone, promisc: gone, allmulti: gone },
  ),
  chained(
    'other sysctl',
    { type: 'tuning', sysctl: { 'net.core.somaxconn': '100' } },
    { sysctl: { 'net.ipv4.ip_forward': '1' } },
  ),
  chained('table removed', { type: 'sbr', table: 77 }, { table: gone }),
  chained('table added', { type: 'sbr' }, { table: 78 }),
  alone(
    'keys of its members',
    {
      type: 'chain',
      plugins: [{ ...bridge, ipMasq: true, macspoofchk: true }, portmap, { type: 'firewall', backend: 'iptables' }],
      capabilities: { portMappings: true },
    },
    { plugins: [bridge, { ...portmap, backend: 'iptables' }, { type: 'firewall', backend: 'nftables' }] },
  ),
]

const directories = ['/run/podwire', '/var/lib/cni/networks', '/run/cni']
/** Locks and directories stay; what belongs to an attachment does not. */
const state = async (host: Host) =>
  (await takeSnapshot(host, { directories })).filter((line) => !/\.lock|last_reserved|^dir /.test(line))

/** The kernel frees a namespace, and what is in it, a moment after it was removed. */
const cleaning = { timeout: 30_000 }

function listOf(plugins: readonly PluginConfig[]): Conflist {
  return { cniVersion: '1.1.0', name: 'network', plugins: [...plugins] }
}

function chains(host: Host, { before, after }: Row, container: Container) {
  const attachment = {
    containerID: container.name,
    netns: container.netns,
    capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
  }
  const changed = before.map(
    (plugin, index) => JSON.parse(JSON.stringify({ ...plugin, ...after[index] })) as PluginConfig,
  )
  return [new Chain(host, listOf(before), attachment), new Chain(host, listOf(changed), attachment)] as const
}

/** A host on which what containers share is there already, by the old configuration and by the new. */
async function settle(host: Host, row: Row): Promise<void> {
  await host.outside()
  await host.output(['ip', 'link', 'add', 'other', 'type', 'veth', 'peer', 'name', 'farther'])
  for (const which of [0, 1]) {
    const container = await host.container(`first${which}`)
    const chain = chains(host, row, container)[which] as Chain
    await chain.add()
    await chain.del()
    await container.remove()
  }
  const quiet = async () => expect(await host.output(['ip', '-d', 'link', 'show', 'uplink'])).toContain('promiscuity 0')
  await vi.waitFor(quiet, cleaning)
}

describe.each(rows)('$what', (row) => {
  let host: Host

  beforeAll(async () => {
    host = await Host.create()
    await settle(host, row)
  })

  afterAll(() => host.dispose())

  test('DEL leaves nothing', async () => {
    const container = await host.container('second')
    const before = await state(host)
    const [old, now] = chains(host, row, container)
    now.result = await old.add()
    expect(difference(before, await state(host))).not.toBe('')
    await now.del()
    expect(difference(before, await state(host))).toBe('')
    await now.del(true)
    await container.remove()
  })

  test('DEL without a result or a namespace leaves nothing', async () => {
    const before = await state(host)
    const container = await host.container('third')
    const [old, now] = chains(host, row, container)
    await old.add()
    await container.remove()
    await now.del(true)
    await vi.waitFor(async () => expect(difference(before, await state(host))).toBe(''), cleaning)
  })

  test('GC leaves nothing', async () => {
    const before = await state(host)
    const container = await host.container('fourth')
    const [old, now] = chains(host, row, container)
    await old.add()
    await container.remove()
    await now.gc([])
    // Chains that nobody uses any more go, too.
    await vi.waitFor(async () => expect(compareLines(before, await state(host)).others).toEqual([]), cleaning)
  })
})

describe.each([
  alone('macspoofchk removed', { ...bridge, macspoofchk: true, ipMasq: true }, { macspoofchk: gone, ipMasq: gone }),
  alone('hostAccess removed', { ...macvlan, hostAccess: true }, { hostAccess: gone }),
])('$what, and killed', (row) => {
  const [old = bridge, changed] = [row.before[0], { ...row.before[0], ...row.after[0] }]
  const one = (command: 'ADD' | 'DEL', container: Container, plugin: object): Call => ({
    plugin: old.type,
    command,
    config: { cniVersion: '1.1.0', name: 'network', ...plugin },
    containerID: container.name,
    netns: container.netns,
  })

  test('ADDs, then a DEL', { timeout: 240_000 }, async ({ host }) => {
    await settle(host, row)
    const container = await host.container('second')
    const before = await state(host)
    const add = () => runPlugin(host, one('ADD', container, old))
    const del = async () => succeedSilently(await runPlugin(host, one('DEL', container, changed)))
    const killer = await Killer.timing(async () => resultOf(await add()))
    await del()
    for (let round = 0; round < 40; round++) {
      await killer.kill(host, one('ADD', container, old))
      await del()
      if (round % 10 === 9) expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
    killer.expectHits()
  })

  test('DELs, then another', { timeout: 240_000 }, async ({ host }) => {
    await settle(host, row)
    const container = await host.container('second')
    const before = await state(host)
    const add = async () => resultOf(await runPlugin(host, one('ADD', container, old)))
    const del = () => runPlugin(host, one('DEL', container, changed))
    await add()
    const killer = await Killer.timing(async () => succeedSilently(await del()))
    for (let round = 0; round < 40; round++) {
      await add()
      await killer.kill(host, one('DEL', container, changed))
      succeedSilently(await del())
      if (round % 10 === 9) expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
    killer.expectHits()
  })
})

describe('of which the record is gone', () => {
  const row = alone('', { ...macvlan, hostAccess: true }, {})

  test('GC finds a shim that nobody uses, and leaves one that is used', async ({ host }) => {
    await settle(host, row)
    const before = await state(host)
    const shim = async () => (await host.output(['ip', '-br', 'link', 'show', 'type', 'macvlan'])).includes('shim')
    const container = await host.container('second')
    const [chain] = chains(host, row, container)
    await chain.add()
    await chain.gc([{ containerID: 'second', ifname: 'eth0' }])
    expect(await shim()).toBe(true)
    await host.output(['find', '/run/podwire/host-access', '-type', 'f', '-delete'])
    await container.remove()
    expect(await shim()).toBe(true)
    await chain.gc([])
    await vi.waitFor(async () => expect(compareLines(before, await state(host)).others).toEqual([]), cleaning)
  })

  test.for([true, false])('DEL finds a guard, with macspoofchk %s', async (macspoofchk, { host }) => {
    const guarded = alone('', { ...bridge, macspoofchk: true }, { macspoofchk })
    await settle(host, guarded)
    const container = await host.container('second')
    const before = await state(host)
    const [old, now] = chains(host, guarded, container)
    await old.add()
    await host.output(['rm', '-r', '/run/podwire/bridge'])
    await now.del()
    expect(difference(before, await state(host))).toBe('')
  })
})

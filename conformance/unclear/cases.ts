import { call as device, hostLocal } from '../devices/calls.js'
import { type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { takeSnapshot } from '../harness/snapshot.js'
import { call as lan, lanNetwork } from '../lan/network.js'
import { call as bridge, config as bridged } from '../main/bridge-setting.js'
import { call as port, tcp, udp } from '../portmap/setting.js'
import { dual, call as ptp } from '../ptp/network.js'

/** Everything that a call can leave behind, without the files that only say where the next search begins. */
export async function look(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni', '/run/podwire', '/run/cni'] })
  return lines
    .filter((line) => !/^file \S*\/(\S*lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
    .map((line) => line.replace(/^(host: link veth.*) txqlen 1000/, '$1'))
    .sort()
}

/** A call of a plugin by tools. */
export interface Case {
  /** The least number of places that its ADD has. */
  readonly places: number
  /** Makes what the call needs, and returns it. */
  readonly prepare: (host: Host) => Promise<Call>
}

/** An ADD and DEL before, so that what belongs to the network or the host is there already. */
export async function settled(host: Host, add: Call): Promise<Call> {
  resultOf(await runPlugin(host, add))
  succeedSilently(await runPlugin(host, { ...add, command: 'DEL' }))
  return add
}

async function withPtp(host: Host): Promise<{ container: Container; prevResult: Result }> {
  const container = await host.container('c1')
  const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }] }
  const config = { cniVersion: '1.1.0', name: 'network', type: 'ptp', ipam }
  return { container, prevResult: resultOf(await runPlugin(host, ptp('ADD', container, { config }))) }
}

/** A call of a plugin behind ptp in a chain. */
async function chained(host: Host, type: string, more: object): Promise<Call> {
  const { container, prevResult } = await withPtp(host)
  const config = { cniVersion: '1.1.0', name: 'network', type, prevResult, ...more }
  return settled(host, { plugin: type, command: 'ADD', config, containerID: container.name, netns: container.netns })
}

const rates = { ingressRate: 8_000_000, ingressBurst: 80_000, egressRate: 16_000_000, egressBurst: 160_000 }

export const cases: Record<string, Case> = {
  'bridge with nftables': {
    places: 10,
    prepare: async (host) => settled(host, bridge('ADD', await host.container())),
  },
  'bridge with iptables': {
    places: 10,
    prepare: async (host) => {
      const config = { ...bridged, macspoofchk: false, ipMasqBackend: 'iptables', hairpinMode: true }
      return settled(host, bridge('ADD', await host.container(), { config }))
    },
  },
  'ptp with nftables': { places: 10, prepare: async (host) => settled(host, ptp('ADD', await host.container())) },
  'ptp with iptables': {
    places: 10,
    prepare: async (host) => {
      const config = { ...dual, ipMasqBackend: 'iptables' }
      return settled(host, ptp('ADD', await host.container(), { config }))
    },
  },
  'macvlan with hostAccess': {
    places: 8,
    prepare: async (host) => {
      await host.outside()
      return settled(host, lan('ADD', await host.container(), lanNetwork('macvlan', { hostAccess: true })))
    },
  },
  tap: {
    places: 4,
    prepare: async (host) => settled(host, device('tap', 'ADD', await host.container(), { ipam: hostLocal })),
  },
  'host-device': {
    places: 5,
    prepare: async (host) => {
      await host.output(['ip', 'link', 'add', 'hd0', 'alias', 'as before', 'type', 'veth', 'peer', 'name', 'hd1'])
      await host.output(['ip', 'link', 'set', 'hd0', 'up'])
      return device('host-device', 'ADD', await host.container('c1'), { device: 'hd0', ipam: hostLocal })
    },
  },
  'portmap with nftables': {
    places: 1,
    prepare: async (host) =>
      settled(host, port('ADD', await host.container(), [tcp(8080), udp(5353)], { portmap: { backend: 'nftables' } })),
  },
  'portmap with iptables': {
    places: 1,
    prepare: async (host) =>
      settled(host, port('ADD', await host.container(), [tcp(8080), udp(5353)], { portmap: { backend: 'iptables' } })),
  },
  'firewall with nftables': {
    places: 1,
    prepare: (host) => chained(host, 'firewall', { backend: 'nftables', ingressPolicy: 'same-bridge' }),
  },
  'firewall with iptables': { places: 1, prepare: (host) => chained(host, 'firewall', { backend: 'iptables' }) },
  bandwidth: { places: 4, prepare: (host) => chained(host, 'bandwidth', rates) },
  tuning: {
    places: 2,
    prepare: (host) =>
      chained(host, 'tuning', {
        mac: '02:00:5e:10:00:02',
        mtu: 1400,
        promisc: true,
        sysctl: { 'net.ipv4.ip_forward': '1' },
      }),
  },
  sbr: { places: 3, prepare: (host) => chained(host, 'sbr', {}) },
  chain: {
    places: 5,
    prepare: async (host) => {
      const plugins = [
        { type: 'tap', ipam: hostLocal },
        { type: 'firewall', backend: 'nftables' },
      ]
      const { name, netns } = await host.container()
      const config = { cniVersion: '1.1.0', name: 'network', type: 'chain', plugins }
      return settled(host, { plugin: 'chain', command: 'ADD', config, containerID: name, netns })
    },
  },
}

import { Chain, type Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import type { Call, Verb } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { takeSnapshot } from '../harness/snapshot.js'

/** Addresses of the network that the test host's uplink leads to: the host is .1, the machine outside .2. */
const ranges = [
  [{ subnet: '192.0.2.0/24', rangeStart: '192.0.2.10', rangeEnd: '192.0.2.200' }],
  [{ subnet: '2001:db8:f::/64', rangeStart: '2001:db8:f::10', rangeEnd: '2001:db8:f::ff' }],
]

/** A network of one plugin on the host's uplink, dual stack by host-local unless said otherwise. */
export function lanNetwork(
  type: string,
  plugin: object = {},
  more: { cniVersion?: string; ipam?: object; name?: string } = {},
): Conflist {
  const { cniVersion = '1.1.0', name = 'network', ipam = { type: 'host-local', ranges } } = more
  return { cniVersion, name, plugins: [{ type, ...(type === 'dummy' ? {} : { master: 'uplink' }), ipam, ...plugin }] }
}

/** The same network with addresses that the configuration names. */
export function fixedNetwork(type: string, addresses: readonly string[], plugin: object = {}): Conflist {
  const ipam = { type: 'static', addresses: addresses.map((address) => ({ address })) }
  return lanNetwork(type, plugin, { ipam })
}

/** Attaches a container and returns the attachment. */
export async function join(host: Host, container: Container, network: Conflist, more: object = {}): Promise<Chain> {
  const chain = new Chain(host, network, { containerID: container.name, netns: container.netns, ...more })
  await chain.add()
  return chain
}

export interface Link {
  ifname: string
  address: string
  mtu: number
  flags: string[]
  linkinfo?: { info_kind?: string; info_data?: Record<string, unknown> }
}

/** The links of a host or container. */
export async function linksOf(place: Pick<Host, 'output'>): Promise<Link[]> {
  return JSON.parse(await place.output(['ip', '-j', '-d', 'link'])) as Link[]
}

/** Their names, loopback first. */
export async function linkNames(place: Pick<Host, 'output'>): Promise<string[]> {
  return (await linksOf(place)).map(({ ifname }) => ifname)
}

/** Gives a link of the host another name; kernels before 6.3 refuse that while it is up. */
export async function rename(host: Host, from: string, to: string): Promise<void> {
  const commands = [`link set ${from} down`, `link set ${from} name ${to}`, `link set ${to} up`]
  await host.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
}

/** One call of a network's only plugin for a container, with its configuration as libcni would write it. */
export function call(command: Verb, container: Container, network: Conflist, more: Partial<Call> = {}): Call {
  const [plugin] = network.plugins
  if (plugin === undefined) throw new Error(`${network.name} has no plugins`)
  const config = { ...plugin, name: network.name, cniVersion: network.cniVersion }
  return { plugin: plugin.type, command, config, containerID: container.name, netns: container.netns, ...more }
}

const leases = '/var/lib/cni/networks/network'

/** The addresses that host-local has handed out. */
export function leased(host: Host): string[] {
  return Object.keys(readFiles(host, leases)).filter((name) => /^(192|2001)/.test(name))
}

/** Everything but the files that only remember where the next search begins or what is locked. */
export async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: [leases, '/run/podwire'] })
  return lines.filter((line) => !/^file \S*\/(\S*lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
}

/**
 * The machine at the other end of the uplink, once its kernel listens to IPv6 multicast: a moment after the link is up.
 */
export async function neighbour(host: Host): Promise<Container> {
  const { container } = await host.outside()
  const routes = ['ip', '-6', 'route', 'show', 'table', 'local', 'type', 'multicast', 'dev', 'eth0']
  await until('the machine outside hears IPv6', async () => (await container.output(routes)).includes('ff00::/8'))
  return container
}

import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import type { Call, Verb } from '../harness/plugin.js'
import { takeSnapshot } from '../harness/snapshot.js'

export const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

const leases = '/var/lib/cni/networks/network'
const subnets = [[{ subnet: '10.80.0.0/24' }], [{ subnet: 'fd00:80::/64' }]]

/** Addresses of both families that are kept on disk: what a lost lease shows by. */
export const hostLocal = { type: 'host-local', ranges: subnets }
/** Addresses that the configuration names. */
export const fixed = (...addresses: string[]) => ({
  type: 'static',
  addresses: addresses.map((address) => ({ address })),
})

/** One call of a plugin for a container, with the configuration's usual beginning. */
export function call(
  plugin: string,
  command: Verb,
  container: Container,
  config: object,
  more: Partial<Call> = {},
): Call {
  return {
    plugin,
    command,
    config: { cniVersion: '1.1.0', name: 'network', type: plugin, ...config },
    containerID: container.name,
    netns: container.netns,
    ...more,
  }
}

/** The leases that are held, one a family and container. */
export function leased(host: Host): string[] {
  return Object.keys(readFiles(host, leases)).filter((name) => /^(10|fd)/.test(name))
}

/** Everything a plugin can leave behind, without the files that only say where the next search begins. */
export async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: [leases, '/run/podwire'] })
  return lines.filter((line) => !/^file \S*\/(lock|last_reserved_ip\.\d+) /.test(line))
}

export interface Link {
  ifname: string
  address: string
  flags: string[]
  mtu: number
  ifalias?: string
  master?: string
  addr_info: { local: string }[]
  linkinfo?: { info_kind?: string; info_data?: Record<string, unknown> }
}

/** A link of a host or container, or undefined. */
export async function linkOf(place: Pick<Host, 'output'>, name: string): Promise<Link | undefined> {
  const links = JSON.parse(await place.output(['ip', '-j', '-d', 'address'])) as Link[]
  return links.find(({ ifname }) => ifname === name)
}

/** The names of the links of a host or container, loopback first. */
export async function linkNames(place: Pick<Host, 'output'>): Promise<string[]> {
  return (JSON.parse(await place.output(['ip', '-j', 'link'])) as Link[]).map(({ ifname }) => ifname)
}

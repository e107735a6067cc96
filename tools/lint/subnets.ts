import { type Cidr, contains, formatCidr, lastOf, networkOf, parseCidr } from '../../shared/values/address.js'
import type { Json, Network, PluginEntry } from './documents.js'
import type { Finding } from './finding.js'

// The subnets of networks, and where two have the same addresses.

export interface Subnet {
  readonly network: Network
  readonly entry: PluginEntry
  readonly path: string
  readonly cidr: Cidr
  /** The bridge it lies on; absent where it is no bridge's. */
  readonly bridge?: string
}

/** The subnets that host-local gives addresses of, on links that are the host's own: a LAN's are the LAN's. */
export function subnetsOf(network: Network): readonly Subnet[] {
  return network.plugins.flatMap((entry) => {
    if (entry.type !== 'bridge' && entry.type !== 'ptp') return []
    const ipam = entry.config['ipam'] as Json | undefined
    if (ipam?.['type'] !== 'host-local') return []
    const base = entry.path === '' ? 'ipam' : `${entry.path}.ipam`
    const sets = (Array.isArray(ipam['ranges']) ? ipam['ranges'] : []) as unknown[]
    const listed = sets.flatMap((set, i) =>
      (Array.isArray(set) ? set : []).map((range, j) => ({
        text: (range as Json)?.['subnet'],
        path: `${base}.ranges[${i}][${j}].subnet`,
      })),
    )
    const bridge = entry.type === 'bridge' ? { bridge: String(entry.config['bridge'] ?? 'cni0') } : {}
    return [{ text: ipam['subnet'], path: `${base}.subnet` }, ...listed].flatMap(({ text, path }) => {
      const cidr = typeof text === 'string' ? parseCidr(text) : undefined
      return cidr ? [{ network, entry, path, cidr: networkOf(cidr), ...bridge }] : []
    })
  })
}

/** Two networks of one folder that are in each other's way; one word for each network is enough. */
export function betweenNetworks(networks: readonly Network[]): Finding[] {
  const earlier: Placed[] = []
  return networks.flatMap((network) => {
    const own = subnetsOf(network).map(placed)
    const found = own.flatMap((subnet) => earlier.flatMap((other) => conflict(subnet, other))).slice(0, 1)
    earlier.push(...own)
    return found
  })
}

export function overlap(left: Cidr, right: Cidr): boolean {
  if (left.address.family !== right.address.family) return false
  return contains(left, right.address) || contains(right, left.address)
}

/** Whether all of one lies in the other. */
export function isInside(inner: Cidr, outer: Cidr): boolean {
  return (
    inner.address.family === outer.address.family && contains(outer, inner.address) && contains(outer, lastOf(inner))
  )
}

// --- internal

/** With its first and last address, which are compared often. */
interface Placed extends Subnet {
  readonly first: bigint
  readonly last: bigint
}

function placed(subnet: Subnet): Placed {
  return { ...subnet, first: subnet.cidr.address.value, last: lastOf(subnet.cidr).value }
}

function conflict(subnet: Placed, other: Placed): Finding[] {
  if (subnet.cidr.address.family !== other.cidr.address.family) return []
  const isSame = subnet.first === other.first && subnet.last === other.last
  const isOneBridge = subnet.bridge !== undefined && subnet.bridge === other.bridge
  if (isOneBridge ? isSame : subnet.first > other.last || other.first > subnet.last) return []
  const { report } = subnet.network
  const [own, others] = [formatCidr(subnet.cidr), formatCidr(other.cidr)]
  if (isOneBridge) {
    const message = `the bridge ${subnet.bridge} is that of the network "${other.network.name}", too, with ${others} instead of ${own}`
    return [report('bridge-shared', 'error', subnet.path, message, 'give each network a bridge of its own')]
  }
  const message = `${own} overlaps ${others} of the network "${other.network.name}"`
  return [report('subnet-overlap', 'warning', subnet.path, message, 'give each network addresses of its own')]
}

import { isIPv6 } from '../../shared/values/address.js'
import { sha512 } from '../../shared/values/hash.js'
import type { Settings } from './settings.js'

/** The configuration of the node's network, as runtimes read it: a text that ends in a line feed. */
export function conflistText(ranges: readonly string[], mtu: number, settings: Settings): string {
  const plugins = [attaching(ranges, mtu, settings), ...beside(settings)]
  const capabilities = Object.assign({}, ...plugins.map((one) => one['capabilities'] ?? {})) as object
  const hasCapabilities = Object.keys(capabilities).length > 0
  const list = settings.list ? plugins : [{ type: 'chain', ...(hasCapabilities ? { capabilities } : {}), plugins }]
  return `${JSON.stringify({ cniVersion: settings.cniVersion, name: settings.network, plugins: list }, null, 2)}\n`
}

/** The bridge of a node's pods. Another range is another bridge: one with pods on it keeps its addresses. */
export function bridgeName(ranges: readonly string[]): string {
  return `pods-${sha512(ranges.join(' ')).slice(0, 8)}`
}

// --- internal

type Plugin = Readonly<Record<string, unknown>>

function attaching(ranges: readonly string[], mtu: number, { plugin, bridge, dataDir }: Settings): Plugin {
  const families = [...new Set(ranges.map(isIPv6))]
  const ipam = {
    type: 'host-local',
    ...(dataDir === undefined ? {} : { dataDir }),
    ranges: ranges.map((subnet) => [{ subnet }]),
    routes: families.map((is6) => ({ dst: is6 ? '::/0' : '0.0.0.0/0' })),
  }
  if (plugin === 'ptp') return { type: 'ptp', mtu, ipam }
  return { type: 'bridge', bridge: bridge ?? bridgeName(ranges), isDefaultGateway: true, hairpinMode: true, mtu, ipam }
}

function beside({ portmap, bandwidth, firewall }: Settings): readonly Plugin[] {
  return [
    ...(portmap ? [{ type: 'portmap', capabilities: { portMappings: true } }] : []),
    ...(bandwidth ? [{ type: 'bandwidth', capabilities: { bandwidth: true } }] : []),
    ...(firewall ? [{ type: 'firewall' }] : []),
  ]
}

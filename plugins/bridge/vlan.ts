import { addLink, refuseRouterAdvertisements, setUp } from '../../shared/net/ip.js'
import type { Operation } from '../../shared/plan/operation.js'
import { isLinkName } from '../../shared/values/checks.js'
import type { Problem } from '../../shared/values/errors.js'
import { sha512 } from '../../shared/values/hash.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { BridgeConfiguration } from './bridge.schema.js'

type VlanKeys = Pick<BridgeConfiguration, 'bridge' | 'vlan' | 'vlanTrunk' | 'preserveDefaultVlan'>

type GatewayKeys = Pick<BridgeConfiguration, 'isGateway' | 'isDefaultGateway'>

/** True where the bridge must look at tags. */
export function filtersVlans({ vlan, vlanTrunk }: VlanKeys): boolean {
  return vlan !== 0 || vlanTrunk !== undefined
}

/** Mistakes among the keys of a trunk, in the official suite's words. */
export function vlanProblems({ vlanTrunk = [] }: VlanKeys): readonly Problem[] {
  return vlanTrunk.flatMap((entry, index) => {
    const { minID, maxID } = entry
    const at = { path: `vlanTrunk[${index}]`, value: entry }
    if (minID === undefined && maxID === undefined) return []
    if (minID === undefined || maxID === undefined) {
      const what = `${minID === undefined ? 'minID' : 'maxID'} is missing`
      const official = `minID and maxID should be configured simultaneously, ${what}`
      return [{ ...at, expected: `minID and maxID together: ${what}`, official }]
    }
    const official = 'minID is greater than maxID in trunk parameter'
    return minID > maxID ? [{ ...at, expected: 'a minID that is not greater than maxID', official }] : []
  })
}

/**
 * The VLANs of a port (ip-link(8), bridge(8)): the configured one untagged, the trunk's tagged, and with a trunk alone
 * VLAN 1 untagged. The bridge's default VLAN goes unless it is to be kept. `defaultVlan` is 0 where the bridge gives
 * none.
 */
export function portVlans(port: string, config: VlanKeys, defaultVlan: number): readonly Operation[] {
  if (!filtersVlans(config)) return []
  const trunk = trunkVlans(config)
  const untagged = config.vlan !== 0 ? config.vlan : trunk.length > 0 ? 1 : 0
  const dropDefault = defaultVlan !== 0 && defaultVlan !== untagged && !config.preserveDefaultVlan && untagged !== 0
  return [
    ...(dropDefault ? [bridgeVlan('del', port, defaultVlan, [])] : []),
    ...trunk.filter((vlan) => vlan !== untagged).map((vlan) => bridgeVlan('add', port, vlan, [])),
    ...(untagged === 0 ? [] : [bridgeVlan('add', port, untagged, ['pvid', 'untagged'])]),
  ]
}

/** The VLAN that a port of the bridge gets from the bridge itself, 0 for none. */
export function defaultVlanOf(bridge: ObservedLink | undefined): number {
  return Number(bridge?.linkinfo?.info_data?.['vlan_default_pvid'] ?? 1)
}

/** The host's own link into a VLAN: one end of a veth pair whose other end is a port of the bridge in that VLAN. */
export interface VlanGateway {
  readonly link: string
  readonly port: string
}

/** The gateway of a network in a VLAN; undefined where there is none. */
export function vlanGateway(config: VlanKeys & GatewayKeys): VlanGateway | undefined {
  const link = `${config.bridge}.${config.vlan}`
  if (config.vlan === 0 || !(config.isGateway || config.isDefaultGateway)) return undefined
  return { link, port: `veth${sha512(link).slice(0, 11)}` }
}

/** Refuses a bridge whose name leaves no room for the VLAN's. */
export function gatewayLinkProblems(config: VlanKeys & GatewayKeys): readonly Problem[] {
  const { link } = vlanGateway(config) ?? {}
  if (link === undefined || isLinkName(link)) return []
  return [{ path: 'bridge', value: config.bridge, expected: `a name so short that "${link}" has at most 15 bytes` }]
}

/** Makes the gateway link. It is shared by all containers of the VLAN, so nothing takes it back. */
export function addGatewayLink(
  config: VlanKeys,
  { link, port }: VlanGateway,
  bridge: ObservedLink | undefined,
): readonly Operation[] {
  const size = bridge?.mtu ?? 1500
  const words = ['txqueuelen', '0', 'mtu', String(size), 'master', config.bridge, 'type', 'veth', 'peer', 'name', link]
  const { undo: _, ...add } = addLink(
    { link: port },
    [...words, 'mtu', String(size)],
    `create the VLAN gateway ${link}`,
  )
  return [
    { ...add, tolerate: ['exists'] },
    ...portVlans(port, { ...config, vlanTrunk: undefined }, defaultVlanOf(bridge)),
    refuseRouterAdvertisements({ link: port }),
    refuseRouterAdvertisements({ link }),
    setUp({ link: port }),
    setUp({ link }),
  ]
}

// --- internal

/** All VLANs of a trunk, each once, ascending. */
function trunkVlans({ vlanTrunk = [] }: VlanKeys): readonly number[] {
  const vlans = new Set<number>()
  for (const { minID, maxID, id } of vlanTrunk) {
    if (minID !== undefined && maxID !== undefined) for (let vlan = minID; vlan <= maxID; vlan++) vlans.add(vlan)
    if (id !== undefined) vlans.add(id)
  }
  return [...vlans].sort((left, right) => left - right)
}

function bridgeVlan(verb: 'add' | 'del', port: string, vlan: number, flags: readonly string[]): Operation {
  const why = `${verb === 'add' ? 'put' : 'take'} ${port} ${verb === 'add' ? 'into' : 'out of'} VLAN ${vlan}`
  const operation: Operation = { tool: 'bridge', argv: ['vlan', verb, 'dev', port, 'vid', String(vlan), ...flags], why }
  return verb === 'del' ? { ...operation, tolerate: ['absent'] } : operation
}

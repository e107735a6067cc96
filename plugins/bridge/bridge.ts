import { mayHaveLostRecord, readRecord, recordWritings, writeRecord } from '../../shared/exec/records.js'
import { awaitCarrier } from '../../shared/net/carrier.js'
import {
  addressesOf,
  configureInterface,
  containerSettings,
  dnsOf,
  interfaceDifferences,
  throwDifferences,
} from '../../shared/net/interface.js'
import { addVethPair, ensureLink, forwarding, refuseRouterAdvertisements, setLink, setUp } from '../../shared/net/ip.js'
import { ensureLinkLocal } from '../../shared/net/link-local.js'
import {
  forgetLast,
  masquerade,
  masqueradeDifferences,
  masqueradeNeeds,
  masqueradeOf,
  noteMasquerade,
  recordedMasquerade,
  sayMasquerade,
  seenForMasquerade,
  unmasquerade,
} from '../../shared/net/masquerade.js'
import { forwardingSettings, insideTools, requireForAdd } from '../../shared/net/needs.js'
import { requireNetns } from '../../shared/net/netns.js'
import { features, linkOf } from '../../shared/net/probe.js'
import { containerEndMac, hostEndMac } from '../../shared/net/veth.js'
import type { Operation } from '../../shared/plan/operation.js'
import { checkLease, hasIpam, ipamNeeds, lease, requireIpam } from '../../shared/program/ipam.js'
import { type Call, definePlugin, removing } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { checks, isLinkName, macOf, unicastMac } from '../../shared/values/checks.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { hostVethName, macFrom } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { macFault, nameFault } from '../../shared/values/official.js'
import { emptyResult, type Result, refuseInexpressible } from '../../shared/values/result.js'
import { collectVeths, detachVeth, type More } from '../veth/detach.js'
import type { BridgeConfiguration } from './bridge.schema.js'
import { gatewayOperations, isGateway, withGateways } from './gateway.js'
import { guard, guardedMacs, guardedPort, unguard } from './spoof-guard.js'
import {
  addGatewayLink,
  defaultVlanOf,
  filtersVlans,
  gatewayLinkProblems,
  portVlans,
  vlanGateway,
  vlanProblems,
} from './vlan.js'

type BridgeCall = Call<BridgeConfiguration>

/** A bridge in the host, a veth pair to the container, addresses, and a way out. */
export default definePlugin<BridgeConfiguration>({
  name: 'bridge',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf', args: '', 'args.cni': 'BridgeArgs', runtimeConfig: '', vlanTrunk: 'VlanTrunk' },
    types: {
      args: 'struct { Cni main.BridgeArgs "json:\\"cni,omitempty\\"" }',
      'args.cni': 'main.BridgeArgs',
      runtimeConfig: 'struct { Mac string "json:\\"mac,omitempty\\"" }',
      vlanTrunk: '[]*main.VlanTrunk',
    },
    says,
  }),

  argsKeys: ['MAC'],
  prevResult: { CHECK: 'required' },

  refuse({ config, args }) {
    const problems: Problem[] = [...vlanProblems(config), ...gatewayLinkProblems(config)]
    if (config.hairpinMode && config.promiscMode) {
      problems.push({
        path: 'promiscMode',
        value: true,
        expected: 'false where hairpinMode is true: they exclude each other',
        official: 'cannot set hairpin mode and promiscuous mode at the same time',
      })
    }
    if (config.disableContainerInterface && hasIpam({ config })) {
      problems.push({
        path: 'ipam',
        value: config.ipam,
        expected: 'nothing where disableContainerInterface is true',
        official: 'cannot use IPAM when DisableContainerInterface flag is set',
      })
    }
    const mac = args.get('MAC') ?? ''
    if (mac !== '' && unicastMac(mac) === undefined) {
      const problem = { path: 'CNI_ARGS MAC', value: mac, expected: checks.macOrEmpty.expected }
      problems.push({ ...problem, official: says(problem) })
    }
    return problems
  },

  add(call) {
    const { config, host, environment, attachment } = call
    refuseInexpressible(call.version, hasIpam(call))
    const isForeign = requireIpam(call)
    const netns = requireNetns(environment.netns)
    const port = hostVethName(attachment)
    const reserved = !isForeign && leasesFirst(call) ? lease(call) : undefined
    const found = lookAtBridge(call)
    const macs = chooseMacs(call, reserved)

    writeRecord<Made>(host, 'bridge', attachment, { mac: macs.container, guarded: config.macspoofchk })
    host.apply(connect(call, netns, macs, found))
    const bridge = found.bridge ?? requireBridge(host.observer.link(config.bridge), config.bridge)
    const open = openPort(call, bridge, macs.container)
    if (isForeign) {
      // Another IPAM plugin is asked when packets pass from the container to the bridge.
      const at = { link: environment.ifName, netns }
      host.apply([...open, ...containerSettings(at, ipSettings(call)), setUp(at)])
      // The port forwards by the time its own state is up.
      for (const end of [at, { link: port }]) awaitCarrier(host, end)
    }

    const leased = reserved ?? (hasIpam(call) ? lease(call) : emptyResult)
    const addressed = withGateways(config, leased, 2)
    const vlan = hasIpam(call) ? vlanGateway(config) : undefined
    if (vlan && !host.observer.hasLink(vlan.link)) host.apply(addGatewayLink(config, vlan, bridge))
    const gateway = vlan ? host.observer.link(vlan.link) : undefined
    const masked = masqueradeOf(config, addressed)
    const seen = masked && seenForMasquerade(host, attachment, masked)
    const masquerading = masked && seen ? masquerade(attachment, masked, seen) : []

    if (masked) noteMasquerade(host, attachment, masked)
    host.apply([
      ...(isGateway(config) ? forwarding(addressed.ips.map(({ address }) => address)) : []),
      ...(isForeign ? [] : open),
      ...gatewayAddresses(call, addressed, gateway ?? bridge),
      ...containerOperations(call, netns, addressed),
      ...(reserved ? masquerading : []),
    ])
    // An address that may be another container's, too, has been refused by now: its rule is not touched before.
    if (!reserved) host.apply(masquerading)
    if (seen) forgetLast(host, seen)
    if (bridge && !hasIpam(call)) {
      const isOurs = () => bridge.address === ownMacOf(call)
      ensureLinkLocal(host, bridge, { isOurs, willCarry: !config.disableContainerInterface })
    }

    const made = [
      { name: config.bridge, mac: bridgeMac(bridge ?? {}, found.ownMac) },
      { name: port, mac: macs.host },
      { name: environment.ifName, mac: macs.container, sandbox: netns },
      ...(gateway ? [{ name: gateway.ifname, ...(gateway.address ? { mac: gateway.address } : {}) }] : []),
    ]
    return { ...addressed, interfaces: made, dns: dnsOf(config.dns, leased.dns) }
  },

  check(call) {
    checkLease(call)
    throwDifferences(differences(call))
  },

  del(call) {
    detachVeth(call, 'bridge', guarding(call))
  },

  removes: removing({
    look: (host, attachment) => ({
      macs: recordedMacs(host, attachment),
      masked: recordedMasquerade(host, attachment),
    }),
    plan: (attachment, { macs, masked }) => [
      ...unguard(attachment, macs),
      ...(masked ? unmasquerade(attachment, masked) : []),
    ],
  }),

  status(call) {
    const { config, host } = call
    requireForAdd(
      host,
      { features: [linkOf('bridge', filtering(config)), features.veth], writes: recordWritings(config.name, 'bridge') },
      { programs: insideTools(host), settings: isGateway(config) ? forwardingSettings(host) : [] },
      config.ipMasq ? masqueradeNeeds(config.name, config.ipMasqBackend) : {},
      // The guard's tables are declared by a process that also does what stands beside them.
      config.macspoofchk ? { features: [features.nftables], programs: ['ip', 'nsenter'] } : {},
      // What stands beside a port's VLANs is done by the process that sets them.
      filtersVlans(config) ? { programs: ['bridge', 'nsenter'] } : {},
      { also: [() => requireBridge(host.observer.linkIfThere(config.bridge), config.bridge)] },
      ipamNeeds(call),
    )
  },

  gc(call) {
    collectVeths(call, 'bridge', guarding(call))
  },
})

// --- internal

function says(problem: Problem): string | undefined {
  const { path, value } = problem
  if (path === 'bridge') return `failed to create bridge "${value}": could not add "${value}": ${nameFault(value)}`
  if (path === 'vlan') return `invalid VLAN ID ${value} (must be between 0 and 4094)`
  if (path.startsWith('vlanTrunk[')) return `incorrect trunk ${path.slice(path.lastIndexOf('.') + 1)} parameter`
  if (path.toLowerCase().endsWith('mac')) return `failed to make veth pair: ${macFault(value)}`
  return sayMasquerade(problem)
}

/** What DEL cannot know otherwise. */
interface Made {
  readonly mac?: string
  /** Whether macspoofchk was true: it may be no more. Of podwire 0.1.0 not known. */
  readonly guarded?: boolean
}

interface Macs {
  readonly host: string
  readonly container: string
}

/**
 * Our host-local needs no wire, so it can be asked before there is one; no two attachments have the same address of it.
 */
function leasesFirst(call: BridgeCall): boolean {
  return hasIpam(call) && call.ownDelegate?.name === 'host-local'
}

/** The bridge as it was found. */
interface Found {
  readonly bridge: ObservedLink | undefined
  /** Whether its MAC address stays when its ports change. */
  readonly isFixed: boolean
  /** The address of ours, for a bridge that has none for good; of others not asked for. */
  readonly ownMac: string
}

function lookAtBridge({ config, host }: BridgeCall): Found {
  const bridge = requireBridge(host.observer.linkIfThere(config.bridge), config.bridge)
  const isFixed = bridge !== undefined && bridge.address !== noAddress && host.observer.hasFixedAddress(bridge)
  return { bridge, isFixed, ownMac: isFixed ? noAddress : ownMacOf({ config, host }) }
}

function ownMacOf({ config, host }: Pick<BridgeCall, 'config' | 'host'>): string {
  return macFrom(`${host.observer.bootID()}/${config.bridge}`)
}

/**
 * Without a wish the container's MAC follows from its address where that is known: whoever still has the address's last
 * owner in a neighbour cache reaches the new one all the same. No announcement does that for sure: the bridge's port
 * does not forward yet when the kernel sends it.
 */
function chooseMacs({ config, args, attachment, host }: BridgeCall, reserved: Result | undefined): Macs {
  const asked = config.runtimeConfig?.mac || config.args?.cni?.mac || args.get('MAC') || ''
  const address = reserved?.ips[0]?.address
  const own = () =>
    address === undefined
      ? containerEndMac(host, attachment)
      : macFrom(`${host.observer.bootID()}/${config.name}/${address}`)
  return { host: hostEndMac(attachment), container: macOf(asked) ?? own() }
}

/**
 * The address that the bridge has as long as it lives: the one it was found with, else one of ours. A bridge that lost
 * its last port, and its address with it, was found with zeros.
 */
function bridgeMac({ address = noAddress }: Partial<ObservedLink>, ownMac: string): string {
  return address === noAddress ? ownMac : address
}

const noAddress = '00:00:00:00:00:00'

/**
 * A bridge that somebody else made follows the lowest address among its ports, and with that port's container leaves
 * all others without their gateway. So it is given the address it has, before our port joins it: several ADDs at once
 * give it the same.
 */
function fixAddress(bridge: ObservedLink, { isFixed, ownMac }: Found): readonly Operation[] {
  const { ifname: link, address } = bridge
  const mac = bridgeMac(bridge, ownMac)
  if (address === mac && (isFixed || address === ownMac)) return []
  return [setLink({ link }, ['address', mac], `fix the MAC address of ${link}`)]
}

function filtering(config: BridgeConfiguration): readonly string[] {
  return filtersVlans(config) ? ['vlan_filtering', '1'] : []
}

function createBridge(config: BridgeConfiguration, mac: string): Operation {
  const { bridge: link, mtu } = config
  const size = mtu > 0 ? ['mtu', String(mtu)] : []
  return ensureLink({ link }, ['address', mac, ...size, 'type', 'bridge', ...filtering(config)])
}

/**
 * The bridge and the pair of links. The bridge is shared: made if absent, never taken away, and set up again and again,
 * which changes nothing where it is so already.
 */
function connect(call: BridgeCall, netns: string, macs: Macs, found: Found): readonly Operation[] {
  const before = found.bridge
  const { config, environment, attachment } = call
  const link = config.bridge
  const port = hostVethName(attachment)
  const flags = [...(config.hairpinMode ? ['hairpin', 'on'] : []), ...(config.portIsolation ? ['isolated', 'on'] : [])]
  const pair = addVethPair({
    host: port,
    hostMac: macs.host,
    container: environment.ifName,
    containerMac: macs.container,
    netns,
    mtu: config.mtu,
    master: link,
  })
  return [
    ...(before
      ? fixAddress(before, found)
      : [createBridge(config, found.ownMac), refuseRouterAdvertisements({ link })]),
    // Before a port joins: a bridge of somebody else that had none has a carrier, and so gets its link-local address at
    // once.
    setUp({ link }),
    pair,
    ...(flags.length > 0
      ? [setLink({ link: port }, ['type', 'bridge_slave', ...flags], `set ${flags.join(' ')} on ${port}`)]
      : []),
    ...(before && filtersVlans(config)
      ? [setLink({ link }, ['type', 'bridge', ...filtering(config)], `make ${link} look at VLAN tags`)]
      : []),
    ...(config.promiscMode ? [setLink({ link }, ['promisc', 'on'], `make ${link} promiscuous`)] : []),
  ]
}

/** Where there is a link of the name it must be a bridge: a bond, say, takes the port too. */
function requireBridge(link: ObservedLink | undefined, name: string): ObservedLink | undefined {
  const kind = link?.linkinfo?.info_kind ?? 'plain link'
  if (!link || kind === 'bridge') return link
  const what = `"${name}" already exists but is not a bridge`
  throw new CniError(codes.nameTaken, `failed to create bridge "${name}": ${what}`, {
    problems: [{ path: 'bridge', value: kind, expected: 'a bridge' }],
    fix: `give the network another bridge name, or remove the link ${name}`,
  })
}

/**
 * The port gets its VLANs and its guard before it is up, and is up before the container's end: first packets find the
 * way.
 */
function openPort(
  { config, attachment }: BridgeCall,
  bridge: ObservedLink | undefined,
  mac: string,
): readonly Operation[] {
  const link = hostVethName(attachment)
  return [
    refuseRouterAdvertisements({ link: config.bridge }),
    refuseRouterAdvertisements({ link }),
    ...(config.macspoofchk ? guard(attachment, mac) : []),
    ...portVlans(link, config, defaultVlanOf(bridge)),
    setUp({ link }),
  ]
}

function gatewayAddresses(
  call: BridgeCall,
  { ips }: Pick<Result, 'ips'>,
  observed: ObservedLink | undefined,
): readonly Operation[] {
  const { config } = call
  if (!isGateway(config) || !hasIpam(call)) return []
  const link = vlanGateway(config)?.link ?? config.bridge
  return gatewayOperations(config, { link, observed, ips })
}

function containerOperations(
  call: BridgeCall,
  netns: string,
  { ips, routes }: Pick<Result, 'ips' | 'routes'>,
): readonly Operation[] {
  const { config, environment } = call
  const link = environment.ifName
  if (!hasIpam(call)) {
    return [
      ...containerSettings({ link, netns }, {}),
      ...(config.disableContainerInterface ? [] : [setUp({ link, netns })]),
    ]
  }
  return configureInterface({ netns, ifName: link, ips, routes, settings: ipSettings(call) })
}

/** The settings of an interface with addresses. */
function ipSettings({ config, environment }: BridgeCall): Readonly<Record<string, string>> {
  const link = environment.ifName
  const dad: Record<string, string> = config.enabledad ? { enhanced_dad: '1', accept_dad: '1' } : { accept_dad: '0' }
  const settings = Object.entries(dad).map(([key, value]) => [`net/ipv6/conf/${link}/${key}`, value])
  settings.push([`net/ipv4/conf/${link}/arp_notify`, '1'])
  return Object.fromEntries(settings)
}

/** The guard, as what a DEL or GC takes away; without a record the kernel says whether there is one. */
function guarding({ config: { macspoofchk }, host }: BridgeCall): More {
  return (attachment) => {
    const record = readRecord<Made>(host, 'bridge', attachment)?.data
    const isSuspected = !record && (macspoofchk || mayHaveLostRecord('bridge', attachment))
    return {
      suspected: isSuspected ? [guardedPort(attachment)] : [],
      undo: (held) => {
        const mayBe = record ? macspoofchk || record.guarded !== false : held ? held[0] : macspoofchk
        if (!mayBe) return []
        return unguard(attachment, record?.mac === undefined ? guardedMacs(host, attachment) : [record.mac])
      },
    }
  }
}

/** Of these those that a record alone tells. */
function recordedMacs(host: BridgeCall['host'], attachment: Attachment): readonly string[] {
  const { guarded, mac } = readRecord<Made>(host, 'bridge', attachment)?.data ?? {}
  return guarded && mac !== undefined ? [mac] : []
}

function differences(call: BridgeCall): readonly Problem[] {
  const { config, host, environment, attachment } = call
  const prevResult = call.prevResult ?? emptyResult
  const netns = requireNetns(environment.netns)
  const { link, problems } = interfaceDifferences(host, { netns, ifName: environment.ifName, prevResult, kind: 'veth' })
  const found = [...problems, ...bridgeDifferences(call, prevResult, link)]
  if (config.ipMasq) {
    found.push(...masqueradeDifferences(host, attachment, addressesOf(prevResult, environment.ifName)))
  }
  return found
}

/** The bridge and the container's port on it; a bridge's MAC address may follow its ports and is not compared. */
function bridgeDifferences(
  { config, host }: BridgeCall,
  { interfaces }: Result,
  link: ObservedLink | undefined,
): readonly Problem[] {
  const bridge = host.observer.link(config.bridge)
  if (bridge?.linkinfo?.info_kind !== 'bridge') {
    return [{ path: 'bridge', value: bridge?.linkinfo?.info_kind ?? 'none', expected: `the bridge ${config.bridge}` }]
  }
  const names = interfaces.filter(({ name, sandbox }) => !sandbox && name !== config.bridge).map(({ name }) => name)
  const ports = names.flatMap((name) => (isLinkName(name) ? (host.observer.link(name) ?? []) : []))
  const port =
    ports.find(({ ifindex }) => link?.link_index === ifindex) ?? ports.find(({ master }) => master === config.bridge)
  if (!port)
    return [{ path: 'prevResult.interfaces', value: names, expected: `the host end of a veth pair that is there` }]
  if (port.master === config.bridge) return []
  return [{ path: `master of ${port.ifname}`, value: port.master ?? 'none', expected: config.bridge }]
}

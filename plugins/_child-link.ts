import { announcing, settle } from '../shared/net/announce.js'
import { configureInterface, containerSettings, interfaceDifferences } from '../shared/net/interface.js'
import { addLink, deleteLink, setLink, setUp } from '../shared/net/ip.js'
import { attachmentHash } from '../shared/net/names.js'
import { livingNetns, requireNetns } from '../shared/net/netns.js'
import { hostLinkNames, type ObservedLink, observeLink } from '../shared/net/observe.js'
import { attemptAll } from '../shared/plan/host.js'
import type { Operation } from '../shared/plan/operation.js'
import type { NetworkConfiguration } from '../shared/protocol/config.schema.js'
import { CniError, codes, invalidConfiguration, type Problem } from '../shared/protocol/errors.js'
import { hasIpam, lease, release, requireIpam } from '../shared/protocol/ipam.js'
import type { Attachment, Call } from '../shared/protocol/plugin.js'
import { emptyResult, type Result, type Route, refuseInexpressible } from '../shared/protocol/result.js'
import { leaseFree } from './_address-probe.js'
import type { ChildLinkConfiguration } from './_child-link.schema.js'
import { findMaster, type MasterChoice, masterProblems, namesMaster } from './_master.js'

export type ChildCall = Call<ChildLinkConfiguration & NetworkConfiguration>

/** What tells one kind of child from another. */
export interface ChildLink {
  readonly kind: 'macvlan' | 'ipvlan' | 'vlan'
  /** What `ip link add ... type KIND` takes behind the kind, and CHECK finds again under these names. */
  readonly attributes: Readonly<Record<string, string | number>>
  /** Its own MAC address; absent: it has its master's. */
  readonly mac?: string | undefined
  /** It has neither neighbours nor a gateway: its master routes what it sends. */
  readonly isRouted?: boolean
  /** How a refusal because something exists is to be understood, where it may not be the name. */
  readonly taken?: string
  /** Where its master is, other than in the configuration. */
  readonly choice?: MasterChoice
  /** Where its addresses come from, other than from IPAM. */
  readonly addresses?: Result
}

/** Mistakes that single keys do not show and all kinds share. */
export function childProblems(call: ChildCall): readonly Problem[] {
  const { config } = call
  if (!config.addressConflictDetection || hasIpam(call)) return masterProblems(config)
  const expected = 'false without an IPAM plugin: there is no other address to take'
  return [...masterProblems(config), { path: 'addressConflictDetection', value: true, expected }]
}

/** Makes the child in the container, gives it its addresses and announces them. The interface is the whole result. */
export function attachChild(call: ChildCall, child: ChildLink): Result {
  const { config, host, environment, version } = call
  const { ifName } = environment
  refuseInexpressible(version, child.addresses !== undefined || hasIpam(call))
  requireIpam(call)
  const netns = requireNetns(environment.netns)
  const master = findMaster(host, child.choice ?? config, config.linkInContainer ? netns : undefined)
  refuseLargeMtu(config.mtu, master, child)
  host.apply(createLink(call, child, master.ifname, netns))
  const leased = child.addresses ?? (hasIpam(call) ? leaseFor(call, child, master, netns) : emptyResult)
  const { ips } = leased
  const routes = child.isRouted ? withDirectRoutes(leased) : leased.routes
  host.apply(configureLan({ ...config, ifName, netns }, { ips, routes }, ips.length > 0 ? announcing(ifName) : {}))
  if (ips.some(({ address }) => address.includes(':'))) settle(host, { link: ifName, netns })
  const mac = child.mac ?? master.address
  return {
    interfaces: [{ name: ifName, sandbox: netns, ...(mac ? { mac } : {}) }],
    ips: ips.map((one) => ({ ...one, interface: 0 })),
    routes,
    dns: config.dns ?? {},
  }
}

/**
 * An interface on a network that others share: it takes nothing from routers and has no IPv6 unless asked to. Without
 * IPAM it only comes up, for whoever gives it its addresses.
 */
export function configureLan(
  { ifName, netns, acceptRA = false, keepIPv6 }: Lan,
  { ips, routes }: Pick<Result, 'ips' | 'routes'>,
  more: Readonly<Record<string, string>> = {},
): readonly Operation[] {
  const conf = `net/ipv6/conf/${ifName}`
  const isIPv4 = ips.length > 0 && !ips.some(({ address }) => address.includes(':'))
  const settings = {
    [`${conf}/accept_ra`]: acceptRA ? '2' : '0',
    [`${conf}/autoconf`]: acceptRA ? '1' : '0',
    ...(acceptRA ? { [`${conf}/disable_ipv6`]: '0' } : {}),
    ...(isIPv4 && !acceptRA && !keepIPv6 ? { [`${conf}/disable_ipv6`]: '1' } : {}),
  }
  const at = { link: ifName, netns }
  const all = { ...settings, ...more }
  if (ips.length === 0) return [...containerSettings(at, all), setUp(at)]
  return configureInterface({ netns, ifName, ips, routes, settings: all })
}

/** What differs from prevResult and the configuration; the master where the configuration names it. */
export function childDifferences(call: ChildCall, { kind, attributes }: ChildLink): readonly Problem[] {
  const { config, host, environment, prevResult = emptyResult } = call
  const { ifName } = environment
  const netns = requireNetns(environment.netns)
  const { link, problems } = interfaceDifferences(host, { netns, ifName, prevResult, kind })
  if (!link) return problems
  const data = link.linkinfo?.info_data ?? {}
  const found: Record<string, unknown> = { mtu: link.mtu, ...data }
  const wanted: Record<string, unknown> = { ...attributes, ...(config.mtu > 0 ? { mtu: config.mtu } : {}) }
  const differing = Object.keys(wanted).filter((key) => found[key] !== wanted[key])
  return [
    ...problems,
    ...differing.map((key) => ({
      path: `interface ${ifName} ${key}`,
      value: found[key],
      expected: String(wanted[key]),
    })),
    ...masterDifferences(call, link, netns),
  ]
}

/** Removes the interface, then gives the lease back: nobody gets an address that still answers. */
export function detachChild(call: Call): void {
  const { host, environment, attachment } = call
  const netns = livingNetns(environment.netns)
  const names = [environment.ifName, temporaryName(attachment)]
  attemptAll(
    () => host.sweep(netns === undefined ? [] : names.map((link) => deleteLink({ link, netns }))),
    () => release(call),
  )
}

// --- internal

interface Lan {
  readonly ifName: string
  readonly netns: string
  readonly acceptRA?: boolean
  readonly keepIPv6: boolean
}

/**
 * The child is born in the container under its final name. A kernel before 6.15 refuses the name there when the host has it
 * too, as for most containers on a host's eth0: then it comes under a name of its own and is renamed.
 */
function createLink(
  { config, host, environment, attachment }: ChildCall,
  child: ChildLink,
  master: string,
  netns: string,
): readonly Operation[] {
  const { ifName } = environment
  const at = { link: ifName, netns }
  const why = `create the ${child.kind} ${ifName} on ${master}`
  const words = [
    ...['link', master],
    ...(child.mac === undefined ? [] : ['address', child.mac]),
    ...(config.mtu > 0 ? ['mtu', String(config.mtu)] : []),
  ]
  const type = ['type', child.kind, ...Object.entries(child.attributes).flatMap(([key, value]) => [key, String(value)])]
  if (config.linkInContainer) return [explained(addLink(at, [...words, ...type], why), child)]
  const born = (link: string) => ({
    ...explained(addLink({ link }, [...words, 'netns', netns, ...type], why), child),
    undo: [deleteLink({ link, netns })],
  })
  if (!hostLinkNames(host).has(ifName)) return [born(ifName)]
  refuseTakenName(observeLink(host, ifName, netns), ifName)
  const link = temporaryName(attachment)
  const rename = setLink({ link, netns }, ['name', ifName], `rename the ${child.kind} to ${ifName}`)
  return [born(link), { ...rename, undo: [deleteLink(at)] }]
}

/** With conflict detection the link is up while the neighbours are asked, and down before the addresses come. */
function leaseFor(call: ChildCall, child: ChildLink, master: ObservedLink, netns: string): Result {
  const { config, host, environment } = call
  if (!config.addressConflictDetection) return lease(call)
  const at = { link: environment.ifName, netns }
  host.apply(configureLan({ ...config, ifName: at.link, netns }, emptyResult, announcing(at.link)))
  const above = { link: master.ifname, netns: config.linkInContainer ? netns : undefined }
  const leased = leaseFree(call, { child: at, arp: child.kind === 'ipvlan' ? above : at, master })
  host.apply([setLink(at, ['down'], `set ${at.link} down`)])
  return leased
}

/**
 * A family that IPAM gives neither gateway nor routes gets a default route, for without one it reaches nobody; its metric
 * makes way for any other default route of the container.
 */
function withDirectRoutes({ ips, routes }: Result): readonly Route[] {
  const lastMetric = 4096
  const direct = (['0.0.0.0/0', '::/0'] as const).filter((dst) => {
    const isOfFamily = (text: string) => text.includes(':') === dst.includes(':')
    const own = ips.filter(({ address }) => isOfFamily(address))
    return own.length > 0 && !own.some(({ gateway }) => gateway) && !routes.some((route) => isOfFamily(route.dst))
  })
  return [...routes, ...direct.map((dst) => ({ dst, priority: lastMetric }))]
}

function explained(operation: Operation, { taken }: ChildLink): Operation {
  if (taken === undefined) return operation
  return { ...operation, meaning: { ...operation.meaning, exists: { code: codes.nameTaken, fix: taken } } }
}

function temporaryName(attachment: Attachment): string {
  return `new${attachmentHash(attachment).slice(0, 12)}`
}

function refuseTakenName(link: ObservedLink | undefined, ifName: string): void {
  if (!link) return
  throw new CniError(codes.nameTaken, `the container has an interface ${ifName} already`, {
    fix: 'remove or rename the interface that is there; a DEL of the attachment does',
  })
}

/** The kernel takes an ipvlan of any size. */
function refuseLargeMtu(mtu: number, master: ObservedLink, { kind }: ChildLink): void {
  if (kind === 'ipvlan' || mtu <= master.mtu) return
  const problem = { path: 'mtu', value: mtu, expected: `at most ${master.mtu}, the MTU of ${master.ifname}` }
  throw invalidConfiguration([problem], `invalid MTU ${mtu}, must be [0, master MTU(${master.mtu})]`)
}

function masterDifferences({ config, host }: ChildCall, link: ObservedLink, netns: string): readonly Problem[] {
  if (!namesMaster(config)) return []
  const master = findMaster(host, config, config.linkInContainer ? netns : undefined)
  const isChild = config.linkInContainer ? link.link === master.ifname : link.link_index === master.ifindex
  if (isChild) return []
  const value = link.link ?? `number ${link.link_index}`
  return [{ path: `master of ${link.ifname}`, value, expected: `${master.ifname}, number ${master.ifindex}` }]
}

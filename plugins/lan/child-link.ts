import { announcing, settle } from '../../shared/net/announce.js'
import { awaitCarrier } from '../../shared/net/carrier.js'
import { interfaceDifferences, throwDifferences } from '../../shared/net/interface.js'
import { deleteLink, setLink } from '../../shared/net/ip.js'
import { insideTools, type Needs, requireForAdd } from '../../shared/net/needs.js'
import { livingNetns, requireNetns } from '../../shared/net/netns.js'
import { childOf } from '../../shared/net/probe.js'
import { attemptAll } from '../../shared/plan/host.js'
import { checkLease, hasIpam, ipamNeeds, lease, release, requireIpam } from '../../shared/program/ipam.js'
import type { Call } from '../../shared/program/plugin.js'
import type { Problem } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { emptyResult, type Result, refuseInexpressible } from '../../shared/values/result.js'
import { leaseFree } from './address-probe.js'
import type { ChildCall, ChildLink } from './child.js'
import { createLink, refuseMtu, refuseTakenName, temporaryName, wordsOf } from './child-create.js'
import { configureLan, withDirectRoutes } from './interface.js'
import { findMaster, masterProblems, namesMaster } from './master.js'

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
  const isForeign = requireIpam(call)
  const netns = requireNetns(environment.netns)
  const above = config.linkInContainer ? netns : undefined
  const master = findMaster(host, child.choice ?? config, above)
  refuseMtu(config.mtu, master, child)
  child.admit?.(master, above)
  const isNameOfHost = !config.linkInContainer && host.observer.hasLink(ifName)
  if (isNameOfHost) refuseTakenName(host.observer.link(ifName, netns), ifName)

  host.apply(createLink(call, child, { master: master.ifname, netns, isNameOfHost }))
  const leased = child.addresses ?? (hasIpam(call) ? leaseFor(call, child, { master, netns, isForeign }) : emptyResult)
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
 * For CHECK: the lease, then what differs from prevResult, from the configuration, and for the plugin. @throws code 105
 */
export function checkChild(
  call: ChildCall,
  child: ChildLink,
  ownDifferences: () => readonly Problem[] = () => [],
): void {
  checkLease(call)
  throwDifferences([...childDifferences(call, child), ...ownDifferences()])
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

/** For STATUS: the kernel, a master on the host, and IPAM. @throws code 50 */
export function childStatus(call: ChildCall, child: ChildLink, more: Needs = {}): void {
  const { config, host } = call
  // Behind another plugin that made its master an ipvlan learns of it from prevResult alone.
  const isElsewhere = config.linkInContainer || (child.kind === 'ipvlan' && !namesMaster(config))
  requireForAdd(
    host,
    { features: [childOf(child.kind, wordsOf(child))], programs: insideTools(host) },
    config.addressConflictDetection ? { programs: ['arping', 'nsenter'] } : {},
    more,
    { also: isElsewhere ? [] : [() => requireMaster(call, child)] },
    ipamNeeds(call),
  )
}

// --- internal

function requireMaster({ host, config }: ChildCall, child: ChildLink): void {
  refuseMtu(config.mtu, findMaster(host, config), child)
}

/** The master counts where the configuration names it. */
function childDifferences(call: ChildCall, { kind, attributes }: ChildLink): readonly Problem[] {
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

/**
 * The link is up while another IPAM plugin is asked, or the neighbours are, and down before the addresses come: with
 * them they are announced. It has a carrier when its master has.
 */
function leaseFor(
  call: ChildCall,
  child: ChildLink,
  { master, netns, isForeign }: { master: ObservedLink; netns: string; isForeign: boolean },
): Result {
  const { config, host, environment } = call
  if (!isForeign && !config.addressConflictDetection) return lease(call)
  const at = { link: environment.ifName, netns }
  host.apply(configureLan({ ...config, ifName: at.link, netns }, emptyResult, announcing(at.link)))
  if (master.flags.includes('LOWER_UP')) awaitCarrier(host, at)
  const above = { link: master.ifname, netns: config.linkInContainer ? netns : undefined }
  const probe = { child: at, arp: child.kind === 'ipvlan' ? above : at, master }
  const leased = config.addressConflictDetection ? leaseFree(call, probe) : lease(call)
  host.apply([setLink(at, ['down'], `set ${at.link} down`)])
  return leased
}

function masterDifferences({ config, host }: ChildCall, link: ObservedLink, netns: string): readonly Problem[] {
  if (!namesMaster(config)) return []
  const master = findMaster(host, config, config.linkInContainer ? netns : undefined)
  const isChild = config.linkInContainer ? link.link === master.ifname : link.link_index === master.ifindex
  if (isChild) return []
  const value = link.link ?? `number ${link.link_index}`
  return [{ path: `master of ${link.ifname}`, value, expected: `${master.ifname}, number ${master.ifindex}` }]
}

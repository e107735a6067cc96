import { ensureAddress, ip } from '../../shared/net/ip.js'
import {
  destinationOf,
  hasGateway,
  leavesBy,
  localTable,
  putRoute,
  type RouteWords,
  tableOf,
  wordsOf,
} from '../../shared/net/routing.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import { contains, networkOf, parseAddress, parseCidr } from '../../shared/values/address.js'
import type { NumberedRoute, ObservedLink, ObservedRule } from '../../shared/values/observe.schema.js'
import { emptyResult, type Result, type Route } from '../../shared/values/result.js'

// What a device has of the host's network, which goes with it into the container and comes back with it
// (useInterfaceNetwork).

/**
 * The addresses of a device, its routes by the tables they are in, narrow scopes first, and the rules that lead to
 * those.
 */
export interface DeviceNetwork {
  readonly addresses: readonly DeviceAddress[]
  readonly routes: readonly { readonly words: RouteWords; readonly table: number }[]
  readonly rules: readonly RouteWords[]
}

interface DeviceAddress {
  /** With its prefix length. */
  readonly address: string
  readonly broadcast?: string | undefined
  readonly nodad?: boolean | undefined
}

/** What was captured, and the same as a result tells it. */
export interface Captured {
  readonly network: DeviceNetwork
  readonly result: Pick<Result, 'ips' | 'routes'>
}

export const nothingCaptured: Captured = {
  network: { addresses: [], routes: [], rules: [] },
  result: emptyResult,
}

/**
 * The network of a device of the host, as the official plugin takes it: addresses of global scope, of IPv6 those that
 * do not run out; routes over the device but for the kernel's own, routers' and link-local ones; rules from one of its
 * addresses to a table of one of its routes.
 */
export function captureNetwork(host: Host, { ifname, addr_info }: ObservedLink): Captured {
  const addresses = addr_info.flatMap((one): DeviceAddress[] => {
    const { family, local, prefixlen, scope, dynamic, broadcast, nodad } = one
    if (local === undefined || scope !== 'global' || (family === 'inet6' && dynamic)) return []
    return [{ address: `${local}/${prefixlen}`, broadcast, nodad }]
  })
  const { routes: all, rules } = host.observer.routing()
  const routes = all.filter((route) => leavesBy(route, ifname) && isCarried(route)).toSorted(byReach)
  const tables = new Set(routes.map(tableOf))
  const own = rules.filter(
    (rule) => tables.has(Number(rule.table ?? 0)) && addresses.some(({ address }) => covers(rule, address)),
  )
  return {
    network: {
      addresses,
      routes: routes.map((route) => ({ words: wordsOf(route), table: tableOf(route) })),
      rules: own.flatMap((rule) => ruleWords(host, rule) ?? []),
    },
    result: { ips: addresses.map(({ address }) => ({ address, interface: 0 })), routes: routes.map(resultRoute) },
  }
}

/** The routes and rules of a device under another name in a container. */
export function moveRouting(
  { routes, rules }: DeviceNetwork,
  { device, ifName, netns }: { device: string; ifName: string; netns: string },
): readonly Operation[] {
  const inside = rules.map((words) => renamed(words, device, ifName))
  return [
    ...routes.map(({ words, table }) => putRoute({ netns, table, words: renamed(words, device, ifName) })),
    ...inside.map((words) => ({ ...addRule(netns, words), undo: [deleteRule(netns, words)] })),
  ]
}

/** The rules of a container do not go with the device. */
export function forgetRules({ rules }: DeviceNetwork, names: { device: string; ifName: string }, netns: string) {
  return rules.map((words) => deleteRule(netns, renamed(words, names.device, names.ifName)))
}

/** All that a device had, for it is on the host again and up; what is there already stays. */
export function restoreNetwork(device: string, { addresses, routes, rules }: DeviceNetwork): readonly Operation[] {
  return [
    ...addresses.map((one) => ensureAddress({ link: device }, one.address, extraWords(one), one.broadcast ?? '')),
    ...routes.map((route) => putRoute({ netns: undefined, ...route })),
    ...rules.map((words) => addRule(undefined, words)),
  ]
}

// --- internal

const byKernel = '2'
const byRouter = '9'
const linkLocal = parseCidr('fe80::/10')

function isCarried(route: NumberedRoute): boolean {
  if (tableOf(route) === localTable || route.protocol === byKernel || route.protocol === byRouter) return false
  const destination = parseCidr(destinationOf(route))
  return !(linkLocal && destination && contains(linkLocal, networkOf(destination).address))
}

/** Narrow scopes before wide ones, and what is on the link before what is beyond a gateway: each finds its way. */
function byReach(one: NumberedRoute, other: NumberedRoute): number {
  return Number(other.scope ?? 0) - Number(one.scope ?? 0) || Number(hasGateway(one)) - Number(hasGateway(other))
}

function resultRoute(route: NumberedRoute): Route {
  const { gateway, metric, scope, family } = route
  return {
    dst: destinationOf(route),
    ...(gateway === undefined ? {} : { gw: gateway }),
    ...(metric === undefined ? {} : { priority: metric }),
    table: tableOf(route),
    ...(family === 6 || scope === undefined || scope === '0' ? {} : { scope: Number(scope) }),
  }
}

/** Whether a rule is for what comes from an address, or from a subnet that it is in. */
function covers({ src = 'all', srclen }: ObservedRule, address: string): boolean {
  const own = parseAddress(address.split('/')[0] ?? '')
  const source = parseAddress(src)
  if (!own || !source || own.family !== source.family) return false
  return contains({ address: source, prefix: srclen ?? (source.family === 4 ? 32 : 128) }, own)
}

/** Keys of a rule as `ip -j rule` prints them, with what `ip rule add` calls them; lengths and masks stand beside. */
const ruleKeys: Readonly<Record<string, string>> = {
  priority: 'priority',
  src: 'from',
  dst: 'to',
  iif: 'iif',
  oif: 'oif',
  fwmark: 'fwmark',
  tos: 'tos',
  ipproto: 'ipproto',
  sport: 'sport',
  dport: 'dport',
  table: 'table',
  suppress_prefixlen: 'suppress_prefixlength',
}
const besideRuleKeys: Readonly<Record<string, string>> = { src: 'srclen', dst: 'dstlen', fwmark: 'fwmask' }

/** A rule with every selector it has; undefined, and a warning, where there is one that cannot be said here. */
function ruleWords(host: Host, rule: ObservedRule): RouteWords[] | undefined {
  const fields: Readonly<Record<string, unknown>> = rule
  const known = [...Object.keys(ruleKeys), ...Object.values(besideRuleKeys), 'protocol']
  const unknown = Object.keys(fields).filter((key) => !known.includes(key))
  if (unknown.length > 0) {
    host.warn(`host-device: the rule ${String(fields['priority'])} stays with the host alone: ${unknown.join(', ')}`)
    return undefined
  }
  const words = Object.entries(ruleKeys).flatMap(([key, word]) => {
    if (fields[key] === undefined) return []
    const beside = fields[besideRuleKeys[key] ?? '']
    return [word, beside === undefined ? String(fields[key]) : `${fields[key]}/${beside}`]
  })
  return [words]
}

function addRule(netns: string | undefined, words: RouteWords): Operation {
  return { ...ip(netns, [...familyOf(words), 'rule', 'add', ...words], why('add', words)), tolerate: ['exists'] }
}

function deleteRule(netns: string | undefined, words: RouteWords): Operation {
  return { ...ip(netns, [...familyOf(words), 'rule', 'del', ...words], why('remove', words)), tolerate: ['absent'] }
}

function why(verb: string, words: RouteWords): string {
  return `${verb} the rule ${words.join(' ')}`
}

/** The family of a rule is an option of `ip`: its words do not show it. */
function familyOf(words: RouteWords): readonly string[] {
  return words[words.indexOf('from') + 1]?.includes(':') ? ['-6'] : []
}

/** The words with the device's other name, where a link is named. */
function renamed(words: RouteWords, device: string, name: string): RouteWords {
  return words.map((word, index) => {
    const isLink = ['dev', 'iif', 'oif'].includes(words[index - 1] ?? '')
    return isLink && word === device ? name : word
  })
}

function extraWords({ nodad }: DeviceAddress): readonly string[] {
  return nodad ? ['nodad'] : []
}

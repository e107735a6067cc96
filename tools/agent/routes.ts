import { ip } from '../../shared/net/ip.js'
import type { Operation } from '../../shared/plan/operation.js'
import { type Cidr, contains, isIPv6, networkOf, parseAddress, parseCidr } from '../../shared/values/address.js'
import type { ClusterNode } from './cluster.js'
import type { Problem } from './problem.js'
import { spanOf } from './ranges.js'

// The routes to the other nodes' pods: which, and what makes them so. They have a protocol of their own, by which they
// are known, and a metric of their own, so that they stand beside what others made for the same pods and replace
// nothing of it.

/** The protocol of the agent's routes; none of rt_protos in iproute2 has it. */
export const routeProtocol = 117
/** More than the kernel gives to routes of IPv6 that name none (1024): what somebody else made goes first. */
export const routeMetric = 2048

/** A route of the main table. */
export interface SeenRoute {
  readonly family: 4 | 6
  readonly destination: string
  readonly gateway?: string
  readonly link: string
  readonly metric: number
  readonly protocol: number
  /** It leads somewhere, rather than to a refusal. */
  readonly isUnicast: boolean
}

export interface RoutePlan {
  readonly operations: readonly Operation[]
  readonly problems: readonly Problem[]
  readonly wanted: number
  /** Of those wanted, how many stand. */
  readonly present: number
}

/** What makes the routes of the agent those to the pods of the other nodes. */
export function planRoutes(own: ClusterNode, nodes: readonly ClusterNode[], seen: readonly SeenRoute[]): RoutePlan {
  const { accepted, problems } = acceptedRanges(own, nodes)
  const linkTo = directLinks(seen)
  const mine = seen.filter(({ protocol }) => protocol === routeProtocol)
  const standing = new Map(mine.map((route) => [keyOf(route), route]))
  const others = new Map(
    seen.filter((one) => one.protocol !== routeProtocol && one.metric === routeMetric).map((one) => [keyOf(one), one]),
  )
  const wanted = new Map<string, SeenRoute>()
  for (const { node, range } of accepted) {
    const gateway = node.addresses.find((address) => isIPv6(address) === isIPv6(range))
    const link = gateway && linkTo(gateway)
    if (gateway === undefined || link === undefined) problems.push(notOnLink(node, range, gateway))
    else {
      const family = isIPv6(range) ? 6 : 4
      const of = { destination: range, gateway, link, metric: routeMetric, protocol: routeProtocol, isUnicast: true }
      const route: SeenRoute = { family, ...of }
      const other = others.get(keyOf(route))
      if (other) problems.push(taken(node, other))
      else wanted.set(keyOf(route), route)
    }
  }
  const missing = [...wanted].filter(([key, route]) => !isSame(standing.get(key), route)).map(([, route]) => route)
  const left = mine.filter((route) => !wanted.has(keyOf(route)))
  return {
    operations: [...missing.map(replaceRoute), ...left.map(removeRoute)],
    problems,
    wanted: wanted.size,
    present: wanted.size - missing.length,
  }
}

/** What takes all routes of the agent away. */
export function withoutRoutes(seen: readonly SeenRoute[]): readonly Operation[] {
  return seen.filter(({ protocol }) => protocol === routeProtocol).map(removeRoute)
}

/**
 * The link by which packets to an address go without a gateway; undefined where there is one, or no route leads there.
 */
export function directLinks(seen: readonly SeenRoute[]): (address: string) => string | undefined {
  const hosts = new Map<string, SeenRoute>()
  const networks: { readonly route: SeenRoute; readonly cidr: Cidr }[] = []
  for (const route of seen) {
    const cidr = route.protocol === routeProtocol ? undefined : parseCidr(route.destination)
    if (!cidr) continue
    const isHost = cidr.prefix === (route.family === 4 ? 32 : 128)
    const known = hosts.get(route.destination)
    if (!isHost) networks.push({ route, cidr })
    else if (known === undefined || route.metric < known.metric) hosts.set(route.destination, route)
  }
  networks.sort((one, other) => other.cidr.prefix - one.cidr.prefix || one.route.metric - other.route.metric)
  return (text) => {
    const address = parseAddress(text)
    if (!address) return undefined
    const host = hosts.get(`${text}/${address.family === 4 ? 32 : 128}`)
    const route = host ?? networks.find(({ cidr }) => contains(cidr, address))?.route
    return route?.isUnicast && route.gateway === undefined ? route.link : undefined
  }
}

// --- internal

/** The shortest prefix that a node's pods may have: a shorter one takes traffic that is not for pods. */
const shortest = { 4: 8, 6: 16 } as const

interface Accepted {
  readonly node: ClusterNode
  readonly range: string
}

/** The ranges of the other nodes that can be theirs; whoever may write a node's object may write any. */
function acceptedRanges(own: ClusterNode, nodes: readonly ClusterNode[]) {
  const problems: Problem[] = []
  const accepted: (Accepted & { readonly first: bigint; readonly last: bigint })[] = []
  const addresses = [own, ...nodes].flatMap((node) => node.addresses.flatMap((one) => parseAddress(one) ?? []))
  const sorted = { 4: sortedValues(addresses, 4), 6: sortedValues(addresses, 6) }
  const claims = nodes
    .filter(({ name }) => name !== own.name)
    .flatMap((node) => node.podCIDRs.map((range) => ({ node, range, cidr: parseCidr(range) as Cidr })))
  const ownRanges = own.podCIDRs.map((range) => parseCidr(range) as Cidr)
  const isRefused = ({ node, range, cidr }: (typeof claims)[number]): boolean => {
    const { family } = cidr.address
    const { first, last } = spanOf(cidr)
    const why =
      cidr.prefix < shortest[family]
        ? `is shorter than /${shortest[family]}`
        : hasBetween(sorted[family], first.value, last.value)
          ? 'holds the address of a node'
          : ownRanges.some((one) => contains(one, first) || contains(cidr, networkOf(one).address))
            ? 'overlaps the range of this node'
            : undefined
    if (why === undefined) return false
    const text = `node ${node.name}: no route to its pod range ${range}, which ${why}`
    problems.push({ reason: 'RangeRefused', key: `${node.name} ${range}`, text })
    return true
  }
  for (const claim of claims) {
    if (isRefused(claim)) continue
    const { first, last } = spanOf(claim.cidr)
    accepted.push({ node: claim.node, range: claim.range, first: first.value, last: last.value })
  }
  const kept: Accepted[] = []
  for (const family of [4, 6] as const) {
    const ofFamily = accepted.filter(({ range }) => isIPv6(range) === (family === 6))
    ofFamily.sort((one, other) => compare(one.first, other.first) || compare(one.node.name, other.node.name))
    let before: (typeof ofFamily)[number] | undefined
    for (const one of ofFamily) {
      if (before !== undefined && one.first <= before.last) {
        const text = `node ${one.node.name}: no route to its pod range ${one.range}, which node ${before.node.name} has`
        problems.push({ reason: 'RangeRefused', key: `${one.node.name} ${one.range}`, text })
        continue
      }
      before = one
      kept.push(one)
    }
  }
  return { accepted: kept, problems }
}

function compare<T extends bigint | string>(one: T, other: T): number {
  return one < other ? -1 : one > other ? 1 : 0
}

function sortedValues(addresses: readonly { family: 4 | 6; value: bigint }[], family: 4 | 6): readonly bigint[] {
  return addresses
    .filter((one) => one.family === family)
    .map(({ value }) => value)
    .sort(compare)
}

/** Whether one of sorted values lies between two, both included. */
function hasBetween(values: readonly bigint[], first: bigint, last: bigint): boolean {
  let [low, high] = [0, values.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((values[middle] as bigint) < first) low = middle + 1
    else high = middle
  }
  const found = values[low]
  return found !== undefined && found <= last
}

function keyOf({ destination, metric }: SeenRoute): string {
  return `${destination} ${metric}`
}

function isSame(one: SeenRoute | undefined, other: SeenRoute): boolean {
  return one?.gateway === other.gateway && one?.link === other.link && one.isUnicast
}

function replaceRoute(route: SeenRoute): Operation {
  return ip(undefined, ['route', 'replace', ...words(route)], `route ${route.destination} by ${route.gateway}`)
}

function removeRoute(route: SeenRoute): Operation {
  const operation = ip(undefined, ['route', 'del', ...words(route)], `remove the route to ${route.destination}`)
  return { ...operation, tolerate: ['absent'] }
}

function words({ destination, gateway, link, metric, protocol }: SeenRoute): readonly string[] {
  const via = gateway === undefined ? [] : ['via', gateway]
  return [destination, ...via, 'dev', link, 'proto', String(protocol), 'metric', String(metric)]
}

function notOnLink({ name }: ClusterNode, range: string, gateway: string | undefined): Problem {
  const why =
    gateway === undefined
      ? `it has no address of IPv${isIPv6(range) ? 6 : 4}`
      : `${gateway} is not on a link of this node: packets to it take a gateway`
  return { reason: 'NotOnLink', key: `${name} ${range}`, text: `node ${name}: no route to its pods ${range}, ${why}` }
}

function taken({ name }: ClusterNode, { destination, protocol, metric }: SeenRoute): Problem {
  const text = `node ${name}: the route to ${destination} with metric ${metric} is somebody else's (protocol ${protocol})`
  return { reason: 'RouteTaken', key: `${name} ${destination}`, text }
}

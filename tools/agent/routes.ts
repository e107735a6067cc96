import { ip } from '../../shared/net/ip.js'
import type { Operation } from '../../shared/plan/operation.js'
import {
  type Address,
  type Cidr,
  contains,
  isIPv6,
  networkOf,
  parseAddress,
  parseCidr,
} from '../../shared/values/address.js'
import type { ClusterNode } from './cluster.js'
import type { Problem } from './problem.js'
import { type Span, spanOf } from './ranges.js'

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
  readonly inside: Inside
  /** What is made at once of a node that has come or changed since; undefined where only a whole plan can say. */
  readonly soon: (node: ClusterNode) => SoonPlan | undefined
}

export type SoonPlan = Pick<RoutePlan, 'operations' | 'inside'>

/** What is of the cluster, as far as nodes are believed: packets there bear the addresses of pods. */
export interface Inside {
  /** The pod ranges of the other nodes. */
  readonly ranges: readonly string[]
  /** Addresses of nodes that packets reach without a gateway: one that is elsewhere does not know where pods are. */
  readonly addresses: readonly string[]
}

/** What makes the routes of the agent those to the pods of the other nodes. */
export function planRoutes(own: ClusterNode, nodes: readonly ClusterNode[], seen: readonly SeenRoute[]): RoutePlan {
  const linkTo = remembered(directLinks(seen))
  const { accepted, problems, disbelieved, isFree } = acceptedRanges(own, nodes, seen, linkTo)
  const mine = seen.filter(({ protocol }) => protocol === routeProtocol)
  const standing = new Map(mine.map((route) => [keyOf(route), route]))
  const others = new Map(
    seen.filter((one) => one.protocol !== routeProtocol && one.metric === routeMetric).map((one) => [keyOf(one), one]),
  )
  const wayTo = (node: ClusterNode, range: string): SeenRoute | Problem => {
    const given = node.addresses.filter((address) => isIPv6(address) === isIPv6(range))
    const gateways = given.filter((address) => !disbelieved.has(address))
    const gateway = gateways.find((one) => linkTo(one) !== undefined) ?? gateways[0]
    const link = gateway && linkTo(gateway)
    if (gateway === undefined || link === undefined)
      return notOnLink(node, range, { gateway: gateway ?? given[0], disbelieved })
    const family = isIPv6(range) ? 6 : 4
    const of = { destination: range, gateway, link, metric: routeMetric, protocol: routeProtocol, isUnicast: true }
    const route: SeenRoute = { family, ...of }
    const other = others.get(keyOf(route))
    return other ? taken(node, other) : route
  }
  const wanted = new Map<string, SeenRoute>()
  for (const { node, range } of accepted) {
    const way = wayTo(node, range)
    if ('reason' in way) problems.push(way)
    else wanted.set(keyOf(way), way)
  }
  const missing = [...wanted].filter(([key, route]) => !isSame(standing.get(key), route)).map(([, route]) => route)
  const left = mine.filter((route) => !wanted.has(keyOf(route)))
  const near = nodes.flatMap(({ addresses }) => addresses).filter((one) => !disbelieved.has(one) && linkTo(one))
  return {
    operations: [...missing.map(replaceRoute), ...left.map(removeRoute)],
    problems,
    wanted: wanted.size,
    present: wanted.size - missing.length,
    inside: { ranges: accepted.map(({ range }) => range), addresses: [...new Set(near)] },
    soon: (node) => {
      if (!isFree(node)) return undefined
      const ways = node.podCIDRs
        .map((range) => wayTo(node, range))
        .filter((way): way is SeenRoute => !('reason' in way))
      // Somebody may have made one there since the look.
      const isNew = (way: SeenRoute) => !standing.has(keyOf(way))
      return {
        operations: ways
          .filter((way) => !isSame(standing.get(keyOf(way)), way))
          .map((way) => (isNew(way) ? addRoute(way) : replaceRoute(way))),
        inside: { ranges: node.podCIDRs, addresses: node.addresses.filter((one) => linkTo(one)) },
      }
    },
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

/** Whether it is shorter than pods of a node can have. */
function isTooShort({ address: { family }, prefix }: Cidr): boolean {
  return prefix < shortest[family]
}

/**
 * The ranges of the other nodes that can be theirs, and the addresses that cannot. A node itself writes its addresses,
 * the controller manager its ranges: an address in a range of pods takes no range away, unless this node sees that it
 * is no pod's.
 */
function acceptedRanges(
  own: ClusterNode,
  nodes: readonly ClusterNode[],
  seen: readonly SeenRoute[],
  linkTo: ReturnType<typeof directLinks>,
) {
  const problems: Problem[] = []
  const disbelieved = new Set<string>()
  const accepted: Claim[] = []
  const others = nodes.filter(({ name }) => name !== own.name)
  const addresses = others.flatMap(addressesOf)
  const sorted = { 4: sortedOf(addresses, 4), 6: sortedOf(addresses, 6) }
  const ownAddresses = addressesOf(own)
  const defaults = seen.some(({ destination, gateway }) => destination.endsWith('/0') && gateway === undefined)
  let known = defaults ? undefined : linkTo
  const isNear = ({ text }: Claimed) => {
    known ??= directLinks(seen.filter(({ destination }) => !destination.endsWith('/0')))
    return known(text) !== undefined
  }
  const disbelieve = (all: readonly Claimed[], why: string) => {
    for (const { node, text: address } of all) {
      disbelieved.add(address)
      const text = `node ${node.name}: its address ${address} is not believed: ${why}`
      problems.push({ reason: 'AddressRefused', key: `${node.name} ${address}`, text })
    }
  }
  const ownRanges = own.podCIDRs.map((range) => parseCidr(range) as Cidr)
  const whyRefused = ({ cidr, first, last }: Claim): string | undefined => {
    const { family } = cidr.address
    const among = between(sorted[family], { first, last })
    if (ownAddresses.some((one) => contains(cidr, one)) || among.some(isNear)) return 'holds the address of a node'
    const isOwn = ownRanges.some((one) => contains(one, first) || contains(cidr, networkOf(one).address))
    return isOwn ? 'overlaps the range of this node' : undefined
  }
  for (const range of [...reserved[4], ...reserved[6]]) {
    disbelieve(between(sorted[range.cidr.address.family], range), `nobody has an address of ${range.text}`)
  }
  for (const one of ownAddresses) {
    disbelieve(between(sorted[one.family], { first: one, last: one }), 'this node has it')
  }
  for (const range of own.podCIDRs) {
    const { cidr, ...span } = rangeIn(range)
    disbelieve(between(sorted[cidr.address.family], span), `the pod range ${range} of node ${own.name} holds it`)
  }
  for (const claim of others.flatMap(claimsOf)) {
    const { node, range, cidr } = claim
    const why = whyNoPods(claim) ?? whyRefused(claim)
    if (why !== undefined) {
      problems.push(rangeRefused(node, range, `which ${why}`))
      continue
    }
    disbelieve(between(sorted[cidr.address.family], claim), `the pod range ${range} of node ${node.name} holds it`)
    accepted.push(claim)
  }
  const kept = { 4: [] as Claim[], 6: [] as Claim[] }
  for (const family of [4, 6] as const) {
    const ofFamily = accepted.filter(({ cidr }) => cidr.address.family === family)
    for (const group of overlapping(ofFamily)) kept[family].push(...(group.length === 1 ? group : settled(group)))
  }
  /** Of those that share addresses, the ones that have them. */
  function settled(group: readonly Claim[]): readonly Claim[] {
    const standing = new Map(seen.filter((one) => one.protocol === routeProtocol).map((one) => [one.destination, one]))
    const stands = ({ node, range }: Claim) => (node.addresses.includes(standing.get(range)?.gateway ?? '') ? 0 : 1)
    const order = [...group].sort(
      (one, other) =>
        (one.node.created ?? 0) - (other.node.created ?? 0) || stands(one) - stands(other) || byPlace(one, other),
    )
    const winners: Claim[] = []
    for (const one of order) {
      const at = placeIn(winners, one)
      const has = [winners[at - 1], winners[at]].find((other) => other !== undefined && isOverlap(one, other))
      if (has === undefined) winners.splice(at, 0, one)
      else problems.push(rangeRefused(one.node, one.range, `which node ${has.node.name} has`))
    }
    return winners
  }
  /** What nodes have that were free: one that comes behind them takes nothing of theirs. */
  const since: { readonly claims: Claim[]; readonly addresses: Claimed[] } = { claims: [], addresses: [] }
  /** Whether a node that is not among them takes nothing of anybody, as far as is known. */
  const isFree = (node: ClusterNode): boolean => {
    const claims = claimsOf(node)
    const isOfAnother = (one: Claim | Claimed) => one.node.name !== node.name
    const isUnclaimed = (claim: Claim) =>
      !since.claims.some((one) => isOfAnother(one) && isSameFamily(claim, one) && isOverlap(claim, one)) &&
      !since.addresses.some((one) => isOfAnother(one) && contains(claim.cidr, one))
    const isTaken = (address: Address, all: readonly Claim[]) =>
      ownRanges.some((one) => contains(one, address)) || all.some(({ cidr }) => contains(cidr, address))
    const isBelieved = (one: Claimed) => {
      const near = kept[one.family]
      const at = placeIn(near, { first: one, last: one })
      const around = [near[at - 1], near[at]].filter((other) => other !== undefined)
      const isReserved = reserved[one.family].some(({ cidr }) => contains(cidr, one))
      return !isReserved && !ownAddresses.some(({ text }) => text === one.text) && !isTaken(one, [...around, ...claims])
    }
    const isClear = (claim: Claim) => {
      const of = kept[claim.cidr.address.family]
      const at = placeIn(of, claim)
      const isAlone = [of[at - 1], of[at]].every(
        (other) => other === undefined || other.node.name === node.name || !isOverlap(claim, other),
      )
      const isEmpty = between(sorted[claim.cidr.address.family], claim).length === 0
      const isAllowed = whyNoPods(claim) === undefined && whyRefused(claim) === undefined
      return isAlone && isEmpty && isAllowed && isUnclaimed(claim)
    }
    const addresses = addressesOf(node)
    if (node.name === own.name || !addresses.every(isBelieved) || !claims.every(isClear)) return false
    since.claims.push(...claims)
    since.addresses.push(...addresses)
    return true
  }
  return { accepted: [...kept[4], ...kept[6]], problems, disbelieved, isFree }
}

/** A range, and the node that says it has it. */
interface Claim extends Span {
  readonly node: ClusterNode
  readonly range: string
  readonly cidr: Cidr
}

function claimsOf(node: ClusterNode): readonly Claim[] {
  return node.podCIDRs.map((range) => ({ node, range, ...rangeIn(range) }))
}

/** Why a range is not one of pods, whoever has it: words that follow "which"; undefined where it may be. */
function whyNoPods({ cidr, ...span }: Read): string | undefined {
  if (isTooShort(cidr)) return `is shorter than /${shortest[cidr.address.family]}`
  const one = reserved[cidr.address.family].find((other) => isOverlap(span, other))
  return one && `is not for pods: nobody has an address of ${one.text}`
}

/** Addresses that no node and no pod has, as they mean something else: this host, its link, all who listen. */
const reserved = {
  4: ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '255.255.255.255/32'].map(reservedRange),
  6: ['::/16', 'fe80::/10', 'ff00::/8'].map(reservedRange),
}

function reservedRange(text: string) {
  const cidr = parseCidr(text) as Cidr
  return { text, cidr, ...spanOf(cidr) }
}

/** The ranges of this node that can be its pods', and what is wrong with the others. */
export function ownRangesOf(own: ClusterNode): { readonly own: ClusterNode; readonly problems: readonly Problem[] } {
  const addresses = addressesOf(own)
  const problems: Problem[] = []
  const podCIDRs = own.podCIDRs.filter((range) => {
    const found = rangeIn(range)
    const held = addresses.find((one) => contains(found.cidr, one))
    const why = whyNoPods(found) ?? (held && `holds its address ${held.text}`)
    if (why !== undefined) {
      const text = `the pod range ${range} of this node ${why}: its pods get no addresses of it`
      problems.push({ reason: 'RangeRefused', key: `${own.name} ${range}`, text })
    }
    return why === undefined
  })
  return problems.length === 0 ? { own, problems } : { own: { ...own, podCIDRs }, problems }
}

function rangeRefused({ name }: ClusterNode, range: string, why: string): Problem {
  return {
    reason: 'RangeRefused',
    key: `${name} ${range}`,
    text: `node ${name}: no route to its pod range ${range}, ${why}`,
  }
}

function byPlace(one: Claim, other: Claim): number {
  return compare(one.first.value, other.first.value) || compare(one.node.name, other.node.name)
}

function isSameFamily(one: Claim, other: Claim): boolean {
  return one.cidr.address.family === other.cidr.address.family
}

function isOverlap(one: Span, other: Span): boolean {
  return one.first.value <= other.last.value && other.first.value <= one.last.value
}

/** Ranges of one family in groups, in order, of which none shares an address with another group. */
function overlapping(claims: Claim[]): readonly (readonly Claim[])[] {
  const groups: Claim[][] = []
  let last = -1n
  for (const claim of claims.sort(byPlace)) {
    if (claim.first.value > last) groups.push([claim])
    else groups.at(-1)?.push(claim)
    if (claim.last.value > last) last = claim.last.value
  }
  return groups
}

/** How many of sorted ranges begin before another. */
function placeIn(sorted: readonly Span[], { first }: Span): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as Span).first.value < first.value) low = middle + 1
    else high = middle
  }
  return low
}

/** Asks once for each address. */
function remembered(linkTo: ReturnType<typeof directLinks>): ReturnType<typeof directLinks> {
  const known = new Map<string, string | undefined>()
  return (address) => {
    if (!known.has(address)) known.set(address, linkTo(address))
    return known.get(address)
  }
}

type Read = Span & { readonly cidr: Cidr }

/** A node's range, which is one (prunedNode). Thousands of nodes have the same at each look. */
function rangeIn(text: string): Read {
  const known = read.get(text)
  if (known) return known
  const cidr = parseCidr(text) as Cidr
  const found = { cidr, ...spanOf(cidr) }
  if (read.size >= mostRead) read.clear()
  read.set(text, found)
  return found
}

const read = new Map<string, Read>()
/** Ranges of 10,000 nodes. */
const mostRead = 20_000

function compare<T extends bigint | string>(one: T, other: T): number {
  return one < other ? -1 : one > other ? 1 : 0
}

/** An address, and the node that says it has it. */
type Claimed = Address & { readonly node: ClusterNode; readonly text: string }

function addressesOf(node: ClusterNode): readonly Claimed[] {
  return node.addresses.flatMap((text) => {
    const address = parseAddress(text)
    return address ? [{ node, text, ...address }] : []
  })
}

function sortedOf(addresses: readonly Claimed[], family: 4 | 6): readonly Claimed[] {
  return addresses.filter((one) => one.family === family).sort((one, other) => compare(one.value, other.value))
}

/** Those of sorted addresses that lie in a span. */
function between(addresses: readonly Claimed[], { first, last }: Span): readonly Claimed[] {
  let [low, high] = [0, addresses.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((addresses[middle] as Claimed).value < first.value) low = middle + 1
    else high = middle
  }
  let end = low
  while (end < addresses.length && (addresses[end] as Claimed).value <= last.value) end++
  return addresses.slice(low, end)
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

/** Refused where any route has the same destination and metric. */
function addRoute(route: SeenRoute): Operation {
  return ip(undefined, ['route', 'add', ...words(route)], `route ${route.destination} by ${route.gateway}`)
}

function removeRoute(route: SeenRoute): Operation {
  const operation = ip(undefined, ['route', 'del', ...words(route)], `remove the route to ${route.destination}`)
  return { ...operation, tolerate: ['absent'] }
}

function words({ destination, gateway, link, metric, protocol }: SeenRoute): readonly string[] {
  const via = gateway === undefined ? [] : ['via', gateway]
  return [destination, ...via, 'dev', link, 'proto', String(protocol), 'metric', String(metric)]
}

function notOnLink(
  { name }: ClusterNode,
  range: string,
  { gateway, disbelieved }: { gateway: string | undefined; disbelieved: ReadonlySet<string> },
): Problem {
  const why =
    gateway === undefined
      ? `it has no address of IPv${isIPv6(range) ? 6 : 4}`
      : disbelieved.has(gateway)
        ? `its address ${gateway} is not believed`
        : `${gateway} is not on a link of this node: packets to it take a gateway`
  return { reason: 'NotOnLink', key: `${name} ${range}`, text: `node ${name}: no route to its pods ${range}, ${why}` }
}

function taken({ name }: ClusterNode, { destination, protocol, metric }: SeenRoute): Problem {
  const text = `node ${name}: the route to ${destination} with metric ${metric} is somebody else's (protocol ${protocol})`
  return { reason: 'RouteTaken', key: `${name} ${destination}`, text }
}

import type { Routing } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import type { NumberedRoute } from '../values/observe.schema.js'
import { type At, ip } from './ip.js'

/** The words of a route behind `ip route VERB`, without its table: a value that can be kept and put into any table. */
export type RouteWords = readonly string[]

/** Numbers that `ip -N` prints and that mean something here (linux/rtnetlink.h). */
export const mainTable = 254
export const localTable = 255
/** Tables the kernel uses itself: none (0), default, main and local. */
export const reservedTables: readonly number[] = [0, 253, mainTable, localTable]
const unicast = '1'
const byKernel = '2'
const medium = 'medium'

/** True for a unicast route that leads out of this one link. */
export function leavesBy(route: NumberedRoute, link: string): boolean {
  if (route.type !== undefined && route.type !== unicast) return false
  const { nexthops = [] } = route
  return nexthops.length > 0 ? nexthops.every(({ dev }) => dev === link) : route.dev === link
}

/** True for a route the kernel makes itself from an address, and makes again with it. */
export function isConnected(route: NumberedRoute): boolean {
  return route.protocol === byKernel && !hasGateway(route)
}

/** True for a route over another machine. */
export function hasGateway({ gateway, via, nexthops }: NumberedRoute): boolean {
  return gateway !== undefined || via !== undefined || nexthops !== undefined
}

/** True for a route of link scope, which only IPv4 knows. */
export function isLinkScoped({ family, scope }: NumberedRoute): boolean {
  return family === 4 && scope === '253'
}

/** The table a route is in; `ip` names it for IPv4 and IPv6 alike when all tables are asked for. */
export function tableOf({ table }: NumberedRoute): number {
  return table === undefined ? mainTable : Number(table)
}

/** A route with every attribute it has, next hops last as `ip` wants them. */
export function wordsOf(route: NumberedRoute): RouteWords {
  const {
    family,
    gateway,
    via,
    dev,
    protocol,
    scope,
    prefsrc,
    metric,
    flags,
    metrics = [],
    pref,
    nexthops = [],
  } = route
  const some = (word: string, value: string | number | undefined) => (value === undefined ? [] : [word, String(value)])
  return [
    destinationOf(route),
    ...some('via', gateway),
    ...(via ? ['via', via.family, via.host] : []),
    ...some('dev', dev),
    ...some('proto', protocol),
    ...(family === 4 ? some('scope', scope) : []),
    ...some('src', prefsrc),
    ...some('metric', metric),
    ...metrics.flatMap((one) => Object.entries(one).flatMap(([key, value]) => [key, String(value)])),
    ...(pref === medium ? [] : some('pref', pref)),
    ...(flags.includes('onlink') ? ['onlink'] : []),
    ...nexthops.flatMap((hop) => [
      'nexthop',
      ...some('via', hop.gateway),
      'dev',
      hop.dev,
      ...some('weight', hop.weight),
    ]),
  ]
}

/** The destination as a prefix, also where `ip` prints "default". */
export function destinationOf({ family, dst }: NumberedRoute): string {
  if (dst !== 'default') return dst
  return family === 6 ? '::/0' : '0.0.0.0/0'
}

/** Puts a route into a table, behind those that are there to the same destination; it is there already: fine. */
export function putRoute({ netns, words, table = mainTable }: Placed): Operation {
  const why = `put the route to ${words[0]} into table ${table}`
  return {
    ...ip(netns, ['route', 'append', ...inTable(words, table)], why),
    tolerate: ['exists'],
    undo: [
      ip(netns, ['route', 'del', ...inTable(words, table)], `remove the route to ${words[0]} from table ${table}`),
    ],
  }
}

/** Takes a route out of a table; a failure later puts it back. */
export function takeRoute({ netns, words, table = mainTable }: Placed): Operation {
  const why = `take the route to ${words[0]} out of table ${table}`
  return {
    ...ip(netns, ['route', 'del', ...inTable(words, table)], why),
    tolerate: ['absent'],
    undo: [putRoute({ netns, words, table })],
  }
}

/**
 * Packets from one address are routed by a table of its own. `priority` is the kernel's choice, as the official suite
 * leaves it.
 */
export function addSourceRule(netns: string, { from, table }: SourceRule): Operation {
  return {
    ...ip(netns, ruleWords('add', { from, table }), `route what is from ${from} by table ${table}`),
    undo: [deleteSourceRule(netns, { from, table })],
  }
}

/** Removes one such rule. */
export function deleteSourceRule(netns: string, { from, table }: SourceRule): Operation {
  const why = `no longer route what is from ${from} by table ${table}`
  return { ...ip(netns, ruleWords('del', { from, table }), why), tolerate: ['absent'] }
}

export interface SourceRule {
  /** An address without a prefix length. */
  readonly from: string
  readonly table: number
}

/** The tables that a rule points to or a route is in. */
export function tablesInUse({ rules, routes }: Routing): ReadonlySet<number> {
  return new Set([...rules.map(({ table }) => Number(table ?? 0)), ...routes.map(tableOf)])
}

/** The lowest ids from `first` on that none of `used` is, nor the kernel's own. */
export function freeTables(
  used: ReadonlySet<number>,
  { first, count }: { first: number; count: number },
): readonly number[] {
  const free: number[] = []
  for (let id = first; free.length < count; id++) if (!used.has(id) && !reservedTables.includes(id)) free.push(id)
  return free
}

// --- internal

interface Placed {
  readonly netns: At['netns']
  readonly words: RouteWords
  readonly table?: number
}

/** The table goes before next hops, which end the command. */
function inTable(words: RouteWords, table: number): readonly string[] {
  const [destination = '', ...rest] = words
  return [destination, 'table', String(table), ...rest]
}

/** The family of a rule is an option of `ip`: its words do not show it. */
function ruleWords(verb: string, { from, table }: SourceRule): readonly string[] {
  return [...(from.includes(':') ? ['-6'] : []), 'rule', verb, 'from', from, 'table', String(table)]
}

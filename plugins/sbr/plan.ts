import {
  addSourceRule,
  deleteSourceRule,
  destinationOf,
  freeTables,
  hasGateway,
  isLinkScoped,
  leavesBy,
  mainTable,
  putRoute,
  type RouteWords,
  type SourceRule,
  tableOf,
  tablesInUse,
  takeRoute,
  wordsOf,
} from '../../shared/net/routing.js'
import type { Routing } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import {
  contains,
  formatCidr,
  isIPv6,
  networkOf,
  parseAddress,
  parseCidr,
  serves,
} from '../../shared/values/address.js'
import type { NumberedRoute } from '../../shared/values/observe.schema.js'
import type { IpConfiguration } from '../../shared/values/result.js'
import type { SbrConfiguration } from './sbr.schema.js'

/** A route and the table it is put into. */
export interface Put {
  readonly words: RouteWords
  readonly table: number
}

/** What an attachment's steering consists of: all that DEL needs to undo it, and CHECK to find it again. */
export interface Steering {
  readonly rules: readonly SourceRule[]
  readonly put: readonly Put[]
  /** Routes that left the main table, those over a gateway first. */
  readonly taken: readonly RouteWords[]
}

/** What the addresses of one interface need, given how its namespace routes now. */
export function planSteering(
  routing: Routing,
  { ifName, ips, config }: { ifName: string; ips: readonly IpConfiguration[]; config: SbrConfiguration },
): Steering {
  const table = config.table || undefined
  if (table !== undefined) {
    return { rules: ips.map(({ address }) => ({ from: bare(address), table })), put: [], taken: [] }
  }
  const tables = freeTables(tablesInUse(routing), { first: firstTable, count: ips.length })
  const own = routing.routes.filter((route) => tableOf(route) === mainTable && leavesBy(route, ifName))
  const shares = ips.map((ip, index) => shareOf(ip, own, { ifName, table: tables[index] as number, config }))
  const hints = config.addSourceHints ? ips.flatMap((ip) => sourceHint(ip, ifName)) : []
  const stays = (route: NumberedRoute) =>
    isLinkLocal(route) || (config.addSourceHints && isLinkScoped(route) && !hints.some(isTo(destinationOf(route))))
  const moved = own.filter((route) => shares.some(({ copied }) => copied.includes(route)) && !stays(route))
  return {
    rules: shares.map(({ rule }) => rule),
    put: [...shares.flatMap(({ put }) => put), ...hints],
    taken: [...moved.filter(hasGateway), ...moved.filter((route) => !hasGateway(route))].map(wordsOf),
  }
}

/** The plan, so ordered that each route finds the way to its gateway, in its table or still in main. */
export function steer(netns: string, { rules, put, taken }: Steering): readonly Operation[] {
  const isHint = ({ table }: Put) => table === mainTable
  return [
    ...rules.map((rule) => addSourceRule(netns, rule)),
    ...put.filter((one) => !isHint(one)).map((one) => putRoute({ netns, ...one })),
    ...taken.map((words) => takeRoute({ netns, words })),
    ...put.filter(isHint).map((one) => putRoute({ netns, ...one })),
  ]
}

export function unsteerRules(netns: string, { rules }: Pick<Steering, 'rules'>): readonly Operation[] {
  return rules.map((rule) => deleteSourceRule(netns, rule))
}

/**
 * The routes as they were before: those without a gateway first, for the others need them. Without the interface none.
 */
export function unsteerRoutes(netns: string, { put, taken }: Steering): readonly Operation[] {
  return [
    ...put.toReversed().map((one) => takeRoute({ netns, ...one })),
    ...taken.toReversed().map((words) => ({ ...putRoute({ netns, words }), tolerate: ['exists', 'absent'] as const })),
  ]
}

/** An address without its prefix length. */
export function bare(address: string): string {
  return address.split('/')[0] as string
}

// --- internal

/** The official plugin's: tables below are left to people. */
const firstTable = 100

interface Share {
  readonly rule: SourceRule
  readonly put: readonly Put[]
  readonly copied: readonly NumberedRoute[]
}

/** One address's rule and table: its default route, and the interface's routes that belong to its subnet or to none. */
function shareOf(
  ip: IpConfiguration,
  own: readonly NumberedRoute[],
  { ifName, table, config }: { ifName: string; table: number; config: SbrConfiguration },
): Share {
  const given = (config.gateways ?? []).find((one) => isOfFamily(one, ip.address)) ?? ip.gateway
  const gateway = serves(given, ip.address) ? given : undefined
  const copied = own.filter((route) => belongsTo(route, ip))
  const kept = copied.filter((route) => gateway === undefined || !isDefault(route))
  const put = kept.map((route) => ({ words: wordsOf(route), table }))
  // Connected routes first: the way to the gateways of the others.
  const ordered = [
    ...put.filter(({ words }) => !words.includes('via')),
    ...put.filter(({ words }) => words.includes('via')),
  ]
  const viaGateway = gateway === undefined ? [] : [{ words: defaultRoute(ip.address, gateway, ifName), table }]
  return { rule: { from: bare(ip.address), table }, put: [...ordered, ...viaGateway], copied }
}

function defaultRoute(address: string, gateway: string, ifName: string): RouteWords {
  const [cidr, parsed] = [parseCidr(address), parseAddress(gateway)]
  const onlink = cidr && parsed && contains(cidr, parsed) ? [] : ['onlink']
  return [isIPv6(address) ? '::/0' : '0.0.0.0/0', 'via', gateway, 'dev', ifName, ...onlink]
}

/** A route belongs to the address whose subnet its source or gateway is of; one without either to all of the family. */
function belongsTo({ family, prefsrc, gateway, nexthops = [] }: NumberedRoute, ip: IpConfiguration): boolean {
  if ((family === 6) !== isIPv6(ip.address)) return false
  const gateways = [gateway, ...nexthops.map((hop) => hop.gateway)]
  const named = [prefsrc, ...gateways].filter((one) => one !== undefined)
  return named.length === 0 || named.some((one) => one === ip.gateway || isIn(one, ip.address))
}

/** Link-local addresses have no rule: the route to them stays in the main table. */
function isLinkLocal(route: NumberedRoute): boolean {
  return destinationOf(route).startsWith('fe80:')
}

function isTo(destination: string): (put: Put) => boolean {
  return ({ words }) => words[0] === destination
}

function sourceHint({ address }: IpConfiguration, ifName: string): readonly Put[] {
  const cidr = parseCidr(address)
  if (!cidr || cidr.prefix === (cidr.address.family === 4 ? 32 : 128)) return []
  const scope = cidr.address.family === 4 ? ['scope', 'link'] : []
  const words = [formatCidr(networkOf(cidr)), 'dev', ifName, ...scope, 'src', bare(address)]
  return [{ words, table: mainTable }]
}

function isIn(address: string, subnet: string): boolean {
  const [cidr, parsed] = [parseCidr(subnet), parseAddress(address)]
  return cidr !== undefined && parsed !== undefined && contains(cidr, parsed)
}

function isDefault(route: NumberedRoute): boolean {
  return route.dst === 'default'
}

function isOfFamily(address: string, other: string): boolean {
  return isIPv6(address) === isIPv6(other)
}

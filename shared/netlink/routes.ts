import type { Unknown } from '../plan/netlink.js'
import type { Routing } from '../plan/observer.js'
import { formatAddress } from '../values/address.js'
import type { NumberedRoute, ObservedRule } from '../values/observe.schema.js'
import { addressFrom, families } from './address.js'
import { RTA } from './encode.js'
import { type Ask, linkNames } from './look.js'
import { attributesOf, flag, textOf } from './message.js'

/**
 * The rules and the routes of every table, in the form of `ip -N -j -d rule show` and `route show table all`, as far as
 * podwire reads that (observe.schema.ts). Unknown where there is something that only `ip` reads.
 */
export function routingOf(ask: Ask, asked: readonly (4 | 6)[]): Routing | Unknown {
  const names = linkNames(ask)
  if (names === 'unknown') return names
  const rules = asked.flatMap((family) => dump(ask, RTM_GETRULE, family)?.map(ruleOf) ?? 'unknown')
  const routes = asked.flatMap(
    (family) => dump(ask, RTM_GETROUTE, family)?.map((part) => routeOf(part, names)) ?? 'unknown',
  )
  if (rules.includes('unknown') || routes.includes('unknown')) return 'unknown'
  return { rules: rules as ObservedRule[], routes: routes as NumberedRoute[] }
}

// --- internal

const RTM_GETROUTE = 26
const RTM_GETRULE = 34
/** struct rtmsg, and struct fib_rule_hdr, which has the same length. */
const headerBytes = 12
const FR_ACT_TO_TBL = 1
const RTNH_F_ONLINK = 4
const nextHopBytes = 8

function dump(ask: Ask, type: number, family: 4 | 6): readonly Buffer[] | undefined {
  const header = Buffer.alloc(headerBytes)
  header[0] = families[family]
  const answer = ask({ type, flags: flag.dump, header, attributes: [] })
  // Where a family is not there, what is asked of none in particular may answer.
  return answer?.error === 0 ? answer.parts.filter((part) => part[0] === families[family]) : undefined
}

function routeOf(part: Buffer, names: ReadonlyMap<number, string>): NumberedRoute | Unknown {
  const [number, length = 0, , , shortTable, protocol, scope, type] = part
  const attributes = attributesOf(part, headerBytes)
  if ([...attributes.keys()].some((one) => !readable.includes(one))) return 'unknown'
  const family = number === families[4] ? 4 : 6
  const u32 = (of: number) => attributes.get(of)?.readUInt32LE()
  const hops = attributes.get(RTA.multipath)
  const [dev, nexthops] = [nameIn(names, u32(RTA.outgoing)), hops && nextHops(hops, names)]
  const metrics = attributes.get(RTA.metrics)
  const shown = metrics && metricsOf(metrics)
  if (dev === 'unknown' || nexthops === 'unknown' || shown === 'unknown') return 'unknown'
  const [gateway, prefsrc] = [RTA.gateway, RTA.preferredSource].map((one) => textOfAddress(attributes.get(one)))
  const [via, priority, pref] = [attributes.get(RTA.via), u32(RTA.priority), attributes.get(RTA.preference)?.[0]]
  return {
    family,
    type: String(type),
    dst: destinationOf(attributes.get(RTA.destination), length, family),
    ...(gateway === undefined ? {} : { gateway }),
    ...(via === undefined ? {} : { via: viaOf(via) }),
    ...(dev === undefined ? {} : { dev }),
    table: String(u32(RTA.table) ?? shortTable),
    protocol: String(protocol),
    scope: String(scope),
    ...(prefsrc === undefined ? {} : { prefsrc }),
    ...(priority === undefined ? {} : { metric: priority }),
    flags: (part.readUInt32LE(8) & RTNH_F_ONLINK) === 0 ? [] : ['onlink'],
    ...(shown === undefined ? {} : { metrics: [shown] }),
    ...(pref === undefined ? {} : { pref: preferences[pref] ?? String(pref) }),
    ...(nexthops === undefined ? {} : { nexthops }),
  }
}

/** What `ip` shows beside these is read by nobody: caches and times of expiry. */
const readable: readonly number[] = [...Object.values(RTA), 12, 23]

const preferences: Readonly<Record<number, string>> = { 0: 'medium', 1: 'high', 3: 'low' }

function destinationOf(bytes: Buffer | undefined, length: number, family: 4 | 6): string {
  if (bytes === undefined) return length === 0 ? 'default' : `0/${length}`
  const address = formatAddress(addressFrom(bytes))
  return length === (family === 4 ? 32 : 128) ? address : `${address}/${length}`
}

function textOfAddress(bytes: Buffer | undefined): string | undefined {
  return bytes && formatAddress(addressFrom(bytes))
}

/** struct rtvia: a family and an address of it. */
function viaOf(bytes: Buffer): { family: string; host: string } {
  const family = bytes.readUInt16LE() === families[6] ? 'inet6' : 'inet'
  return { family, host: formatAddress(addressFrom(bytes.subarray(2))) }
}

/** Undefined for no number. */
function nameIn(names: ReadonlyMap<number, string>, index: number | undefined): string | undefined | Unknown {
  return index === undefined ? undefined : (names.get(index) ?? 'unknown')
}

/** A list of struct rtnexthop, each with attributes behind it. */
function nextHops(bytes: Buffer, names: ReadonlyMap<number, string>): NumberedRoute['nexthops'] | Unknown {
  const found: NonNullable<NumberedRoute['nexthops']> = []
  for (let at = 0; at + nextHopBytes <= bytes.length; ) {
    const size = bytes.readUInt16LE(at)
    if (size < nextHopBytes) return 'unknown'
    const attributes = attributesOf(bytes.subarray(at, at + size), nextHopBytes)
    const dev = nameIn(names, bytes.readInt32LE(at + 4))
    if (dev === undefined || dev === 'unknown' || attributes.has(RTA.via)) return 'unknown'
    const gateway = textOfAddress(attributes.get(RTA.gateway))
    found.push({ ...(gateway === undefined ? {} : { gateway }), dev, weight: (bytes[at + 3] ?? 0) + 1 })
    at += (size + 3) & ~3
  }
  return found
}

/** Metrics whose value is a plain number, by RTAX_. */
const metricNames: Readonly<Record<number, string>> = {
  2: 'mtu',
  3: 'window',
  6: 'ssthresh',
  7: 'cwnd',
  8: 'advmss',
  9: 'reordering',
  10: 'hoplimit',
  11: 'initcwnd',
  14: 'initrwnd',
  15: 'quickack',
}

function metricsOf(bytes: Buffer): Record<string, number> | Unknown {
  const shown: Record<string, number> = {}
  for (const [type, value] of attributesOf(bytes, 0)) {
    const name = metricNames[type]
    if (name === undefined) return 'unknown'
    shown[name] = value.readUInt32LE()
  }
  return shown
}

/** Types of a rule's attributes, as in linux/fib_rules.h. */
const FRA = {
  destination: 1,
  source: 2,
  incoming: 3,
  priority: 6,
  mark: 10,
  suppressedLength: 14,
  table: 15,
  mask: 16,
  outgoing: 17,
  padding: 18,
  protocol: 21,
} as const

/** The order is that of `ip`. */
function ruleOf(part: Buffer): ObservedRule | Unknown {
  const [, destinationLength = 0, sourceLength = 0, tos, shortTable, , , action] = part
  const attributes = attributesOf(part, headerBytes)
  const isKnown = [...attributes.keys()].every((one) => (Object.values(FRA) as number[]).includes(one))
  const isInverted = (part.readUInt32LE(8) & FIB_RULE_INVERT) !== 0
  if (!isKnown || isInverted || tos !== 0 || action !== FR_ACT_TO_TBL) return 'unknown'
  const u32 = (of: number) => attributes.get(of)?.readUInt32LE()
  const [mark, mask, suppressed] = [u32(FRA.mark), u32(FRA.mask), attributes.get(FRA.suppressedLength)?.readInt32LE()]
  const isMarked = mark !== undefined && (mark !== 0 || mask !== 0)
  const [iif, oif] = [FRA.incoming, FRA.outgoing].map((one) => textOf(attributes.get(one)))
  const table = u32(FRA.table) ?? shortTable
  return {
    priority: u32(FRA.priority) ?? 0,
    ...(prefixOf('src', attributes.get(FRA.source), sourceLength) ?? { src: 'all' }),
    ...prefixOf('dst', attributes.get(FRA.destination), destinationLength),
    ...(isMarked ? { fwmark: `0x${mark.toString(16)}` } : {}),
    ...(isMarked && mask !== undefined && mask !== 0xffffffff ? { fwmask: `0x${mask.toString(16)}` } : {}),
    ...(iif ? { iif } : {}),
    ...(oif ? { oif } : {}),
    ...(table ? { table: String(table) } : {}),
    ...(suppressed === undefined || suppressed < 0 ? {} : { suppress_prefixlen: suppressed }),
    protocol: String(attributes.get(FRA.protocol)?.[0] ?? 0),
  }
}

const FIB_RULE_INVERT = 2

function prefixOf(key: 'src' | 'dst', bytes: Buffer | undefined, length: number) {
  if (bytes === undefined) return length === 0 ? undefined : { [key]: '0', [`${key}len`]: length }
  const isWhole = length === bytes.length * 8
  return { [key]: formatAddress(addressFrom(bytes)), ...(isWhole ? {} : { [`${key}len`]: length }) }
}

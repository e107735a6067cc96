import {
  type Address,
  type Cidr,
  compareAddress,
  contains,
  formatAddress,
  formatCidr,
  lastOf,
  networkOf,
  offset,
  parseAddress,
  parseCidr,
  widthOf,
} from '../../shared/values/address.js'
import type { Problem } from '../../shared/values/errors.js'
import { notParsed } from '../../shared/values/official.js'

/** A range as the configuration writes it; an empty text counts as absent, except for the subnet. */
export interface RangeText {
  readonly subnet?: string | undefined
  readonly rangeStart?: string | undefined
  readonly rangeEnd?: string | undefined
  readonly gateway?: string | undefined
}

/** A range set with the JSON path of the set and of each range, for messages. */
export interface RangeSetText {
  readonly path: string
  readonly ranges: readonly { readonly path: string; readonly text: RangeText }[]
}

/** The addresses from `start` to `end`, both included, in one subnet; `gateway` is never handed out. */
export interface Range {
  readonly subnet: Cidr
  readonly start: Address
  readonly end: Address
  readonly gateway: Address
}

/** Ranges of one family that together yield one address per attachment. */
export type RangeSet = readonly Range[]

/** Where ranges may stand, in the order in which they are used: all places are concatenated, none overrides. */
export interface RangePlaces {
  readonly runtime?: readonly (readonly RangeText[])[] | undefined
  readonly single?: RangeText | undefined
  readonly configured?: readonly (readonly RangeText[])[] | undefined
}

/** The range sets of runtimeConfig.ipRanges, then ipam.subnet and its companions, then ipam.ranges. */
export function collectRangeSets({ runtime = [], single, configured = [] }: RangePlaces): readonly RangeSetText[] {
  const numbered = (root: string, sets: readonly (readonly RangeText[])[]): RangeSetText[] =>
    sets.map((ranges, set) => ({
      path: `${root}[${set}]`,
      ranges: ranges.map((text, range) => ({ path: `${root}[${set}][${range}]`, text })),
    }))
  const legacy = single?.subnet === undefined ? [] : [{ path: 'ipam', ranges: [{ path: 'ipam', text: single }] }]
  return [...numbered('runtimeConfig.ipRanges', runtime), ...legacy, ...numbered('ipam.ranges', configured)]
}

/** Completes and checks range sets; with problems the sets are incomplete and must not be used. */
export function readRangeSets(texts: readonly RangeSetText[]): { sets: RangeSet[]; problems: Problem[] } {
  const problems: Problem[] = []
  if (texts.length === 0) {
    problems.push({
      path: 'ipam.ranges',
      expected: 'at least one range set',
      fix: '[[{"subnet": "10.1.2.0/24"}]]',
      official: 'no IP ranges specified',
    })
  }
  const sets = texts.map(({ path, ranges }, index) => {
    const own: Problem[] = []
    if (ranges.length === 0) {
      own.push({ path, value: [], expected: 'at least one range with a "subnet"', official: 'empty range set' })
    }
    const read = ranges.map((range) => ({ path: range.path, range: readRange(range.text, range.path, own) }))
    const complete = read.filter((one): one is Located => one.range !== undefined)
    checkWithinSet(complete, own)
    problems.push(...own.map((problem) => inSet(problem, index)))
    return { path, ranges: complete.map(({ range }) => range) }
  })
  sets.forEach(({ path, ranges }, index) => {
    const earlier = sets.slice(0, index).findIndex((one) => overlap(one.ranges, ranges))
    const other = sets[earlier]
    if (other === undefined) return
    problems.push({
      path,
      value: describeSet(ranges),
      expected: `no address of ${other.path} (${describeSet(other.ranges)})`,
      official: `range set ${earlier} overlaps with ${index}`,
    })
  })
  return { sets: sets.map(({ ranges }) => ranges), problems }
}

/** The range of the set that holds the address, if any. */
export function rangeHolding(set: RangeSet, address: Address): Range | undefined {
  return set.find((range) => holds(range, address))
}

/** `start-end[,start-end...]`, as messages name a set. */
export function describeSet(set: RangeSet): string {
  return set.map(describe).join(',')
}

// --- internal

interface Located {
  readonly path: string
  readonly range: Range
}

/** The official plugin says in which set; what its decoder refuses, it refuses before it looks at sets. */
function inSet(problem: Problem, index: number): Problem {
  const { official } = problem
  if (official === undefined || official.startsWith('invalid ')) return problem
  return { ...problem, official: `invalid range set ${index}: ${official}` }
}

function describe({ start, end }: Range): string {
  return `${formatAddress(start)}-${formatAddress(end)}`
}

function holds({ start, end }: Range, address: Address): boolean {
  const sameFamily = start.family === address.family
  return sameFamily && compareAddress(start, address) <= 0 && compareAddress(address, end) <= 0
}

function readRange(text: RangeText, path: string, problems: Problem[]): Range | undefined {
  const before = problems.length
  const subnet = readSubnet(text.subnet, `${path}.subnet`, problems)
  const given = {
    start: readOptional(text.rangeStart, `${path}.rangeStart`, problems),
    end: readOptional(text.rangeEnd, `${path}.rangeEnd`, problems),
    gateway: readOptional(text.gateway, `${path}.gateway`, problems),
  }
  if (subnet === undefined) return undefined
  const network = formatCidr(subnet)
  for (const [key, address] of [
    ['rangeStart', given.start],
    ['rangeEnd', given.end],
    ['gateway', given.gateway],
  ] as const) {
    if (address === undefined || contains(subnet, address)) continue
    const value = formatAddress(address)
    const named = { rangeStart: 'RangeStart', rangeEnd: 'RangeEnd', gateway: 'gateway' }[key]
    const official = `${named} ${value} not in network ${network}`
    problems.push({ path: `${path}.${key}`, value, expected: `an address in ${network}`, official })
  }
  const { start, end } = withDefaults(subnet, given)
  if (problems.length > before) return undefined
  if (compareAddress(start, end) > 0) {
    const [value, last] = [formatAddress(start), formatAddress(end)]
    const official = given.end
      ? `RangeStart ${value} not in network ${network}`
      : `RangeStart ${value} is after RangeEnd ${last} in network ${network}`
    problems.push({ path: `${path}.rangeStart`, value, expected: `at most rangeEnd (${last})`, official })
    return undefined
  }
  return { subnet, start, end, gateway: given.gateway ?? firstHost(subnet) }
}

/** IPv4 keeps clear of the broadcast address; IPv6 has none, so its last address is handed out. */
function withDefaults(subnet: Cidr, given: { start: Address | undefined; end: Address | undefined }) {
  const last = lastOf(subnet)
  const end = given.end ?? (last.family === 4 ? { family: last.family, value: last.value - 1n } : last)
  return { start: given.start ?? firstHost(subnet), end }
}

function firstHost(subnet: Cidr): Address {
  return offset(subnet.address, 1n) ?? subnet.address
}

function readSubnet(text: string | undefined, path: string, problems: Problem[]): Cidr | undefined {
  const subnet = text === undefined ? undefined : parseCidr(text)
  const wrong = (expected: string, official: string, fix?: string): undefined => {
    problems.push({ path, value: text, expected, official, ...(fix === undefined ? {} : { fix }) })
    return undefined
  }
  if (text === undefined || subnet === undefined) {
    const official = text === undefined ? 'IP <nil> not v4 nor v6' : notParsed('CIDR', text)
    return wrong('a network such as "10.1.2.0/24" or "fd00:1::/64"', official)
  }
  const network = formatCidr(networkOf(subnet))
  if (subnet.address.family === 4 && text.includes(':')) {
    return wrong('an IPv4 network written as IPv4', 'IPNet IP and Mask version mismatch', network)
  }
  const widest = widthOf(subnet.address.family) - 2
  if (subnet.prefix > widest) {
    const official = `Network ${formatCidr(subnet)} too small to allocate from`
    return wrong(`a prefix length of at most ${widest}: smaller networks have no room`, official)
  }
  if (formatCidr(subnet) !== network) {
    const [address] = network.split('/')
    const official = `Network has host bits set. For a subnet mask of length ${subnet.prefix} the network address is ${address}`
    return wrong('a network address without host bits', official, network)
  }
  return subnet
}

function readOptional(text: string | undefined, path: string, problems: Problem[]): Address | undefined {
  if (text === undefined || text === '') return undefined
  const address = parseAddress(text)
  if (address === undefined) {
    problems.push({ path, value: text, expected: 'an IP address', official: notParsed('IP', text) })
  }
  return address
}

function checkWithinSet(ranges: readonly Located[], problems: Problem[]): void {
  ranges.forEach(({ path, range }, index) => {
    const first = ranges[0]
    if (first !== undefined && first.range.start.family !== range.start.family) {
      const expected = `an IPv${first.range.start.family} range like the set's first; put the other family in a set of its own`
      problems.push({ path, value: describe(range), expected, official: 'mixed address families' })
    }
    const other = ranges.slice(0, index).find((earlier) => overlap([earlier.range], [range]))
    if (other === undefined) return
    problems.push({
      path,
      value: describe(range),
      expected: `no address of ${other.path} (${describe(other.range)})`,
      official: `subnets ${describe(other.range)} and ${describe(range)} overlap`,
    })
  })
}

function overlap(left: RangeSet, right: RangeSet): boolean {
  return left.some((a) => right.some((b) => holds(a, b.start) || holds(b, a.start)))
}

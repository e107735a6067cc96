import { type Address, type Cidr, formatAddress, lastOf, networkOf, parseCidr } from '../../shared/values/address.js'

/** Addresses from the first to the last, both included. */
export interface Span {
  readonly first: Address
  readonly last: Address
}

export function spanOf(cidr: Cidr): Span {
  return { first: networkOf(cidr).address, last: lastOf(cidr) }
}

/** The spans of one family that ranges cover, in order, without overlaps or neighbours: a set of intervals has none. */
export function mergedSpans(ranges: readonly string[], family: 4 | 6): readonly Span[] {
  const all: Span[] = []
  for (const text of ranges) {
    const cidr = parseCidr(text)
    if (cidr?.address.family === family) all.push(spanOf(cidr))
  }
  all.sort((one, other) => (one.first.value < other.first.value ? -1 : one.first.value > other.first.value ? 1 : 0))
  const merged: Span[] = []
  for (const span of all) {
    const before = merged.at(-1)
    if (before === undefined || span.first.value > before.last.value + 1n) merged.push(span)
    else if (span.last.value > before.last.value) merged[merged.length - 1] = { first: before.first, last: span.last }
  }
  return merged
}

/** "10.0.0.0-10.0.1.255", or the address alone. */
export function spanText({ first, last }: Span): string {
  const [from, to] = [formatAddress(first), formatAddress(last)]
  return from === to ? from : `${from}-${to}`
}

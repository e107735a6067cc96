import { type Address, compareAddress, formatAddress, offset } from '../../shared/values/address.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { describeSet, type Range, type RangeSet, rangeHolding } from './ranges.js'

/** What is known when addresses are chosen; all of it is read under the lock of the network. */
export interface Occupancy {
  /** Addresses the asking attachment holds already. */
  readonly own: readonly Address[]
  readonly isTaken: (address: Address) => boolean
  /** The address handed out last from the set of that number. */
  readonly lastReserved: (set: number) => Address | undefined
}

/** An address for the set of that number; `fresh` when it is still to be reserved. */
export interface Choice {
  readonly set: number
  readonly range: Range
  readonly address: Address
  readonly fresh: boolean
}

/** Nothing is free in a range set: the caller may make room and choose again. */
export class Exhausted extends Error {
  readonly set: RangeSet

  constructor(set: RangeSet, index: number) {
    super(`${allocating(index)}no IP addresses available in range set: ${describeSet(set)}`)
    this.set = set
  }
}

/**
 * Every address of the set once, round robin as the official plugin goes: on from the last one handed out (which comes
 * last), or from the start of the first range; gateways are left out.
 */
export function* candidates(set: RangeSet, last: Address | undefined): Generator<Address, void> {
  let index = last === undefined ? -1 : set.findIndex((range) => rangeHolding([range], last) !== undefined)
  let current = index < 0 ? undefined : last
  let first: Address | undefined
  for (;;) {
    const range = set[index]
    if (range === undefined || current === undefined || compareAddress(current, range.end) === 0) {
      index = (index + 1) % set.length
      current = set[index]?.start
    } else current = offset(current, 1n)
    if (current === undefined || (first !== undefined && compareAddress(current, first) === 0)) return
    first ??= current
    if (compareAddress(current, set[index]?.gateway ?? current) !== 0) yield current
  }
}

/**
 * One address for each set: the requested one, else the one its owner holds already, else the next free one.
 * Reads only, so that a dry run and a retry can ask again.
 * @throws code 108 for a request that cannot be met; Exhausted when a set is full
 */
export function choose(sets: readonly RangeSet[], requested: readonly Address[], occupancy: Occupancy): Choice[] {
  const wanted = assign(sets, requested)
  return sets.map((set, index) => {
    const request = wanted[index]
    const { own } = occupancy
    const held = own.find(
      (address) => rangeHolding(set, address) && (!request || compareAddress(address, request) === 0),
    )
    const address = held ?? (request ? available(request, index, set, occupancy) : nextFree(set, index, occupancy))
    const range = rangeHolding(set, address)
    if (range === undefined) throw new Exhausted(set, index)
    return { set: index, range, address, fresh: held === undefined }
  })
}

/** The requested address of each set; each request must lie in a set, and a set yields one address only. */
export function assign(sets: readonly RangeSet[], requested: readonly Address[]): (Address | undefined)[] {
  const wanted: (Address | undefined)[] = sets.map(() => undefined)
  const left = requested.filter((address, position) => {
    if (requested.findIndex((other) => compareAddress(other, address) === 0) < position) return false
    const index = sets.findIndex((set, number) => wanted[number] === undefined && rangeHolding(set, address))
    if (index >= 0) wanted[index] = address
    return index < 0
  })
  if (left.length === 0) return wanted
  const outside = left.filter((address) => !sets.some((set) => rangeHolding(set, address)))
  throw unavailable(`failed to allocate all requested IPs: ${left.map(formatAddress).join(' ')}`, {
    details: `range sets: ${sets.map(describeSet).join(' | ')}`,
    fix:
      outside.length === 0
        ? 'ask for at most one address in each range set'
        : `ask for an address of a range set: ${outside.map(formatAddress).join(', ')} is in none of them; or widen one, or add one that has it`,
  })
}

/** What the official plugin begins with, where a set yields no address. */
export function allocating(index: number): string {
  return `failed to allocate for range ${index}: `
}

// --- internal

function nextFree(set: RangeSet, index: number, { isTaken, lastReserved }: Occupancy): Address {
  for (const address of candidates(set, lastReserved(index))) if (!isTaken(address)) return address
  throw new Exhausted(set, index)
}

function available(request: Address, index: number, set: RangeSet, { isTaken }: Occupancy): Address {
  const text = formatAddress(request)
  const gateway = rangeHolding(set, request)?.gateway
  if (gateway !== undefined && compareAddress(gateway, request) === 0) {
    throw unavailable(`${allocating(index)}requested ip ${text} is subnet's gateway`, {
      fix: 'ask for another address: the gateway is nobody else\'s; "gateway" in the range can name another one',
    })
  }
  if (!isTaken(request)) return request
  throw unavailable(
    `${allocating(index)}requested IP address ${text} is not available in range set ${describeSet(set)}`,
    { fix: 'ask for another address, or detach (DEL) the container that has it' },
  )
}

function unavailable(message: string, explanation: { details?: string; fix?: string } = {}): CniError {
  return new CniError(codes.addressUnavailable, message, explanation)
}

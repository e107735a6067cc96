import { formatAddress } from '../../shared/values/address.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { candidates, type Exhausted } from './allocate.js'
import type { Lease } from './lease.js'
import { type RangeSet, rangeHolding } from './ranges.js'
import type { LeaseView } from './view.js'

/** Holders named in full; the rest is a number. */
const SHOWN = 5

/** The leases whose address lies in the set. */
export function leasesIn(set: RangeSet, leases: readonly Lease[]): readonly Lease[] {
  return leases.filter(({ address }) => rangeHolding(set, address) !== undefined)
}

/** Where the leases lie, and when this boot began by the clock, in milliseconds since 1970. */
export interface Origin {
  readonly directory: string
  readonly bootedAt: number
}

/** What to tell whoever asked for an address of a full set: how many hold one, since when, who, and what helps. */
export function exhaustionError({ message, set }: Exhausted, view: LeaseView, from: Origin): CniError {
  const { directory, bootedAt } = from
  if (candidates(set, undefined).next().done) return nothingToGive(message)
  const held = leasesIn(set, view.all())
    .map((lease) => ({ ...lease, since: view.since(lease) ?? Number.POSITIVE_INFINITY }))
    .sort((a, b) => a.since - b.since)
  const holders = held.slice(0, SHOWN).map(({ owner, address, since }) => {
    const who = owner.ifName === '' ? owner.containerID : `${owner.containerID} ${owner.ifName}`
    return `${formatAddress(address)} held by ${who}${Number.isFinite(since) ? ` since ${isoTime(since)}` : ''}`
  })
  const more = held.length > SHOWN ? [`and ${held.length - SHOWN} more`] : []
  const older = held.filter(({ since }) => since < bootedAt).length
  const counts = `${held.length} leases in ${directory}, ${older} of them older than this boot; the oldest:`
  return new CniError(codes.tryAgainLater, message, {
    details: [counts, ...holders, ...more].join('\n'),
    fix: `detach containers (DEL), or let the runtime run GC; of a container that is gone: rm ${directory}/ADDRESS`,
  })
}

// --- internal

/** No DEL ever makes room in a range that holds its gateway alone. */
function nothingToGive(message: string): CniError {
  return new CniError(codes.addressUnavailable, message, {
    details: 'the range has no address but its gateway, which nobody else gets',
    fix: 'set rangeStart and rangeEnd farther apart, or name another gateway',
  })
}

/** Milliseconds since 1970 of the last moment that a Date can tell; a file's time may lie behind it. */
const latest = 8.64e15

function isoTime(milliseconds: number): string {
  return new Date(Math.min(milliseconds, latest)).toISOString()
}

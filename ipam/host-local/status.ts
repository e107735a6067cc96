import { CniError, codes } from '../../shared/values/errors.js'
import { candidates, Exhausted } from './allocate.js'
import { exhaustionError, leasesIn, type Origin } from './exhaustion.js'
import type { RangeSet } from './ranges.js'
import type { LeaseView } from './view.js'

/** Code 50 when a set has neither a free address nor a lease that an earlier boot left. */
export function fullness(sets: readonly RangeSet[], view: LeaseView, origin: Origin): CniError | undefined {
  const index = sets.findIndex((set, number) => !hasFreeAddress(view, set, number))
  const full = sets[index]
  if (full === undefined) return undefined
  const { message, details } = exhaustionError(new Exhausted(full, index), view, origin)
  return new CniError(codes.notAvailable, message, { details })
}

// --- internal

function hasFreeAddress(view: LeaseView, set: RangeSet, index: number): boolean {
  const isTaken = view.prober()
  for (const address of candidates(set, view.lastReserved(index))) if (!isTaken(address)) return true
  return leasesIn(set, view.all()).some(view.isDead)
}

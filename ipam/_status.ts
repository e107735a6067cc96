import { accessSync, constants, statSync } from 'node:fs'
import { CniError, codes } from '../shared/protocol/errors.js'
import { candidates, Exhausted } from './_allocate.js'
import { exhaustionError, leasesIn, type Origin } from './_exhaustion.js'
import type { RangeSet } from './_ranges.js'
import type { LeaseView } from './_view.js'

/** @throws code 50 when leases cannot be written: as much of the path as there is must be a writable directory */
export function refuseUnwritable(directory: string): void {
  let existing = directory
  while (existing !== '' && !statSync(existing, { throwIfNoEntry: false })) {
    const slash = existing.lastIndexOf('/')
    existing = slash < 0 ? '.' : existing.slice(0, slash)
  }
  try {
    accessSync(`${existing}/.`, constants.W_OK | constants.X_OK)
  } catch (thrown) {
    const details = (thrown as Error).message
    throw new CniError(codes.notAvailable, `cannot write leases to ${directory}`, { details, cause: thrown })
  }
}

/** @throws code 50 when a set has neither a free address nor a lease that an earlier boot left */
export function refuseFull(sets: readonly RangeSet[], view: LeaseView, origin: Origin): void {
  const full = sets.find((set, index) => !hasRoom(view, set, index))
  if (full === undefined) return
  const { message, details } = exhaustionError(new Exhausted(full), view, origin)
  throw new CniError(codes.notAvailable, message, { details })
}

// --- internal

function hasRoom(view: LeaseView, set: RangeSet, index: number): boolean {
  const isTaken = view.prober()
  for (const address of candidates(set, view.lastReserved(index))) if (!isTaken(address)) return true
  return leasesIn(set, view.all()).some(view.isDead)
}

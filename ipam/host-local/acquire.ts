import { compareAddress, formatCidr } from '../../shared/values/address.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import { allocating, type Choice, choose, Exhausted } from './allocate.js'
import type { Leases } from './change.js'
import { leasesIn } from './exhaustion.js'
import type { Owner } from './lease.js'
import type { AddressRequest } from './request.js'
import type { Store } from './store.js'
import type { LeaseView } from './view.js'

/** Chooses an address from each set without reserving any. @throws code 108; Exhausted */
export function preview(view: LeaseView, owner: Owner, { sets, requested }: AddressRequest): readonly Choice[] {
  const own = view.of(owner)
  const legacy = own.find(({ owner: { ifName } }) => ifName === '')
  if (legacy) {
    const message = `${allocating(0)}${legacy.file} has been allocated to ${owner.containerID}, duplicate allocation is not allowed`
    throw new CniError(codes.addressUnavailable, message, {
      details: 'its file, by an old plugin, does not tell for which interface',
      fix: 'detach the container (DEL) first',
    })
  }
  return choose(sets, requested, {
    own: own.map(({ address }) => address),
    isTaken: view.prober(),
    lastReserved: view.lastReserved,
  })
}

/**
 * Reserves what `preview` chooses. In a full set, leases that an earlier boot left make room.
 * @throws code 108; Exhausted
 */
export function acquire(leases: Leases, owner: Owner, request: AddressRequest): readonly Choice[] {
  for (;;) {
    try {
      const choices = preview(leases, owner, request)
      if (
        leases.reserve(
          owner,
          choices.filter(({ fresh }) => fresh),
        )
      )
        return choices
    } catch (thrown) {
      if (!(thrown instanceof Exhausted)) throw thrown
      const dead = leasesIn(thrown.set, leases.all()).filter(leases.isDead)
      if (dead.length === 0) throw thrown
      leases.release(dead)
    }
  }
}

/** Frees exactly what an `acquire` reserved, as far as the owner still has it; for the journal, so it never throws. */
export function undoAcquire(store: Store, owner: Owner, choices: readonly Choice[]): readonly CniError[] {
  const fresh = choices.filter((choice) => choice.fresh)
  const isFresh = ({ address }: { address: Choice['address'] }) =>
    fresh.some((choice) => compareAddress(choice.address, address) === 0)
  try {
    if (fresh.length > 0) store.change((leases) => leases.release(leases.of(owner).filter(isFresh)))
    return []
  } catch (thrown) {
    return [asCniError(thrown)]
  }
}

/** The choice as a result's address: with the prefix length of its subnet. */
export function cidrOf({ address, range }: Choice): string {
  return formatCidr({ address, prefix: range.subnet.prefix })
}

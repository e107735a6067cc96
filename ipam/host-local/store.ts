// The leases of one network on disk, in the official plugin's layout:
// DATADIR/NETWORK/{lock,last_reserved_ip.N,ADDRESS}. Both may work on one directory at once, under the same flock(2).
//
// A lease is complete or absent: its content is written and synced under another name and then linked into place,
// which fails where a file is. One file serves all addresses of an ADD, as its links. Empty files are what a crash of
// others leaves; reading all leases, which the index asks for after any foreign change, removes them. Free addresses
// are found by looking at names, never into files, and past a bound in one listing of the directory.

import { makeDirectories } from '../../shared/exec/directories.js'
import { statusOf } from '../../shared/exec/state.js'
import type { Writing } from '../../shared/exec/writable.js'
import { errnoOf, messageOf } from '../../shared/values/errno.js'
import { changesOf, type Leases, type Updates } from './change.js'
import type { Epoch } from './epoch.js'
import { type LeaseFiles, reaching } from './files.js'
import { openIndex } from './index.js'
import type { Lease, Owner } from './lease.js'
import { isWithout, type LeaseView, type Place, readAll, viewOf } from './view.js'

export interface Store {
  /** Where the lease files are. */
  readonly directory: string
  /** What one more lease writes, with an address from each of `sets` ranges. */
  readonly writes: (sets: number) => readonly Writing[]
  /** Makes the directory. @throws code 5 */
  readonly create: () => void
  /** Looks without the lock, and changes nothing. @throws code 5 */
  readonly look: <T>(body: (view: LeaseView) => T) => T
  /** Runs `body` under the lock, or not at all when the network has no directory. @throws code 5, 11, 100 or 101 */
  readonly change: <T>(body: (leases: Leases) => T) => T | undefined
  /**
   * Frees all leases of the owner: under the lock, unless nobody is at work and the owner has none. So a DEL that comes
   * again neither waits nor keeps anybody waiting. @throws code 5, 11, 100 or 101
   */
  readonly release: (owner: Owner) => void
  /** The same of all leases that are stale, as `staleIn` has it. */
  readonly collect: (staleIn: (view: LeaseView) => readonly Lease[]) => void
}

export interface StoreOptions {
  readonly dataDir: string
  readonly network: string
  readonly files: LeaseFiles
  readonly epoch: Epoch
  readonly lock: <T>(path: string, body: () => T) => T
  /** Whether nobody has the lock at this moment; false where that cannot be told. */
  readonly isUnlocked: (path: string) => boolean
  readonly warn: (text: string) => void
}

export function openStore({ dataDir, network, files, epoch, lock, isUnlocked, warn }: StoreOptions): Store {
  const directory = `${dataDir}/${network}`
  const state = `${dataDir}/.podwire/${network}`
  const index = openIndex({ files, leases: directory, state, epoch })
  const place: Place = { directory, files, index, epoch, warn }

  /** The index may fail, the leases may not: left unsealed, it makes the next change read them all. */
  const tend = (body: () => void): boolean => {
    try {
      body()
      return true
    } catch (thrown) {
      if (errnoOf(thrown) === undefined) throw thrown
      warn(`cannot write the lease index ${state} (the next call will be slower): ${messageOf(thrown)}`)
      return false
    }
  }

  const underLock = <T>(body: (leases: Leases) => T): T => {
    const found = index.isCurrent() ? undefined : readAll(place, { heal: true })
    const isIndexed = found === undefined || tend(() => index.rebuild(found))
    const updates: Updates = { index: [], moved: false }
    let isRefuted = false
    const view = viewOf(place, found, () => {
      isRefuted = true
    })
    const result = body(changesOf(place, view, updates))
    if (isRefuted) {
      tend(() => index.rebuild(readAll(place)))
    } else if (isIndexed && updates.index.length > 0) {
      tend(() => {
        for (const update of updates.index) update()
        if (updates.moved) index.seal()
      })
    }
    return result
  }

  const lockFile = `${directory}/lock`
  const change = <T>(body: (leases: Leases) => T, isDone = () => false): T | undefined =>
    reaching(`change the leases in ${directory}`, () => {
      const status = statusOf(files, directory)
      if (!status) return undefined
      if (!status.isDirectory() && !status.isSymbolicLink()) {
        warn(`host-local: ${directory} is no directory: no lease is in it`)
        return undefined
      }
      return isDone() ? undefined : lock(lockFile, () => underLock(body))
    })

  return {
    directory,
    // The lock and a draft, a name for each address and each set's last one; in the index a record and its seal.
    writes: (sets) => [
      { directory, files: 2 + 2 * sets },
      { directory: state, files: 2 },
    ],
    create: () =>
      reaching(`create ${directory}`, () => {
        if (!files.lstatSync(directory, { throwIfNoEntry: false })) makeDirectories(directory, 0o755, files.mkdirSync)
      }),
    look: (body) => reaching(`read the leases in ${directory}`, () => body(viewOf(place, undefined))),
    change: (body) => change(body),
    release: (owner) =>
      void change(
        (leases) => leases.release(leases.of(owner)),
        // The lock comes first: what its last holder wrote is seen behind it, and who takes it later comes after us.
        () => isUnlocked(lockFile) && isWithout(place, owner),
      ),
    // Where the index is not current, there may be drafts and half leases to clear away, under the lock.
    collect: (staleIn) =>
      void change(
        (leases) => leases.release(staleIn(leases)),
        () => isUnlocked(lockFile) && index.isCurrent() && staleIn(viewOf(place, undefined)).length === 0,
      ),
  }
}

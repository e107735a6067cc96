import { type Address, formatAddress } from '../../shared/values/address.js'
import { errnoOf, messageOf } from '../../shared/values/errno.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { type LeaseFiles, syncDirectory, unless, writeDraft } from './files.js'
import { type Lease, leaseText, type Owner } from './lease.js'
import { draftName, type LeaseView, lastReservedName, type Place, stampOf } from './view.js'

/** An address to reserve, and the number of the range set whose round robin it moves on. */
export interface Fresh {
  readonly set: number
  readonly address: Address
}

/** What can be done to the leases under the lock. */
export interface Leases extends LeaseView {
  /**
   * Gives all the addresses to the owner, or none when it throws.
   * @returns false, with none given, when somebody who does not honour the lock took one: choose again
   */
  readonly reserve: (owner: Owner, fresh: readonly Fresh[]) => boolean
  /** Frees leases; one that is gone already counts as freed. */
  readonly release: (leases: readonly Lease[]) => void
}

/** What is left to do for the index once the body is through; `moved` once the directory itself has changed. */
export interface Updates {
  readonly index: (() => void)[]
  moved: boolean
}

/** Adds the changing operations to a view of the place. The caller holds the lock and applies `updates` afterwards. */
export function changesOf(place: Place, view: LeaseView, updates: Updates): Leases {
  return {
    ...view,
    release: (leases) => {
      if (leases.length > 0) updates.moved = true
      takeBack(
        place.files,
        leases.map(({ file }) => `${place.directory}/${file}`),
      )
      const owners = new Map(leases.map(({ owner }) => [leaseText(owner), owner]))
      const files = new Set(leases.map(({ file }) => file))
      for (const owner of owners.values()) updates.index.push(() => forget(place, owner, files))
    },
    reserve: (owner, fresh) => {
      if (fresh.length > 0) updates.moved = true
      if (!give(place, owner, fresh)) return false
      updates.index.push(() => markAlive(place, owner, fresh.map(nameOf)))
      return true
    },
  }
}

// --- internal

function nameOf({ address }: Fresh): string {
  return formatAddress(address)
}

/** Links one synced file to every name; false as soon as a name is taken. Whatever stops it, nothing stays linked. */
function give(place: Place, owner: Owner, fresh: readonly Fresh[]): boolean {
  if (fresh.length === 0) return true
  const { directory, files } = place
  const draft = `${directory}/${draftName}`
  const made: string[] = []
  try {
    writeDraft(files, draft, leaseText(owner), { isDurable: true })
    for (const one of fresh) {
      const path = `${directory}/${nameOf(one)}`
      if (!linked(files, draft, path)) {
        takeBack(files, [...made, draft, cursorOf(draft)])
        return false
      }
      made.push(path)
      moveCursor(place, draft, one)
    }
    files.unlinkSync(draft)
    syncDirectory(files, directory)
    return true
  } catch (thrown) {
    takeBack(files, [...made, draft, cursorOf(draft)], thrown)
    throw thrown
  }
}

function linked(files: LeaseFiles, draft: string, path: string): boolean {
  const done = unless(['EEXIST'], () => {
    files.linkSync(draft, path)
    return true
  })
  return done ?? false
}

function cursorOf(draft: string): string {
  return `${draft}.last`
}

/** Replaces the file that remembers the set's last address. Lost, it only makes the search begin anew. */
function moveCursor({ directory, files, warn }: Place, draft: string, fresh: Fresh): void {
  const path = `${directory}/${lastReservedName(fresh.set)}`
  writeDraft(files, cursorOf(draft), nameOf(fresh), { isDurable: false })
  const moved = unless(['EISDIR', 'ENOTEMPTY', 'EEXIST'], () => {
    files.renameSync(cursorOf(draft), path)
    return true
  })
  if (moved) return
  files.unlinkSync(cursorOf(draft))
  warn(`host-local: ${path} is a directory: it is skipped`)
}

/** Removes every file that it can, then throws if any is left. @throws code 109 */
function takeBack(files: LeaseFiles, paths: readonly string[], cause?: unknown): void {
  const left: string[] = []
  for (const path of paths) {
    try {
      unless(['ENOENT'], () => files.unlinkSync(path))
    } catch (thrown) {
      if (errnoOf(thrown) === undefined) throw thrown
      left.push(`${path}: ${messageOf(thrown)}`)
    }
  }
  if (left.length === 0) return
  const first = cause === undefined ? [] : [messageOf(cause)]
  throw new CniError(codes.cleanupIncomplete, `cannot free ${left.length} of ${paths.length} leases`, {
    details: [...first, ...left.map((line) => `left behind: ${line}`)].join('\n'),
    fix: 'mend the cause and repeat the same DEL or GC',
    cause,
  })
}

/** Records that the owner asked just now: all it holds is alive in this boot. */
function markAlive(place: Place, owner: Owner, fresh: readonly string[]): void {
  const record = place.index.read(owner)
  if (record?.unlisted || (fresh.length === 0 && record?.epoch === place.epoch.text)) return
  const stamps = new Map<string, string>()
  for (const name of [...(record?.stamps.keys() ?? []), ...fresh]) {
    const stamp = stampOf(place, name)
    if (stamp !== undefined) stamps.set(name, stamp)
  }
  place.index.write(owner, { epoch: place.epoch.text, stamps })
}

function forget({ index }: Place, owner: Owner, files: ReadonlySet<string>): void {
  const record = index.read(owner)
  if (record === undefined || record.unlisted) return
  const stamps = new Map([...record.stamps].filter(([name]) => !files.has(name)))
  if (stamps.size === 0) index.remove(owner)
  else if (stamps.size < record.stamps.size) index.write(owner, { ...record, stamps })
}

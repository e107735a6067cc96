// Which leases an attachment holds, without reading every lease file. For each owner one symbolic link whose target is
// the record: made and replaced by one system call, no data block to tear. It lies outside the network's directory,
// which the official plugin walks, in DATADIR/.podwire/NETWORK.
//
// The index is only a cache. It counts while the network directory's modification time is the seal: a time long past
// that we set after our own changes, and that stands for this boot. Whatever anybody else creates or removes there (the
// official plugin, an administrator, a restored backup) sets the time to now, a reboot asks for another seal, and a
// removed index has no mark: in each case the next change reads all leases once. Compared with counting generations in
// a file of our own, this also notices those who do not know of us. A record is never believed without its lease file.

import { makeDirectories } from '../../shared/exec/directories.js'
import { statusOf } from '../../shared/exec/state.js'
import type { Epoch } from './epoch.js'
import { type LeaseFiles, unless } from './files.js'
import type { Lease, Owner } from './lease.js'

/** An owner's leases: when they were last known alive, and each file with its modification time in nanoseconds. */
export interface IndexRecord {
  readonly epoch: string
  readonly stamps: ReadonlyMap<string, string>
  /** Too many for a link's target, as when a person reserves a block in one name: only the lease files tell. */
  readonly unlisted?: boolean
}

/** The index of one network; all but `read`, `has` and `isCurrent` need the lock. */
export interface Index {
  readonly isCurrent: () => boolean
  readonly read: (owner: Owner) => IndexRecord | undefined
  /** Whether there is anything in the place of its record. */
  readonly has: (owner: Owner) => boolean
  readonly write: (owner: Owner, record: IndexRecord) => void
  readonly remove: (owner: Owner) => void
  /** Makes the records those of `leases` and seals; what is known of unchanged ones is kept. */
  readonly rebuild: (leases: readonly Lease[]) => void
  readonly seal: () => void
}

/** Of leases made by others: nothing proves when they were alive. */
const UNKNOWN = '-'
const MARK = '=seal'
const UNLISTED = '*'
/** What reading a link's target says where something else lies in its place: only the lease files tell then. */
const unreadable = ['EINVAL', 'ENOTDIR', 'ELOOP', 'EACCES']
/** Bytes of a link's target: one page, and its end. */
const LONGEST = 4095

/** @param options.leases the network's directory; @param options.state the directory of the index */
export function openIndex(options: { files: LeaseFiles; leases: string; state: string; epoch: Epoch }): Index {
  const { files, leases, state, epoch } = options
  const pathOf = (owner: Owner) => `${state}/${keyOf(owner)}`
  const readLink = (path: string) =>
    unless(['ENOENT'], () => unless(unreadable, () => files.readlinkSync(path)) ?? UNLISTED)
  const read = (owner: Owner) => parseRecord(readLink(pathOf(owner)))
  const write = (owner: Owner, record: IndexRecord) => replaceLink(files, state, pathOf(owner), printRecord(record))

  /** Names the sealed directory itself, so that neither another directory nor an empty index passes for it. */
  const markFor = (inode: number | bigint) => `${inode}@${epoch.sealSeconds}`
  const seal = () => {
    if (epoch.sealSeconds === undefined) return
    const mark = markFor(files.lstatSync(leases).ino)
    if (readLink(`${state}/${MARK}`) !== mark) replaceLink(files, state, `${state}/${MARK}`, mark)
    files.utimesSync(leases, epoch.sealSeconds, epoch.sealSeconds)
  }

  return {
    read,
    has: (owner) => statusOf(files, pathOf(owner)) !== undefined,
    write,
    seal,
    remove: (owner) => void unless(['ENOENT'], () => files.unlinkSync(pathOf(owner))),
    isCurrent: () => {
      const status = statusOf(files, leases)
      if (status === undefined || epoch.sealSeconds === undefined) return false
      return status.mtimeMs === epoch.sealSeconds * 1000 && readLink(`${state}/${MARK}`) === markFor(status.ino)
    },
    rebuild: (found) => {
      makeDirectories(state, 0o700, files.mkdirSync)
      unless(['ENOENT'], () => files.unlinkSync(`${state}/${MARK}`))
      const former = new Set(files.readdirSync(state))
      for (const { owner, names } of byOwner(found)) {
        const known = former.delete(keyOf(owner))
        if (known && sameNames(read(owner), names)) continue
        write(owner, { epoch: UNKNOWN, stamps: new Map(names.map((name) => [name, UNKNOWN])) })
      }
      for (const name of former) files.unlinkSync(`${state}/${name}`)
      seal()
    },
  }
}

// --- internal

/** A file name for the owner; no encoded text contains `:` or `=`, so that keys and our other names differ. */
function keyOf({ containerID, ifName }: Owner): string {
  const key = `${encodeURIComponent(containerID)}:${encodeURIComponent(ifName)}`
  return key.length <= 200 ? key : `${key.slice(0, 150)}=${fold(key)}`
}

/** Tells long identifiers apart that begin alike; a record that two of them share fails its check by the lease file. */
function fold(text: string): string {
  let hash = 0n
  for (let at = 0; at < text.length; at++)
    hash = BigInt.asUintN(64, hash * 0x100000001b3n + BigInt(text.charCodeAt(at)))
  return hash.toString(36)
}

function parseRecord(target: string | undefined): IndexRecord | undefined {
  if (target === undefined) return undefined
  if (target === UNLISTED) return { epoch: UNKNOWN, stamps: new Map(), unlisted: true }
  const [epoch = UNKNOWN, ...words] = target.split(' ')
  const pairs = words.map((word): [string, string] => {
    const [name = '', stamp = UNKNOWN] = word.split('=')
    return [name, stamp]
  })
  return { epoch, stamps: new Map(pairs) }
}

function printRecord({ epoch, stamps }: IndexRecord): string {
  const target = [epoch || UNKNOWN, ...[...stamps].map(([name, stamp]) => `${name}=${stamp}`)].join(' ')
  return target.length > LONGEST ? UNLISTED : target
}

/** The link exists with the old or the new target at any moment. */
function replaceLink(files: LeaseFiles, state: string, path: string, target: string): void {
  const made = unless(['EEXIST'], () => {
    files.symlinkSync(target, path)
    return true
  })
  if (made) return
  const fresh = `${state}/=new`
  unless(['ENOENT'], () => files.unlinkSync(fresh))
  files.symlinkSync(target, fresh)
  files.renameSync(fresh, path)
}

function byOwner(leases: readonly Lease[]): Iterable<{ owner: Owner; names: string[] }> {
  const owners = new Map<string, { owner: Owner; names: string[] }>()
  for (const { owner, file } of leases) {
    const key = keyOf(owner)
    const entry = owners.get(key)
    if (entry) entry.names.push(file)
    else owners.set(key, { owner, names: [file] })
  }
  return owners.values()
}

function sameNames(record: IndexRecord | undefined, names: readonly string[]): boolean {
  return record !== undefined && record.stamps.size === names.length && names.every((name) => record.stamps.has(name))
}

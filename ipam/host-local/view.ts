import { type Address, formatAddress, parseAddress } from '../../shared/values/address.js'
import type { Epoch } from './epoch.js'
import { type LeaseFiles, readBeside, unless } from './files.js'
import type { Index } from './index.js'
import { type Lease, type Owner, ownerOf, sameOwner } from './lease.js'

/** What can be asked of a network's leases, with or without the lock. */
export interface LeaseView {
  /** The owner's leases; where there are none, those of its container from plugins that recorded no interface. */
  readonly of: (owner: Owner) => readonly Lease[]
  readonly all: () => readonly Lease[]
  /** A function that tells whether an address has a file, to be asked many times, but not across changes. */
  readonly prober: () => (address: Address) => boolean
  /** The address handed out last from the range set of that number. */
  readonly lastReserved: (set: number) => Address | undefined
  /** True when the lease's owner provably ended with an earlier boot of this machine. */
  readonly isDead: (lease: Lease) => boolean
  /** When the lease was made, in milliseconds since 1970; undefined when it is gone. */
  readonly since: (lease: Lease) => number | undefined
}

/** A network's directory and the index of its leases. */
export interface Place {
  readonly directory: string
  readonly files: LeaseFiles
  readonly index: Index
  readonly epoch: Epoch
  readonly warn: (text: string) => void
}

/** Names looked at one by one before the directory is listed instead: about 2 ms. */
const PROBES = 1024

/**
 * @param found all leases, where they had to be read already because the index is not current
 * @param refuted is told when a lease file says something else than the index, whatever that is sealed with
 */
export function viewOf(
  place: Place,
  found: readonly Lease[] | undefined,
  refuted: () => void = () => undefined,
): LeaseView {
  const { directory, files, index, epoch, warn } = place
  const all = () => found ?? readAll(place)
  return {
    all,
    of: (owner) => {
      if (!found && index.isCurrent()) {
        const quick = indexed(place, owner)
        if (quick) return quick
        refuted()
      }
      const leases = all()
      const own = leases.filter((lease) => sameOwner(lease.owner, owner))
      return own.length > 0 ? own : leases.filter((lease) => sameOwner(lease.owner, withoutInterface(owner)))
    },
    prober: () => prober(place),
    lastReserved: (set) => {
      const text = readBeside(files, `${directory}/${lastReservedName(set)}`, warn)
      return text === undefined ? undefined : parseAddress(text)
    },
    isDead: ({ owner, file }) => {
      const record = index.read(owner)
      if (record === undefined || !epoch.outlived(record.epoch)) return false
      return record.stamps.get(file) === stampOf(place, file)
    },
    since: ({ file }) => files.lstatSync(`${directory}/${file}`, { throwIfNoEntry: false })?.mtimeMs,
  }
}

/** Whether the index shows that the owner has no lease; what is garbled shows nothing. */
export function isWithout({ index }: Place, owner: Owner): boolean {
  return index.isCurrent() && [owner, withoutInterface(owner)].every((one) => !index.has(one))
}

/**
 * Reads every lease: files whose name is an address; sub-directories and other names are somebody else's.
 * @param options.heal removes files that name no owner, and drafts; only under the lock, or their writer may be at work
 */
export function readAll({ directory, files, warn }: Place, { heal = false } = {}): readonly Lease[] {
  const leases: Lease[] = []
  for (const file of unless(['ENOENT', 'ENOTDIR'], () => files.readdirSync(directory)) ?? []) {
    if (heal && file.startsWith(draftName)) unless(['ENOENT'], () => files.unlinkSync(`${directory}/${file}`))
    const address = parseAddress(file)
    if (address === undefined) continue
    const text = readBeside(files, `${directory}/${file}`, warn)
    if (text === undefined) continue
    const owner = ownerOf(text)
    if (owner) leases.push({ file, address, owner })
    else if (heal) unless(['ENOENT'], () => files.unlinkSync(`${directory}/${file}`))
  }
  return leases
}

/** The name under which a lease is written before it is linked into place. */
export const draftName = '.podwire-draft'

/** The file that keeps the round robin's place in the range set of that number. */
export function lastReservedName(set: number): string {
  return `last_reserved_ip.${set}`
}

/** The time a lease file was written, in nanoseconds: tells it from a later one of the same name. */
export function stampOf({ directory, files }: Pick<Place, 'directory' | 'files'>, file: string): string | undefined {
  return files.lstatSync(`${directory}/${file}`, { bigint: true, throwIfNoEntry: false })?.mtimeNs.toString(36)
}

// --- internal

function withoutInterface({ containerID }: Owner): Owner {
  return { containerID, ifName: '' }
}

/**
 * The leases the index names for the owner; undefined where a file it names says something else, because somebody wrote
 * into it, or a record names none that is there, because somebody wrote that: neither changes the directory, and only
 * the files tell then.
 */
function indexed(place: Place, owner: Owner): readonly Lease[] | undefined {
  const { directory, files, index, warn } = place
  for (const key of [owner, withoutInterface(owner)]) {
    const leases: Lease[] = []
    const record = index.read(key)
    if (record && !record.unlisted && record.stamps.size === 0) return undefined
    if (record?.unlisted) leases.push(...readAll(place).filter((lease) => sameOwner(lease.owner, key)))
    for (const file of record?.stamps.keys() ?? []) {
      const address = parseAddress(file)
      const text = address && readBeside(files, `${directory}/${file}`, warn)
      if (!address || text === undefined || !sameOwner(ownerOf(text), key)) return undefined
      leases.push({ file, address, owner: key })
    }
    if (leases.length > 0) return leases
  }
  return []
}

/** After a bounded number of looks it answers from one listing of the directory. */
function prober({ directory, files }: Place): (address: Address) => boolean {
  let looks = 0
  let listed: Set<string> | undefined
  return (address) => {
    const name = formatAddress(address)
    if (++looks > PROBES) listed ??= new Set(unless(['ENOENT'], () => files.readdirSync(directory)) ?? [])
    if (listed) return listed.has(name)
    return files.lstatSync(`${directory}/${name}`, { throwIfNoEntry: false }) !== undefined
  }
}

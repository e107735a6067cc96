import { type Epoch, epochOf } from '../../ipam/host-local/epoch.js'
import { type LeaseFiles, systemLeaseFiles, unless } from '../../ipam/host-local/files.js'
import { openIndex } from '../../ipam/host-local/index.js'
import { ownerOf } from '../../ipam/host-local/lease.js'
import {
  collectRangeSets,
  type Range,
  type RangeText,
  rangeHolding,
  readRangeSets,
} from '../../ipam/host-local/ranges.js'
import { stampOf } from '../../ipam/host-local/view.js'
import { type Address, formatAddress, parseAddress } from '../../shared/values/address.js'
import { isObject } from '../../shared/values/object.js'
import { type FileReader, objectsIn, textIn } from './reader.js'

/** A lease of host-local: of the official plugin, or of ours, which have one layout. */
export interface StoredLease {
  readonly network: string
  /** The folder with the networks. */
  readonly dataDir: string
  readonly file: string
  readonly address: Address
  readonly text: string
  /** "" where the file may not be read. */
  readonly containerID: string
  /** "" of plugins before v0.8. */
  readonly ifName: string
  readonly modified: number
  /** What tells the file from a later one of its name. */
  readonly stamp: string
  /** Its owner was last known in an earlier boot of this machine. */
  readonly isOutlived: boolean
}

/** A lease file that names nobody: what a crash left. */
export interface EmptyLease {
  readonly network: string
  readonly dataDir: string
  readonly file: string
  readonly text: string
  readonly modified: number
}

export interface Leases {
  readonly leases: readonly StoredLease[]
  readonly empty: readonly EmptyLease[]
}

/** The ranges of a network, and how many addresses of each can be given. */
export interface NetworkRange {
  readonly network: string
  readonly dataDir: string
  readonly text: string
  readonly range: Range
  readonly size: bigint
}

/** Where leases lie unless a configuration says otherwise, and on nodes that forget them at a reboot. */
export function usualDataDirs({ place }: FileReader): readonly string[] {
  return [place.data, '/run/cni/networks']
}

/** The leases below folders. */
export function readLeases(reader: FileReader, dataDirs: readonly string[]): Leases {
  const [leases, empty]: [StoredLease[], EmptyLease[]] = [[], []]
  const epoch = epochAt(reader)
  for (const dataDir of new Set(dataDirs)) {
    for (const network of reader.names(dataDir)) {
      const folder = `${dataDir}/${network}`
      if (network.startsWith('.') || !reader.isFolder(folder)) continue
      const outlived = outlivedIn(reader, epoch, { dataDir, network })
      for (const name of reader.names(folder)) {
        const address = parseAddress(name)
        const file = `${folder}/${name}`
        if (address === undefined) continue
        const [text, status] = [reader.text(file), reader.stat(file)]
        if (status === undefined) continue
        // Another user sees that the address is taken, and not by whom.
        if (text === undefined) {
          const of = {
            network,
            dataDir,
            file,
            text: '',
            modified: status.mtimeMs,
            address,
            stamp: '',
            isOutlived: false,
          }
          leases.push({ ...of, containerID: '', ifName: '' })
          continue
        }
        const owner = ownerOf(text)
        const common = { network, dataDir, file, text, modified: status.mtimeMs }
        if (!owner) {
          empty.push(common)
          reader.note(file, text === '' ? 'is empty: a lease that names nobody' : 'is garbled: it names nobody')
        } else {
          const stamp = stampOf({ directory: reader.real(folder), files: systemLeaseFiles }, name) ?? ''
          leases.push({ ...common, ...owner, address, stamp, isOutlived: outlived(owner, name, stamp) })
        }
      }
    }
  }
  return { leases, empty }
}

/** The ranges that configurations of host-local speak of; one that is wrong has none. */
export function rangesOf(
  network: string,
  plugins: readonly Readonly<Record<string, unknown>>[],
  capabilities: Readonly<Record<string, unknown>>,
  usual: string,
): readonly NetworkRange[] {
  return plugins.flatMap(({ ipam }) => {
    if (!isObject(ipam) || textIn(ipam, 'type') !== 'host-local') return []
    const runtime = setsOf(capabilities['ipRanges'])
    const texts = collectRangeSets({ runtime, single: rangeText(ipam), configured: setsOf(ipam['ranges']) })
    const { sets, problems } = readRangeSets(texts)
    if (problems.length > 0) return []
    const dataDir = textIn(ipam, 'dataDir') || usual
    return sets.flat().map((range) => ({ network, dataDir, range, text: rangeName(range), size: sizeOf(range) }))
  })
}

/** The folders that configurations name. */
export function dataDirsIn(plugins: readonly Readonly<Record<string, unknown>>[]): readonly string[] {
  return plugins.flatMap(({ ipam }) => {
    const folder = textIn(ipam, 'type') === 'host-local' ? textIn(ipam, 'dataDir') : ''
    return folder.startsWith('/') ? [folder.replace(/(?<=.)\/+$/, '')] : []
  })
}

/** Whether a lease is of a range. */
export function isLeaseIn({ network, dataDir, address }: StoredLease, { range, ...of }: NetworkRange): boolean {
  return network === of.network && dataDir === of.dataDir && rangeHolding([range], address) !== undefined
}

// --- internal

const machineFile = '/etc/machine-id'
const bootFile = '/proc/sys/kernel/random/boot_id'

function epochAt(reader: FileReader): Epoch {
  if (!reader.place.isHost) return epochOf(() => '', '')
  return epochOf(() => reader.text(machineFile)?.trim() ?? '', reader.text(bootFile)?.trim() ?? '')
}

/** Whether a lease is on record as of an earlier boot. */
function outlivedIn(reader: FileReader, epoch: Epoch, { dataDir, network }: { dataDir: string; network: string }) {
  const leases = reader.real(`${dataDir}/${network}`)
  const state = reader.real(`${dataDir}/.podwire/${network}`)
  const index = openIndex({ files: systemLeaseFiles as LeaseFiles, leases, state, epoch })
  return (owner: { containerID: string; ifName: string }, name: string, stamp: string): boolean => {
    const record = unless(['EACCES', 'EPERM'], () => index.read(owner))
    return record !== undefined && epoch.outlived(record.epoch) && record.stamps.get(name) === stamp
  }
}

function setsOf(value: unknown): readonly (readonly RangeText[])[] {
  return Array.isArray(value) ? value.map((set) => objectsIn(set).map(rangeText)) : []
}

function rangeText(value: Readonly<Record<string, unknown>>): RangeText {
  const names = ['subnet', 'rangeStart', 'rangeEnd', 'gateway'] as const
  return Object.fromEntries(names.map((name) => [name, textIn(value, name) || undefined]))
}

function rangeName({ start, end }: Range): string {
  return `${formatAddress(start)}-${formatAddress(end)}`
}

/** The gateway is never handed out. */
function sizeOf({ start, end, gateway }: Range): bigint {
  const isInside = gateway.value >= start.value && gateway.value <= end.value
  return end.value - start.value + 1n - (isInside ? 1n : 0n)
}

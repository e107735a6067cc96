import type { Netns } from '../../shared/exec/records.js'
import { parseAddress } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { hostVethName } from '../../shared/values/names.js'
import { isObject } from '../../shared/values/object.js'
import type { Kernel } from './kernel.js'
import { ownKernel } from './kernel.js'
import {
  dataDirsIn,
  type EmptyLease,
  type NetworkRange,
  rangesOf,
  readLeases,
  type StoredLease,
  usualDataDirs,
} from './leases.js'
import { type Life, lifeOf, type Signs } from './life.js'
import { containerNames, nameInArgs } from './names.js'
import { type FileReader, objectsIn, textIn } from './reader.js'
import { readRecords, type StoredRecord } from './records.js'
import { type CachedResult, type MappedPort, readResults } from './results.js'

/** All that is on this node of one attachment, and whether it lives. */
export interface KnownAttachment extends Attachment {
  /** What people call the container; "" where nobody says. */
  readonly name: string
  readonly netns: string
  readonly addresses: readonly string[]
  readonly mac: string
  readonly hostLink: string
  readonly ports: readonly PublishedPort[]
  /** When it was made, in milliseconds since 1970: the oldest of its files. */
  readonly since: number
  /** When the newest of its files was written. */
  readonly touched: number
  readonly life: Life
  readonly signs: Signs
  readonly records: readonly StoredRecord[]
  readonly results: readonly CachedResult[]
  readonly leases: readonly StoredLease[]
}

export interface PublishedPort extends MappedPort {
  readonly family: 'ip' | 'ip6' | undefined
  /** Where packets go: the container's address, "" where it is not on record. */
  readonly to: string
}

/** What there is on a node. */
export interface Node {
  readonly attachments: readonly KnownAttachment[]
  readonly emptyLeases: readonly EmptyLease[]
  /** Folders of leases that configurations, results and records name. */
  readonly dataDirs: readonly string[]
  readonly ranges: readonly NetworkRange[]
}

/**
 * Reads what plugins and runtimes have written; `kernel` is asked who lives, and `told` are names of containers by ID
 * that runtimes themselves tell.
 */
export function readNode(
  reader: FileReader,
  kernel = kernelOf(reader),
  told: ReadonlyMap<string, string> = new Map(),
): Node {
  const [records, results] = [readRecords(reader), readResults(reader)]
  const configured = configurationsIn(reader)
  const plugins = [...results.flatMap(({ plugins }) => plugins), ...configured.flatMap(({ plugins }) => plugins)]
  const named = [...dataDirsIn(flat(plugins)), ...records.flatMap(dataDirsOf)]
  const dataDirs = [...usualDataDirs(reader), ...named]
  const { leases, empty } = readLeases(reader, dataDirs)
  const parts = new Map<string, Parts>()
  const partsOf = (attachment: Attachment, key = keyOf(attachment)) => {
    const known = parts.get(key) ?? { attachment, records: [], results: [], leases: [] }
    parts.set(key, known)
    return known
  }
  for (const record of records) partsOf(record.attachment).records.push(record)
  for (const result of results) partsOf(result).results.push(result)
  for (const lease of leases) {
    const key = lease.containerID === '' ? lease.file : keyOf(lease)
    partsOf(lease, key).leases.push(lease)
  }
  const nameOf = containerNames(reader, told)
  const attachments = [...parts.values()].map((one) => known(one, nameOf, kernel)).sort(byName)
  return {
    attachments,
    emptyLeases: empty,
    dataDirs: [...new Set(named)],
    ranges: allRanges(reader, results, configured),
  }
}

/** The kernel to ask; none where the files are of another host. */
export function kernelOf({ place }: FileReader): Kernel | undefined {
  return place.isHost ? ownKernel() : undefined
}

/** Two attachments are one when all three names are the same. */
export function keyOf({ network, containerID, ifName }: Attachment): string {
  return JSON.stringify([network, containerID, ifName])
}

/** The plugins of a list, those that a chain runs in their places. */
export function flat(
  plugins: readonly Readonly<Record<string, unknown>>[],
): readonly Readonly<Record<string, unknown>>[] {
  return plugins.flatMap((one) => (Array.isArray(one['plugins']) ? objectsIn(one['plugins']) : [one])).filter(isObject)
}

// --- internal

interface Parts {
  readonly attachment: Attachment
  readonly records: StoredRecord[]
  readonly results: CachedResult[]
  readonly leases: StoredLease[]
}

function known(parts: Parts, nameOf: (containerID: string) => string, kernel: Kernel | undefined): KnownAttachment {
  const { attachment, records, results, leases } = parts
  const { network, containerID, ifName } = attachment
  const namespaces: readonly Netns[] = [
    ...records.flatMap(({ netns }) => (netns ? [netns] : [])),
    ...results.flatMap(({ netns: path }) => (path === '' ? [] : [{ path }])),
  ]
  const addresses = addressesOf(parts)
  const [result] = results
  const bridge = records.find(({ kind }) => kind === 'bridge')
  const hasVeth = records.some(({ kind }) => kind === 'bridge' || kind === 'ptp')
  const times = [...records, ...results, ...leases].map(({ modified }) => modified)
  const isOutlived = leases.length > 0 && leases.every((lease) => lease.isOutlived)
  const signs = { namespaces, addresses, isOutlived }
  return {
    network,
    containerID,
    ifName,
    name: nameOf(containerID) || firstName(results),
    netns: namespaces[0]?.path ?? '',
    addresses,
    mac: result?.mac || textIn(bridge?.data, 'mac'),
    hostLink: result?.hostLink || (hasVeth ? hostVethName(attachment) : ''),
    ports: portsOf(parts).toSorted(byPort),
    since: Math.min(...times),
    touched: Math.max(...times),
    life: lifeOf(signs, kernel),
    signs,
    records,
    results,
    leases,
  }
}

function firstName(results: readonly CachedResult[]): string {
  return results.map(({ args }) => nameInArgs(args)).find((name) => name !== '') ?? ''
}

/** Of the cached result; else of leases; else as far as rules name them. */
function addressesOf({ records, results, leases }: Parts): readonly string[] {
  const cached = results.flatMap(({ addresses }) => addresses)
  if (cached.length > 0) return [...new Set(cached)]
  const listed = records.flatMap(({ data }) => stringsIn(data['addresses']))
  const published = records.flatMap(({ data }) => objectsIn(data['publications']).map((one) => textIn(one, 'cidr')))
  const named = [...listed, ...published].filter((address) => address !== '')
  const bare = new Set(named.map((address) => address.split('/')[0]))
  const leased = leases.map(({ file }) => file.slice(file.lastIndexOf('/') + 1)).filter((one) => !bare.has(one))
  return [...new Map([...named, ...leased].map((address) => [address.split('/')[0], address])).values()]
}

/** What the plugin has on record, which is what it made; else what the runtime asked for. */
function portsOf({ records, results }: Parts): readonly PublishedPort[] {
  const record = records.find(({ kind }) => kind === 'portmap')
  if (!record) {
    const [result] = results
    const publishes = result?.plugins.some((plugin) => textIn(plugin, 'type') === 'portmap' || plugin['plugins'])
    if (!result || !publishes) return []
    const to = (isV6: boolean) => result.addresses.find((one) => one.includes(':') === isV6)?.split('/')[0] ?? ''
    return result.ports.map((port) => ({ ...port, family: undefined, to: to(port.address.includes(':')) }))
  }
  return objectsIn(record.data['publications'])
    .filter(({ waiting }) => waiting !== true)
    .flatMap((publication) =>
      objectsIn(publication['ports']).map((port) => ({
        protocol: textIn(port, 'protocol'),
        host: Number(port['host']),
        container: Number(port['container']),
        address: textIn(port, 'address'),
        family: textIn(publication, 'family') === 'ip6' ? ('ip6' as const) : ('ip' as const),
        to: textIn(publication, 'address'),
      })),
    )
}

/** In one order, whatever that of the runtime: Podman's changes from start to start. */
function byPort(one: PublishedPort, other: PublishedPort): number {
  const families = Number(one.family === 'ip6') - Number(other.family === 'ip6')
  return families || one.host - other.host || one.protocol.localeCompare(other.protocol)
}

function stringsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}

/** Directories of leases on record, where they are not the usual one. */
function dataDirsOf({ kind, data }: StoredRecord): readonly string[] {
  if (kind !== 'ipam') return []
  return objectsIn(data['sources']).flatMap((source) => {
    const folder = textIn(source, 'dataDir')
    return folder.startsWith('/') ? [folder] : []
  })
}

interface Configured {
  readonly network: string
  readonly plugins: readonly Readonly<Record<string, unknown>>[]
}

/** The configurations of the node, as far as they are JSON: `podwire lint` says what is wrong with one. */
function configurationsIn(reader: FileReader): readonly Configured[] {
  const { conf } = reader.place
  const files = reader.names(conf).filter((name) => /\.(conf|conflist|json)$/.test(name))
  return files.flatMap((name) => {
    const list = reader.json(`${conf}/${name}`)
    if (!list) return []
    return [{ network: textIn(list, 'name'), plugins: list['plugins'] ? objectsIn(list['plugins']) : [list] }]
  })
}

/** A network's ranges as it is configured now and as its attachments had them; each once. */
function allRanges(reader: FileReader, results: readonly CachedResult[], configured: readonly Configured[]) {
  const { data } = reader.place
  const found = new Map<string, NetworkRange>()
  const add = (ranges: readonly NetworkRange[]) => {
    for (const one of ranges) {
      const key = JSON.stringify([one.network, one.dataDir, one.text])
      if (!found.has(key)) found.set(key, one)
    }
  }
  for (const { network, plugins } of configured) add(rangesOf(network, flat(plugins), {}, data))
  const seen = new Set<string>()
  for (const { network, plugins, capabilities } of results) {
    const key = JSON.stringify([network, plugins.map(({ ipam }) => ipam), capabilities['ipRanges']])
    if (seen.has(key)) continue
    seen.add(key)
    add(rangesOf(network, flat(plugins), capabilities, data))
  }
  return [...found.values()]
}

function byName(left: KnownAttachment, right: KnownAttachment): number {
  return compare(left.network, right.network) || addressOrder(left, right) || compare(keyOf(left), keyOf(right))
}

function addressOrder(left: KnownAttachment, right: KnownAttachment): number {
  const [one, other] = [left, right].map(({ addresses: [first = ''] }) => parseAddress(first.split('/')[0] ?? ''))
  if (!one || !other) return 0
  return one.family - other.family || (one.value < other.value ? -1 : one.value > other.value ? 1 : 0)
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

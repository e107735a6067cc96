import { shapes } from 'podwire:shapes'
import { accept } from '../values/accept.js'
import type { Attachment } from '../values/attachment.js'
import { errnoOf, isAbsent, messageOf, scarce } from '../values/errno.js'
import { asCniError, CniError, codes } from '../values/errors.js'
import { recordFile } from './record-file.js'
import {
  clearDrafts,
  namesIn,
  parseState,
  printState,
  readState,
  replaceState,
  stateRoot,
  statusOf,
  systemStateFiles,
  Unusable,
  whyUnusable,
} from './state.js'
import type { Writing } from './writable.js'

/**
 * What a record says of a network namespace. Its path leads to another one when a runtime makes a container anew, and
 * its inode is another's as soon as it is gone: the kernel uses numbers again at once.
 */
export interface Netns {
  readonly path: string
  readonly boot?: string
  readonly inode?: number
  /** The number no other namespace of this boot ever has (SO_NETNS_COOKIE, Linux 5.14). */
  readonly cookie?: string
  /** The attachment's link inside: what tells namespaces apart where there is no cookie. */
  readonly link?: { readonly index: number; readonly mac: string }
}

/**
 * What DEL and GC need to know about an attachment and nobody else keeps: the keys of its rules. Written before the
 * rules are made, removed after they are gone, on a file system that a reboot empties together with the kernel's rules:
 * so a rule of ours always has a record, whatever was killed in between. `Data` must be JSON, as records.schema.ts has
 * it.
 */
export interface Entry<Data> {
  readonly attachment: Attachment
  /** The namespace of what a plugin changed inside. */
  readonly netns?: Netns
  readonly data: Data
}

/** What records ask of the machine a plugin works on (plan/host.ts). */
export interface RecordHost {
  readonly dryRun: boolean
  readonly change: (description: string, body: () => void) => void
  readonly warn: (text: string) => void
  readonly journal: { readonly note: (undo: () => readonly CniError[]) => void }
}

/**
 * Notes what an ADD is about to make; taken back when the ADD fails. A record that is written again stays one of its
 * namespace. `kind` is the plugin's name; records that are looked for by something else than their network lie in a
 * `folder` of that name.
 */
export function writeRecord<Data>(
  host: RecordHost,
  kind: string,
  attachment: Attachment,
  data: Data,
  { folder = attachment.network, netns }: { folder?: string; netns?: Netns | undefined } = {},
): void {
  const file = recordFile(kind, attachment, folder)
  host.change(`note ${kind} of ${attachment.network}/${attachment.containerID} in ${file}`, () => {
    const before = read<Data>(host, kind, file)
    host.journal.note(() => {
      try {
        if (before) put(kind, file, before)
        else remove(host, file)
        return []
      } catch (thrown) {
        return [asCniError(thrown)]
      }
    })
    const inside = netns ?? before?.netns
    put(kind, file, { attachment, ...(inside ? { netns: inside } : {}), data })
  })
}

export function readRecord<Data>(
  host: RecordHost,
  kind: string,
  attachment: Attachment,
  folder = attachment.network,
): Entry<Data> | undefined {
  return read(host, kind, recordFile(kind, attachment, folder))
}

/**
 * Whether an attachment that no record is read of may have had one: what lies in its place is none, or all of the kind
 * are gone, as somebody has emptied the directory of state.
 */
export function mayHaveLostRecord(kind: string, attachment: Attachment): boolean {
  return isThere(recordFile(kind, attachment)) !== false || isThere(`${stateRoot}/${kind}`) !== true
}

/** Removes a record, and what an ADD that was killed while it wrote may have left of it. */
export function removeRecord(
  host: RecordHost,
  kind: string,
  attachment: Attachment,
  folder = attachment.network,
): void {
  const file = recordFile(kind, attachment, folder)
  host.change(`forget ${file}`, () => {
    remove(host, file)
    clear(host, draftsOf(kind, file).prefix)
  })
}

/** Removes a record that cannot be read: what is there for an attachment that has none. */
export function removeUnreadable(host: RecordHost, kind: string, attachment: Attachment): void {
  const file = recordFile(kind, attachment)
  try {
    if (statusOf(files, file) === undefined) return
    removeRecord(host, kind, attachment)
  } catch (thrown) {
    skip(host, file, whyUnusable(thrown))
  }
}

/** The same in every folder: for who cannot know in which there are some. */
export function removeEverywhere(host: RecordHost, kind: string, attachment: Attachment): void {
  for (const folder of listed(host, `${stateRoot}/${kind}`)) removeRecord(host, kind, attachment, folder)
}

/** The records of one network that no valid attachment owns: what GC removes. Half-written ones go at once. */
export function staleRecords<Data>(
  host: RecordHost,
  kind: string,
  network: string,
  valid: readonly { containerID: string; ifname: string }[],
): readonly Entry<Data>[] {
  if (!host.dryRun) clear(host, `${kind}.`)
  const alive = new Set(valid.map(({ containerID, ifname }) => `${containerID}/${ifname}`))
  return allRecords<Data>(host, kind, network).filter(
    ({ attachment }) => attachment.network === network && !alive.has(`${attachment.containerID}/${attachment.ifName}`),
  )
}

/** What an ADD writes that notes a record of each kind. */
export function recordWritings(network: string, ...kinds: readonly string[]): readonly Writing[] {
  const drafts = { directory: draftDirectory(), files: 0 }
  return [drafts, ...kinds.map((kind) => ({ directory: directoryOf(kind, network) }))]
}

/** Every record of one network, or in one folder. */
export function allRecords<Data>(host: RecordHost, kind: string, folder: string): readonly Entry<Data>[] {
  const directory = directoryOf(kind, folder)
  return listed(host, directory)
    .map((name) => read<Data>(host, kind, `${directory}/${name}`))
    .filter((entry) => entry !== undefined)
}

/** Every record of a kind, whatever its network: for what attachments of different networks compete for. */
export function recordsOfAllNetworks<Data>(host: RecordHost, kind: string): readonly Entry<Data>[] {
  return listed(host, `${stateRoot}/${kind}`).flatMap((network) => allRecords<Data>(host, kind, network))
}

/**
 * Whether any record of a kind but an attachment's own, whatever its network, is as asked, or is there and says
 * nothing: none is read behind the first that is.
 */
export function someOtherRecord<Data>(
  host: RecordHost,
  kind: string,
  attachment: Attachment,
  isAsked: (data: Data) => boolean,
): boolean {
  const root = `${stateRoot}/${kind}`
  const own = recordFile(kind, attachment)
  return listed(host, root).some((folder) =>
    listed(host, `${root}/${folder}`).some((name) => {
      const file = `${root}/${folder}/${name}`
      if (file === own) return false
      const entry = read<Data>(host, kind, file)
      return entry ? isAsked(entry.data) : isThere(file) !== false
    }),
  )
}

/**
 * The other networks in whose name a container's interface has a record of one of these kinds, if it has none in its
 * network's: that one was renamed. Looks at one file a network, however many attachments there are.
 */
export function formerNetworks(host: RecordHost, kinds: readonly string[], attachment: Attachment): readonly string[] {
  const has = (network: string) =>
    kinds.some((kind) => {
      const file = recordFile(kind, { ...attachment, network }, network)
      return statusOf(files, file) !== undefined
    })
  try {
    if (has(attachment.network)) return []
    const all = new Set(kinds.flatMap((kind) => listed(host, `${stateRoot}/${kind}`)))
    return [...all].filter((network) => network !== attachment.network && has(network))
  } catch (thrown) {
    skip(host, stateRoot, whyUnusable(thrown))
    return []
  }
}

/** The record of a kind that a value of state is. @throws Unusable */
export function understood(kind: string, value: Readonly<Record<string, unknown>>): Entry<unknown> {
  const record = accepted('record', value) as Entry<Record<string, unknown>>
  const { attachment, data } = record
  const netns = record.netns ?? netnsOf010(data)
  return { attachment, ...(netns ? { netns } : {}), data: accepted(kind, data) }
}

// --- internal

/** Undefined where it cannot be looked at. */
function isThere(path: string): boolean | undefined {
  try {
    return files.lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return undefined
  }
}

const files = systemStateFiles

function directoryOf(kind: string, folder: string): string {
  return `${stateRoot}/${kind}/${folder}`
}

/**
 * All drafts lie in one directory, which is empty but for what was killed: looking through it costs the same on every
 * node.
 */
function draftDirectory(): string {
  return `${stateRoot}/drafts`
}

function draftsOf(kind: string, file: string) {
  return { directory: draftDirectory(), prefix: `${kind}.${file.slice(file.lastIndexOf('/') + 1)}.` }
}

/** What cannot be read again is not written. */
function put(kind: string, file: string, entry: Entry<unknown>): void {
  const text = printState(entry)
  try {
    understood(kind, parseState(text))
    replaceState(files, file, text, draftsOf(kind, file))
  } catch (thrown) {
    throw new CniError(codes.ioFailure, `cannot write ${file}`, {
      details: messageOf(thrown),
      fix:
        scarce[errnoOf(thrown) ?? ''] ??
        `make ${stateRoot} a writable directory with space: it keeps what DEL has to remove`,
      cause: thrown,
    })
  }
}

/** What is no record, and never becomes one by another try. */
const inTheWay: Readonly<Record<string, string>> = {
  EISDIR: 'is a directory',
  ELOOP: 'is below a symbolic link that leads nowhere',
}

function remove(host: RecordHost, file: string): void {
  try {
    // An error costs ten times a look, and a DEL mostly comes again.
    if (files.lstatSync(file, { throwIfNoEntry: false })) files.unlinkSync(file)
  } catch (thrown) {
    if (isAbsent(thrown)) return
    const why = inTheWay[errnoOf(thrown) ?? '']
    if (why === undefined)
      throw new CniError(codes.ioFailure, `cannot remove ${file}`, { cause: thrown, details: messageOf(thrown) })
    skip(host, file, why)
  }
}

function clear(host: RecordHost, prefix: string): void {
  try {
    clearDrafts(files, { directory: draftDirectory(), prefix })
  } catch (thrown) {
    skip(host, draftDirectory(), whyUnusable(thrown))
  }
}

function listed(host: RecordHost, directory: string): readonly string[] {
  try {
    // podwire 0.1.0 wrote its drafts beside the records.
    return namesIn(files, directory).filter((name) => !name.endsWith('.new'))
  } catch (thrown) {
    skip(host, directory, whyUnusable(thrown))
    return []
  }
}

/** An unusable record counts as absent: the slower search by comment then finds the rules. */
function read<Data>(host: RecordHost, kind: string, file: string): Entry<Data> | undefined {
  try {
    const text = files.lstatSync(file, { throwIfNoEntry: false }) && readState(files, file)
    return text === undefined ? undefined : (understood(kind, parseState(text)) as Entry<Data>)
  } catch (thrown) {
    skip(host, file, whyUnusable(thrown))
    return undefined
  }
}

function skip(host: RecordHost, path: string, why: string): void {
  host.warn(`podwire: ${path} ${why}: it is skipped; remove it, unless another version of podwire needs it`)
}

function accepted(name: string, value: unknown): unknown {
  const shape = shapes[`state.${name}`]
  if (!shape) throw new Error(`records of the kind ${name} have no schema`)
  const { value: taken, problems } = accept(value, shape)
  const [problem] = problems
  if (problem) throw new Unusable(`is no record of ${name}: ${problem.path}: expected ${problem.expected}`)
  return taken
}

/** podwire 0.1.0 had in its data a path, or of portmap path, inode and boot. */
function netnsOf010({ netns, boot }: Record<string, unknown>): Netns | undefined {
  if (typeof netns === 'string') return { path: netns }
  if (typeof netns !== 'object' || netns === null || typeof boot !== 'string') return undefined
  const { path, inode } = netns as Record<string, unknown>
  return typeof path === 'string' && Number.isSafeInteger(inode) ? { path, boot, inode: inode as number } : undefined
}

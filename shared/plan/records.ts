import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { attachmentHash } from '../net/names.js'
import { CniError, codes } from '../protocol/errors.js'
import type { Attachment } from '../protocol/plugin.js'
import type { Host } from './host.js'
import type { Writing } from './writable.js'

/**
 * What DEL and GC need to know about an attachment and nobody else keeps: the keys of its rules. Written before the
 * rules are made, removed after they are gone, on a file system that a reboot empties together with the kernel's rules:
 * so a rule of ours always has a record, whatever was killed in between. `Data` must be JSON.
 */
export interface Entry<Data> {
  readonly attachment: Attachment
  readonly data: Data
}

const root = '/run/podwire'

/**
 * Notes what an ADD is about to make; taken back when the ADD fails. `kind` is the plugin's name; records that are looked
 * for by something else than their network lie in a `folder` of that name.
 */
export function writeRecord<Data>(
  host: Host,
  kind: string,
  attachment: Attachment,
  data: Data,
  folder = attachment.network,
): void {
  const file = fileOf(kind, attachment, folder)
  host.change(`note ${kind} of ${attachment.network}/${attachment.containerID} in ${file}`, () => {
    const before = parse<Data>(file)
    host.journal.note(() => {
      if (before) put(file, { attachment, data: before.data })
      else rmSync(file, { force: true })
      return []
    })
    put(file, { attachment, data })
  })
}

export function readRecord<Data>(
  kind: string,
  attachment: Attachment,
  folder = attachment.network,
): Entry<Data> | undefined {
  return parse(fileOf(kind, attachment, folder))
}

export function removeRecord(host: Host, kind: string, attachment: Attachment, folder = attachment.network): void {
  const file = fileOf(kind, attachment, folder)
  host.change(`forget ${file}`, () => {
    // An ADD that was killed while it wrote may have left the unfinished one.
    for (const path of [`${file}.new`, file]) rmSync(path, { force: true })
  })
}

/** The records of one network that no valid attachment owns: what GC removes. */
export function staleRecords<Data>(
  kind: string,
  network: string,
  valid: readonly { containerID: string; ifname: string }[],
): readonly Entry<Data>[] {
  const alive = new Set(valid.map(({ containerID, ifname }) => `${containerID}/${ifname}`))
  return allRecords<Data>(kind, network).filter(
    ({ attachment }) => !alive.has(`${attachment.containerID}/${attachment.ifName}`),
  )
}

/** What an ADD writes that notes a record of each kind. */
export function recordWritings(network: string, ...kinds: readonly string[]): readonly Writing[] {
  return kinds.map((kind) => ({ directory: directoryOf(kind, network) }))
}

/** Every record of one network, or in one folder. */
export function allRecords<Data>(kind: string, folder: string): readonly Entry<Data>[] {
  const directory = directoryOf(kind, folder)
  return namesIn(directory)
    .map((name) => parse<Data>(`${directory}/${name}`))
    .filter((entry) => entry !== undefined)
}

/** Every record of a kind, whatever its network: for what attachments of different networks compete for. */
export function recordsOfAllNetworks<Data>(kind: string): readonly Entry<Data>[] {
  return namesIn(`${root}/${kind}`).flatMap((network) => allRecords<Data>(kind, network))
}

/** Makes the directory that records of a kind, and a lock beside them, lie in. @throws code 5 */
export function recordsDirectory(): string {
  makeDirectory(root)
  return root
}

// --- internal

function directoryOf(kind: string, folder: string): string {
  return `${root}/${kind}/${folder}`
}

function fileOf(kind: string, attachment: Attachment, folder = attachment.network): string {
  return `${directoryOf(kind, folder)}/${attachmentHash(attachment)}`
}

/** Written beside and renamed, so that a reader sees all of it or nothing. */
function put(file: string, entry: Entry<unknown>): void {
  makeDirectory(file.slice(0, file.lastIndexOf('/')))
  try {
    writeFileSync(`${file}.new`, JSON.stringify(entry), { mode: 0o600 })
    renameSync(`${file}.new`, file)
  } catch (thrown) {
    throw unwritable(file, thrown)
  }
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw unwritable(path, thrown)
  }
}

function unwritable(path: string, thrown: unknown): CniError {
  return new CniError(codes.ioFailure, `cannot write ${path}`, {
    details: (thrown as Error).message,
    fix: `make ${root} writable: it keeps what DEL has to remove`,
  })
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter((name) => !name.endsWith('.new'))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw thrown
  }
}

/** An unreadable record counts as absent: the slower search by comment then finds the rules. */
function parse<Data>(file: string): Entry<Data> | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

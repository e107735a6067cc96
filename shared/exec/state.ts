import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { errnoOf, isAbsent, isLack, messageOf } from '../values/errno.js'
import { makeDirectories } from './directories.js'

// How every file is read and written that a call leaves for a later one: records, original values, leases, locks. A
// file may be garbled or planted, and a writer may be killed or run out of space at any moment. So reading never
// follows a link, waits or takes more than a bound; writing is whole or nothing, and each writer has a draft of its
// own.

/** The system calls of state, in one place: tests break each of them at every turn. */
export const systemStateFiles = {
  closeSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
}

export type StateFiles = typeof systemStateFiles

/**
 * Where state lies that a reboot ends: a file system that it empties together with the kernel's rules and links. Nobody
 * else looks in.
 */
export let stateRoot = '/run/podwire'

/** Lets state lie elsewhere: each unit test that writes some has a directory of its own. */
export function keepStateIn(directory: string): void {
  stateRoot = directory
}

/** Where host-local's leases lie unless the configuration says another place: a reboot leaves them. */
export const leaseRoot = '/var/lib/cni/networks'

/** The version of what is written; that of podwire 0.1.0 named none. Others are somebody else's. */
export const stateVersion = 2

/** Bytes of the largest file that is read, and so written. */
export const mostBytes = 4 * 1024 * 1024

/** Why a file is not used: words that follow its name. */
export class Unusable extends Error {}

/**
 * The text of a file; undefined where there is none.
 * @param options.follows for files of people, which may be symbolic links
 * @throws Unusable, or the system's error (EIO, EMFILE, ...) where another look may find it whole
 */
export function readState(files: StateFiles, path: string, { follows = false } = {}): string | undefined {
  const noLink = follows ? 0 : constants.O_NOFOLLOW
  let fd: number
  try {
    fd = files.openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | noLink)
  } catch (thrown) {
    if (isAbsent(thrown)) return undefined
    const why = unusable[errnoOf(thrown) ?? '']
    throw why === undefined ? thrown : new Unusable(why)
  }
  try {
    const status = files.fstatSync(fd)
    if (!status.isFile() && !follows) throw new Unusable('is no regular file')
    if (status.size > mostBytes) throw new Unusable(`has ${status.size} bytes, more than ${mostBytes}`)
    return readBytes(files, fd, follows && status.size === 0 ? someBytes : status.size)
  } finally {
    files.closeSync(fd)
  }
}

/** The object that a text of state holds. @throws Unusable */
export function parseState(text: string): Readonly<Record<string, unknown>> {
  try {
    return asState(JSON.parse(text))
  } catch (thrown) {
    if (thrown instanceof Unusable) throw thrown
    throw new Unusable(`is no JSON: ${messageOf(thrown)}`)
  }
}

/** A value that is an object of a version this podwire knows. @throws Unusable */
export function asState(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Unusable('is no JSON object')
  const { version = 1 } = value as { version?: unknown }
  if (version !== 1 && version !== stateVersion) throw new Unusable('is of another version of podwire')
  return value as Record<string, unknown>
}

/** The text of an object of state, with the version. */
export function printState(value: object): string {
  return JSON.stringify({ version: stateVersion, ...value })
}

/**
 * Writes a new file whose content has reached the disk when this returns, unless that does not matter; whatever stops
 * it, no file is left.
 */
export function writeNew(files: StateFiles, path: string, text: string, { isDurable = true } = {}): void {
  const fd = files.openSync(path, 'wx', 0o600)
  try {
    try {
      writeBytes(files, fd, Buffer.from(text))
      if (isDurable) files.fsyncSync(fd)
    } finally {
      // NFS says only here that there was no space.
      files.closeSync(fd)
    }
  } catch (thrown) {
    discard(files, path)
    throw thrown
  }
}

/** Where the drafts of a file lie, on its own file system, and how their names begin. */
export interface Drafts {
  readonly directory: string
  readonly prefix: string
}

/**
 * Replaces a file by another that was written beside it, so that a reader sees all of either. Directories are made at
 * need. A draft that somebody clears meanwhile is written again, so clearing needs no lock.
 */
export function replaceState(files: StateFiles, file: string, text: string, { directory, prefix }: Drafts): void {
  if (Buffer.byteLength(text) > mostBytes) throw new Error(`${file} would have more than ${mostBytes} bytes`)
  for (let attempt = 1; ; attempt++) {
    const draft = `${directory}/${prefix}${uniqueName(files, attempt)}`
    try {
      writeNew(files, draft, text)
      files.renameSync(draft, file)
      return
    } catch (thrown) {
      discard(files, draft)
      const errno = errnoOf(thrown)
      if (attempt === attempts || (errno !== 'ENOENT' && errno !== 'EEXIST')) throw thrown
      for (const one of [directory, folderOf(file)]) makeDirectories(one, 0o700, files.mkdirSync)
    }
  }
}

/** Clears the drafts whose writers were killed. */
export function clearDrafts(files: StateFiles, { directory, prefix }: Drafts): void {
  for (const name of namesIn(files, directory)) if (name.startsWith(prefix)) discard(files, `${directory}/${name}`)
}

/** What a path itself leads to; undefined where nothing is, also because a file stands in the way. */
export function statusOf(files: Pick<StateFiles, 'lstatSync'>, path: string): Stats | undefined {
  try {
    return files.lstatSync(path, { throwIfNoEntry: false })
  } catch (thrown) {
    if (isAbsent(thrown)) return undefined
    throw thrown
  }
}

/** The names in a directory that is one; none where there is none. @throws Unusable, or the system's error */
export function namesIn(files: StateFiles, directory: string): readonly string[] {
  const status = files.lstatSync(directory, { throwIfNoEntry: false })
  if (status === undefined) return []
  if (!status.isDirectory()) throw new Unusable('is no directory')
  try {
    return files.readdirSync(directory)
  } catch (thrown) {
    if (isAbsent(thrown)) return []
    throw thrown
  }
}

/** Why a file is not used, of what reading it has thrown. @throws what is no matter of the file */
export function whyUnusable(thrown: unknown): string {
  if (thrown instanceof Unusable) return thrown.message
  if (errnoOf(thrown) === undefined || isLack(thrown)) throw thrown
  return `cannot be read: ${messageOf(thrown)}`
}

// --- internal

/** What opening says of files that no other look finds better. */
const unusable: Readonly<Record<string, string>> = {
  ELOOP: 'is a symbolic link',
  ENXIO: 'is no regular file',
  ENODEV: 'is no regular file',
  EACCES: 'may not be read',
  EPERM: 'may not be read',
}

/** As much as is read of what has no size, such as /dev/null. */
const someBytes = 64 * 1024

/** How often a file is written that others keep in the way of: drafts cleared, directories removed. */
const attempts = 10

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

/** Reads what was there at the look; a file that grows meanwhile gets no more. */
function readBytes(files: StateFiles, fd: number, size: number): string {
  const bytes = Buffer.alloc(size)
  let length = 0
  while (length < size) {
    const read = files.readSync(fd, bytes, length, size - length, null)
    if (read === 0) break
    length += read
  }
  return bytes.toString('utf8', 0, length)
}

/** The system may take a part only, where space or a limit ends: the next call then says why. */
function writeBytes(files: StateFiles, fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const written = files.writeSync(fd, bytes, at)
    if (written === 0) throw Object.assign(new Error('ENOSPC: no byte was written'), { code: 'ENOSPC' })
    at += written
  }
}

/** For what is left over anyway: an error that stopped the writer is the one to tell. */
function discard(files: StateFiles, path: string): void {
  try {
    files.unlinkSync(path)
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
  }
}

/** A name that no other process gives a draft at this moment, in whatever pid namespace it is. */
function uniqueName(files: StateFiles, attempt: number): string {
  return `${files.readlinkSync('/proc/self')}.${Date.now().toString(36)}.${attempt}`
}

import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { CniError, codes } from '../shared/protocol/errors.js'

/** The system calls the lease store makes, in one place: tests break each of them at every turn. */
export const systemLeaseFiles = {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
}

export type LeaseFiles = typeof systemLeaseFiles

/** The errno name of a system call's error (ENOENT, ...). */
export function errnoOf(thrown: unknown): string | undefined {
  return (thrown as NodeJS.ErrnoException | undefined)?.code
}

/** What `body` returns, or undefined when the file system answers with one of the errno names. */
export function unless<T>(errnos: readonly string[], body: () => T): T | undefined {
  try {
    return body()
  } catch (thrown) {
    if (errnos.includes(errnoOf(thrown) ?? '')) return undefined
    throw thrown
  }
}

/** Runs `body`; a system error says what could not be done. @throws code 5 */
export function reaching<T>(what: string, body: () => T): T {
  try {
    return body()
  } catch (thrown) {
    const errno = errnoOf(thrown)
    if (thrown instanceof CniError || errno === undefined) throw thrown
    const fix = fixes[errno]
    const details = (thrown as Error).message
    throw new CniError(codes.ioFailure, `cannot ${what}`, { details, cause: thrown, ...(fix ? { fix } : {}) })
  }
}

/** Writes a new file whose content has reached the disk when this returns; a leftover of that name is replaced. */
export function writeDurably(files: LeaseFiles, path: string, text: string): void {
  unless(['ENOENT'], () => files.unlinkSync(path))
  const fd = files.openSync(path, 'wx', 0o600)
  try {
    files.writeSync(fd, text)
    files.fsyncSync(fd)
  } finally {
    files.closeSync(fd)
  }
}

/** Makes the names in a directory durable. */
export function syncDirectory(files: LeaseFiles, path: string): void {
  const fd = files.openSync(path, 'r')
  try {
    files.fsyncSync(fd)
  } finally {
    files.closeSync(fd)
  }
}

// --- internal

const fixes: Record<string, string> = {
  EACCES: 'run the plugin as root, or give it write access to ipam.dataDir',
  ENOSPC: 'free space or inodes on the file system of ipam.dataDir',
  ENOTDIR: 'ipam.dataDir must lead through directories only',
  EROFS: 'point ipam.dataDir to a writable file system',
}

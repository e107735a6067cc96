import { linkSync, readFileSync, symlinkSync, utimesSync } from 'node:fs'
import { readState, systemStateFiles, Unusable, writeNew } from '../../shared/exec/state.js'
import { errnoOf, messageOf, scarce } from '../../shared/values/errno.js'
import { CniError, codes } from '../../shared/values/errors.js'

/** The system calls the lease store makes, in one place: tests break each of them at every turn. */
export const systemLeaseFiles = { ...systemStateFiles, linkSync, readFileSync, symlinkSync, utimesSync }

export type LeaseFiles = typeof systemLeaseFiles

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
    const fix = fixes[errno] ?? scarce[errno]
    const details = messageOf(thrown)
    throw new CniError(codes.ioFailure, `cannot ${what}`, { details, cause: thrown, ...(fix ? { fix } : {}) })
  }
}

/** Writes a draft under the lock, as writeNew does; a leftover of that name is replaced. */
export function writeDraft(files: LeaseFiles, path: string, text: string, options: { isDurable: boolean }): void {
  unless(['ENOENT'], () => files.unlinkSync(path))
  writeNew(files, path, text, options)
}

/**
 * The text of a file beside the leases; undefined where there is none, or none that can be used, which is only told of.
 */
export function readBeside(files: LeaseFiles, path: string, warn: (text: string) => void): string | undefined {
  try {
    return readState(files, path)
  } catch (thrown) {
    if (!(thrown instanceof Unusable)) throw thrown
    warn(`host-local: ${path} ${thrown.message}: it is skipped`)
    return undefined
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
  EDQUOT: 'raise the quota on the file system of ipam.dataDir, or free space',
  ENOSPC: 'free space or inodes on the file system of ipam.dataDir',
  ENOTDIR: 'ipam.dataDir must lead through directories only',
  EROFS: 'point ipam.dataDir to a writable file system',
}

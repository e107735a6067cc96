import { closeSync, fsyncSync, lstatSync, openSync } from 'node:fs'
import path from 'node:path'
import { errnoOf, messageOf } from '../../shared/values/errno.js'

/** Brings a file, or what a folder holds, to the disk. */
export function sync(file: string): void {
  const fd = openSync(file, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * The message of an error, and whose the file or its folder is, where that is somebody else's: root may change nothing
 * of others without the capabilities for that, which a container mostly has not.
 * @param user who asked
 */
export function refusalOf(thrown: unknown, user = process.geteuid?.()): string {
  const errno = errnoOf(thrown)
  const { path: file } = (thrown ?? {}) as NodeJS.ErrnoException
  const message = messageOf(thrown)
  if (file === undefined || (errno !== 'EACCES' && errno !== 'EPERM')) return message
  const others = [file, path.dirname(file)].flatMap((one) => {
    const owner = ownerOf(one)
    return owner === undefined || owner === user ? [] : [`: ${one} belongs to user ${owner}: make it that of ${user}`]
  })
  return message + (others[0] ?? '')
}

// --- internal

/** The user whose a file is; undefined where there is none, or it cannot be seen. */
function ownerOf(file: string): number | undefined {
  try {
    return lstatSync(file, { throwIfNoEntry: false })?.uid
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return undefined
  }
}

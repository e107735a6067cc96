import { constants, rmdirSync } from 'node:fs'
import { makeDirectories } from '../../shared/exec/directories.js'
import { withOwnLock } from '../../shared/exec/lock.js'
import { systemStateFiles as files, namesIn, stateRoot, whyUnusable } from '../../shared/exec/state.js'
import type { Writing } from '../../shared/exec/writable.js'
import type { Host } from '../../shared/plan/host.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { errnoOf, messageOf } from '../../shared/values/errno.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'

/**
 * Who wants a rule that several attachments can want: the isolation of a bridge, or the admission of an address that a
 * dead container's late DEL names too. One empty file a holder, so that asking costs one readdir whatever the node
 * carries; it lies where a reboot empties it together with the kernel's rules.
 */
export function hold(host: Host, thing: string, attachment: Attachment): void {
  put(host, thing, attachmentHash(attachment))
}

export function release(host: Host, thing: string, attachment: Attachment): void {
  host.change(`no longer hold ${thing}`, () => remove(host, thing, attachmentHash(attachment)))
}

/** True where the attachment holds a thing already. */
export function holds(host: Host, thing: string, attachment: Attachment): boolean {
  return holders(host, thing).includes(attachmentHash(attachment))
}

/** How many others hold a thing. */
export function othersHolding(host: Host, thing: string, attachment: Attachment): number {
  const own = attachmentHash(attachment)
  return holders(host, thing).filter((name) => name !== own).length
}

/** Holds the lock of everything that is looked at first and changed then; in a dry run nothing changes. */
export function exclusively<T>(host: Host, body: () => T): T {
  return withOwnLock(host, `${folder}/lock`, body)
}

const folder = 'firewall-holders'

/** What an ADD writes that holds a thing. */
export const holderWriting: Writing = { directory: `${stateRoot}/${folder}` }

// --- internal

function directoryOf(thing: string): string {
  return `${stateRoot}/${folder}/${thing}`
}

/** What is no directory has no names, which is only told of. 0.1.0 wrote "official", which no attachment is called. */
function holders(host: Host, thing: string): readonly string[] {
  const directory = directoryOf(thing)
  try {
    return namesIn(files, directory).filter((name) => name !== 'official')
  } catch (thrown) {
    host.warn(`firewall: ${directory} ${whyUnusable(thrown)}: it is skipped`)
    return []
  }
}

function put(host: Host, thing: string, name: string): void {
  host.change(`hold ${thing}`, () => {
    if (holders(host, thing).includes(name)) return
    host.journal.note(() => {
      try {
        remove(host, thing, name)
        return []
      } catch (thrown) {
        return [asCniError(thrown)]
      }
    })
    writeEmpty(directoryOf(thing), name)
  })
}

/** Another holder's release may take the empty directory away between our calls: then all is made again. */
function writeEmpty(directory: string, name: string): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
  for (let attempt = 1; ; attempt++) {
    try {
      files.closeSync(files.openSync(`${directory}/${name}`, flags, 0o600))
      return
    } catch (thrown) {
      if (errnoOf(thrown) !== 'ENOENT' || attempt === attempts) throw failed('write', `${directory}/${name}`, thrown)
      makeDirectory(directory)
    }
  }
}

const attempts = 10

function remove(host: Host, thing: string, name: string): void {
  const directory = directoryOf(thing)
  const tolerated = ['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EISDIR', 'ELOOP']
  for (const [way, path] of [
    [files.unlinkSync, `${directory}/${name}`],
    [rmdirSync, directory],
  ] as const) {
    try {
      way(path)
    } catch (thrown) {
      if (!tolerated.includes(errnoOf(thrown) ?? '')) throw failed('remove', path, thrown)
      if (errnoOf(thrown) === 'EISDIR') host.warn(`firewall: ${path} is a directory: it is skipped`)
    }
  }
}

function makeDirectory(directory: string): void {
  try {
    makeDirectories(directory, 0o700, files.mkdirSync)
  } catch (thrown) {
    throw failed('write', directory, thrown)
  }
}

function failed(to: 'write' | 'remove', path: string, thrown: unknown): CniError {
  return new CniError(codes.ioFailure, `cannot ${to} ${path}`, { details: messageOf(thrown), cause: thrown })
}

import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { withLock } from '../shared/exec/lock.js'
import { attachmentHash } from '../shared/net/names.js'
import type { Host } from '../shared/plan/host.js'
import type { Writing } from '../shared/plan/writable.js'
import { asCniError, CniError, codes } from '../shared/protocol/errors.js'
import type { Attachment } from '../shared/protocol/plugin.js'

/**
 * Who wants a rule that several attachments can want: the isolation of a bridge, or the admission of an address that a
 * dead container's late DEL names too. One empty file a holder, so that asking costs one readdir whatever the node
 * carries; it lies where a reboot empties it together with the kernel's rules.
 */
export function hold(host: Host, thing: string, attachment: Attachment): void {
  put(host, thing, attachmentHash(attachment))
}

/** Notes that the official suite, whose attachments nobody can count, wants it too: it then stays for good. */
export function holdForOfficialSuite(host: Host, thing: string): void {
  put(host, thing, 'official')
}

export function release(host: Host, thing: string, attachment: Attachment): void {
  host.change(`no longer hold ${thing}`, () => remove(thing, attachmentHash(attachment)))
}

/** True where the attachment holds a thing already. */
export function holds(thing: string, attachment: Attachment): boolean {
  return namesIn(directoryOf(thing)).includes(attachmentHash(attachment))
}

/** How many others hold a thing. */
export function othersHolding(thing: string, attachment: Attachment): number {
  const own = attachmentHash(attachment)
  return namesIn(directoryOf(thing)).filter((name) => name !== own).length
}

/** Holds the lock of everything that is looked at first and changed then; in a dry run nothing changes. */
export function exclusively(host: Host, body: () => void): void {
  if (host.dryRun) body()
  else {
    makeDirectory(root)
    withLock(`${root}/lock`, body, { host })
  }
}

const root = '/run/podwire/firewall-holders'

/** What an ADD writes that holds a thing. */
export const holderWriting: Writing = { directory: root }

// --- internal

function directoryOf(thing: string): string {
  return `${root}/${thing}`
}

function put(host: Host, thing: string, name: string): void {
  host.change(`hold ${thing}`, () => {
    const directory = directoryOf(thing)
    if (namesIn(directory).includes(name)) return
    host.journal.note(() => {
      try {
        remove(thing, name)
        return []
      } catch (thrown) {
        return [asCniError(thrown)]
      }
    })
    writeEmpty(directory, name)
  })
}

/** Another holder's release may take the empty directory away between our two calls: then both are made again. */
function writeEmpty(directory: string, name: string, attempts = 10): void {
  makeDirectory(directory)
  try {
    writeFileSync(`${directory}/${name}`, '', { mode: 0o600 })
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code !== 'ENOENT' || attempts === 0) {
      throw new CniError(codes.ioFailure, `cannot write ${directory}/${name}`, { details: message })
    }
    writeEmpty(directory, name, attempts - 1)
  }
}

function remove(thing: string, name: string): void {
  const directory = directoryOf(thing)
  rmSync(`${directory}/${name}`, { force: true })
  try {
    rmdirSync(directory)
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw thrown
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw new CniError(codes.ioFailure, `cannot make ${directory}`, { details: (thrown as Error).message })
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw thrown
  }
}

import { statSync } from 'node:fs'
import type { Attachment } from '../values/attachment.js'
import { errnoOf } from '../values/errno.js'
import { CniError, codes } from '../values/errors.js'
import type { Run } from './command.js'
import { type Held, type LockOptions, takeOwnLock } from './lock.js'
import { namesIn, stateRoot, systemStateFiles, whyUnusable } from './state.js'

/**
 * Runtimes that lose patience kill the plugin and nobody else: a tool it has started goes on, and what that does then
 * comes after a DEL that found nothing. So each tool has a further open file, whose lock lasts until the plugin and all
 * its tools are gone: whoever changes the attachment next waits for that. Where nothing was killed there is no such
 * file, and one look says so.
 */
export interface ToolLock {
  /** Starts processes that hold the lock, which is taken at the first. */
  readonly run: Run
  /**
   * Waits for what earlier calls have started: for the attachment, and by a GC of its network; before a GC, for all but
   * the valid attachments.
   * @throws code 11 naming who is in the way
   */
  readonly waitForEarlier: (valid?: readonly { containerID: string; ifname: string }[]) => void
  readonly release: () => void
}

/** Of one attachment, or of the GC of a network where that has no container. */
export function createToolLock(
  attachment: Attachment,
  { host, warn }: Pick<LockOptions, 'host'> & { warn: (text: string) => void },
): ToolLock {
  const { network } = attachment
  const isOfGC = attachment.containerID === ''
  const [own, ofGC] = [pathOf(attachment), pathOf(garbageCollection(network))]
  let held: Held | undefined
  let isBroken = false
  /** A tool that was killed because it took too long may be in a system call that does not end. */
  let mayGoOn = false

  const take = (path: string, seconds: number): Held | undefined => {
    try {
      return takeOwnLock(path, { host, seconds, purpose })
    } catch (thrown) {
      // Where no state can be written, whatever needs some says so.
      if (!(thrown instanceof CniError) || thrown.code !== codes.ioFailure) throw thrown
      warn(`podwire: tools go on without a lock: ${thrown.message}: ${thrown.details}\n`)
      return undefined
    }
  }
  const hold = (): Held | undefined => {
    if (held || isBroken) return held
    held = take(own, patience)
    isBroken = held === undefined
    return held
  }
  return {
    run: (command) => {
      // Another plugin's time is its own, and who waits for another lock changes nothing.
      if (command.env || command.argv[0] === 'flock') return host.run(command)
      const lock = hold()?.fd
      const outcome = host.run(lock === undefined ? command : { ...command, lock })
      mayGoOn ||= outcome.exceeded ?? false
      return outcome
    },
    waitForEarlier: (valid) => {
      if (isThere(own)) hold()
      const others = isOfGC ? locksOf(network, [own, ...validPaths(network, valid)]) : [ofGC].filter(isThere)
      const end = performance.now() + patience * 1000
      for (const path of others) take(path, Math.max(0, Math.ceil((end - performance.now()) / 1000)))?.release()
    },
    release: () => {
      held?.release({ keepsFile: mayGoOn })
      held = undefined
    },
  }
}

/**
 * Takes the lock of an attachment whose calls shall wait: one that begins waits, and what an earlier one started is
 * waited for.
 * @throws code 11 naming who is in the way
 */
export function holdTools(attachment: Attachment, host: LockOptions['host'], seconds: number): Held {
  return takeOwnLock(pathOf(attachment), { host, seconds, purpose })
}

// --- internal

/** How long it is waited, in seconds: as long as a tool may take whose plugin lives. */
const patience = 30

const purpose = {
  message: 'what an earlier call for this attachment started is still at work',
  fix: 'repeat the call when it has ended; if it never does, look what it waits for, and end it',
}

/** A GC is for no attachment, but it changes what attachments had. */
function garbageCollection(network: string): Attachment {
  return { network, containerID: '', ifName: '' }
}

const prefix = 'tools-'

/** The network comes first, for a GC. */
function pathOf({ network, containerID, ifName }: Attachment): string {
  return `${stateRoot}/${startOf(network)}${shortened(`${containerID}/${ifName}`)}.lock`
}

function startOf(network: string): string {
  return `${prefix}${shortened(network)}-`
}

/**
 * A name may be longer than a file's. FNV-1a of 32 bits: where two have the same, one waits for the other's tools, and
 * no more; SHA-512 would cost every call.
 */
function shortened(name: string): string {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  return (hash >>> 0).toString(16)
}

function validPaths(network: string, valid: Parameters<ToolLock['waitForEarlier']>[0] = []): readonly string[] {
  return valid.map(({ containerID, ifname }) => pathOf({ network, containerID, ifName: ifname }))
}

function locksOf(network: string, without: readonly string[]): readonly string[] {
  try {
    const names = namesIn(systemStateFiles, stateRoot).filter((name) => name.startsWith(startOf(network)))
    return names.map((name) => `${stateRoot}/${name}`).filter((path) => !without.includes(path))
  } catch (thrown) {
    // Where it cannot be looked at, no earlier call can have made one; a lack of open files is thrown.
    whyUnusable(thrown)
    return []
  }
}

/** Where it cannot be looked at, no earlier call can have made it. */
function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return false
  }
}

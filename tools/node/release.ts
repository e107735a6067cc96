import { currentEpoch } from '../../ipam/host-local/epoch.js'
import { systemLeaseFiles } from '../../ipam/host-local/files.js'
import { ownerOf } from '../../ipam/host-local/lease.js'
import { openStore } from '../../ipam/host-local/store.js'
import { stampOf } from '../../ipam/host-local/view.js'
import { isUnlocked, withLock } from '../../shared/exec/lock.js'
import { holdTools } from '../../shared/exec/tool-lock.js'
import { createHost, type Host } from '../../shared/plan/host.js'
import { createMachine } from '../../shared/tools/machine.js'
import { asCniError } from '../../shared/values/errors.js'
import { type Kernel, ownKernel } from './kernel.js'
import type { EmptyLease, StoredLease } from './leases.js'
import { lifeOf } from './life.js'
import { ownMeans } from './machine.js'
import type { KnownAttachment } from './node.js'

// What takes something from an attachment. Death is proven again with the locks held that the plugins take, so that
// nobody comes to life in between: a call of podwire's for the attachment waits for its lock, every host-local for that
// of the network's leases, and a plugin at work for the container shows in /proc.

/** Why an attachment is left alone for now; undefined where it may be taken. */
export function reprieve(attachment: KnownAttachment, kernel: Kernel, now = Date.now()): string | undefined {
  const { state, how } = lifeOf(attachment.signs, kernel)
  if (state !== 'dead') return how
  if (isYoung(attachment.touched, now)) return `it is younger than ${graceMinutes} minutes`
  const [call] = kernel.callsFor(attachment.containerID)
  return call === undefined ? undefined : `process ${call} is at work for it`
}

/** Also what a clock that was set back has from the future. */
export function isYoung(modified: number, now = Date.now()): boolean {
  return modified > now - graceMinutes * 60_000
}

/** What is done to one attachment, or why nothing is. */
export type Outcome = { readonly kept: string } | { readonly taken: readonly string[] }

/**
 * Takes from attachments that are still dead, while no call of podwire's plugins for one of them is at work or begins.
 * @param take says what it has taken; what it throws is why nothing, or not all, could be
 */
export function takeFrom(
  attachments: readonly KnownAttachment[],
  warn: (text: string) => void,
  take: (host: Host, attachment: KnownAttachment) => readonly string[],
): readonly Outcome[] {
  const machine = hostMaker(warn)
  const locks = attachments.map((one) => lockOf(one, machine.locking))
  try {
    const kernel = ownKernel()
    return attachments.map((one, at): Outcome => {
      const lock = locks[at]
      if (lock === undefined || 'why' in lock) return { kept: lock?.why ?? '' }
      const why = reprieve(one, kernel) ?? whyChanged(one)
      if (why !== undefined) return { kept: why }
      try {
        return { taken: take(machine.host(lock.fd), one) }
      } catch (thrown) {
        const { message, details } = asCniError(thrown)
        return { kept: [message, details].filter(Boolean).join(': ') }
      }
    })
  } finally {
    for (const lock of locks) if ('release' in lock) lock.release()
  }
}

/** Gives a lease back that is still the same. */
export function release(host: Host, { dataDir, network, file, stamp, containerID, ifName }: StoredLease): void {
  const store = openStore({
    dataDir,
    network,
    files: systemLeaseFiles,
    epoch: currentEpoch(systemLeaseFiles),
    lock: (path, body) => withLock(path, body, { host }),
    isUnlocked: (path) => isUnlocked(path, host),
    warn: host.warn,
  })
  const end = file.lastIndexOf('/')
  const [directory, name] = [file.slice(0, end), file.slice(end + 1)]
  store.change((leases) => {
    const same = leases
      .of({ containerID, ifName })
      .filter((one) => one.file === name && stampOf({ directory, files: systemLeaseFiles }, name) === stamp)
    leases.release(same)
  })
}

/** Removes lease files that name nobody, as long as they do. @returns those that are gone */
export function removeEmpty(leases: readonly EmptyLease[], warn: (text: string) => void): readonly EmptyLease[] {
  const host = hostMaker(warn).locking
  return leases.filter(({ dataDir, network, file, modified }) => {
    if (isYoung(modified)) return false
    return withLock(
      `${dataDir}/${network}/lock`,
      () => {
        const status = systemLeaseFiles.lstatSync(file, { throwIfNoEntry: false })
        if (!status?.isFile() || status.mtimeMs !== modified) return false
        if (ownerOf(systemLeaseFiles.readFileSync(file, 'utf8'))) return false
        systemLeaseFiles.unlinkSync(file)
        return true
      },
      { host },
    )
  })
}

/** Removes a file that nobody has written since. @returns whether it did */
export function removeUnchanged({ file, modified }: { file: string; modified: number }): boolean {
  if (systemLeaseFiles.lstatSync(file, { throwIfNoEntry: false })?.mtimeMs !== modified) return false
  systemLeaseFiles.unlinkSync(file)
  return true
}

// --- internal

/** No younger thing is taken: its runtime may be about to use it. */
const graceMinutes = 10

/** The machine that plugins work on, in this process. */
function hostMaker(warn: (text: string) => void) {
  const { env } = process
  const { run: runner, files, netlink } = ownMeans()
  const locking = { run: runner, observer: createMachine({ run: runner, files }, netlink).observer }
  const host = (lock: number): Host => {
    const run: typeof runner = (command) => runner(command.argv[0] === 'flock' ? command : { ...command, lock })
    const machine = createMachine({ run, files }, netlink)
    return createHost({ machine, run, files, env, dryRun: false, stderr: (text) => warn(text.trimEnd()) })
  }
  return { locking, host }
}

function lockOf(attachment: KnownAttachment, host: Parameters<typeof holdTools>[1]) {
  try {
    return holdTools(attachment, host, 1)
  } catch (thrown) {
    const { message, details } = asCniError(thrown)
    return { why: [message, details].filter(Boolean).join(': ') }
  }
}

/** Why what was found is not what is there: a file of it that was written or removed meanwhile. */
function whyChanged({ records, results, leases }: KnownAttachment): string | undefined {
  const changed = [...records, ...results, ...leases].find(({ file, modified }) => {
    return systemLeaseFiles.lstatSync(file, { throwIfNoEntry: false })?.mtimeMs !== modified
  })
  return changed && `${changed.file} was changed meanwhile`
}

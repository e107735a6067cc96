import type { Host } from '../plan/host.js'
import type { At } from './ip.js'

/**
 * Waits until a link that is up can send: what is sent earlier is refused or lost. Where that does not come to be a
 * warning says so, and the call goes on: not everybody who is asked next needs the link.
 */
export function awaitCarrier(host: Host, at: At): void {
  if (host.dryRun) return
  const end = performance.now() + deadlineMilliseconds
  for (let wait = 1; !carries(host, at, wait > patience); wait = Math.min(2 * wait, 50)) {
    if (performance.now() > end) {
      host.warn(`${at.link} has no carrier after ${deadlineMilliseconds} ms`)
      return
    }
    pause(wait)
  }
}

/** Does nothing for a while. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

// --- internal

const deadlineMilliseconds = 5000

/** Some drivers never tell the state of their links: after about 30 ms of "unknown" it is known to be one of them. */
const patience = 16

function carries(host: Host, { link, netns }: At, isPatient: boolean): boolean {
  const { flags = [], operstate } = host.observer.link(link, netns) ?? {}
  return flags.includes('LOWER_UP') && (operstate === 'UP' || (operstate === 'UNKNOWN' && isPatient))
}

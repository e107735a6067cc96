import type { Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import { CniError, codes } from '../values/errors.js'

/**
 * Applies what a look finds missing. Where another program made a chain of it between look and change, the whole
 * transaction is refused, and what is missing by then is applied.
 * @returns what the last look saw
 */
export function applyMissing<Seen>(host: Host, look: () => Seen, plan: (seen: Seen) => readonly Operation[]): Seen {
  for (let attempt = 1; ; attempt++) {
    const seen = look()
    try {
      host.apply(plan(seen))
      return seen
    } catch (thrown) {
      if (!(thrown instanceof CniError && thrown.code === codes.nameTaken) || attempt === attempts) throw thrown
    }
  }
}

// --- internal

/** Who loses a race makes one step of several at least. */
const attempts = 5

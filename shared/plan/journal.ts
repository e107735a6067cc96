import { asCniError, type CniError } from '../protocol/errors.js'
import { type Hands, sweep } from './apply.js'
import type { Operation } from './operation.js'

/** What this command has done so far: plans, leases, files. A throw anywhere takes it back in reverse order. */
export interface Journal {
  /** Notes an operation that ran; its own `undo` takes it back. */
  readonly ran: (operation: Operation) => void
  /** Notes something that is no operation, with what takes it back. */
  readonly note: (undo: () => readonly CniError[]) => void
  /** Takes everything back, newest first, never stopping; returns what could not be taken back. */
  readonly rollback: (hands: Hands) => readonly CniError[]
}

export function createJournal(): Journal {
  const entries: (Operation | (() => readonly CniError[]))[] = []
  return {
    ran: (operation) => {
      if (operation.undo) entries.push(operation)
    },
    note: (undo) => {
      entries.push(undo)
    },
    rollback: (hands) => {
      const failures: CniError[] = []
      const pending: Operation[] = []
      const flush = () => {
        const plan = pending.splice(0)
        goingOn(failures, () => sweep(plan, hands))
      }
      for (const entry of entries.splice(0).reverse()) {
        if (typeof entry === 'function') {
          flush()
          goingOn(failures, entry)
        } else pending.push(...(entry.undo ?? []))
      }
      flush()
      return failures
    },
  }
}

// --- internal

/** Whatever one undoing throws, the others follow. */
function goingOn(failures: CniError[], body: () => readonly CniError[]): void {
  try {
    failures.push(...body())
  } catch (thrown) {
    failures.push(asCniError(thrown))
  }
}

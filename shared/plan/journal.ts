import { closeSync, openSync } from 'node:fs'
import { asCniError, CniError, codes } from '../values/errors.js'
import { sweep } from './apply.js'
import type { Machine } from './machine.js'
import type { Operation } from './operation.js'

/** What this command has done so far: plans, leases, files. A throw anywhere takes it back in reverse order. */
export interface Journal {
  /**
   * Keeps open files for taking back what is about to be done, so that it can have as many as the doing had: what an
   * ADD holds to its end (a lock, two namespaces and sockets in them) is less. @throws code 11 when there are not so
   * many
   */
  readonly reserve: () => void
  /** Notes an operation that ran; its own `undo` takes it back. */
  readonly ran: (operation: Operation) => void
  /** Notes something that is no operation, with what takes it back. */
  readonly note: (undo: () => readonly CniError[]) => void
  /** Takes everything back, newest first, never stopping; returns what could not be taken back. */
  readonly rollback: (machine: Machine) => readonly CniError[]
}

export function createJournal(): Journal {
  const entries: (Operation | (() => readonly CniError[]))[] = []
  const reserved: number[] = []
  return {
    reserve: () => {
      while (reserved.length < mostHeld) reserved.push(openReserved())
    },
    ran: (operation) => {
      if (operation.undo) entries.push(operation)
    },
    note: (undo) => {
      entries.push(undo)
    },
    rollback: (machine) => {
      reserved.splice(0).forEach(closeSync)
      const failures: CniError[] = []
      const pending: Operation[] = []
      const flush = () => {
        const plan = pending.splice(0)
        goingOn(failures, () => sweep(plan, machine))
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

const mostHeld = 6

function openReserved(): number {
  try {
    return openSync('/', 'r')
  } catch (thrown) {
    throw new CniError(codes.tryAgainLater, 'an ADD needs more open files than this process may have', {
      details: (thrown as Error).message,
      fix: 'raise RLIMIT_NOFILE to 64 or more',
    })
  }
}

import { fstatSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { errnoOf } from '../values/errno.js'

/**
 * The processes that hold a lock of flock(2) on a file that we have open, each as "command (pid)"; none where /proc
 * does not show them. A lock belongs to an open file, which processes inherit: the one that took it may be gone. For
 * errors: it looks at every process.
 */
export function holdersOf(fd: number): readonly string[] {
  const { dev, ino } = fstatSync(fd)
  return namesIn('/proc')
    .filter((name) => Number(name) > 0)
    .filter((pid) =>
      namesIn(`/proc/${pid}/fd`).some((one) => {
        const file = ifThere(() => statSync(`/proc/${pid}/fd/${one}`, { throwIfNoEntry: false }))
        return file?.ino === ino && file.dev === dev && textOf(`/proc/${pid}/fdinfo/${one}`).includes('FLOCK')
      }),
    )
    .map((pid) => `${commandOf(pid)} (pid ${pid})`)
}

// --- internal

const longestCommand = 200

function commandOf(pid: string): string {
  const words = textOf(`/proc/${pid}/cmdline`).split('\0').join(' ').trim()
  return (words || textOf(`/proc/${pid}/comm`).trim() || 'a process').slice(0, longestCommand)
}

function textOf(path: string): string {
  return ifThere(() => readFileSync(path, 'utf8')) ?? ''
}

function namesIn(directory: string): readonly string[] {
  return ifThere(() => readdirSync(directory)) ?? []
}

/** Processes end while one looks, and some may not be looked at. */
function ifThere<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return undefined
  }
}

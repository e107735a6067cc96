import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from './process.js'

const root = '/sys/fs/cgroup'

/** What limits a controller, by the version of cgroups it belongs to. */
const files = {
  pids: { v1: ['pids.max'], v2: ['pids.max'] },
  memory: { v1: ['memory.limit_in_bytes'], v2: ['memory.max'] },
} as const

export type Controller = keyof typeof files

/** Whether it was done, and not refused by that error. */
function unless(code: string, act: () => void): boolean {
  try {
    act()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== code) throw error
    return false
  }
}

/** A cgroup of a test's own; remove() it. */
export class Cgroup {
  readonly #directory: string
  readonly #limits: readonly string[]

  private constructor(directory: string, limits: readonly string[]) {
    this.#directory = directory
    this.#limits = limits
  }

  /**
   * Makes one under the top of its hierarchy, v1 or v2; undefined where this machine lets nobody have the controller.
   */
  static create(controller: Controller): Cgroup | undefined {
    const isV1 = existsSync(join(root, controller, 'cgroup.procs'))
    const top = isV1 ? join(root, controller) : root
    const inV2 = join(root, 'cgroup.subtree_control')
    if (!isV1 && !(existsSync(inV2) && readFileSync(inV2, 'utf8').trim().split(' ').includes(controller)))
      return undefined
    // A process number is none of its own: one that was killed in another process namespace may have left its group.
    const directory = join(top, `podwire-test-${randomUUID()}`)
    mkdirSync(directory)
    return new Cgroup(directory, files[controller][isV1 ? 'v1' : 'v2'])
  }

  /** The file that takes in who writes 0 to it. */
  get processes(): string {
    return join(this.#directory, 'cgroup.procs')
  }

  limit(value: number): void {
    for (const file of this.#limits) writeFileSync(join(this.#directory, file), String(value))
  }

  /** Ends what is left in it, and removes it. */
  async remove(): Promise<void> {
    await until('the cgroup is gone', () => {
      const left = readFileSync(this.processes, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
      for (const pid of left) unless('ESRCH', () => process.kill(Number(pid), 'SIGKILL'))
      // A process leaves its group a moment after it is shown there for the last time.
      return left.length === 0 && unless('EBUSY', () => rmdirSync(this.#directory))
    })
  }
}

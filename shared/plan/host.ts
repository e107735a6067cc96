import type { Run } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import type { ToolLock } from '../exec/tool-lock.js'
import { asCniError, CniError, codes } from '../values/errors.js'
import { apply, sweep } from './apply.js'
import { createJournal, type Journal } from './journal.js'
import type { Machine } from './machine.js'
import type { Operation } from './operation.js'
import { render } from './render.js'

/** The machine a plugin works on: looks through `observer` and `files`, changes only through `apply` and `sweep`. */
export interface Host extends Machine {
  readonly run: Run
  /** Absent where nothing may change, or another plugin of ours waits for this one. */
  readonly toolLock?: ToolLock | undefined
  /** Of a plugin that another one runs in this process. */
  readonly isInner?: true
  readonly files: Files
  /** The caller's environment: what a delegate gets. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly journal: Journal
  /** True when nothing may change: plans are shown instead (PODWIRE_DRY_RUN). */
  readonly dryRun: boolean
  /** Runs a plan; the journal will take it back if anything later throws. */
  readonly apply: (plan: readonly Operation[]) => void
  /** Runs every operation of a removing plan, then throws one error for all that failed. */
  readonly sweep: (plan: readonly Operation[]) => void
  /** Changes a file or asks another plugin to: in a dry run only says so. */
  readonly change: (description: string, body: () => void) => void
  readonly warn: (text: string) => void
  /** Present where the call is traced (PODWIRE_TRACE): appends a line. */
  readonly trace?: ((line: object) => void) | undefined
}

export function createHost(options: {
  machine: Machine
  run: Run
  toolLock?: ToolLock | undefined
  files: Files
  env: Host['env']
  dryRun: boolean
  stderr: (text: string) => void
  trace?: Host['trace']
}): Host {
  const { machine, run, toolLock, files, env, dryRun, stderr, trace } = options
  const journal = createJournal()
  const show = (plan: readonly Operation[]) => stderr(render(plan))
  return {
    ...machine,
    run,
    toolLock,
    files,
    env,
    journal,
    dryRun,
    apply: dryRun ? show : (plan) => apply(plan, machine, journal.ran),
    sweep: dryRun ? show : (plan) => throwTogether(sweep(plan, machine)),
    change: dryRun ? (description) => stderr(`# ${description}\n`) : (_, body) => body(),
    warn: (text) => stderr(`${text}\n`),
    trace,
  }
}

/** One error for several, with the first one's message and all their details; code 11 where another try may do more. */
export function throwTogether(failures: readonly CniError[]): void {
  const [first, ...others] = failures
  if (!first) return
  if (others.length === 0) throw first
  const code = failures.some((one) => one.code === codes.tryAgainLater) ? codes.tryAgainLater : codes.cleanupIncomplete
  throw new CniError(code, `${failures.length} things could not be removed: ${first.message}`, {
    details: failures.map(({ message, details }) => `${message}\n${details}`).join('\n'),
    fix: 'mend the cause and repeat the same DEL or GC: what is gone already is skipped',
  })
}

/** Does each thing whatever the others say, then throws one error for all that failed (for DEL and GC). */
export function attemptAll(...things: readonly (() => void)[]): void {
  const failures: CniError[] = []
  for (const thing of things) {
    try {
      thing()
    } catch (thrown) {
      failures.push(asCniError(thrown))
    }
  }
  throwTogether(failures)
}

import type { Files } from '../exec/files.js'
import type { Run } from '../exec/run.js'
import { type ObservedLink, observeLink, readLinks } from '../net/observe.js'
import { CniError, codes } from '../protocol/errors.js'
import { apply, type Hands, sweep } from './apply.js'
import { createJournal, type Journal } from './journal.js'
import type { Operation } from './operation.js'
import { render } from './render.js'

/** The machine a plugin works on: looks through `run` and `files`, changes only through `apply` and `sweep`. */
export interface Host {
  readonly run: Run
  readonly files: Files
  /** The caller's environment: what a delegate gets. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly journal: Journal
  /** True when nothing may change: plans are shown instead (PODWIRE_DRY_RUN). */
  readonly dryRun: boolean
  /** Runs a plan; the journal will take it back if anything later throws. */
  readonly apply: (plan: readonly Operation[]) => void
  /** Runs a plan, and looks at a link of the host in the same process; in a dry run at the link as it is. */
  readonly applyThenLook: (plan: readonly Operation[], link: string) => ObservedLink | undefined
  /** Runs every operation of a removing plan, then throws one error for all that failed. */
  readonly sweep: (plan: readonly Operation[]) => void
  /** Changes a file or asks another plugin to: in a dry run only says so. */
  readonly change: (description: string, body: () => void) => void
  readonly warn: (text: string) => void
}

export function createHost(options: {
  run: Run
  files: Files
  env: Host['env']
  dryRun: boolean
  stderr: (text: string) => void
}): Host {
  const { run, files, env, dryRun, stderr } = options
  const journal = createJournal()
  const hands: Hands = { run, files }
  const show = (plan: readonly Operation[]) => stderr(render(plan))
  return {
    run,
    files,
    env,
    journal,
    dryRun,
    apply: dryRun ? show : (plan) => apply(plan, hands, journal.ran),
    applyThenLook: (plan, link) => {
      if (dryRun) show(plan)
      if (dryRun) return observeLink(hands, link)
      let found: ObservedLink | undefined
      const answer = (text: string) => {
        found = readLinks(text)[0]
      }
      apply(
        [...plan, { tool: 'ip', argv: ['addr', 'show', 'dev', link], why: `look at ${link}`, answer }],
        hands,
        journal.ran,
      )
      return found
    },
    sweep: dryRun ? show : (plan) => throwTogether(sweep(plan, hands)),
    change: dryRun ? (description) => stderr(`# ${description}\n`) : (_, body) => body(),
    warn: (text) => stderr(`${text}\n`),
  }
}

/** One error for several: the first one's code and message, all their details. */
export function throwTogether(failures: readonly CniError[]): void {
  const [first, ...others] = failures
  if (!first) return
  if (others.length === 0) throw first
  throw new CniError(codes.cleanupIncomplete, `${failures.length} things could not be removed: ${first.message}`, {
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
      if (!(thrown instanceof CniError)) throw thrown
      failures.push(thrown)
    }
  }
  throwTogether(failures)
}

import { runDelegate, type Variables } from '../exec/delegate.js'
import type { Host } from '../plan/host.js'
import type { Verb } from '../values/environment.js'
import { asCniError } from '../values/errors.js'
import { parseDelegateResult, type Result } from '../values/result.js'
import type { Version } from '../values/version.js'

/** A plugin of another file, and what it gets as its environment. */
export interface Program {
  readonly path: string
  readonly env: Variables
}

/**
 * Executes a plugin of another file as the specification says ("Plugin delegation").
 * @returns its stdout
 * @throws its own error, or code 107 where it printed none
 */
export function execute({ run, warn }: Host, { path, env }: Program, verb: Verb, stdin: string): string {
  return runDelegate(run, { path, verb, stdin, env, warn })
}

/**
 * Runs a verb so. When anything later fails, or the ADD itself, `takeBack` takes the ADD back. A dry run only says what
 * would be executed.
 * @returns the result of an ADD that was made
 */
export function runProgram(
  host: Host,
  program: Program,
  verb: Exclude<Verb, 'VERSION'>,
  { stdin, version, takeBack }: { stdin: string; version: Version; takeBack: () => void },
): Result | undefined {
  if (host.dryRun && (verb === 'ADD' || verb === 'DEL' || verb === 'GC')) {
    host.warn(`# CNI_COMMAND=${verb} ${program.path}`)
    return undefined
  }
  if (verb !== 'ADD') return void execute(host, program, verb, stdin)
  host.journal.note(() => {
    try {
      takeBack()
      return []
    } catch (thrown) {
      return [asCniError(thrown)]
    }
  })
  return parseDelegateResult(execute(host, program, verb, stdin), version, `the plugin ${program.path}`)
}

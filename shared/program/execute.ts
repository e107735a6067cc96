import { delegateEnvironment, runDelegate } from '../exec/delegate.js'
import type { Host } from '../plan/host.js'
import type { Verb } from '../values/environment.js'

/**
 * Executes a plugin of another file as the specification says ("Plugin delegation"). If it is one of ours, it does not
 * wait for what holds the attachment: this call does.
 * @returns its stdout
 * @throws its own error, or code 107 where it printed none
 */
export function execute(
  { env, run, warn }: Host,
  { path, type, verb, stdin }: { path: string; type: string; verb: Verb; stdin: string },
): string {
  return runDelegate(run, { path, verb, stdin, env: delegateEnvironment(env, type), warn })
}

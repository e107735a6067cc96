import { statSync } from 'node:fs'
import { CniError, codes } from '../values/errors.js'
import type { Run } from './command.js'

/** A delegate found on CNI_PATH. `own`: it is this very program, so it can run in this process. */
export interface Found {
  readonly path: string
  readonly own: boolean
}

export type Variables = Readonly<Record<string, string | undefined>>

/**
 * Finds a plugin as libcni does: the first regular file of that name in the directories of CNI_PATH.
 * @throws code 107, or 7 for a type that is no file name
 */
export function findDelegate(type: string, cniPath: string): Found {
  if (!isFileName(type)) {
    throw new CniError(codes.invalidConfiguration, `invalid plugin name: ${type}`, {
      problems: [{ path: 'ipam.type', value: type, expected: 'the file name of an IPAM plugin, without "/"' }],
    })
  }
  const found = lookForDelegate(type, cniPath)
  if (found) return found
  throw new CniError(
    codes.delegateFailed,
    `failed to find plugin "${type}" in path [${cniPath.replaceAll(':', ' ')}]`,
    {
      problems: [{ path: 'ipam.type', value: type, expected: 'the name of a plugin in a directory of CNI_PATH' }],
      fix: `install the plugin "${type}" beside the others, or correct ipam.type`,
    },
  )
}

/** The same, or undefined where there is none. */
export function lookForDelegate(type: string, cniPath: string): Found | undefined {
  if (!isFileName(type)) return undefined
  for (const directory of cniPath.split(':')) {
    const path = `${directory === '' ? '.' : directory}/${type}`
    const stat = look(path)
    if (stat?.isFile()) return { path, own: isThisProgram(stat) }
  }
  return undefined
}

/**
 * The variable by which delegates know that they are some: the names in `ipam.type` of all delegations above, with "/"
 * between. It passes through plugins of others, too.
 */
export const delegations = 'PODWIRE_DELEGATIONS'

/** The environment of a delegate. @throws code 7 where delegations lead from one to the next, maybe without end */
export function delegateEnvironment(env: Variables, type: string): Variables {
  const all = [...delegationsAbove(env), type]
  if (all.length > mostDelegations) throw endless(type, `more than ${mostDelegations} delegations: ${all.join(' > ')}`)
  return { ...env, [delegations]: all.join('/') }
}

/**
 * Refuses to be a delegate that would ask for addresses as it is asked itself, by wrappers or copies of this program.
 * Nothing is done by then: the attachment's things are those of who was called for them.
 * @throws code 7
 */
export function refuseLoop(env: Variables, type: string | undefined, plugin: string): void {
  if (env[delegations] === undefined || type === undefined || !delegationsAbove(env).includes(type)) return
  throw endless(type, `"${type}", which starts ${plugin}, is not an IPAM plugin`)
}

/**
 * Runs a delegate with the verb set explicitly and everything else as it came to us (SPEC.md, "Plugin delegation").
 * @returns its stdout
 * @throws its own error unchanged, or code 107 where it printed none
 */
export function runDelegate(
  run: Run,
  options: {
    path: string
    verb: string
    stdin: string
    env: Variables
    warn: (text: string) => void
  },
): string {
  const { path, verb, stdin, warn } = options
  const env = Object.fromEntries(Object.entries(options.env).filter(([, value]) => value !== undefined))
  const outcome = run({ argv: [path], stdin, env: { ...(env as Record<string, string>), CNI_COMMAND: verb } })
  if (outcome.status === 0) {
    if (outcome.stderr !== '') warn(outcome.stderr.trimEnd())
    return outcome.stdout
  }
  const how = outcome.failure ?? (outcome.signal ? `signal: ${outcome.signal}` : `exit status ${outcome.status}`)
  throw printedError(outcome.stdout) ?? silentError({ path, verb, how, stdout: outcome.stdout, stderr: outcome.stderr })
}

/** True for what can be a file in a directory of CNI_PATH. */
export function isFileName(type: string): boolean {
  return !type.includes('/') && type !== '.' && type !== '..' && !type.includes('\0')
}

// --- internal

const mostDelegations = 4

function delegationsAbove(env: Variables): readonly string[] {
  return (env[delegations] ?? '').split('/').filter((one) => one !== '')
}

function endless(type: string, message: string): CniError {
  return new CniError(codes.invalidConfiguration, message, {
    problems: [{ path: 'ipam.type', value: type, expected: 'an IPAM plugin, which asks no other one for addresses' }],
    fix: `correct ipam.type; if it is right, unset ${delegations} where the runtime is started`,
  })
}

let self: { dev: number; ino: number } | undefined

function isThisProgram({ dev, ino }: { dev: number; ino: number }): boolean {
  self ??= statSync('/proc/self/exe')
  return dev === self.dev && ino === self.ino
}

function look(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

function printedError(stdout: string): CniError | undefined {
  try {
    const { code, msg, details } = JSON.parse(stdout)
    if (!Number.isInteger(code) || typeof msg !== 'string') return undefined
    return new CniError(code, msg, { details: typeof details === 'string' ? details : '', complete: true })
  } catch {
    return undefined
  }
}

function silentError(failure: { path: string; verb: string; how: string; stdout: string; stderr: string }): CniError {
  const { path, verb, how, stdout, stderr } = failure
  return new CniError(
    codes.delegateFailed,
    `the plugin ${path} failed at ${verb} without an error of its own: ${how}`,
    {
      official:
        stderr === ''
          ? `netplugin failed with no error message: ${how}`
          : `netplugin failed: ${JSON.stringify(stderr)}`,
      details: `stdout: ${JSON.stringify(stdout)}\nstderr: ${JSON.stringify(stderr)}`,
    },
  )
}

import { appendFileSync } from 'node:fs'
import type { Command, Outcome, Run } from './command.js'
import { inOpenNamespaces } from './open-namespaces.js'
import { findProgram, spawnProcess } from './spawn.js'

/**
 * How long a tool may take, in seconds: far more than a busy machine needs, and less than a runtime waits. Behind one
 * that took longer, as another such one will, those of the same call get less, so that the call ends.
 */
export const patience: Patience = { first: 30, next: 3 }

interface Patience {
  readonly first: number
  readonly next: number
}

const directories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/**
 * A runner whose tools are found in the standard directories first, then on the caller's PATH, and speak C-locale
 * English. With `trace`, each process is appended to that file as one JSON line. A program with its own `env` is
 * another plugin: it opens the namespace by itself.
 */
export function createRunner(options: RunnerOptions = {}): Run {
  const PATH = searchPath(options.callerPath)
  const toolEnvironment = { PATH, LC_ALL: 'C' }
  const { first, next } = options.patience ?? patience
  let seconds = first
  const run: Run = (command) => {
    // How long another plugin may take is the runtime's to say: one may wait for a server.
    if (command.env) return spawnProcess({ ...command, env: command.env }, PATH)
    const outcome = inOpenNamespaces(command, (opened) =>
      spawnProcess({ seconds, ...opened, env: toolEnvironment }, PATH),
    )
    if (outcome.exceeded) seconds = next
    return outcome
  }
  const { trace } = options
  return trace === undefined ? run : (command) => traced(run, trace, command)
}

export interface RunnerOptions {
  readonly callerPath?: string
  readonly trace?: Trace | undefined
  readonly patience?: Patience
}

/** Whether the runner would find a program. */
export function hasProgram(name: string, callerPath: string | undefined): boolean {
  return findProgram(name, searchPath(callerPath)) !== undefined
}

/** Where PODWIRE_TRACE goes. Tracing is looking on: where it fails, the call does not. */
export interface Trace {
  readonly file: string
  readonly warn: (text: string) => void
}

export function appendTrace({ file, warn }: Trace, line: object): void {
  try {
    appendFileSync(file, `${JSON.stringify(line)}\n`, { mode: 0o600 })
  } catch (thrown) {
    warn(`PODWIRE_TRACE: ${(thrown as Error).message}\n`)
  }
}

/** A command as a person would paste it into a shell. */
export function pasteable({ argv }: { readonly argv: readonly string[] }): string {
  return argv.map(shellWord).join(' ')
}

// --- internal

function searchPath(callerPath = ''): string {
  return [...directories, ...(callerPath === '' ? [] : [callerPath])].join(':')
}

function traced(run: Run, trace: Trace, command: Command): Outcome {
  const began = performance.now()
  const outcome = run(command)
  const time = new Date().toISOString()
  const ms = Math.round((performance.now() - began) * 1000) / 1000
  const processes = command.parts?.map((part, index) => ({ ...part, ...partOutcome(outcome, index) })) ?? [
    { ...command, status: outcome.status ?? outcome.signal ?? outcome.failure, stderr: outcome.stderr },
  ]
  for (const { argv, stdin = '', status, stderr } of processes) {
    appendTrace(trace, { time, ms, argv, stdin, status, stderr })
  }
  return outcome
}

/** How one of several commands in a process ended (together.ts); its milliseconds are those of all. */
function partOutcome({ stdout, extra = [] }: Outcome, index: number) {
  const status = stdout.split('\n').find((line) => line.startsWith(`${index} `))
  return {
    status: status === undefined ? 'not tried' : Number(status.split(' ')[1]),
    stderr: extra[index * 2 + 1] ?? '',
  }
}

function shellWord(word: string): string {
  for (const char of word) {
    const plain = (char >= 'a' && char <= 'z') || (char >= 'A' && char <= 'Z') || (char >= '0' && char <= '9')
    if (!plain && !'%+,-./:=@_'.includes(char)) return `'${word.replaceAll("'", "'\\''")}'`
  }
  return word === '' ? "''" : word
}

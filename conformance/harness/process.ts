import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { patience } from '../runner/patience.js'
import { commandPath } from './locations.js'
import { type Seen, treeOf } from './tree.js'

export interface Finished {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface ProcessOptions {
  /** What the process reads; nothing means an empty input. */
  stdin?: string | Uint8Array | undefined
  /** A file or directory opened as its standard input, instead of `stdin`. */
  stdinPath?: string | undefined
  /** Leave the standard input open: the process decides on its end by it. */
  keepOpen?: boolean | undefined
  /** The whole environment; the default has PATH only. */
  env?: Record<string, string> | undefined
  /** Milliseconds after which it is killed and the call fails. */
  deadline?: number | undefined
}

export interface Started {
  child: ChildProcess
  finished: Promise<Finished>
}

/** Milliseconds, a little less than a test has: what hangs is told of, and what a busy machine slows down is not. */
const usualDeadline = patience - 30_000

/**
 * Starts a command, without a shell. `finished` rejects only when it could not be started or overran its deadline: it
 * says then what had been printed, and what each process below it was waiting for.
 */
export function start(argv: readonly string[], options: ProcessOptions = {}): Started {
  const [command, ...rest] = argv
  if (command === undefined) throw new Error('no command')
  const deadline = options.deadline ?? usualDeadline
  const opened = options.stdinPath === undefined ? undefined : openSync(options.stdinPath, 'r')
  const child = spawn(command, rest, {
    env: options.env ?? { PATH: commandPath },
    stdio: [opened ?? 'pipe', 'pipe', 'pipe'],
  })
  if (opened !== undefined) closeSync(opened)
  feed(child, options)
  return { child, finished: collect(child, argv, deadline) }
}

/** Runs a command to its end. */
export async function run(argv: readonly string[], options: ProcessOptions = {}): Promise<Finished> {
  return start(argv, options).finished
}

function feed(child: ChildProcess, options: ProcessOptions): void {
  // A process that does not read its input (VERSION) closes the pipe early: that is its right.
  child.stdin?.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') throw error
  })
  if (options.keepOpen !== true) child.stdin?.end(options.stdin ?? '')
}

function collect(child: ChildProcess, argv: readonly string[], deadline: number): Promise<Finished> {
  const text = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  child.stdout?.on('data', (chunk: Buffer) => text.stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => text.stderr.push(chunk))
  let overran: string | undefined
  const timer = setTimeout(() => {
    overran = killTree(child)
      .map(({ pid, state, command, waits }) => `${pid} ${state} ${command} @ ${waits}`)
      .join('\n')
  }, deadline)
  return new Promise((resolve, reject) => {
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      const [stdout, stderr] = [text.stdout, text.stderr].map((chunks) => Buffer.concat(chunks).toString()) as [
        string,
        string,
      ]
      if (overran !== undefined) {
        const printed = `stdout: ${stdout.slice(-2000)}\nstderr: ${stderr.slice(-2000)}`
        reject(new Error(`did not end within ${deadline} ms\n${printed}\n${overran}\ncommand: ${argv.join(' ')}`))
      } else resolve({ status, signal, stdout, stderr })
    })
  })
}

/** Kills a process and all below it: one that was left would hold its output open. @returns what there was of it */
export function killTree({ pid: root }: ChildProcess): Seen[] {
  const tree = root === undefined ? [] : treeOf(root)
  for (const { pid } of tree) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  return tree
}

/**
 * Waits until the condition holds, looking every few milliseconds; throws naming `what` when it never does. The
 * deadline is for what never comes: what comes may take long on a busy machine.
 */
export async function until(what: string, condition: () => boolean | Promise<boolean>, deadline = 30_000) {
  const end = performance.now() + deadline
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${deadline} ms in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** What a command printed; throws with its stderr when it failed. */
export function succeed(argv: readonly string[], finished: Finished): string {
  if (finished.status === 0) return finished.stdout
  throw new Error(`${argv.join(' ')}: exit ${finished.status ?? finished.signal}: ${finished.stderr}${finished.stdout}`)
}

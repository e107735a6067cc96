import { statSync } from 'node:fs'
import { internalBinding } from '../system/binding.js'
import type { Command, Outcome } from './command.js'

/**
 * What a process may print in all; the largest answer known, the rules of a node with 100,000 services, is a quarter of
 * it.
 */
export const mostBytes = 64 << 20

/**
 * Runs a process to its end and collects both its streams. One that runs for longer than `seconds` or prints more than
 * `mostBytes` is killed, with what it started. The time is libuv's: it waits for the child in a loop of its own, so no
 * event loop is needed.
 *
 * It calls the binding below child_process.spawnSync: loading node:child_process costs a start 3 to 5 ms (37 modules,
 * bench/RESULTS.md) and the binding nothing. Its contract is the pinned Node's; spawn.test.ts watches it.
 */
export function spawnProcess(
  command: Command & { env: Readonly<Record<string, string>> },
  searchPath: string,
): Outcome {
  const [name] = command.argv
  const file = name.includes('/') ? name : findProgram(name, searchPath)
  if (file === undefined) return { status: null, signal: null, stdout: '', stderr: '', failure: 'ENOENT' }
  const stdin = command.stdin === undefined ? { type: 'ignore' } : pipe(true, Buffer.from(command.stdin))
  const result = binding().spawn({
    file,
    args: [...command.argv],
    ...bounds(command),
    envPairs: Object.entries(command.env).map(([key, value]) => `${key}=${value}`),
    stdio: [
      stdin,
      pipe(false),
      pipe(false),
      ...(command.pipes ?? []).map((text) => (text === null ? pipe(false) : pipe(true, Buffer.from(text)))),
      ...(command.fds ?? []).map((fd) => ({ type: 'fd', fd })),
      ...(command.lock === undefined ? [] : [{ type: 'fd', fd: command.lock }]),
    ],
  })
  const [stdout, stderr] = [1, 2].map((index) => result.output?.[index]?.toString() ?? '') as [string, string]
  if (result.pid && (result.signal || result.error)) endGroup(command, result.pid)
  const errno = -(result.error ?? 0)
  if (errno !== 0 && !result.pid) {
    return { status: null, signal: null, stdout, stderr, failure: errnoNames[errno] ?? `errno ${errno}` }
  }
  // A process that ends without reading its input (a delegate may) has done nothing wrong: its status counts.
  if (errno !== 0 && errno !== brokenPipe) {
    const why = excesses[errno]?.(command) ?? `could not be listened to (errno ${errno})`
    const told = `ended by force, because it ${why}\n${stderr.slice(0, mostTold)}`
    return { ...killed, stdout: stdout.slice(0, mostTold), stderr: told, exceeded: true, ...extraOf(command, result) }
  }
  const status = result.signal ? null : result.status
  return { status, signal: result.signal, stdout, stderr, ...extraOf(command, result) }
}

/** The first file of that name in the directories of a search path. */
export function findProgram(name: string, searchPath: string): string | undefined {
  for (const directory of searchPath.split(':')) {
    const file = `${directory}/${name}`
    if (directory !== '' && statSync(file, { throwIfNoEntry: false })?.isFile()) return file
  }
  return undefined
}

// --- internal

interface Spawned {
  readonly pid: number
  readonly status: number
  readonly signal: string | null
  readonly output: (Buffer | null)[] | null
  readonly error?: number
}

interface SpawnSyncBinding {
  spawn(options: object): Spawned
}

type Bounded = Pick<Command, 'seconds' | 'pipes'>

/**
 * A tool leads a process group of its own, so that nothing outlives it when it is killed: the tools of a shell, say.
 */
function bounds({ seconds }: Bounded): object {
  const size = { maxBuffer: mostBytes, killSignal: SIGKILL }
  return seconds === undefined ? size : { ...size, timeout: Math.ceil(seconds * 1000), detached: true }
}

/**
 * Kills what a killed process has left, and waits, for a second at the most, until it is gone: what it did can be
 * looked at then.
 */
function endGroup({ seconds }: Bounded, pid: number): void {
  if (seconds === undefined) return
  const end = performance.now() + 1000
  const kill = internalBinding<{ _kill(pid: number, signal: number): number }>('process_methods')?._kill
  while (kill?.(-pid, SIGKILL) === 0 && performance.now() < end);
}

const SIGKILL = 9
const killed = { status: null, signal: 'SIGKILL' }
const mostTold = 65_536

/** What a process did too much of, by the errno that libuv's wait ends with: ETIMEDOUT, ENOBUFS. */
const excesses: Record<number, (command: Bounded) => string> = {
  110: ({ seconds }) => `ran for more than ${seconds} s`,
  105: () => `printed more than ${mostBytes >> 20} MiB`,
}

function extraOf({ pipes }: Bounded, { output }: Spawned): Pick<Outcome, 'extra'> {
  return pipes ? { extra: pipes.map((_, index) => output?.[index + 3]?.toString() ?? '') } : {}
}

let loaded: SpawnSyncBinding | undefined

function binding(): SpawnSyncBinding {
  loaded ??= internalBinding<SpawnSyncBinding>('spawn_sync')
  if (!loaded) throw new Error('Node does not show its bindings: start it with --expose-internals')
  return loaded
}

function pipe(readable: boolean, input?: Buffer): object {
  return { type: 'pipe', readable, writable: !readable, ...(input ? { input } : {}) }
}

const brokenPipe = 32

const errnoNames: Record<number, string> = {
  1: 'EPERM',
  2: 'ENOENT',
  7: 'E2BIG',
  8: 'ENOEXEC',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  20: 'ENOTDIR',
  23: 'ENFILE',
  24: 'EMFILE',
  26: 'ETXTBSY',
}

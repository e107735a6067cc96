import { statSync } from 'node:fs'
import { internalBinding } from './binding.js'
import type { Command, Outcome } from './run.js'

/**
 * Runs a process to its end and collects both its streams, of any length.
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
    envPairs: Object.entries(command.env).map(([key, value]) => `${key}=${value}`),
    stdio: [
      stdin,
      pipe(false),
      pipe(false),
      ...(command.fds ?? []).map((fd) => ({ type: 'fd', fd })),
      ...(command.pipes ?? []).map((text) => (text === null ? pipe(false) : pipe(true, Buffer.from(text)))),
    ],
  })
  const [stdout, stderr] = [1, 2].map((index) => result.output?.[index]?.toString() ?? '') as [string, string]
  // A process that ends without reading its input (a delegate may) has done nothing wrong: its status counts.
  if (result.error && result.error !== -brokenPipe) {
    return {
      status: null,
      signal: null,
      stdout,
      stderr,
      failure: errnoNames[-result.error] ?? `errno ${-result.error}`,
    }
  }
  const extra = command.pipes?.map((_, index) => result.output?.[index + 3]?.toString() ?? '')
  const ended = { status: result.signal ? null : result.status, signal: result.signal, stdout, stderr }
  return extra ? { ...ended, extra } : ended
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

interface SpawnSyncBinding {
  spawn(options: object): {
    status: number
    signal: string | null
    output: (Buffer | null)[] | null
    error?: number
  }
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
  26: 'ETXTBSY',
}

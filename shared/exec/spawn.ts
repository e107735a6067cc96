import { statSync } from 'node:fs'
import { type Ended, killGroup, spawn } from '../system/node.js'
import type { Command, Outcome } from './command.js'

/**
 * What a process may print in all; the largest answer known, the rules of a node with 100,000 services, is a quarter of
 * it.
 */
export const mostBytes = 64 << 20

/**
 * Runs a process to its end and collects both its streams. One that runs for longer than `seconds` or prints more than
 * `mostBytes` is killed, with what it started.
 */
export function spawnProcess(
  command: Command & { env: Readonly<Record<string, string>> },
  searchPath: string,
): Outcome {
  const [name] = command.argv
  const file = name.includes('/') ? name : findProgram(name, searchPath)
  if (file === undefined) return { status: null, signal: null, stdout: '', stderr: '', failure: 'ENOENT' }
  const { argv, env, stdin, pipes = [], fds = [], lock, seconds } = command
  const ended = spawn({
    file,
    argv,
    env,
    stdin,
    pipes,
    fds: lock === undefined ? fds : [...fds, lock],
    milliseconds: seconds && Math.ceil(seconds * 1000),
    mostBytes,
  })
  const { pid, signal, errno, output } = ended
  const [, stdout = '', stderr = ''] = output
  if (pid && (signal || errno)) endGroup(command, pid)
  if (errno !== 0 && !pid) {
    return { status: null, signal: null, stdout, stderr, failure: errnoNames[errno] ?? `errno ${errno}` }
  }
  // A process that ends without reading its input (a delegate may) has done nothing wrong: its status counts.
  if (errno !== 0 && errno !== brokenPipe) {
    const why = excesses[errno]?.(command) ?? `could not be listened to (errno ${errno})`
    const told = `ended by force, because it ${why}\n${stderr.slice(0, mostTold)}`
    return { ...killed, stdout: stdout.slice(0, mostTold), stderr: told, exceeded: true, ...extraOf(command, ended) }
  }
  return { status: signal ? null : ended.status, signal, stdout, stderr, ...extraOf(command, ended) }
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

type Bounded = Pick<Command, 'seconds' | 'pipes'>

/**
 * Kills what a killed process has left, and waits, for a second at the most, until it is gone: what it did can be
 * looked at then.
 */
function endGroup({ seconds }: Bounded, pid: number): void {
  if (seconds === undefined) return
  const end = performance.now() + 1000
  while (killGroup(pid) && performance.now() < end);
}

const killed = { status: null, signal: 'SIGKILL' }
const mostTold = 65_536

/** What a process did too much of, by the errno that libuv's wait ends with: ETIMEDOUT, ENOBUFS. */
const excesses: Record<number, (command: Bounded) => string> = {
  110: ({ seconds }) => `ran for more than ${seconds} s`,
  105: () => `printed more than ${mostBytes >> 20} MiB`,
}

function extraOf({ pipes }: Bounded, { output }: Ended): Pick<Outcome, 'extra'> {
  return pipes ? { extra: pipes.map((_, index) => output[index + 3] ?? '') } : {}
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

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

export type Suite = 'podwire' | 'official'

const folders: Record<Suite, string> = {
  podwire: resolve('dist/bin'),
  official: resolve(process.env['PODWIRE_OFFICIAL'] ?? 'dist/tools', 'official'),
}

/** One call of one plugin. */
export interface Call {
  readonly suite: Suite
  readonly verb: 'ADD' | 'CHECK' | 'DEL' | 'VERSION'
  readonly config: { readonly type: string; readonly [key: string]: unknown }
  readonly containerID: string
  readonly netns: string
}

/** What a call cost: wall milliseconds as the caller sees them. */
export function timed(call: Call, more: Record<string, string> = {}): { ms: number; stdout: string } {
  const began = performance.now()
  const { status, stdout, stderr } = spawnSync(binaryOf(call), [], {
    input: JSON.stringify(call.config),
    env: { ...environmentOf(call), ...more },
    encoding: 'utf8',
  })
  const ms = performance.now() - began
  if (status !== 0) throw new Error(`${call.suite} ${call.config.type} ${call.verb}: ${stdout}${stderr}`)
  return { ms, stdout }
}

/** Milliseconds until all calls, started at once, have ended. */
export async function timedTogether(
  calls: readonly Call[],
  answered: (index: number, stdout: string) => void = () => undefined,
): Promise<number> {
  const began = performance.now()
  await Promise.all(calls.map((call, index) => started(call).ended.then((stdout) => answered(index, stdout))))
  return performance.now() - began
}

/**
 * The most memory in MiB that calls started at once have together, as far as looking every few milliseconds finds it.
 */
export async function peakTogether(calls: readonly Call[]): Promise<number> {
  const running = calls.map(started)
  let peak = 0
  const look = () => {
    peak = Math.max(
      peak,
      running.reduce((sum, { pid }) => sum + shareOfMemory(pid), 0),
    )
  }
  const looking = setInterval(look, 5)
  await Promise.all(running.map(({ ended }) => ended))
  clearInterval(looking)
  return peak
}

/** What a process has alone and its part of what it shares, in MiB (proc(5), Pss); nothing once it has ended. */
function shareOfMemory(pid: number | undefined): number {
  try {
    const kibibytes = /^Pss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
    return Number(kibibytes ?? 0) / 1024
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return 0
    throw error
  }
}

function started(call: Call): { pid: number | undefined; ended: Promise<string> } {
  const child = spawn(binaryOf(call), [], { env: environmentOf(call), stdio: ['pipe', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.on('data', (text) => {
    stdout += text
  })
  const ended = new Promise<string>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) =>
      status === 0 ? resolve(stdout) : reject(new Error(`${call.suite} ${call.verb}: ${stdout}`)),
    )
  })
  child.stdin.end(JSON.stringify(call.config))
  return { pid: child.pid, ended }
}

function binaryOf({ suite, config }: Call): string {
  return `${folders[suite]}/${config.type}`
}

function environmentOf({ suite, verb, containerID, netns }: Call): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    CNI_COMMAND: verb,
    CNI_CONTAINERID: containerID,
    CNI_NETNS: netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: folders[suite],
  }
}

/**
 * CPU milliseconds of this process's ended descendants so far (proc_pid_stat(5), cutime and cstime; ticks of 10 ms).
 */
export function descendantsCpu(): number {
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[13]) + Number(fields[14])) * 10
}

/** Peak memory of one command's largest process in MiB (getrusage(2) through time(1)). */
export function peakMemory(call: Call): number {
  const { stderr, status, stdout } = spawnSync('/usr/bin/time', ['-f', '%M', binaryOf(call)], {
    input: JSON.stringify(call.config),
    env: environmentOf(call),
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`${call.suite} ${call.verb}: ${stdout}${stderr}`)
  return Number(stderr.trim().split('\n').at(-1)) / 1024
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = [...values].sort((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** The median of ratios pair by pair: both sides of a pair ran one after the other, so the machine's drift cancels. */
export function ratio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((one, index) => one / (theirs[index] ?? Number.NaN)))
}

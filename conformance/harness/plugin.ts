import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestRunner } from 'vitest'
import { recordCall } from './calls.js'
import type { Host } from './host.js'
import { type AnySuite, commandPath, everySuite, systemCommand } from './locations.js'
import type { Finished, Started } from './process.js'

export type Verb = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC' | 'VERSION'

/** One call of one plugin, as a runtime makes it. Everything has a sensible default except what is called. */
export interface Call {
  suite?: AnySuite
  plugin: string
  command: Verb
  /** The network configuration: an object is written as JSON, text and bytes go as they are. */
  config?: object | string | Uint8Array
  containerID?: string
  netns?: string
  ifName?: string
  args?: string
  /** CNI_PATH; the suite's own directory unless given. */
  path?: string
  /** Changes to the environment, last of all; undefined removes a variable. */
  env?: Record<string, string | undefined>
  stdinPath?: string
}

/** Starts one plugin call in a host; for tests that kill it or run many at once. */
export function startPlugin(host: Host, call: Call): Started {
  const options = { stdin: standardInput(call), stdinPath: call.stdinPath, env: environment(call) }
  const started = host.start([binaryOf(call)], options)
  record(host, call, started)
  return started
}

/** Runs one plugin call in a host to its end. */
export function runPlugin(host: Host, call: Call): Promise<Finished> {
  return startPlugin(host, call).finished
}

/** Starts one plugin call under strace(1), which writes into `log`. */
export function startTraced(host: Host, call: Call, options: readonly string[], log: string): Started {
  const argv = [systemCommand('strace'), '-o', log, ...options, binaryOf(call)]
  const started = host.start(argv, { stdin: standardInput(call), env: environment(call) })
  record(host, call, started)
  return started
}

/**
 * Runs one plugin call to its end under strace(1) with these options; `calls` is what that wrote. What the plugin
 * starts is not traced.
 */
export async function runTraced(
  host: Host,
  call: Call,
  options: readonly string[] = [],
): Promise<Finished & { calls: string }> {
  const log = '/run/calls'
  const finished = await startTraced(host, call, options, log).finished
  return { ...finished, calls: readFileSync(host.path(log), 'utf8') }
}

function record({ calls }: Host, { suite = 'podwire', plugin, command }: Call, { finished }: Started): void {
  if (suite !== 'podwire') return
  recordCall(calls, { plugin, verb: command }, finished)
  // A host that serves a whole file tells of its calls by each test that makes some.
  const test = TestRunner.getCurrentTest()
  if (test) test.meta.calls ??= calls
}

function binaryOf({ suite = 'podwire', plugin }: Call): string {
  return join(everySuite[suite], plugin)
}

export function standardInput({ config }: Call): string | Uint8Array {
  if (config === undefined) return ''
  return typeof config === 'string' || config instanceof Uint8Array ? config : JSON.stringify(config)
}

/** The environment of a call: PATH and the CNI variables, empty ones left out. */
export function environment(call: Call): Record<string, string> {
  const variables: Record<string, string | undefined> = {
    PATH: commandPath,
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerID ?? 'container0',
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.ifName ?? 'eth0',
    CNI_ARGS: call.args,
    CNI_PATH: call.path ?? everySuite[call.suite ?? 'podwire'],
    ...call.env,
  }
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

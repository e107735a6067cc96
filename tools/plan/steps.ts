import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ipams, names } from 'podwire:plugins'
import { createFiles } from '../../shared/exec/files.js'
import { createRunner } from '../../shared/exec/run.js'
import { main } from '../../shared/program/main.js'
import { errnoOf } from '../../shared/values/errno.js'
import { Ended, wrong } from '../frame/command.js'
import type { Json, Network, PluginEntry } from '../lint/documents.js'
import type { HeldLink, Stand } from './namespace.js'

// What each plugin of a list would do, by the dry run of the plugin itself, in this process.

/** What one plugin would do. */
export interface Step {
  /** Its place in the list; "" for the only one. */
  readonly path: string
  readonly type: string
  /** The program of another suite that a runtime would execute. */
  readonly executes?: string
  /** As a person would type them; `$NETNS` is the container's namespace. Lines with # are no commands. */
  readonly commands: readonly string[]
  /** Why it would refuse. */
  readonly error?: string
}

export interface Plan {
  readonly steps: readonly Step[]
  /** What the runtime would get; absent where another suite's plugin has a part in it, or where one refuses. */
  readonly result?: Json
}

export interface PlanOptions {
  readonly verb: 'ADD' | 'DEL'
  readonly container: string
  readonly ifName: string
  readonly stand: Stand
  readonly args: string
  readonly bin: string
  readonly runtimeConfig: Json
}

/** The plan of the whole list: an ADD in its order, a DEL from its end with the result of the ADD. */
export async function planOf(network: Network, options: PlanOptions): Promise<Plan> {
  const members = network.plugins.filter(({ path }) => !path.includes('.'))
  const folder = scratchFolder()
  try {
    // IPAM plugins of ours are these very programs, wherever others are installed.
    for (const name of ipams) symlinkSync('/proc/self/exe', path.join(folder, name))
    const env = environment({ ...options, bin: `${folder}:${options.bin}` })
    const added = await steps(network, members, { ...env, CNI_COMMAND: 'ADD' }, options)
    if (options.verb === 'ADD') return { ...added, ...(added.result ? { result: named(added.result, options) } : {}) }
    const reversed = members.toReversed()
    return await steps(network, reversed, { ...env, CNI_COMMAND: 'DEL' }, options, added.result)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

// --- internal

/** A folder for a moment, where one can be made. @throws Ended */
function scratchFolder(): string {
  const places = [tmpdir(), '/dev/shm', '/run']
  for (const place of places) {
    try {
      return mkdtempSync(path.join(place, 'podwire-plan-'))
    } catch (thrown) {
      if (errnoOf(thrown) === undefined) throw thrown
    }
  }
  throw new Ended(wrong, `no folder can be made in ${places.join(', ')}: set TMPDIR to a place that can be written`)
}

type Variables = Readonly<Record<string, string>>

function environment({ container, ifName, stand, args, bin }: PlanOptions): Variables {
  return {
    ...(process.env['PATH'] ? { PATH: process.env['PATH'] } : {}),
    PODWIRE_DRY_RUN: '1',
    CNI_CONTAINERID: container,
    CNI_IFNAME: ifName,
    CNI_NETNS: stand.path,
    CNI_NETNS_OVERRIDE: '1',
    CNI_PATH: bin,
    CNI_ARGS: args,
  }
}

async function steps(
  network: Network,
  members: readonly PluginEntry[],
  env: Variables,
  options: PlanOptions,
  known?: Json,
): Promise<Plan> {
  const isAdd = env['CNI_COMMAND'] === 'ADD'
  const made: Step[] = []
  let [prevResult, isGuess] = [known, false]
  for (const entry of members) {
    if (!names.includes(entry.type)) {
      made.push({ path: entry.path, type: entry.type, executes: `${options.bin}/${entry.type}`, commands: [] })
      if (isAdd && prevResult === undefined) {
        prevResult = someResult(network, options)
        options.stand.hold(heldLink(prevResult, options.ifName))
      }
      isGuess = true
      continue
    }
    const { status, stdout, stderr } = await dryRun(entry.type, stdinOf(network, entry, options, prevResult), env)
    const answer = stdout === '' ? undefined : (JSON.parse(stdout) as Json)
    const commands = linesOf(stderr, options.stand.path)
    const said = status === 0 ? '' : [answer?.['msg'], answer?.['details']].filter(Boolean).join('\n')
    const missing = said === '' ? undefined : plannedLinks(prevResult).find((name) => said.includes(`"${name}"`))
    if (missing !== undefined && isAdd) {
      const why = `# what it does follows from ${missing}, which is not there yet`
      made.push({ path: entry.path, type: entry.type, commands: [...commands, why] })
      continue
    }
    made.push({ path: entry.path, type: entry.type, commands, ...(said ? { error: said } : {}) })
    if (status !== 0 && isAdd) return { steps: made }
    if (isAdd && answer) {
      if (prevResult === undefined) options.stand.hold(heldLink(answer, options.ifName))
      prevResult = answer
    }
  }
  const isKnown = isAdd && prevResult && !isGuess
  return { steps: made, ...(isKnown ? { result: prevResult as Json } : {}) }
}

/** The container's namespace by the name that the commands have for it. */
function named(result: Json, { stand }: PlanOptions): Json {
  return JSON.parse(JSON.stringify(result).replaceAll(stand.path, '$NETNS')) as Json
}

/** Links of the host that an ADD would have made by then: another plugin looks for them in vain. */
function plannedLinks(result: Json | undefined): readonly string[] {
  const interfaces = (result?.['interfaces'] ?? []) as readonly { name?: string; sandbox?: string }[]
  return interfaces.flatMap(({ name, sandbox }) => (name && !sandbox ? [name] : []))
}

function heldLink(result: Json, name: string): HeldLink {
  const interfaces = (result['interfaces'] ?? []) as readonly { name?: string; mac?: string; sandbox?: string }[]
  const { mac } = interfaces.find((one) => one.name === name && one.sandbox) ?? {}
  const ips = (result['ips'] ?? []) as readonly { address: string }[]
  return { name, ...(mac ? { mac } : {}), addresses: ips.map(({ address }) => address) }
}

/** What libcni would write to the plugin. */
function stdinOf(
  { name, cniVersion }: Network,
  { config }: PluginEntry,
  { runtimeConfig }: PlanOptions,
  prevResult?: Json,
): string {
  const { capabilities, ...rest } = config
  const asked = Object.entries((capabilities ?? {}) as Json).flatMap(([key, on]) =>
    on === true && runtimeConfig[key] !== undefined ? [[key, runtimeConfig[key]]] : [],
  )
  return JSON.stringify({
    ...rest,
    ...(config['type'] === 'chain' ? { capabilities } : {}),
    name,
    cniVersion,
    ...(asked.length > 0 ? { runtimeConfig: Object.fromEntries(asked) } : {}),
    ...(prevResult ? { prevResult } : {}),
  })
}

/** What another suite's plugin may have made: an interface with an address of the documentation's. */
function someResult({ cniVersion }: Network, { ifName, stand }: PlanOptions): Json {
  return {
    cniVersion,
    interfaces: [{ name: ifName, mac: '02:00:00:00:00:02', sandbox: stand.path }],
    ips: [{ ...(cniVersion.startsWith('0.') ? { version: '4' } : {}), address: '192.0.2.2/24', interface: 0 }],
  }
}

async function dryRun(plugin: string, stdin: string, env: Variables) {
  let [stdout, stderr] = ['', '']
  const status = await main({
    plugin,
    env,
    stdin: () => stdin,
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      stderr += text
    },
    run: createRunner(env['PATH'] ? { callerPath: env['PATH'] } : {}),
    files: createFiles(),
  })
  return { status, stdout, stderr }
}

function linesOf(text: string, netns: string): readonly string[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => line.replaceAll(`--net=${netns}`, '--net=$NETNS').replaceAll(netns, '$NETNS'))
}

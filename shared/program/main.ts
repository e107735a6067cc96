import { ipams, names, plugins } from 'podwire:plugins'
import { version as release } from 'podwire:version'
import type { Run } from '../exec/command.js'
import { delegations, lookForDelegate, refuseLoop } from '../exec/delegate.js'
import type { Files } from '../exec/files.js'
import { systemStateFiles as files, leaseRoot, stateRoot } from '../exec/state.js'
import { createToolLock, type ToolLock } from '../exec/tool-lock.js'
import { createHost } from '../plan/host.js'
import type { Netlink } from '../plan/netlink.js'
import { createMachine } from '../tools/machine.js'
import { type Environment, readEnvironment } from '../values/environment.js'
import { asCniError, attributed, CniError, codes, printError } from '../values/errors.js'
import { printResult } from '../values/result.js'
import { printVersions, versionsSince } from '../values/version.js'
import { type Delegates, invoke, ipamType, type Request, readInput, readRequest } from './invoke.js'
import { pluginAt } from './name.js'
import type { AnyPlugin } from './plugin.js'

/** The outside world of one invocation. */
export interface World {
  /** The plugin that the program is. */
  readonly plugin: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** All of stdin. @throws the system's error */
  readonly stdin: () => string
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  readonly run: Run
  readonly files: Files
  /** Absent where only tools may be used. */
  readonly netlink?: Netlink | undefined
  /** Present where the call is traced: appends a line. */
  readonly trace?: ((line: object) => void) | undefined
  /** Hears the code of an error once it was answered. */
  readonly failed?: (code: number) => void
}

/**
 * One invocation of a plugin, from the environment to the exit status (0, or 1 with an error object on stdout).
 * The order of the checks is the official library's: it decides which of several mistakes is reported.
 */
export async function main(world: World): Promise<0 | 1> {
  const { write, attempt } = answering(world.stdout)
  try {
    await dispatch({ ...world, stdout: write })
    return 0
  } catch (thrown) {
    const error = asCniError(thrown)
    if (error.hint !== undefined) world.stderr(`${world.plugin}: ${error.hint}\n`)
    if (!attempt(printError(error))) world.stderr(`${error.message}\n${error.details}\n`)
    if (!isDryRun(world)) world.failed?.(error.code)
    return 1
  }
}

// --- internal

/** One answer: after a first one that could not be written whole a second would only garble it. */
function answering(stdout: World['stdout']) {
  let isBroken = false
  const write = (text: string): void => {
    try {
      stdout(text)
    } catch (cause) {
      isBroken = true
      throw new CniError(codes.ioFailure, `cannot write to stdout: ${(cause as Error).message}`, {
        fix: 'let whoever starts the plugin read its standard output to the end',
        cause,
      })
    }
  }
  const attempt = (text: string): boolean => {
    try {
      if (!isBroken) write(text)
    } catch {
      // The text goes to stderr instead.
    }
    return !isBroken
  }
  return { write, attempt }
}

async function dispatch(world: World): Promise<void> {
  const name = world.plugin
  const plugin = await load(name)
  if (!plugin) throw new Error(`the plugin ${name} is not in its own script`)
  const supported = versionsSince(plugin.since)
  if ((world.env['CNI_COMMAND'] ?? '') === '') {
    const lines = [`CNI ${name} plugin v${release}`, `CNI protocol versions supported: ${supported.join(', ')}`]
    return world.stderr(`${lines.join('\n')}\n`)
  }
  const environment = readEnvironment(world.env)
  if (environment.command === 'VERSION') {
    return world.stdout(printVersions(supported))
  }
  const request = readRequest(environment, readInput(world.stdin))
  if (!ipams.includes(name)) refuseBelowItself(request, world.env, name)
  const toolLock = toolLockOf(request, world)
  const { files } = world
  const run = toolLock?.run ?? world.run
  const host = createHost({
    machine: createMachine({ run, files }, world.netlink),
    run,
    toolLock,
    files,
    env: world.env,
    dryRun: isDryRun(world),
    stderr: world.stderr,
    trace: world.trace,
  })
  try {
    invoke(plugin, request, host, {
      ...(await delegatesOf(plugin, request, world.files)),
      deliver: (result, version) => world.stdout(printResult(result, version)),
    })
  } finally {
    toolLock?.release()
  }
}

function isDryRun({ env }: World): boolean {
  return env['PODWIRE_DRY_RUN'] === '1'
}

/**
 * For a call that changes something. As a delegate of one of ours it would wait for that one; IPAM plugins start no
 * tools that change anything.
 */
function toolLockOf({ environment, json }: Request, world: World): ToolLock | undefined {
  const { command, containerID, ifName } = environment
  const changes = command === 'ADD' || command === 'DEL' || command === 'GC'
  if (!changes || isDryRun(world) || world.env[delegations] !== undefined) return undefined
  const ofContainer = command === 'GC' ? { containerID: '', ifName: '' } : { containerID, ifName }
  return createToolLock(
    { network: String(json['name']), ...ofContainer },
    {
      host: { run: world.run, observer: { tryLock: (fd, kind) => world.netlink?.tryLock(fd, kind) ?? false } },
      warn: world.stderr,
    },
  )
}

function load(name: string): Promise<AnyPlugin | undefined> {
  const loader = Object.hasOwn(plugins, name) ? plugins[name] : undefined
  return loader ? loader().then(({ default: plugin }) => plugin) : Promise.resolve(undefined)
}

/** @throws code 7 where this is a delegate that would start itself */
function refuseBelowItself({ json }: Request, env: World['env'], plugin: string): void {
  try {
    refuseLoop(env, ipamType(json), plugin)
  } catch (thrown) {
    throw attributed(asCniError(thrown), plugin, String(json['name']))
  }
}

/** Our own IPAM plugins that the call may ask, loaded ahead because verbs are synchronous. */
async function delegatesOf(plugin: AnyPlugin, request: Request, { readLink }: Files): Promise<Delegates> {
  const { json, environment } = request
  const type = ipamType(json)
  const name = type === undefined ? undefined : pluginOfType(type, environment, readLink)
  const ownDelegate = name !== undefined && ipams.includes(name) ? await load(name) : undefined
  const members = plugin.loads && (await loadMembers(plugin.loads(json), request, readLink))
  const isRemoving = environment.command === 'DEL' || environment.command === 'GC'
  const isNamed = name === 'host-local' || members?.has('host-local')
  const mayAsk = plugin.delegates || members !== undefined
  const mayHold = mayAsk && isRemoving && (isNamed || mayHaveLeases(String(json['name'])))
  const hostLocal = mayHold ? await load('host-local') : undefined
  return {
    ...(ownDelegate ? { ownDelegate } : {}),
    ...(hostLocal ? { hostLocal } : {}),
    ...(members ? { members } : {}),
  }
}

/** Whether host-local may have leases of the network though the configuration does not name it (leases.ts). */
function mayHaveLeases(network: string): boolean {
  try {
    return [leaseRoot, `${stateRoot}/ipam`].some((folder) => {
      return files.lstatSync(`${folder}/${network}`, { throwIfNoEntry: false }) !== undefined
    })
  } catch {
    return true // Whoever looks closer says what is wrong.
  }
}

/** The plugins of this suite among those types, by type. */
async function loadMembers(types: readonly string[], { environment }: Request, readLink: Files['readLink']) {
  const found = new Map<string, AnyPlugin>()
  for (const type of types) {
    const name = pluginOfType(type, environment, readLink)
    const plugin = name === undefined ? undefined : await load(name)
    if (plugin) found.set(type, plugin)
  }
  return found
}

/** A plugin's own name means it; by another name it is the one that would run there. */
function pluginOfType(type: string, { path }: Environment, readLink: Files['readLink']): string | undefined {
  if (names.includes(type)) return type
  const found = lookForDelegate(type, path)
  return found?.own ? pluginAt(found.path, readLink) : undefined
}

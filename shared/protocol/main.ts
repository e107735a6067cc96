import { ipams, names, plugins } from 'podwire:plugins'
import { version as release } from 'podwire:version'
import { lookForDelegate, refuseLoop } from '../exec/delegate.js'
import type { Files } from '../exec/files.js'
import type { Run } from '../exec/run.js'
import type { Kernel } from '../kernel/kernel.js'
import { createHost } from '../plan/host.js'
import { type Environment, readEnvironment } from './environment.js'
import { asCniError, attributed, printError } from './errors.js'
import { invoke, ipamType, type Request, readInput, readRequest, readVersion } from './invoke.js'
import { pluginAt } from './name.js'
import type { AnyPlugin } from './plugin.js'
import { printResult } from './result.js'
import { printVersions, versionsSince } from './version.js'

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
  readonly kernel?: Kernel | undefined
}

/**
 * One invocation of a plugin, from the environment to the exit status (0, or 1 with an error object on stdout).
 * The order of the checks is the official library's: it decides which of several mistakes is reported.
 */
export async function main(world: World): Promise<0 | 1> {
  try {
    await dispatch(world)
    return 0
  } catch (thrown) {
    world.stdout(printError(asCniError(thrown)))
    return 1
  }
}

// --- internal

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
  const host = createHost({
    run: world.run,
    files: world.files,
    kernel: world.kernel,
    env: world.env,
    dryRun: world.env['PODWIRE_DRY_RUN'] === '1',
    stderr: world.stderr,
  })
  const result = invoke(plugin, request, host, await ownDelegate(request, world.files))
  if (result) world.stdout(printResult(result, readVersion(request, plugin)))
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

/** Our own IPAM plugin that `ipam.type` means, loaded ahead because verbs are synchronous. */
function ownDelegate({ json, environment }: Request, { readLink }: Files): Promise<AnyPlugin | undefined> {
  const type = ipamType(json)
  const name = type === undefined ? undefined : pluginOfType(type, environment, readLink)
  return name !== undefined && ipams.includes(name) ? load(name) : Promise.resolve(undefined)
}

/** A plugin's own name means it; by another name it is the one that would run there. */
function pluginOfType(type: string, { path }: Environment, readLink: Files['readLink']): string | undefined {
  if (names.includes(type)) return type
  const found = lookForDelegate(type, path)
  return found?.own ? pluginAt(found.path, readLink) : undefined
}

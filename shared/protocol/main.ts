import { names, plugins } from 'podwire:plugins'
import { version as release } from 'podwire:version'
import type { Files } from '../exec/files.js'
import type { Run } from '../exec/run.js'
import type { Kernel } from '../kernel/kernel.js'
import { createHost } from '../plan/host.js'
import { readEnvironment } from './environment.js'
import { asCniError, CniError, codes, printError } from './errors.js'
import { invoke, memberOf, type Request, readRequest, readVersion } from './invoke.js'
import type { AnyPlugin } from './plugin.js'
import { printResult } from './result.js'
import { newest, versionsSince } from './version.js'

/** The outside world of one invocation. */
export interface World {
  /** The name the program was started by, with or without directories. */
  readonly argv0: string
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
  const name = world.argv0.slice(world.argv0.lastIndexOf('/') + 1)
  const plugin = await load(name)
  if (!plugin) {
    throw new CniError(codes.internal, `"${name}" is none of the plugins of podwire ${release}`, {
      fix: `start the program by one of these names: ${names.join(', ')}`,
    })
  }
  const supported = versionsSince(plugin.since)
  if ((world.env['CNI_COMMAND'] ?? '') === '') {
    const lines = [`CNI ${name} plugin v${release}`, `CNI protocol versions supported: ${supported.join(', ')}`]
    return world.stderr(`${lines.join('\n')}\n`)
  }
  const environment = readEnvironment(world.env)
  if (environment.command === 'VERSION') {
    return world.stdout(`${JSON.stringify({ cniVersion: newest, supportedVersions: supported })}\n`)
  }
  const request = readRequest(environment, readAll(world))
  const host = createHost({
    run: world.run,
    files: world.files,
    kernel: world.kernel,
    env: world.env,
    dryRun: world.env['PODWIRE_DRY_RUN'] === '1',
    stderr: world.stderr,
  })
  const result = invoke(plugin, request, host, await ownDelegate(request))
  if (result) world.stdout(printResult(result, readVersion(request, plugin)))
}

function load(name: string): Promise<AnyPlugin | undefined> {
  const loader = Object.hasOwn(plugins, name) ? plugins[name] : undefined
  return loader ? loader().then(({ default: plugin }) => plugin) : Promise.resolve(undefined)
}

/** Our own plugin of the name in `ipam.type`, loaded ahead because verbs are synchronous. */
function ownDelegate({ json }: Request): Promise<AnyPlugin | undefined> {
  const ipam = memberOf(json, 'ipam')
  const type = typeof ipam === 'object' && ipam !== null ? memberOf({ ...ipam }, 'type') : undefined
  return typeof type === 'string' ? load(type) : Promise.resolve(undefined)
}

function readAll(world: World): string {
  try {
    return world.stdin()
  } catch (thrown) {
    const message = `error reading from stdin: ${(thrown as Error).message}`
    throw new CniError(codes.ioFailure, message, { complete: true })
  }
}

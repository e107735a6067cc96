import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { listPlugins } from '../../shared/bundling/plugins.js'
import type { Host } from '../harness/host.js'
import { repository } from '../harness/locations.js'
import { type Call, environment, standardInput } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'

const names = listPlugins(repository).map(({ name }) => name)
const emulator = '/usr/bin/qemu-aarch64-static'
const root = join(repository, 'dist/arm64/root')
const binary = join(repository, 'dist/arm64/podwire')

/** Throws where the plugins for arm64 or what runs them here are missing. */
export function demandEmulated(): void {
  const missing = [emulator, root, binary].filter((path) => !existsSync(path))
  if (missing.length > 0)
    throw new Error(`run "make test-setup dist/arm64/podwire" first, missing: ${missing.join(' ')}`)
}

/**
 * Runs one call of a plugin for arm64 in a host, to its end. To the kernel the program is its emulator, so that is what
 * stands in CNI_PATH by the names of all plugins: they run in the same process, as otherwise.
 */
export async function runEmulated(host: Host, call: Call): Promise<Finished> {
  const path = '/run/plugins-for-arm64'
  await host.output([
    'sh',
    '-c',
    `mkdir -p ${path}; cd ${path}; for name; do ln -sf ${emulator} $name; done`,
    'sh',
    ...names,
  ])
  const argv = [emulator, '-L', root, '-0', call.plugin, binary]
  const stdin = standardInput(call)
  return host.exec(argv, { stdin, stdinPath: call.stdinPath, env: environment({ path, ...call }) })
}

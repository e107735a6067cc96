import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandPath, repository } from '../harness/locations.js'
import { type Finished, run } from '../harness/process.js'

const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string }

const architecture = process.arch === 'x64' ? 'amd64' : process.arch

/** The release archive for this machine's processor, which `make test` makes. */
export const archive = join(repository, `dist/podwire-linux-${architecture}-${version}.tgz`)

/** The command that runs another one in a root file system of conformance/setup/roots.txt. */
export function entering(root: string): [string, string] {
  return [join(repository, 'conformance/roots/enter'), rootFolder(root)]
}

/** Runs a bash script on a root file system, to its end. */
export function runScript(root: string, script: string, parameters: readonly string[] = []): Promise<Finished> {
  const argv = [...entering(root), 'bash', '-euc', script, 'bash', ...parameters]
  return run(argv, { env: { PATH: commandPath }, deadline: 230_000 })
}

/** The folder of a root file system. */
export function rootFolder(root: string): string {
  return join(repository, 'dist/roots', root)
}

/** Throws where a root file system or the archive is missing. */
export function demand(...roots: readonly string[]): void {
  const missing = [archive, ...roots.map(rootFolder)].filter((path) => !existsSync(path))
  if (missing.length > 0) throw new Error(`run "make test-setup dist" first, missing: ${missing.join(' ')}`)
}

import { existsSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The top of the source tree. */
export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

const tools = resolve(process.env['PODWIRE_OFFICIAL'] ?? join(repository, 'dist/tools'))

/** The suites that can be put under test: the directory that goes into CNI_PATH. */
export const suites = {
  podwire: resolve(process.env['PODWIRE_BIN'] ?? join(repository, 'dist/bin')),
  /** The official suite of the version that podwire is compared with first, v1.10.0. */
  official: join(tools, 'official'),
  /** The one that Debian and kind still ship. */
  'official-1.9.1': join(tools, 'official-1.9.1'),
  /** What `make build PLAIN=1` makes. */
  plain: join(repository, 'dist/plain/bin'),
} as const

export type OfficialSuite = 'official' | 'official-1.9.1'
export type Suite = 'podwire' | OfficialSuite

/** More, which only containers that are taken over are made with. */
export const everySuite = {
  ...suites,
  'official-1.6.2': join(tools, 'official-1.6.2'),
  /** The version before this one, which `make test-upgrade` builds from the history. */
  'podwire-0.1.0': join(repository, 'dist/tools/podwire-0.1.0'),
} as const

export type AnySuite = keyof typeof everySuite

/** Programs of other projects, a folder each, as `conformance/cluster/build` makes them; most machines have none. */
export const otherPrograms =
  process.env['PODWIRE_CLUSTER_CACHE'] ||
  join(process.env['XDG_CACHE_HOME'] || join(process.env['HOME'] ?? '/root', '.cache'), 'podwire-cluster')

/** The official command line client of libcni. */
export const cnitool = join(tools, 'cnitool')

const systemPath = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin']

/**
 * The start of a command line of Node for a script of a test's own: without V8's background threads, for which Node can
 * wait for ever at its end (shared/packing/sea.ts).
 */
export const nodeCommand = [process.execPath, '--single-threaded'] as const

/** The PATH that commands get: the system's own directories, whatever the caller's shell has in front of them. */
export const commandPath = systemPath.join(delimiter)

/** Absolute path of a system command; throws with the name when the machine lacks it. */
export function systemCommand(name: string): string {
  const [first] = systemCommands(name)
  if (first === undefined) throw new Error(`${name} is not installed (looked in ${commandPath})`)
  return first
}

/** Every path by which a system command is found. */
export function systemCommands(name: string): readonly string[] {
  return systemPath.map((directory) => join(directory, name)).filter((path) => existsSync(path))
}

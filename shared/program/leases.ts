import { ipams, names } from 'podwire:plugins'
import { isFileName } from '../exec/delegate.js'
import { systemStateFiles as files, leaseRoot, stateRoot } from '../exec/state.js'
import { isAbsent } from '../values/errno.js'
import { memberOf } from './invoke.js'
import type { AnyPlugin, Call } from './plugin.js'

// Where an attachment's addresses come from. It is on record, unless it is what every DEL looks at: host-local's
// default directory. For the configuration that a DEL is given may be another one than ADD's: people edit it while
// containers run.

/** Our host-local with `dataDir`, or another program, with what it got on stdin (`config`) and as CNI_ARGS (`args`). */
export interface Source {
  /** Who asked for the addresses: a chain may have several that do. */
  readonly plugin: string
  readonly type: string
  readonly dataDir?: string
  readonly config?: string
  readonly args?: string
}

/** The source by the configuration, of which `own` is the plugin of ours where it is one. */
export function sourceOf({ plugin, config, stdin, environment, host }: Call, own: AnyPlugin | undefined): Source {
  const type = own?.name ?? config.ipam?.type ?? ''
  if (!own) return { plugin, type, config: stdin, args: environment.args }
  const dataDir = memberOf({ ...config.ipam }, 'dataDir')
  if (type !== 'host-local' || typeof dataDir !== 'string' || dataDir === '')
    return { plugin, type, dataDir: leaseRoot }
  const absolute = dataDir.startsWith('/') ? dataDir : `${host.files.readLink('/proc/self/cwd')}/${dataDir}`
  return { plugin, type, dataDir: withoutSlashes(absolute) }
}

/** Whether a DEL looks there unasked. Of ours static keeps nothing at all. */
export function isUsual({ dataDir }: Source): boolean {
  return dataDir === leaseRoot
}

/** Those of a record that can be: what is otherwise was planted. */
export function usable(sources: readonly Source[]): readonly Source[] {
  const isAsked = (type: string) => isFileName(type) && (ipams.includes(type) || !names.includes(type))
  return sources.filter(({ type, dataDir }) => dataDir?.startsWith('/') ?? isAsked(type)).slice(-mostSources)
}

/** Whether both have the same addresses to give. */
export function isSame(left: Source, right: Source): boolean {
  const [one, other] = [left, right].map(({ type, dataDir, config }) =>
    JSON.stringify([type, dataDir, config === undefined ? undefined : ordered(memberOf(parsed(config), 'ipam'))]),
  )
  return one === other
}

/** What another program was given on stdin. A text that is none has been planted, and stands for an empty one. */
export function parsed(config: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(config)
    return typeof value === 'object' ? { ...value } : {}
  } catch {
    return {}
  }
}

/**
 * Whether host-local made the leases in a directory on record: it belongs to whom our state belongs to, who alone
 * writes in it, and has the lock. Who plants a record has nothing else removed.
 */
export function isLeaseDirectory(directory: string): boolean {
  try {
    const { uid } = files.lstatSync(stateRoot)
    const all = files.lstatSync(directory)
    const lock = files.lstatSync(`${directory}/lock`)
    return all.isDirectory() && all.uid === uid && (all.mode & 0o022) === 0 && lock.isFile() && lock.uid === uid
  } catch (thrown) {
    if (isAbsent(thrown)) return false
    throw thrown
  }
}

/** For messages. */
export function named({ type, dataDir }: Source): string {
  return dataDir === undefined ? type : `${type} in ${dataDir}`
}

// --- internal

/** More than ADDs that were killed, one after the other, each with another configuration. */
const mostSources = 16

function withoutSlashes(path: string): string {
  let end = path.length
  while (end > 1 && path[end - 1] === '/') end--
  return path.slice(0, end)
}

/** A value with the keys of its objects in order: who keeps a configuration may write them in another. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, ordered(inner)]))
}

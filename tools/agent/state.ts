import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { readState as readText, systemStateFiles, Unusable } from '../../shared/exec/state.js'
import { parseCidr } from '../../shared/values/address.js'
import { isObject } from '../../shared/values/object.js'
import { sync } from '../frame/disk.js'

/** What the agent knows of before: it is written where it outlives the agent and a reboot. */
export interface State {
  /** The last configuration that was good, as it stood in the ConfigMap. */
  readonly configuration?: string | undefined
  /** The ranges that this node has, and those that it had before. */
  readonly ranges: readonly string[]
  readonly formerRanges: readonly string[]
  /** Of the last configuration that was written. */
  readonly mtu?: number | undefined
  /** The boot ID of the machine as it was when the agent turned forwarding of IPv6 on. */
  readonly forwards?: string | undefined
}

export const noState: State = { ranges: [], formerRanges: [] }

/** A file that is garbled says nothing. */
export function readState(file: string): State {
  let value: unknown
  try {
    value = JSON.parse(textOf(file) ?? '')
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return noState
    throw thrown
  }
  if (!isObject(value)) return noState
  const { configuration, mtu, forwards } = value
  const ranges = (name: string) => {
    const all = value[name]
    return Array.isArray(all) ? all.filter((one) => typeof one === 'string' && parseCidr(one) !== undefined) : []
  }
  return {
    ...(typeof configuration === 'string' ? { configuration } : {}),
    ...(typeof mtu === 'number' ? { mtu } : {}),
    ...(typeof forwards === 'string' ? { forwards } : {}),
    ranges: ranges('ranges'),
    formerRanges: ranges('formerRanges'),
  }
}

/** The text of a file of the agent's; undefined where there is none, or something else is in its place. */
export function textOf(file: string): string | undefined {
  try {
    return readText(systemStateFiles, file)
  } catch (thrown) {
    if (thrown instanceof Unusable) return undefined
    throw thrown
  }
}

/**
 * A name under which a file is written before it gets its own: no runtime loads it, and no other agent has it, such as
 * the one that is being replaced.
 */
function draftOf(file: string): string {
  return `${file}.${randomBytes(8).toString('hex')}${draftExtension}`
}

/**
 * Removes the drafts of a file whose writers were killed; one that has just been made may have a writer that lives.
 * @param age milliseconds that they have at the least
 */
export function clearDrafts(file: string, age = longestWriting): void {
  const [folder, prefix] = [path.dirname(file), `${path.basename(file)}.`]
  const names = existsSync(folder) ? readdirSync(folder) : []
  // ".new" alone, too: what this version's predecessors wrote.
  for (const name of names.filter((one) => one.startsWith(prefix) && one.endsWith(draftExtension))) {
    const draft = path.join(folder, name)
    const status = lstatSync(draft, { throwIfNoEntry: false })
    // A clock that was set back leaves files of the future.
    if (status && !status.isDirectory() && Math.abs(Date.now() - status.mtimeMs) >= age) rmSync(draft, { force: true })
  }
}

export function writeState(file: string, state: State): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 })
  writeWhole(file, `${JSON.stringify(state, null, 2)}\n`, 0o600)
}

/**
 * Puts a text in the place of a file: by a temporary name that no runtime loads, brought to the disk before it gets its
 * own. @throws the system's error, with the file as it was
 */
export function writeWhole(file: string, text: string, mode = 0o644): void {
  const draft = draftOf(file)
  const fd = openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode)
  try {
    try {
      writeFileSync(fd, text)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(draft, file)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown
  }
  sync(path.dirname(file))
}

// --- internal

const draftExtension = '.new'
/** Milliseconds after which nobody writes a draft any more: a disk may be slow. */
const longestWriting = 60_000

import {
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { parseCidr } from '../../shared/values/address.js'
import { isAbsent } from '../../shared/values/errno.js'
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
}

export const noState: State = { ranges: [], formerRanges: [] }

/** A file that is garbled says nothing. */
export function readState(file: string): State {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (thrown) {
    if (isAbsent(thrown) || thrown instanceof SyntaxError) return noState
    throw thrown
  }
  if (!isObject(value)) return noState
  const { configuration, mtu } = value
  const ranges = (name: string) => {
    const all = value[name]
    return Array.isArray(all) ? all.filter((one) => typeof one === 'string' && parseCidr(one) !== undefined) : []
  }
  return {
    ...(typeof configuration === 'string' ? { configuration } : {}),
    ...(typeof mtu === 'number' ? { mtu } : {}),
    ranges: ranges('ranges'),
    formerRanges: ranges('formerRanges'),
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
  const draft = `${file}.new`
  rmSync(draft, { force: true })
  const fd = openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode)
  try {
    writeFileSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(draft, file)
  sync(path.dirname(file))
}

import { constants } from 'node:fs'
import { stateRoot, systemStateFiles } from './state.js'

/**
 * Where errors of calls are counted for whoever watches the node, as long as somebody has made the folder: a file
 * PLUGIN.CODE each, whose size is how many there were. Nobody's answer depends on it.
 */
export const errorFolder = () => `${stateRoot}/errors`

/** Bytes: what is beyond is not counted, so that a call that fails for ever fills no memory. */
export const mostErrors = 1024 * 1024

/** A delegate of another suite may have any code: 200 and above, and below 0, are of one kind each. */
export function countError(plugin: string, code: number, files = systemStateFiles): void {
  try {
    if (!files.lstatSync(errorFolder()).isDirectory()) return
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
    const flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK
    const fd = files.openSync(`${errorFolder()}/${plugin}.${Math.min(code, 200) & 255}`, flags, 0o600)
    const { nlink, size } = files.fstatSync(fd)
    if (nlink === 1 && size < mostErrors) files.writeSync(fd, '.')
  } catch {
    // The caller has its answer, and the process ends.
  }
}

import { closeSync, constants, openSync, statfsSync } from 'node:fs'

// What is at the path of a network namespace may change at any moment: a link that is turned, a mount, a process whose
// number another one gets. So each is opened once, and all that a call does in it goes by the open file: that is the
// namespace that was looked at, or none.

/** The open file of a network namespace, or the magic of the file system on which something else is. */
export type Opened =
  | { readonly fd: number; readonly magic?: undefined }
  | { readonly fd?: undefined; readonly magic: number }

/**
 * What was at a path when this process first found a network namespace there; undefined where nothing is (any more).
 * @throws the system's error
 */
export function openNamespace(path: string): Opened | undefined {
  const known = opened.get(path)
  if (known !== undefined) return { fd: known }
  try {
    // Looked at before: to open a device or a pipe may do something.
    const { type } = statfsSync(path)
    if (!magics.includes(type)) return { magic: type }
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    const { type: magic } = statfsSync(ownFile(fd))
    if (magics.includes(magic)) {
      opened.set(path, fd)
      return { fd }
    }
    closeSync(fd)
    return { magic }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw thrown
  }
}

/** Its open file; undefined also where something else is, or it cannot be opened. */
export function namespaceAt(path: string): number | undefined {
  try {
    return openNamespace(path)?.fd
  } catch {
    return undefined
  }
}

/** Where this process finds the namespace that a path stands for. */
export function namespaceFile(path: string): string {
  const fd = opened.get(path)
  return fd === undefined ? path : ownFile(fd)
}

/** The namespaces that this process has opened, by their paths. */
export function openedNamespaces(): ReadonlyMap<string, number> {
  return opened
}

/**
 * The path of an open file for the process that has it: of this process, or of a child that has it under the same
 * number.
 */
export function ownFile(fd: number): string {
  return `/proc/self/fd/${fd}`
}

// --- internal

const opened = new Map<string, number>()

/** File system magics a network namespace can lie on: nsfs, and proc on old kernels (linux/magic.h). */
const magics = [0x6e736673, 0x9fa0]

import { DynamicLibrary } from 'node:ffi'
import { closeSync, openSync } from 'node:fs'

/**
 * Does something in a named network namespace: the processes it starts live there, without a helper that costs their
 * callers time.
 */
export function inNamespace<T>(name: string, work: () => T): T {
  const own = openSync('/proc/self/ns/net', 'r')
  enter(`/run/netns/${name}`)
  try {
    return work()
  } finally {
    enter(`/proc/self/fd/${own}`)
    closeSync(own)
  }
}

// --- internal

const setns = new DynamicLibrary(null).getFunction('setns', { arguments: ['int32', 'int32'], return: 'int32' })

/** setns(2); it moves the calling thread, which is the one that starts processes. */
function enter(path: string): void {
  const [fd, anyKind] = [openSync(path, 'r'), 0]
  const failed = setns(fd, anyKind)
  closeSync(fd)
  if (failed) throw new Error(`cannot enter the network namespace ${path}`)
}

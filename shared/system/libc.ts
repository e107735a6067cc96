import { closeSync, readSync } from 'node:fs'
import { type ForeignFunctions, foreignFunctions } from './node.js'

/**
 * Functions of the C library that Node has no call for, named as there; each returns a negative number when it fails.
 */
interface Functions {
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly setsockopt: (fd: number, level: number, name: number, value: bigint, bytes: number) => number
  /** `bytes` holds how many `data` has, and gets how many there were. */
  readonly getsockopt: (fd: number, level: number, name: number, data: bigint, bytes: bigint) => number
  readonly send: (fd: number, data: bigint, bytes: bigint, flags: number) => bigint
  readonly setns: (fd: number, kind: number) => number
  readonly unshare: (kinds: number) => number
  readonly flock: (fd: number, operation: number) => number
  /** Fails when a signal comes, too. */
  readonly poll: (descriptors: bigint, count: bigint, milliseconds: number) => number
  /** Returns only when it fails. */
  readonly _exit: (status: number) => number
  readonly syscall: (number: bigint, first: bigint, second: bigint, third: bigint, fourth: bigint) => bigint
}

export interface Libc extends Functions {
  /** Where a buffer's bytes are. */
  readonly address: (bytes: Buffer) => bigint
  /** How many bytes were read, or a negative errno; by Node, which has a call for it. */
  readonly read: (fd: number, into: Buffer) => number
  readonly close: (fd: number) => void
}

/** Undefined where this Node cannot call C: it says the means are experimental. */
export function loadLibc(): Libc | undefined {
  try {
    const ffi = foreignFunctions()
    return ffi && libcOf(ffi)
  } catch {
    return undefined
  }
}

// --- internal

const signatures: Record<keyof Functions, object> = {
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'uint32'], return: 'int32' },
  getsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'pointer'], return: 'int32' },
  send: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int64' },
  setns: { arguments: ['int32', 'int32'], return: 'int32' },
  unshare: { arguments: ['int32'], return: 'int32' },
  flock: { arguments: ['int32', 'int32'], return: 'int32' },
  poll: { arguments: ['pointer', 'uint64', 'int32'], return: 'int32' },
  _exit: { arguments: ['int32'], return: 'int32' },
  syscall: { arguments: ['int64', 'int64', 'int64', 'int64', 'int64'], return: 'int64' },
}

/** Each function is made when it is called first: that takes some fifty calls of the kernel. */
function libcOf({ DynamicLibrary, getRawPointer, kSbSharedBuffer }: ForeignFunctions): Libc {
  const library = new DynamicLibrary(null)
  const make = (name: keyof Functions) => {
    const found = library.getFunction(name, signatures[name]) as (...values: unknown[]) => unknown
    // It fails, and tools do it.
    return kSbSharedBuffer in found ? () => -1 : found
  }
  const late = (name: keyof Functions) => {
    let made: ReturnType<typeof make> | undefined
    return [
      name,
      (...values: unknown[]) => {
        made ??= make(name)
        return made(...values)
      },
    ]
  }
  const functions = Object.fromEntries((Object.keys(signatures) as (keyof Functions)[]).map(late))
  return { ...(functions as unknown as Functions), address: getRawPointer, read, close: closeSync }
}

function read(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into)
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).errno as number
  }
}

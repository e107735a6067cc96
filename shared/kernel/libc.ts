import { internalBinding } from '../exec/binding.js'

/** Functions of the C library that Node has no call for, named as there; each returns a negative number when it fails. */
export interface Libc {
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly setsockopt: (fd: number, level: number, name: number, value: bigint, bytes: number) => number
  readonly send: (fd: number, data: bigint, bytes: bigint, flags: number) => bigint
  readonly setns: (fd: number, kind: number) => number
  readonly flock: (fd: number, operation: number) => number
  /** Where a buffer's bytes are. */
  readonly address: (bytes: Buffer) => bigint
}

/** Undefined where this Node cannot call C (it says the means are experimental) or the C library is not in the program. */
export function loadLibc(): Libc | undefined {
  try {
    const ffi = internalBinding<ForeignFunctions>('ffi')
    const functions = ffi && new ffi.DynamicLibrary(null).getFunctions(signatures)
    // Without code made for each call, they find their arguments in memory shared with node:ffi: the tools do it, then.
    if (!functions || ffi.kSbSharedBuffer in functions.socket) return undefined
    return { ...functions, address: ffi.getRawPointer }
  } catch {
    return undefined
  }
}

// --- internal

/** What node:ffi stands on. */
interface ForeignFunctions {
  readonly DynamicLibrary: new (path: string | null) => { getFunctions(signatures: object): Omit<Libc, 'address'> }
  readonly getRawPointer: (bytes: Buffer) => bigint
  readonly kSbSharedBuffer: symbol
}

const signatures = {
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'uint32'], return: 'int32' },
  send: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int64' },
  setns: { arguments: ['int32', 'int32'], return: 'int32' },
  flock: { arguments: ['int32', 'int32'], return: 'int32' },
}

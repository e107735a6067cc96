/** Functions of the C library that Node has no call for, named as there; each returns a negative number when it fails. */
export interface Libc {
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly setsockopt: (fd: number, level: number, name: number, value: Buffer, bytes: number) => number
  readonly send: (fd: number, data: Buffer, bytes: bigint, flags: number) => bigint
  readonly setns: (fd: number, kind: number) => number
  readonly flock: (fd: number, operation: number) => number
}

/** Undefined where this Node has no node:ffi (it calls it experimental) or the C library is not in the program. */
export function loadLibc(): Libc | undefined {
  try {
    const { dlopen } = process.getBuiltinModule('node:ffi')
    return dlopen(null, {
      socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
      setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
      send: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
      setns: { arguments: ['int32', 'int32'], return: 'int32' },
      flock: { arguments: ['int32', 'int32'], return: 'int32' },
    }).functions as unknown as Libc
  } catch {
    return undefined
  }
}

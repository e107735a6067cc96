import { closeSync, readSync } from 'node:fs'
import { type ForeignFunctions, foreignFunctions } from './node.js'

/** What Node has no call for, named as in the C library; each returns a negative number when it fails. */
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
    const numbers = numbersOf[process.arch]
    return ffi && numbers && libcOf(ffi, numbers)
  } catch {
    return undefined
  }
}

// --- internal

const signatures = {
  send: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int64' },
  poll: { arguments: ['pointer', 'uint64', 'int32'], return: 'int32' },
  syscall: { arguments: ['int64', 'int64', 'int64', 'int64', 'int64', 'int64'], return: 'int64' },
}

/** Numbers of system calls. */
interface Numbers {
  readonly socket: bigint
  readonly setsockopt: bigint
  readonly getsockopt: bigint
  readonly setns: bigint
  readonly unshare: bigint
  readonly flock: bigint
  readonly exit_group: bigint
}

/** As in asm/unistd_64.h and asm-generic/unistd.h, by what Node calls a processor. */
const numbersOf: Readonly<Record<string, Numbers>> = {
  x64: {
    socket: 41n,
    setsockopt: 54n,
    getsockopt: 55n,
    setns: 308n,
    unshare: 272n,
    flock: 73n,
    exit_group: 231n,
  },
  arm64: {
    socket: 198n,
    setsockopt: 208n,
    getsockopt: 209n,
    setns: 268n,
    unshare: 97n,
    flock: 32n,
    exit_group: 94n,
  },
}

/**
 * Node makes a function for each of C that is called, which takes some 34 calls of the kernel. So all go through one:
 * syscall(2). Only send(2) is one of its own: it is sendto(2) without its last words, and six are the most that a
 * function may be given, so that these would be whatever stands there. The kernel does not mind, an emulator does.
 */
function libcOf({ DynamicLibrary, getRawPointer, kSbSharedBuffer }: ForeignFunctions, numbers: Numbers): Libc {
  const library = new DynamicLibrary(null)
  const make = (name: keyof typeof signatures) => {
    const found = library.getFunction(name, signatures[name]) as (...values: unknown[]) => unknown
    // It fails, and tools do it.
    return kSbSharedBuffer in found ? () => -1 : found
  }
  const late = (name: keyof typeof signatures) => {
    let made: ReturnType<typeof make> | undefined
    return (...values: unknown[]) => {
      made ??= make(name)
      return made(...values)
    }
  }
  const call = late('syscall')
  const syscall = (number: bigint, one: bigint, two = 0n, three = 0n, four = 0n, five = 0n) =>
    call(number, one, two, three, four, five) as bigint
  return {
    socket: (domain, type, protocol) => Number(syscall(numbers.socket, BigInt(domain), BigInt(type), BigInt(protocol))),
    setsockopt: (fd, level, name, value, bytes) =>
      Number(syscall(numbers.setsockopt, BigInt(fd), BigInt(level), BigInt(name), value, BigInt(bytes))),
    getsockopt: (fd, level, name, data, bytes) =>
      Number(syscall(numbers.getsockopt, BigInt(fd), BigInt(level), BigInt(name), data, bytes)),
    send: late('send') as Libc['send'],
    setns: (fd, kind) => Number(syscall(numbers.setns, BigInt(fd), BigInt(kind))),
    unshare: (kinds) => Number(syscall(numbers.unshare, BigInt(kinds))),
    flock: (fd, operation) => Number(syscall(numbers.flock, BigInt(fd), BigInt(operation))),
    poll: late('poll') as Libc['poll'],
    _exit: (status) => Number(syscall(numbers.exit_group, BigInt(status))),
    syscall,
    address: getRawPointer,
    read,
    close: closeSync,
  }
}

function read(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into)
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).errno as number
  }
}

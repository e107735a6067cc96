import type { Libc } from './libc.js'

/**
 * Lets an open file outlive this process by a moment. Closing a socket of netfilter waits until what was removed
 * through it has been freed, an RCU grace period of 10 ms and more, and the end of a process closes its files: the
 * caller would wait for memory to be given back. Behind the end of a process, however, the kernel takes its rings of
 * io_uring(7) apart, and closes the files they know. Where there are no rings (kernel.io_uring_disabled, a seccomp
 * filter), the end waits.
 */
export function outlive(libc: Libc, fd: number): void {
  removed.add(libc)
  // A ring knows the file itself: its number is free again, since thousands of removals may be one call's.
  if (keep(libc, fd)) libc.close(fd)
}

/** Closes a socket of netfilter. Behind a removal the closing of any other of them waits, too: a ring gets it. */
export function letGo(libc: Libc, fd: number): void {
  if (removed.has(libc)) outlive(libc, fd)
  else libc.close(fd)
}

// --- internal

/** By which something was removed in this process. */
const removed = new WeakSet<Libc>()

/** The ring that has room, and how many files it knows. */
interface Ring {
  fd: bigint
  files: number
}
const rings = new WeakMap<Libc, Ring>()

/** Has a ring know an open file. @returns whether it does */
function keep(libc: Libc, fd: number): boolean {
  const ring = rings.get(libc)
  if (!ring || ring.files === mostFiles) return keepInNew(libc, fd)
  const update = Buffer.alloc(updateBytes + 4)
  const at = libc.address(update)
  update.writeUInt32LE(ring.files)
  update.writeBigUInt64LE(at + BigInt(updateBytes), 8)
  update.writeInt32LE(fd, updateBytes)
  if (libc.syscall(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE, at, 1n) < 0) return false
  ring.files++
  return true
}

function keepInNew(libc: Libc, fd: number): boolean {
  const ring = libc.syscall(io_uring_setup, 1n, libc.address(Buffer.alloc(parametersBytes)), 0n, 0n)
  if (ring < 0) return false
  // Places that are free yet are -1.
  const files = Buffer.alloc(4 * mostFiles, 0xff)
  files.writeInt32LE(fd)
  const most = BigInt(mostFiles)
  const isKept = libc.syscall(io_uring_register, ring, IORING_REGISTER_FILES, libc.address(files), most) >= 0
  if (isKept) rings.set(libc, { fd: ring, files: 1 })
  return isKept
}

/** That a ring has room for: no more than the fewest open files that a call works with. */
const mostFiles = 32

/** The same on every architecture. */
const io_uring_setup = 425n
const io_uring_register = 427n
const IORING_REGISTER_FILES = 2n
const IORING_REGISTER_FILES_UPDATE = 6n
/** struct io_uring_params */
const parametersBytes = 120
/** struct io_uring_files_update, whose last member is where the files are: behind it. */
const updateBytes = 16

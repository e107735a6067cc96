import type { Libc } from './libc.js'

/**
 * Lets an open file outlive this process by a moment. Closing a socket of netfilter waits until what was removed
 * through it has been freed, an RCU grace period of 10 ms and more, and the end of a process closes its files: the
 * caller would wait for memory to be given back. Behind the end of a process, however, the kernel takes its rings of
 * io_uring(7) apart, and closes the files they know. Where there are no rings (kernel.io_uring_disabled, a seccomp
 * filter), the end waits.
 */
export function outlive(libc: Libc, fd: number): void {
  const ring = libc.syscall(io_uring_setup, 1n, libc.address(Buffer.alloc(parametersBytes)), 0n, 0n)
  if (ring < 0) return
  const files = Buffer.alloc(4)
  files.writeInt32LE(fd)
  libc.syscall(io_uring_register, ring, IORING_REGISTER_FILES, libc.address(files), 1n)
}

// --- internal

/** The same on every architecture. */
const io_uring_setup = 425n
const io_uring_register = 427n
const IORING_REGISTER_FILES = 2n
/** struct io_uring_params */
const parametersBytes = 120

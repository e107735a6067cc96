import { arch } from 'node:process'
import { loadLibc } from '../system/libc.js'

/**
 * Runs `body` while a descriptor of this process, standard input or output, is another one's open file. Nothing of it
 * may wait: this process prints what tests say by the same descriptors.
 */
export function redirected<T>(descriptor: number, to: number, body: () => T): T {
  const libc = loadLibc()
  if (!libc) throw new Error('this Node cannot call C, and nothing else duplicates a descriptor')
  const saved = Number(libc.syscall(dup, BigInt(descriptor), 0n, 0n, 0n))
  const over = (from: number) => Number(libc.syscall(dup3, BigInt(from), BigInt(descriptor), 0n, 0n))
  if (saved < 0 || over(to) !== descriptor) throw new Error(`descriptor ${descriptor} cannot be duplicated`)
  try {
    return body()
  } finally {
    over(saved)
    libc.close(saved)
  }
}

// --- internal

/** Numbers of system calls. */
const [dup, dup3] = arch === 'arm64' ? [23n, 24n] : [32n, 292n]

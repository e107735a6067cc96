import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

// Installers that copy files one by one make each name of the suite a file of its own, all of one content. The build
// puts a seal behind each binary (packing/seal.ts): a hash of what stands before it.

/** What a seal begins with, and how many bytes it has in all. */
export const sealMark = 'podwire build '
export const sealBytes = 64

/** Whether a file is a copy of this very program: it has the same length, and the same seal. */
export function isSameBuild(path: string, own = '/proc/self/exe'): boolean {
  try {
    const seal = sealOf(path)
    return seal.startsWith(sealMark, seal.indexOf(' ') + 1) && seal === sealOf(own)
  } catch {
    // What cannot be read is executed, which says why.
    return false
  }
}

// --- internal

/** The length of a file and its last bytes. */
function sealOf(path: string): string {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    const bytes = Buffer.alloc(sealBytes)
    readSync(fd, bytes, 0, sealBytes, Math.max(0, size - sealBytes))
    return `${size} ${bytes.toString('latin1')}`
  } finally {
    closeSync(fd)
  }
}

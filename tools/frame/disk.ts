import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Brings a file, or what a folder holds, to the disk. */
export function sync(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

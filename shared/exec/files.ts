import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'

/** The small files the kernel answers with and takes settings by (/proc, /sys): the seam tests replace. */
export interface Files {
  /** @throws the system's error (ENOENT, EACCES, ...) */
  readonly read: (path: string) => string
  /** Overwrites in place, without creating. @throws the system's error */
  readonly write: (path: string, text: string) => void
  /** The names in a directory, sorted. @throws the system's error */
  readonly list: (path: string) => readonly string[]
  /** Where a symbolic link points. @throws the system's error */
  readonly readLink: (path: string) => string
}

export const systemFiles: Files = {
  read: (path) => readFileSync(path, 'latin1'),
  write: (path, text) => writeFileSync(path, text, { flag: 'r+' }),
  list: (path) => readdirSync(path).sort(),
  readLink: (path) => readlinkSync(path),
}

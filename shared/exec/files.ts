import { readFileSync, writeFileSync } from 'node:fs'

/** The small files the kernel answers with and takes settings by (/proc, /sys): the seam tests replace. */
export interface Files {
  /** @throws the system's error (ENOENT, EACCES, ...) */
  readonly read: (path: string) => string
  /** Overwrites in place, without creating. @throws the system's error */
  readonly write: (path: string, text: string) => void
}

export const systemFiles: Files = {
  read: (path) => readFileSync(path, 'latin1'),
  write: (path, text) => writeFileSync(path, text, { flag: 'r+' }),
}

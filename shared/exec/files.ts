import { openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { readState, systemStateFiles } from './state.js'

/**
 * The small files the kernel answers with and takes settings by (/proc, /sys), and those of people: the seam tests
 * replace.
 */
export interface Files {
  /** @throws the system's error (ENOENT, EACCES, ...), or what makes a person's file unusable */
  readonly read: (path: string) => string
  /** Overwrites in place, without creating. @throws the system's error */
  readonly write: (path: string, text: string) => void
  /** The names in a directory, sorted. @throws the system's error */
  readonly list: (path: string) => readonly string[]
  /** Where a symbolic link points. @throws the system's error */
  readonly readLink: (path: string) => string
}

/** The system's, each to be used in one network namespace only: the folders it keeps open are of that. */
export function createFiles(): Files {
  const shortcuts = new Map<string, string>()
  return {
    read: (path) =>
      isKernels(path) ? byShortcut(shortcuts, path, (one) => readFileSync(one, 'latin1')) : readText(path),
    write: (path, text) => byShortcut(shortcuts, path, (one) => writeFileSync(one, text, { flag: 'r+' })),
    list: (path) => readdirSync(path).sort(),
    readLink: (path) => readlinkSync(path),
  }
}

// --- internal

function isKernels(path: string): boolean {
  return path.startsWith('/proc/') || path.startsWith('/sys/')
}

function readText(path: string): string {
  const text = readState(systemStateFiles, path, { follows: true })
  if (text !== undefined) return text
  throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' })
}

/**
 * Folders whose names the kernel has once for each network namespace: with a thousand of them finding ours takes a
 * millisecond.
 */
const crowded = ['/proc/sys/net/ipv4/', '/proc/sys/net/ipv6/']

/**
 * Reads or writes a file from its open folder, where it is in a crowded one; what fails is tried by its own name, for
 * the error's text.
 */
function byShortcut<T>(shortcuts: Map<string, string>, path: string, body: (path: string) => T): T {
  const folder = crowded.find((one) => path.startsWith(one))
  if (folder === undefined) return body(path)
  try {
    const shortcut = shortcuts.get(folder) ?? `/proc/self/fd/${openSync(folder, 'r')}/`
    shortcuts.set(folder, shortcut)
    return body(shortcut + path.slice(folder.length))
  } catch {
    return body(path)
  }
}

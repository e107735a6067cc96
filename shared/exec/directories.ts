import { mkdirSync, statSync } from 'node:fs'

/**
 * Makes a directory and those above it, as far as they are absent. Node's own way goes round for ever where a directory
 * says that what is made in it is absent: /proc does, and the working directory when it was removed.
 * @throws the system's error
 */
export function makeDirectories(path: string, mode: number, make: typeof mkdirSync = mkdirSync): void {
  if (isDirectory(path)) return
  const slash = path.lastIndexOf('/')
  if (slash > 0) makeDirectories(path.slice(0, slash), mode, make)
  try {
    make(path, { mode })
  } catch (thrown) {
    // Somebody else may have made it just now.
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST' || !isDirectory(path)) throw thrown
  }
}

// --- internal

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

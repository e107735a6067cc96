import { accessSync, constants, lstatSync, statfsSync, statSync } from 'node:fs'
import { messageOf } from '../values/errno.js'

/** A directory that files are written into, and how many of them: each takes an inode and a block. */
export interface Writing {
  readonly directory: string
  readonly files?: number
}

/**
 * Why files cannot be made in directories, which may be absent themselves, or nothing where they can: what is there
 * must be a directory, writable, of a file system that keeps files, and have room for all of them together. Nothing is
 * tried: looking changes nothing. What only a try would show (a quota, a server that is gone) is not seen.
 */
export function writeObstacles(writings: readonly Writing[]): readonly string[] {
  const obstacles: string[] = []
  const systems = new Map<number, { directory: string; files: number; missing: Set<string> }>()
  for (const { directory, files = 1 } of writings) {
    const { existing, missing } = deepestExisting(directory)
    const obstacle = directoryObstacle(existing)
    if (obstacle !== undefined) obstacles.push(`${directory}: ${obstacle}`)
    else {
      const { dev } = statSync(existing)
      const system = systems.get(dev) ?? { directory: existing, files: 0, missing: new Set() }
      systems.set(dev, { ...system, files: system.files + files })
      for (const one of missing) system.missing.add(one)
    }
  }
  for (const { directory, files, missing } of systems.values()) {
    const obstacle = spaceObstacle(directory, { blocks: files, inodes: files + missing.size })
    if (obstacle !== undefined) obstacles.push(`${directory}: ${obstacle}`)
  }
  return obstacles
}

// --- internal

/** Pseudo file systems whose directories claim to be writable, as in linux/magic.h: proc and sysfs. */
const keepingNothing = [0x9fa0, 0x62656572]

/** As much of a path as there is, and what would have to be made below it. */
function deepestExisting(directory: string): { existing: string; missing: readonly string[] } {
  const missing: string[] = []
  let existing = directory
  while (existing !== '' && existing !== '.' && !isThere(existing)) {
    missing.push(existing)
    const slash = existing.lastIndexOf('/')
    existing = slash < 0 ? '.' : existing.slice(0, slash)
  }
  return { existing: existing === '' ? '/' : existing, missing }
}

/** Also a symbolic link that leads nowhere is there: no directory can be made in its place. */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    // Below a file, a link to nowhere or what may not be looked into: the look at those above says which.
    return false
  }
}

function directoryObstacle(directory: string): string | undefined {
  try {
    accessSync(`${directory}/.`, constants.W_OK | constants.X_OK)
    if (statSync(directory).nlink === 0) return `ENOENT: the directory was removed`
  } catch (thrown) {
    return messageOf(thrown)
  }
  return keepingNothing.includes(statfsSync(directory).type) ? 'EPERM: this file system keeps no files' : undefined
}

/** A file system that counts no blocks or no inodes has no bound of that kind. */
function spaceObstacle(directory: string, needed: { blocks: number; inodes: number }): string | undefined {
  const { blocks, bfree, files, ffree } = statfsSync(directory)
  if (blocks > 0 && bfree < needed.blocks)
    return `ENOSPC: the file system is full (${bfree} of ${blocks} blocks are free)`
  if (files > 0 && ffree < needed.inodes)
    return `ENOSPC: the file system is full (${ffree} of ${files} inodes are free)`
  return undefined
}

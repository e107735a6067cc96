import { fstatSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { StateFiles } from '../exec/state.js'

/** What is left of a directory after a power loss: names and texts. */
export type Remains = Readonly<Record<string, string>>

type Change = { readonly name: string; readonly inode: number | undefined }

/**
 * Watches system calls on the files of one directory as a disk that writes late: a text is there once it was synced,
 * names once their directory was, else the first few of the changes. `after` is what a loss of power can leave at each
 * moment.
 */
export function lateDisk<Files extends StateFiles>(files: Files, directory: string) {
  const texts = new Map<number, string>()
  let names = new Map<string, number>()
  let pending: (readonly Change[])[] = []
  const isInside = (path: unknown) => typeof path === 'string' && dirname(path) === directory
  const nameOf = (path: unknown) => String(path).slice(directory.length + 1)
  const inodeAt = (path: unknown) => lstatSync(String(path)).ino
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    if (!lstatSync(path).isFile()) continue
    names.set(name, inodeAt(path))
    texts.set(inodeAt(path), readFileSync(path, 'latin1'))
  }
  const applied = (count: number) => {
    const found = new Map(names)
    for (const { name, inode } of pending.slice(0, count).flat()) {
      if (inode === undefined) found.delete(name)
      else found.set(name, inode)
    }
    return found
  }
  const remains = () =>
    Array.from(
      { length: pending.length + 1 },
      (_, count): Remains =>
        Object.fromEntries([...applied(count)].map(([name, inode]) => [name, texts.get(inode) ?? ''])),
    )
  const after: Remains[] = remains()
  const noted = (name: string, args: readonly unknown[]) => {
    const [first, second] = args
    if (name === 'openSync' && isInside(first) && second === 'wx') {
      pending.push([{ name: nameOf(first), inode: inodeAt(first) }])
    } else if (name === 'linkSync' && isInside(second)) {
      pending.push([{ name: nameOf(second), inode: inodeAt(second) }])
    } else if (name === 'unlinkSync' && isInside(first)) pending.push([{ name: nameOf(first), inode: undefined }])
    else if (name === 'renameSync' && isInside(second)) {
      const gone = isInside(first) ? [{ name: nameOf(first), inode: undefined }] : []
      pending.push([...gone, { name: nameOf(second), inode: inodeAt(second) }])
    } else if (name === 'fsyncSync') {
      const status = fstatSync(first as number)
      if (status.isDirectory() && status.ino === inodeAt(directory)) {
        names = applied(pending.length)
        pending = []
      } else if (status.isFile()) texts.set(status.ino, readFileSync(`/proc/self/fd/${first}`, 'latin1'))
    } else return
    after.push(...remains())
  }
  const watched = Object.entries(files).map(([name, call]) => {
    const watching = (...args: unknown[]) => {
      const result = (call as unknown as (...args: unknown[]) => unknown)(...args)
      noted(name, args)
      return result
    }
    return [name, watching]
  })
  return { files: Object.fromEntries(watched) as Files, after, now: remains }
}

/** A new directory that holds what is left. */
export function restored(remains: Remains, below = mkdtempSync(join(tmpdir(), 'power-'))): string {
  mkdirSync(below, { recursive: true })
  for (const [name, text] of Object.entries(remains)) writeFileSync(join(below, name), text, 'latin1')
  return below
}

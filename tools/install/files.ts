import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { errnoOf } from '../../shared/values/errno.js'
import { isObject } from '../../shared/values/object.js'
import { Ended, wrong } from '../frame/command.js'
import { refusalOf, sync } from '../frame/disk.js'
import { identifier, startFault } from './suite.js'

// Putting files into a folder of plugins and giving back what was there. All of it is made ready beside, on the same
// file system, and then renamed over the names one by one: a plugin that is running keeps its file, and a caller finds
// the old one or the new one. What stops it half-way is taken back.

/** What an installation has put where. Paths below the folder, such as podwire-lib/libatomic.so.1. */
export interface Installed {
  readonly version: string
  readonly at: string
  /** The SHA-256 of each file. */
  readonly files: Readonly<Record<string, string>>
}

/** What one installation has replaced, to be given back. */
interface Replaced {
  readonly installed: Installed
  /** Of before; absent where podwire was not installed. */
  readonly before?: Installed
  readonly replaced: readonly string[]
  readonly added: readonly string[]
}

export interface Installation {
  readonly from: string
  readonly to: string
  /** The names of programs to take. */
  readonly names: readonly string[]
  readonly version: string
}

/** What would be, or was, done. `kept` is absent where nothing is replaced. */
export interface Done {
  readonly replaced: readonly string[]
  readonly added: readonly string[]
  readonly kept?: string
}

/** Installs a folder's programs, libraries and shared files. @throws Ended with nothing changed */
export function install(installation: Installation, isDryRun = false): Done {
  return telling(installation.to, () => installIn(installation, isDryRun))
}

/** The dated folders, the oldest first. */
export function keptFolders(to: string): readonly string[] {
  const folder = path.join(to, keptFolder)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => existsSync(path.join(folder, name, listFile)))
    .sort()
    .map((name) => path.join(folder, name))
}

/** Whether an installation replaced nothing: then its folder holds its list alone. */
export function isEmptyKept(kept: string): boolean {
  return readdirSync(kept).every((name) => name === listFile)
}

/** Forgets the installations before which nothing was there. */
export function removeEmptyKept(to: string): void {
  for (const kept of keptFolders(to).filter(isEmptyKept)) rmSync(kept, { recursive: true })
}

/** What a rollback does: `left` are files that somebody has changed since. */
export interface RolledBack {
  readonly from: string
  readonly restored: readonly string[]
  readonly removed: readonly string[]
  readonly left: readonly string[]
}

/** Gives back what the last installation has replaced. @throws Ended where there is nothing to give back */
export function rollback(to: string, isDryRun = false): RolledBack {
  return telling(to, () => rollbackIn(to, isDryRun))
}

export function readInstalled(to: string): Installed | undefined {
  const file = path.join(to, keptFolder, installedFile)
  if (!existsSync(file)) return undefined
  const value = parsed(file)
  return isInstalled(value) ? value : undefined
}

export function forgetInstalled(to: string): void {
  rmSync(path.join(to, keptFolder, installedFile), { force: true })
  removeIfEmpty(path.join(to, keptFolder))
}

export function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (thrown) {
    if (!['ENOTEMPTY', 'ENOENT', 'ENOTDIR', 'EEXIST'].includes(errnoOf(thrown) ?? '')) throw thrown
  }
}

export function removeEmptyFolders(to: string, files: readonly string[]): void {
  const folders = new Set(files.flatMap(foldersAbove))
  for (const folder of [...folders].sort((one, other) => other.length - one.length))
    removeIfEmpty(path.join(to, folder))
}

// --- internal

/** The folder, below that of the plugins, with what was replaced, by date, and what is installed. */
const keptFolder = 'podwire-kept'

/** So many installations are given back one by one; all before them at once, so that what was there at first stays. */
const mostKept = 5

const installedFile = 'installed.json'
const listFile = 'replaced.json'
const folders = ['podwire-lib', 'podwire-share']

function installIn({ from, to, names, version }: Installation, isDryRun: boolean): Done {
  const files = filesOf(from, names)
  const identify = identifier()
  const different = files.filter((file) => !isSame(path.join(from, file), path.join(to, file), identify))
  const programs = files.filter((file) => !file.includes('/'))
  const areLinked = isLinkedAlike(from, to, programs)
  if (different.length === 0 && areLinked) return { replaced: [], added: [] }
  const [replaced, added] = [
    files.filter((file) => isThere(path.join(to, file))),
    files.filter((file) => !isThere(path.join(to, file))),
  ]
  const folder = replaced.find((file) => lstatSync(path.join(to, file)).isDirectory())
  if (folder !== undefined) throw new Ended(wrong, `${path.join(to, folder)} is a directory: remove it`)
  const at = new Date().toISOString()
  const kept = path.join(to, keptFolder, at.replaceAll(':', '-'))
  if (isDryRun) return { replaced, added, ...(replaced.length > 0 ? { kept } : {}) }
  return changing(to, (work) => {
    copyLinked(from, work, files)
    for (const name of programs) {
      const fault = startFault(path.join(work, name), name)
      if (fault !== undefined) throw new Ended(wrong, `${path.join(from, name)} is not installed: ${fault}`)
    }
    const before = readInstalled(to)
    const installed = { version, at, files: hashes(from, files, identify) }
    keep(to, kept, { installed, ...(before ? { before } : {}), replaced, added })
    // Libraries and shared files first: the new programs find them, and the old ones go on with them.
    const order = [...files.filter((file) => file.includes('/')), ...programs]
    putInPlace({ work, to, kept }, order, replaced)
    writeInstalled(to, installed)
    while (keptFolders(to).length > mostKept && joinOldest(to));
    return { replaced, added, kept }
  })
}

function rollbackIn(to: string, isDryRun: boolean): RolledBack {
  const kept = keptFolders(to).at(-1)
  if (kept === undefined) throw new Ended(wrong, `${path.join(to, keptFolder)} holds nothing to give back`)
  const { installed, before, replaced, added } = readReplaced(kept)
  const identify = identifier()
  const isOurs = (file: string) => {
    const real = path.join(to, file)
    return !isThere(real) || (lstatSync(real).isFile() && identify(real).sha256 === installed.files[file])
  }
  const left = [...replaced, ...added].filter((file) => !isOurs(file))
  const restored = replaced.filter((file) => !left.includes(file))
  const removed = added.filter((file) => !left.includes(file) && isThere(path.join(to, file)))
  const outcome = { from: kept, restored, removed, left }
  if (isDryRun) return outcome
  return changing(to, (work) => {
    for (const file of restored) linkInto(path.join(kept, file), path.join(work, file))
    const programsFirst = (one: string, other: string) => Number(one.includes('/')) - Number(other.includes('/'))
    for (const file of restored) renameSync(path.join(work, file), path.join(to, file))
    for (const file of removed.toSorted(programsFirst)) unlinkSync(path.join(to, file))
    removeEmptyFolders(to, removed)
    if (before) writeInstalled(to, before)
    else rmSync(path.join(to, keptFolder, installedFile), { force: true })
    rmSync(kept, { recursive: true })
    removeIfEmpty(path.join(to, keptFolder))
    return outcome
  })
}

/** Programs by name, and what lies in the two folders beside them. @throws Ended where there is none */
function filesOf(from: string, names: readonly string[]): readonly string[] {
  const isFile = (name: string) => statSync(path.join(from, name), { throwIfNoEntry: false })?.isFile() ?? false
  const programs = names.filter(isFile)
  if (programs.length === 0) throw new Ended(wrong, `${from} holds no plugin of podwire: --from names their folder`)
  const others = folders.filter((folder) => existsSync(path.join(from, folder)))
  const inside = others.flatMap((folder) =>
    readdirSync(path.join(from, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name}`)
      .filter(isFile),
  )
  return [...programs, ...inside.sort()]
}

function isThere(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined
}

function isSame(one: string, other: string, identify: ReturnType<typeof identifier>): boolean {
  const status = lstatSync(other, { throwIfNoEntry: false })
  return status?.isFile() === true && identify(other).sha256 === identify(one).sha256
}

/** Whether names that are one file there are one here. */
function isLinkedAlike(from: string, to: string, names: readonly string[]): boolean {
  const grouped = [...Map.groupBy(names, (name) => statSync(path.join(from, name)).ino).values()]
  return grouped.every((group) => {
    const inodes = group.map((name) => lstatSync(path.join(to, name), { throwIfNoEntry: false })?.ino)
    return new Set(inodes).size === 1
  })
}

/** Copies files, and names of one file as such. */
function copyLinked(from: string, to: string, files: readonly string[]): void {
  const copies = new Map<string, string>()
  for (const file of files) {
    const [source, target] = [path.join(from, file), path.join(to, file)]
    makeFolders(path.dirname(target))
    const { dev, ino } = statSync(source)
    const copy = copies.get(`${dev} ${ino}`)
    if (copy !== undefined) {
      linkSync(copy, target)
      continue
    }
    copyFileSync(source, target, constants.COPYFILE_FICLONE)
    chmodSync(target, file.includes('/') ? 0o644 : 0o755)
    sync(target)
    copies.set(`${dev} ${ino}`, target)
  }
}

function hashes(folder: string, files: readonly string[], identify: ReturnType<typeof identifier>) {
  return Object.fromEntries(files.map((file) => [file, identify(path.join(folder, file)).sha256]))
}

/** Keeps what is going to be replaced, as links: that mostly copies nothing. Where one cannot be made, none is left. */
function keep(to: string, kept: string, list: Replaced): void {
  try {
    makeFolders(kept)
    for (const file of list.replaced) keepFile(path.join(to, file), path.join(kept, file))
    writeList(kept, list)
  } catch (thrown) {
    forgetKept(to, kept)
    throw thrown
  }
}

/** Root without all capabilities may link no file of another user's (fs.protected_hardlinks): that one is copied. */
function keepFile(file: string, target: string): void {
  try {
    linkInto(file, target)
  } catch (thrown) {
    if (errnoOf(thrown) !== 'EPERM' || !lstatSync(file).isFile()) throw thrown
    copyFileSync(file, target, constants.COPYFILE_FICLONE)
    sync(target)
  }
}

function forgetKept(to: string, kept: string): void {
  rmSync(kept, { recursive: true, force: true })
  removeIfEmpty(path.join(to, keptFolder))
}

function writeList(kept: string, list: Replaced): void {
  const draft = path.join(kept, `.${listFile}`)
  writeFileSync(draft, JSON.stringify(list, null, 2))
  renameSync(draft, path.join(kept, listFile))
  sync(kept)
}

/**
 * Makes one of the two oldest folders: what was there before both, replaced by what the newer of them installed.
 * @returns false where a list of them is garbled: nothing is given back by that, and nothing removed
 */
function joinOldest(to: string): boolean {
  const [older = '', newer = ''] = keptFolders(to)
  try {
    const [first, second] = [readReplaced(older), readReplaced(newer)]
    const known = new Set([...first.replaced, ...first.added])
    const isNew = (file: string) => !known.has(file)
    const replaced = second.replaced.filter(isNew)
    for (const file of replaced) {
      if (!isThere(path.join(older, file))) linkInto(path.join(newer, file), path.join(older, file))
    }
    writeList(older, {
      ...first,
      installed: { ...second.installed, files: { ...first.installed.files, ...second.installed.files } },
      replaced: [...first.replaced, ...replaced],
      added: [...first.added, ...second.added.filter(isNew)],
    })
    rmSync(newer, { recursive: true })
    return true
  } catch (thrown) {
    if (thrown instanceof Ended) return false
    throw thrown
  }
}

function linkInto(file: string, target: string): void {
  makeFolders(path.dirname(target))
  linkSync(file, target)
}

/** Whoever calls a plugin reads its libraries. */
function makeFolders(folder: string): void {
  if (existsSync(folder)) return
  makeFolders(path.dirname(folder))
  mkdirSync(folder)
  chmodSync(folder, 0o755)
}

/** Renames file after file into place; where one fails, those before it are given back. */
function putInPlace(
  { work, to, kept }: { work: string; to: string; kept: string },
  files: readonly string[],
  replaced: readonly string[],
): void {
  const done: string[] = []
  try {
    for (const file of files) {
      makeFolders(path.dirname(path.join(to, file)))
      renameSync(path.join(work, file), path.join(to, file))
      done.push(file)
    }
    sync(to)
  } catch (thrown) {
    for (const file of done.toReversed()) {
      if (!replaced.includes(file)) unlinkSync(path.join(to, file))
      else {
        linkInto(path.join(kept, file), path.join(work, file))
        renameSync(path.join(work, file), path.join(to, file))
      }
    }
    removeEmptyFolders(to, files)
    forgetKept(to, kept)
    throw thrown
  }
}

/** Runs `body`; a system error says which folder it is about. @throws Ended */
function telling<T>(to: string, body: () => T): T {
  try {
    return body()
  } catch (thrown) {
    if (thrown instanceof Ended || errnoOf(thrown) === undefined) throw thrown
    throw new Ended(wrong, `${to}: ${refusalOf(thrown)}`)
  }
}

/** Runs `body` with a folder of its own beside the files, which is gone afterwards. */
function changing<T>(to: string, body: (work: string) => T): T {
  let work: string | undefined
  try {
    makeFolders(to)
    clearWork(to)
    work = mkdtempSync(path.join(to, workPrefix))
    chmodSync(work, 0o755)
    return body(work)
  } finally {
    if (work !== undefined) rmSync(work, { recursive: true, force: true })
  }
}

const workPrefix = '.podwire.'
/** Milliseconds after which nobody installs any more: a disk may be slow. */
const longestWork = 3_600_000

/** Removes the folders of those that were killed at work: each may hold a whole suite. */
function clearWork(to: string): void {
  for (const name of readdirSync(to).filter((one) => one.startsWith(workPrefix))) {
    const status = lstatSync(path.join(to, name), { throwIfNoEntry: false })
    const age = status?.isDirectory() ? Math.abs(Date.now() - status.mtimeMs) : 0
    if (age >= longestWork) rmSync(path.join(to, name), { recursive: true, force: true })
  }
}

function writeInstalled(to: string, installed: Installed): void {
  const folder = path.join(to, keptFolder)
  makeFolders(folder)
  const draft = path.join(folder, `.${installedFile}`)
  writeFileSync(draft, JSON.stringify(installed, null, 2), { mode: 0o644 })
  renameSync(draft, path.join(folder, installedFile))
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown
    return undefined
  }
}

function isInstalled(value: unknown): value is Installed {
  return isObject(value) && typeof value['version'] === 'string' && isObject(value['files'])
}

/** @throws Ended where it was garbled */
function readReplaced(kept: string): Replaced {
  const value = parsed(path.join(kept, listFile))
  const isList = (list: unknown) => Array.isArray(list) && list.every((one) => typeof one === 'string' && isInside(one))
  if (!isObject(value) || !isInstalled(value['installed']) || !isList(value['replaced']) || !isList(value['added'])) {
    throw new Ended(wrong, `${path.join(kept, listFile)} is garbled: copy from ${kept} by hand`)
  }
  return value as unknown as Replaced
}

function isInside(file: string): boolean {
  return file !== '' && !file.startsWith('/') && !file.split('/').includes('..')
}

function foldersAbove(file: string): readonly string[] {
  const parts = file.split('/').slice(0, -1)
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'))
}

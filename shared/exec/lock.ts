import { closeSync, constants, fstatSync, openSync, rmdirSync, statSync, unlinkSync } from 'node:fs'
import { namespaceFile } from '../system/namespaces.js'
import { errnoOf, messageOf } from '../values/errno.js'
import { CniError, codes } from '../values/errors.js'
import type { Run } from './command.js'
import { makeDirectories } from './directories.js'
import { holdersOf } from './holders.js'
import { stateRoot } from './state.js'
import { firstLine } from './stderr.js'

/** Status of `flock -E` for "still held by somebody else at the deadline", apart from its own failures. */
const HELD = 75

/**
 * Runs `body` while holding flock(2) LOCK_EX on the file, which is made if need be (mode 0750, as the official
 * host-local does, so that both exclude each other). The lock belongs to the open file that the `flock` tool inherits
 * from us: it outlives the tool, and the kernel drops it when we close the file or die. Where nobody holds it, no tool
 * is needed.
 * @param options.seconds how long to wait for another holder
 * @throws code 11 at the deadline, 5 when the file cannot be opened, 100 or 101 when flock fails
 */
export function withLock<T>(path: string, body: () => T, options: LockOptions): T {
  return holding(path, body, { ...options, open: () => openOwn(path, { mode: 0o750 }) })
}

/**
 * Whether nobody holds flock(2) LOCK_EX on a file at this moment. It is asked by a shared lock, which is let go at
 * once: several may ask together, and who wants the file meanwhile waits no longer than that. False where it cannot be
 * told.
 */
export function isUnlocked(path: string, { observer }: Pick<LockHost, 'observer'>): boolean {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return errnoOf(thrown) === 'ENOENT'
  }
  try {
    return observer.tryLock(fd, 'shared')
  } finally {
    closeSync(fd)
  }
}

/**
 * Runs `body` alone among the processes of podwire that want the lock of that name. It lies where nobody else can take
 * it. In a dry run nothing changes, so nothing is locked.
 * @throws as withLock
 */
export function withOwnLock<T>(host: LockHost & Speaking, name: string, body: () => T): T {
  if (host.dryRun) return body()
  const path = `${stateRoot}/${name}`
  return holding(path, body, { host, open: () => openOwn(path, ours), warn: host.warn })
}

/**
 * Runs `body` alone in a network namespace. The lock is ours, and goes with the last who wants it. Where a plugin of
 * the official suite locks the namespace's own file, as `official` says, that is waited for a second and no longer:
 * anyone who may read the file, the container too, can keep that lock.
 * @throws as withLock
 */
export function withNetnsLock<T>(
  host: LockHost & Speaking,
  netns: string,
  body: () => T,
  { official = false } = {},
): T {
  if (host.dryRun) return body()
  const { dev, ino } = statSync(namespaceFile(netns))
  const path = `${stateRoot}/netns-${dev}-${ino}.lock`
  const inside = official ? () => withOfficialLock(host, netns, body) : body
  return holding(path, inside, { host, open: () => openOwn(path, ours), isTemporary: true, warn: host.warn })
}

/** What locks ask of the machine a plugin works on (plan/host.ts). */
export interface LockHost {
  readonly run: Run
  readonly observer: { readonly tryLock: (fd: number, kind?: 'shared') => boolean }
}

export interface LockOptions {
  readonly host: LockHost
  /** How long to wait for another holder. */
  readonly seconds?: number
  /** What it means, and what to do, when somebody else has the lock at the deadline. */
  readonly purpose?: { readonly message: string; readonly fix: string }
}

interface Speaking {
  readonly dryRun: boolean
  readonly warn: (text: string) => void
}

/** A lock that is held as long as any process has the open file. */
export interface Held {
  readonly fd: number
  /** Lets go of it; the file goes, too, unless others that have it open are to be waited for. */
  readonly release: (options?: { keepsFile?: boolean }) => void
}

/** Takes a lock at a path of ours, where nobody else can, to give it to others. @throws as withLock */
export function takeOwnLock(path: string, options: LockOptions): Held {
  const fd = locked(path, { ...options, open: () => openOwn(path, ours) })
  return {
    fd,
    release: ({ keepsFile = false } = {}) => {
      if (!keepsFile) remove(path)
      closeSync(fd)
    },
  }
}

// --- internal

type Opening = LockOptions & { readonly open: () => number }

function holding<T>(
  path: string,
  body: () => T,
  options: Opening & { isTemporary?: boolean; warn?: Speaking['warn'] },
): T {
  let fd: number
  try {
    fd = locked(path, options)
  } catch (thrown) {
    // Nothing is on record where no file can be: a DEL finds what it can, and an ADD fails at its record.
    if (!options.warn || statSync(stateRoot, { throwIfNoEntry: false })?.isDirectory()) throw thrown
    options.warn(`podwire: ${stateRoot} is no directory: going on without the lock ${path}`)
    return body()
  }
  try {
    return body()
  } finally {
    // Who waits for it sees that it is gone, and makes another.
    if (options.isTemporary) remove(path)
    closeSync(fd)
  }
}

/** The open file of a lock that we have. */
function locked(path: string, { open, ...options }: Opening): number {
  for (;;) {
    const fd = open()
    try {
      take(fd, path, options)
      if (isStill(path, fd)) return fd
    } catch (thrown) {
      closeSync(fd)
      throw thrown
    }
    closeSync(fd)
  }
}

function withOfficialLock<T>(host: LockHost & Speaking, netns: string, body: () => T): T {
  let fd: number | undefined
  try {
    fd = open(namespaceFile(netns), constants.O_RDONLY)
    take(fd, netns, { host, seconds: 1 })
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    host.warn(`podwire: going on without the lock that the official plugin takes: ${thrown.message}`)
  }
  try {
    return body()
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** Ours is opened for writing: NFS refuses an exclusive lock on a file opened for reading. */
function open(path: string, flags: number, mode?: number): number {
  try {
    return openSync(path, flags | constants.O_NONBLOCK, mode)
  } catch (thrown) {
    const details = messageOf(thrown)
    throw new CniError(codes.ioFailure, `cannot open the lock file ${path}`, { details, cause: thrown })
  }
}

/** A lock file holds nothing, so what else lies in its place is cleared away, never followed. */
function openOwn(path: string, { mode, makesFolder = false }: { mode: number; makesFolder?: boolean }): number {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
  for (let attempt = 1; ; attempt++) {
    try {
      const fd = open(path, flags, mode)
      if (fstatSync(fd).isFile() || attempt === attempts) return fd
      closeSync(fd)
      remove(path)
    } catch (thrown) {
      if (attempt === attempts || !(thrown instanceof CniError)) throw thrown
      const errno = errnoOf(thrown.cause) ?? ''
      if (errno === 'ENOENT' && makesFolder) makeFolder(path)
      else if (inPlace.includes(errno)) remove(path)
      else throw thrown
    }
  }
}

/** What opening says of a symbolic link, a directory and a socket. */
const inPlace = ['ELOOP', 'EISDIR', 'ENXIO']

/** A lock that nobody else is to take. */
const ours = { mode: 0o600, makesFolder: true }

/** How often a lock of ours is opened: to make its directory, to clear its place, once more. */
const attempts = 3

function makeFolder(path: string): void {
  const folder = path.slice(0, path.lastIndexOf('/'))
  try {
    makeDirectories(folder, 0o700)
  } catch (thrown) {
    throw new CniError(codes.ioFailure, `cannot make ${folder}`, { details: messageOf(thrown), cause: thrown })
  }
}

/** What cannot be removed shows when the lock is opened next. */
function remove(path: string): void {
  for (const way of [unlinkSync, rmdirSync]) {
    try {
      way(path)
      return
    } catch (thrown) {
      if (errnoOf(thrown) === undefined) throw thrown
    }
  }
}

/** Waits for a lock on an open file. @throws code 11 at the deadline, 100 or 101 when flock fails */
function take(fd: number, path: string, { host, seconds = 60, purpose }: LockOptions): void {
  if (host.observer.tryLock(fd)) return
  const argv = ['flock', '-x', '-w', String(seconds), '-E', String(HELD), '3'] as const
  const { status, signal, stderr, failure } = host.run({ argv, fds: [fd], seconds: seconds + 5 })
  if (status === 0) return
  if (status === HELD) {
    const {
      message = `another process has held the lock ${path} for more than ${seconds} s`,
      fix = `find it with: lslocks, or fuser -v ${path}`,
    } = purpose ?? {}
    const holders = holdersOf(fd).join(', ') || 'a process that /proc does not show here'
    throw new CniError(codes.tryAgainLater, message, { details: `${holders} holds the lock ${path}`, fix })
  }
  if (failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, `cannot lock ${path}: there is no flock`, { fix: 'install util-linux' })
  }
  const details = firstLine(stderr) || `flock: ${failure ?? signal ?? `status ${status}`}`
  throw new CniError(codes.operationFailed, `cannot lock ${path}`, { details })
}

/** False when the file was removed or replaced while we waited: a lock on it would exclude nobody. */
function isStill(path: string, fd: number): boolean {
  const now = statSync(path, { throwIfNoEntry: false })
  const ours = fstatSync(fd)
  return now !== undefined && now.ino === ours.ino && now.dev === ours.dev
}

import { closeSync, constants, fstatSync, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs'
import path from 'node:path'
import { errnoOf, isAbsent } from '../../shared/values/errno.js'

// Where a command looks: this host, or the root of an image or of a test. Files there may be planted: nothing is
// followed out of the root, nothing waited for, and nothing read beyond a bound.

/** The folders that options name; paths as the host, or the image, has them. */
export interface Place {
  readonly root: string
  readonly conf: string
  readonly bin: string
  readonly data: string
  /** Whether it is the host that the command runs on, whose kernel can be asked. */
  readonly isHost: boolean
}

export interface PlaceOptions {
  readonly root?: string
  readonly conf?: string
  readonly bin?: string
  readonly data?: string
}

export function placeOf({ root = '/', conf, bin, data }: PlaceOptions): Place {
  return {
    root: path.resolve(root),
    conf: conf ?? '/etc/cni/net.d',
    bin: bin ?? '/opt/cni/bin',
    data: data ?? '/var/lib/cni/networks',
    isHost: path.resolve(root) === '/',
  }
}

/** Why a file could not be looked at: words that follow its name. */
export class Unseen extends Error {
  /** True where looking again with more rights could help. */
  readonly isForbidden: boolean

  constructor(why: string, isForbidden = false) {
    super(why)
    this.isForbidden = isForbidden
  }
}

/** Bytes of the largest file that is read. */
export const mostBytes = 4 * 1024 * 1024

/**
 * The text of a regular file; undefined where there is none.
 * @throws Unseen
 */
export function readText(place: Place, file: string): string | undefined {
  return looking(() => {
    const fd = openSync(inRoot(place, file), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    try {
      const status = fstatSync(fd)
      if (!status.isFile()) throw new Unseen('is no regular file')
      if (status.size > mostBytes) throw new Unseen(`has ${status.size} bytes, more than ${mostBytes}`)
      return readBounded(fd)
    } finally {
      closeSync(fd)
    }
  })
}

/** The names in a folder, sorted by bytes as Go does; undefined where there is none. @throws Unseen */
export function listNames(place: Place, folder: string): readonly string[] | undefined {
  return looking(() => readdirSync(inRoot(place, folder)).sort(byBytes))
}

/** What a path leads to; undefined where there is nothing. @throws Unseen */
export function statOf(place: Place, file: string) {
  return looking(() => statSync(inRoot(place, file)))
}

/**
 * Where a path of the place lies on this machine: symbolic links are followed as if the root were "/".
 * @throws Unseen where they go in a circle
 */
export function inRoot({ root, isHost }: Place, file: string): string {
  if (isHost) return path.resolve('/', file)
  let rest = path.posix.normalize(`/${file}`).split('/').filter(Boolean)
  let at = '/'
  for (let links = 0; rest.length > 0; ) {
    const [next = '', ...others] = rest
    rest = others
    if (next === '..') {
      at = path.posix.dirname(at)
      continue
    }
    const target = linkTarget(path.join(root, at, next))
    if (target === undefined) {
      at = path.posix.join(at, next)
      continue
    }
    if (++links > 40) throw new Unseen('is a circle of symbolic links')
    if (target.startsWith('/')) at = '/'
    rest = [...target.split('/').filter((part) => part !== '' && part !== '.'), ...rest]
  }
  return path.join(root, at)
}

/** Where a symbolic link leads; undefined where none can be read. */
export function linkTarget(file: string): string | undefined {
  try {
    return readlinkSync(file)
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return undefined
  }
}

// --- internal

function byBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}

function looking<Value>(look: () => Value): Value | undefined {
  try {
    return look()
  } catch (thrown) {
    if (thrown instanceof Unseen) throw thrown
    if (isAbsent(thrown)) return undefined
    const errno = errnoOf(thrown)
    if (errno === undefined) throw thrown
    throw new Unseen(reasons[errno] ?? `cannot be read (${errno})`, errno === 'EACCES' || errno === 'EPERM')
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'may not be read by this user',
  EPERM: 'may not be read by this user',
  ELOOP: 'is a circle of symbolic links',
  EISDIR: 'is a directory',
  ENXIO: 'is no regular file',
}

/** All of a file, also of one of /proc, which says that it has no bytes. */
function readBounded(fd: number): string {
  const chunks: Buffer[] = []
  for (let total = 0; total <= mostBytes; ) {
    const length = readSync(fd, part)
    if (length === 0) return Buffer.concat(chunks).toString('utf8')
    total += length
    chunks.push(Buffer.from(part.subarray(0, length)))
  }
  throw new Unseen(`has more than ${mostBytes} bytes`)
}

/** One for all: a command may read thousands of files. */
const part = Buffer.alloc(65536)

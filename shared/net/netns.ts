import { statfsSync, statSync } from 'node:fs'
import { CniError, codes } from '../protocol/errors.js'
import { bootID, type Eyes, type ObservedLink } from './observe.js'

/** File system magics a network namespace can lie on: nsfs, and proc on old kernels (linux/magic.h). */
const magics = [0x6e736673, 0x9fa0]

/**
 * Whether a path leads to a network namespace: `gone` when nothing is there (any more).
 * @throws code 104 when something else is there, or it cannot be looked at
 */
export function netnsState(path: string): 'present' | 'gone' {
  try {
    const { type } = statfsSync(path)
    if (magics.includes(type)) return 'present'
    throw new CniError(codes.invalidNetns, `"${path}" is not a network namespace`, {
      details: `unknown FS magic on "${path}": ${type.toString(16)}`,
      fix: 'CNI_NETNS must name a namespace file, such as /run/netns/NAME or /proc/PID/ns/net',
    })
  } catch (thrown) {
    if (thrown instanceof CniError) throw thrown
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return 'gone'
    throw new CniError(codes.invalidNetns, `cannot look at the network namespace "${path}"`, { details: message })
  }
}

/** For verbs that need the namespace. @throws code 104 */
export function requireNetns(path: string): string {
  if (netnsState(path) === 'present' && !unusable(path)) return path
  throw new CniError(codes.invalidNetns, `failed to open netns "${path}"`, {
    details: unusable(path) ? 'the path has white space, quotes or control characters' : 'no such file or directory',
    fix: 'create the network namespace before ADD, and give its path in CNI_NETNS',
  })
}

/** For DEL: the namespace if it can be entered, undefined when it is not given or gone. @throws code 104 */
export function livingNetns(path: string): string | undefined {
  return path !== '' && netnsState(path) === 'present' && !unusable(path) ? path : undefined
}

/**
 * What a record says of a network namespace. Its path leads to another one when a runtime makes a container anew, and its inode is
 * another's as soon as it is gone: the kernel uses numbers again at once.
 */
export interface Netns {
  readonly path: string
  readonly boot?: string
  readonly inode?: number
  /** The number no other namespace of this boot ever has (SO_NETNS_COOKIE, Linux 5.14). */
  readonly cookie?: string
  /** The attachment's link inside: what tells namespaces apart where there is no cookie. */
  readonly link?: { readonly index: number; readonly mac: string }
}

/** The namespace at a path, for a record. */
export function netnsAt(eyes: Eyes, path: string, link?: ObservedLink): Netns {
  const [cookie, inode] = [eyes.kernel?.cookie(path), inodeOf(path)]
  return {
    path,
    boot: bootID(eyes),
    ...(inode === undefined ? {} : { inode }),
    ...(cookie === undefined ? {} : { cookie }),
    ...(link ? { link: { index: link.ifindex, mac: link.address ?? '' } } : {}),
  }
}

/**
 * Whether the namespace at a path is the one on record. By its cookie where the kernel has told it then and now, else by boot, inode, and
 * the index and MAC address of the link inside: those alone can rule it out, all together they prove it.
 * @param lookInside the attachment's link at the path
 */
export function compareNetns(
  eyes: Eyes,
  recorded: Netns | undefined,
  path: string,
  lookInside: () => ObservedLink | undefined = () => undefined,
): 'same' | 'other' | 'unknown' {
  if (recorded?.boot === undefined) return 'unknown'
  if (recorded.boot !== bootID(eyes)) return 'other'
  const inode = inodeOf(path)
  if (inode === undefined || inode !== recorded.inode) return 'other'
  const cookie = recorded.cookie === undefined ? undefined : eyes.kernel?.cookie(path)
  if (cookie !== undefined) return cookie === recorded.cookie ? 'same' : 'other'
  const link = recorded.link && lookInside()
  const isSame = link?.ifindex === recorded.link?.index && (link?.address ?? '') === recorded.link?.mac
  return link && isSame ? 'same' : 'unknown'
}

/** Undefined where nothing is. */
export function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino
}

/** The official error text when `path` is the namespace this process is in. */
export function ownNetnsFault(path: string): string | undefined {
  const theirs = identity(path)
  if (theirs === undefined) return undefined
  const own = identity('/proc/self/ns/net')
  if (own === undefined) return "get plugin's netns failed"
  return theirs === own ? "plugin's netns and netns from CNI_NETNS should not be the same" : undefined
}

// --- internal

/** A path becomes a word of a batch file: see assertToken. */
function unusable(path: string): boolean {
  for (const char of path) if (char <= ' ' || char === '\x7f' || '"\'\\#;{}`'.includes(char)) return true
  return false
}

function identity(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat ? `${stat.dev}:${stat.ino}` : undefined
}

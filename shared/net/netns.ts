import { statSync } from 'node:fs'
import type { Netns } from '../exec/records.js'
import type { Machine } from '../plan/machine.js'
import { namespaceAt, namespaceFile, type Opened, openNamespace } from '../system/namespaces.js'
import { holderOf } from '../tools/processes.js'
import { CniError, codes } from '../values/errors.js'
import type { ObservedLink } from '../values/observe.schema.js'

/**
 * Whether a path leads to a network namespace: `gone` when nothing is there (any more). From then on the path stands
 * for that namespace, in all that this process does, whatever comes to be there (system/namespaces.ts).
 * @throws code 104 when something else is there, or it cannot be looked at
 */
export function netnsState(path: string, official = ''): 'present' | 'gone' {
  const found = opened(path)
  if (found?.magic === undefined) return found ? 'present' : 'gone'
  throw new CniError(codes.invalidNetns, `"${path}" is not a network namespace`, {
    official: `${official}unknown FS magic on "${path}": ${found.magic.toString(16)}`,
    fix: 'CNI_NETNS must name a namespace file, such as /run/netns/NAME or /proc/PID/ns/net',
  })
}

/** For verbs that need the namespace. @throws code 104 */
export function requireNetns(path: string): string {
  if (netnsState(path, `failed to open netns "${path}": `) === 'present' && !unusable(path)) return path
  const why = `failed to Statfs "${path}": no such file or directory`
  throw new CniError(
    codes.invalidNetns,
    `failed to open netns "${path}": ${unusable(path) ? 'it cannot be used' : why}`,
    {
      details: unusable(path) ? 'the path has white space, quotes or control characters' : 'no such file or directory',
      fix: 'create the network namespace before ADD, and give its path in CNI_NETNS',
    },
  )
}

/** For DEL: the namespace if it can be entered, undefined when it is not given or gone. @throws code 104 */
export function livingNetns(path: string): string | undefined {
  return path !== '' && netnsState(path) === 'present' && !unusable(path) ? path : undefined
}

/** The namespace at a path, for a record. */
export function netnsAt(host: Pick<Machine, 'observer'>, path: string, link?: ObservedLink): Netns {
  const [cookie, inode] = [host.observer.cookie(path), inodeOf(path)]
  return {
    path,
    boot: host.observer.bootID(),
    ...(inode === undefined ? {} : { inode }),
    ...(cookie === undefined ? {} : { cookie }),
    ...(link ? { link: { index: link.ifindex, mac: link.address ?? '' } } : {}),
  }
}

/**
 * Whether the namespace at a path is the one on record. By its cookie where the kernel has told it then and now, else
 * by boot, inode, and the index and MAC address of the link inside: those alone can rule it out, all together they
 * prove it.
 * @param lookInside the attachment's link at the path
 */
export function compareNetns(
  host: Pick<Machine, 'observer'>,
  recorded: Netns | undefined,
  path: string,
  lookInside: () => ObservedLink | undefined = () => undefined,
): 'same' | 'other' | 'unknown' {
  if (recorded?.boot === undefined) return 'unknown'
  if (recorded.boot !== host.observer.bootID()) return 'other'
  const isThere = () => recorded.inode !== undefined && inodeOf(path) === recorded.inode
  if (!isThere()) return 'other'
  namespaceAt(path)
  if (!isThere()) return 'other'
  const cookie = recorded.cookie === undefined ? undefined : host.observer.cookie(path)
  if (cookie !== undefined) return cookie === recorded.cookie ? 'same' : 'other'
  const link = recorded.link && lookInside()
  const isSame = link?.ifindex === recorded.link?.index && (link?.address ?? '') === recorded.link?.mac
  return link && isSame ? 'same' : 'unknown'
}

/**
 * Another path that leads to the namespace on record, while a process, a mount or an open file keeps it although
 * nothing is at its own path any more. It looks at every process; of what has the namespace's number one is enough to
 * look at.
 */
export function lingering(host: Pick<Machine, 'observer'>, recorded: Netns | undefined): string | undefined {
  if (recorded?.inode === undefined || recorded.boot !== host.observer.bootID()) return undefined
  const path = holderOf(`net:[${recorded.inode}]`)
  return path !== undefined && compareNetns(host, recorded, path) !== 'other' ? path : undefined
}

/** Undefined where nothing is. */
export function inodeOf(path: string): number | undefined {
  return stat(path)?.ino
}

/** The official error text when `path` is the namespace this process is in. */
export function ownNetnsFault(path: string): string | undefined {
  const theirs = namespaceAt(path) === undefined ? undefined : stat(path)
  if (theirs === undefined) return undefined
  const own = stat('/proc/self/ns/net')
  if (own === undefined) return "get plugin's netns failed"
  const isSame = theirs.dev === own.dev && theirs.ino === own.ino
  return isSame ? "plugin's netns and netns from CNI_NETNS should not be the same" : undefined
}

// --- internal

function opened(path: string): Opened | undefined {
  try {
    return openNamespace(path)
  } catch (thrown) {
    const { message } = thrown as Error
    throw new CniError(codes.invalidNetns, `cannot look at the network namespace "${path}"`, { details: message })
  }
}

function stat(path: string) {
  return statSync(namespaceFile(path), { throwIfNoEntry: false })
}

/** A path becomes a word of a batch file: see assertToken. */
function unusable(path: string): boolean {
  for (const char of path) if (char <= ' ' || char === '\x7f' || '"\'\\#;{}`'.includes(char)) return true
  return false
}

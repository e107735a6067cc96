import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

// What /proc tells of other processes. One may end while it is looked at, or be one that even root may not look into
// (the kernel's own): then it has nothing.

export function processIDs(): readonly string[] {
  return readdirSync('/proc').filter((name) => name >= '0' && name <= ':')
}

/** What its descriptors lead to, such as "socket:[123]". */
export function openFiles(pid: string): readonly string[] {
  const directory = `/proc/${pid}/fd`
  return ifThere(() => readdirSync(directory), []).map((fd) => ifThere(() => readlinkSync(`${directory}/${fd}`), ''))
}

/**
 * A path that leads to the network namespace that is called "net:[123]" while any process is in it, has it open or sees
 * it mounted.
 */
export function holderOf(name: string): string | undefined {
  for (const pid of processIDs()) {
    if (networkOf(pid) === name) return `/proc/${pid}/ns/net`
    const [mount] = mountsOf(pid).includes(name) ? mountPoints(pid, name) : []
    if (mount !== undefined) return `/proc/${pid}/root${mount}`
    const directory = `/proc/${pid}/fd`
    const fds = ifThere(() => readdirSync(directory), [])
    const open = fds.find((fd) => ifThere(() => readlinkSync(`${directory}/${fd}`), '') === name)
    if (open !== undefined) return `${directory}/${open}`
  }
  return undefined
}

/** Its network namespace, as "net:[123]". */
export function networkOf(pid: string): string {
  return ifThere(() => readlinkSync(`/proc/${pid}/ns/net`), '')
}

/** /proc/PID/mountinfo: a namespace kept by a mount shows there as "net:[123]". */
export function mountsOf(pid: string): string {
  return ifThere(() => readFileSync(`/proc/${pid}/mountinfo`, 'latin1'), '')
}

/** Its command line, words parted by spaces. */
export function commandOf(pid: string): string {
  return ifThere(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(), '')
}

/** The process that started it; "0" when it is none that /proc shows, "" when it ended. */
export function parentOf(pid: string): string {
  // "PID (NAME) STATE PARENT ...", where a name may hold anything.
  const stat = ifThere(() => readFileSync(`/proc/${pid}/stat`, 'latin1'), '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? ''
}

/** The cgroups it is in, one of each hierarchy. */
export function cgroupsOf(pid: string): string {
  return ifThere(() => readFileSync(`/proc/${pid}/cgroup`, 'latin1'), '')
}

/** The processes that have each of these sockets open, this one aside. */
export function holdersOf(inodes: ReadonlySet<string>): ReadonlyMap<string, readonly string[]> {
  const holders = new Map<string, string[]>()
  const self = ownID()
  for (const pid of processIDs()) {
    if (pid === self) continue
    for (const target of new Set(openFiles(pid))) {
      const inode = target.startsWith('socket:[') ? target.slice('socket:['.length, -1) : ''
      if (inodes.has(inode)) holders.set(inode, [...(holders.get(inode) ?? []), pid])
    }
  }
  return holders
}

/** What `look` finds, or `otherwise` when it is not there or not for us to see. */
export function ifThere<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch (thrown) {
    const { code = '' } = thrown as NodeJS.ErrnoException
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL', 'ENOTDIR'].includes(code)) return otherwise
    throw thrown
  }
}

// --- internal

/** This process as /proc calls it, which may be that of another pid namespace. */
function ownID(): string {
  return ifThere(() => readlinkSync('/proc/self'), '')
}

/** Where a process sees a namespace mounted: the fourth word of a line is what of a file system, the fifth where. */
function mountPoints(pid: string, name: string): readonly string[] {
  const lines = mountsOf(pid)
    .split('\n')
    .map((line) => line.split(' '))
  return lines.flatMap(([, , , root, point = '']) => (root === name ? [unescaped(point)] : []))
}

/** White space and backslashes are three octal digits there. */
function unescaped(point: string): string {
  const [first = '', ...rest] = point.split('\\')
  return first + rest.map((part) => String.fromCharCode(Number.parseInt(part.slice(0, 3), 8)) + part.slice(3)).join('')
}

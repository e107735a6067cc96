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

/** This process as /proc calls it, which may be that of another pid namespace. */
export function ownID(): string {
  return ifThere(() => readlinkSync('/proc/self'), '')
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

// --- internal

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

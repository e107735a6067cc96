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

// --- internal

function ifThere<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch (thrown) {
    const { code = '' } = thrown as NodeJS.ErrnoException
    if (['ENOENT', 'ESRCH', 'EACCES', 'EINVAL'].includes(code)) return otherwise
    throw thrown
  }
}

import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { inNamespace } from '../../shared/netlink/driver.js'
import { cookieOf, openSocket, protocol } from '../../shared/netlink/message.js'
import { type Libc, loadLibc } from '../../shared/system/libc.js'
import { ifThere, mountsOf, processIDs } from '../../shared/tools/processes.js'
import { formatAddress, parseAddress } from '../../shared/values/address.js'
import { errnoOf, isAbsent } from '../../shared/values/errno.js'

/** What is asked of the kernel about who lives. */
export interface Kernel {
  readonly bootID: string
  /** The inode of the network namespace at a path; 0 where something else is, undefined where nothing is. */
  readonly namespaceAt: (path: string) => number | 'unseen' | undefined
  /** What a namespace alone has in this boot; undefined where the kernel does not tell. */
  readonly cookie: (path: string) => string | undefined
  /** Every network namespace of the host, looked at once. */
  readonly namespaces: () => Namespaces
  /** The processes that run a plugin for a container, as "PID COMMAND". */
  readonly callsFor: (containerID: string) => readonly string[]
}

export interface Namespaces {
  /** By inode, a path to it. */
  readonly paths: ReadonlyMap<number, string>
  /** By where it is mounted in whatever mount namespace, a path to it. */
  readonly mounted: ReadonlyMap<string, string>
  /** Where each address is, in canonical text: paths of namespaces. */
  readonly addresses: ReadonlyMap<string, readonly string[]>
  /** False where this user may not see them all. */
  readonly isComplete: boolean
}

/** The kernel that this process runs on. */
export function ownKernel(): Kernel {
  let seen: Namespaces | undefined
  let calls: ReadonlyMap<string, readonly string[]> | undefined
  return {
    bootID: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
    namespaceAt: inodeAt,
    cookie: cookieBehind,
    namespaces: () => {
      seen ??= allNamespaces()
      return seen
    },
    callsFor: (containerID) => {
      calls ??= callsByContainer()
      return calls.get(containerID) ?? []
    },
  }
}

// --- internal

/** Namespaces lie on one file system, nsfs, which has a device of its own. */
function inodeAt(path: string): number | 'unseen' | undefined {
  try {
    const [own, { dev, ino }] = [statSync('/proc/self/ns/net'), statSync(path)]
    return dev === own.dev ? ino : 0
  } catch (thrown) {
    if (isAbsent(thrown) || errnoOf(thrown) === 'ESRCH') return undefined
    if (errnoOf(thrown) === undefined) throw thrown
    return 'unseen'
  }
}

/** Those of processes, kept by mounts in whatever mount namespace, and open somewhere. */
function allNamespaces(): Namespaces {
  const ways = new Map<number, string[]>()
  const add = (inode: number | undefined, path: string) => {
    const known = inode === undefined ? [] : (ways.get(inode) ?? [])
    if (inode !== undefined && known.length < mostWays) ways.set(inode, [...known, path])
  }
  const mounted = new Map<string, string>()
  const mountNamespaces = new Set<string>()
  // Processes with more rights than this one show no more than their addresses.
  const hidden: string[] = []
  let isComplete = process.geteuid?.() === 0 && maySeeProcesses()
  for (const pid of processIDs()) {
    const [net, mounts] = ['net', 'mnt'].map((kind) => linkOf(`/proc/${pid}/ns/${kind}`))
    if (net === undefined) hidden.push(`/proc/${pid}/net`)
    add(inodeOf(net ?? ''), `/proc/${pid}/ns/net`)
    if (mounts && !mountNamespaces.has(mounts)) {
      mountNamespaces.add(mounts)
      for (const [inode, point] of mountedIn(pid)) {
        const way = `/proc/${pid}/root${point}`
        add(inode, way)
        mounted.set(point, way)
      }
    }
    const folder = `/proc/${pid}/fd`
    for (const fd of ifThere(() => readdirSync(folder), []))
      add(inodeOf(linkOf(`${folder}/${fd}`) ?? ''), `${folder}/${fd}`)
  }
  const addresses = new Map<string, string[]>()
  const note = (found: readonly string[], path: string) => {
    for (const address of found) addresses.set(address, [...(addresses.get(address) ?? []), path])
  }
  for (const folder of hidden) {
    const found = addressesIn(folder)
    if (found === undefined && existsSync(folder)) isComplete = false
    note(found ?? [], folder)
  }
  for (const [inode, found] of ways) {
    const known = firstOf(found, addressesAt)
    // Where every way to it is gone, it is gone itself.
    if (known === undefined && found.some((path) => inodeAt(path) === inode)) isComplete = false
    note(known ?? [], found[0] ?? '')
  }
  return { paths: new Map([...ways].map(([inode, [path = '']]) => [inode, path])), mounted, addresses, isComplete }
}

/**
 * Root of a container may be without CAP_SYS_PTRACE: then it does not see what others have open or mounted. With it, it
 * sees all but those of a user namespace above, which are another machine's.
 */
function maySeeProcesses(): boolean {
  const CAP_SYS_PTRACE = 19n
  const [, digits = '0'] = readFileSync('/proc/self/status', 'latin1').split('CapEff:\t')
  return ((BigInt(`0x${digits.slice(0, 16)}`) >> CAP_SYS_PTRACE) & 1n) === 1n
}

/** Processes end while they are looked at: each namespace has several ways to it. */
const mostWays = 4

function firstOf<From, To>(all: readonly From[], look: (one: From) => To | undefined): To | undefined {
  for (const one of all) {
    const found = look(one)
    if (found !== undefined) return found
  }
  return undefined
}

/** Where a link of /proc points; "" where it is gone, undefined where this user may not look. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (thrown) {
    const errno = errnoOf(thrown)
    if (errno === undefined) throw thrown
    return errno === 'EACCES' || errno === 'EPERM' ? undefined : ''
  }
}

/** "net:[123]" */
function inodeOf(name: string): number | undefined {
  return name.startsWith('net:[') ? Number(name.slice('net:['.length, -1)) : undefined
}

/** The namespaces that are mounted where a process sees them. */
function mountedIn(pid: string): readonly (readonly [number, string])[] {
  return mountsOf(pid)
    .split('\n')
    .flatMap((line): [number, string][] => {
      const [, , , root = '', point = ''] = line.split(' ')
      const inode = inodeOf(root)
      return inode === undefined ? [] : [[inode, unescaped(point)]]
    })
}

function unescaped(point: string): string {
  return point.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** The addresses of a namespace: what /proc shows of a process in it, else what this thread sees there. */
function addressesAt(path: string): readonly string[] | undefined {
  const found = path.endsWith(ofProcess) ? addressesIn(`${path.slice(0, -ofProcess.length)}/net`) : undefined
  return found ?? inside(path, () => addressesIn('/proc/thread-self/net'))
}

const ofProcess = '/ns/net'

/** Runs `body` with this thread in the namespace at a path; undefined where it may not go there. */
function inside<T>(path: string, body: (libc: Libc) => T): T | undefined {
  loaded ??= { libc: loadLibc() }
  const { libc } = loaded
  if (libc === undefined) return undefined
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return undefined
  }
  try {
    return inNamespace(libc, fd, () => body(libc))
  } finally {
    closeSync(fd)
  }
}

let loaded: { readonly libc: Libc | undefined } | undefined

function cookieBehind(path: string): string | undefined {
  return inside(path, (libc) => {
    const socket = openSocket(libc, protocol.route)
    if (socket === undefined) return undefined
    try {
      return cookieOf(libc, socket)
    } finally {
      libc.close(socket)
    }
  })
}

/** The local addresses in a folder of /proc in canonical text, also those of loopback; undefined where it is gone. */
function addressesIn(folder: string): readonly string[] | undefined {
  const tree = ifThere(() => readFileSync(`${folder}/fib_trie`, 'latin1'), undefined)
  if (tree === undefined) return undefined
  const found = new Set<string>()
  let last = ''
  for (const line of tree.split('\n')) {
    const words = line.trim()
    if (words.startsWith('|-- ')) last = words.slice('|-- '.length)
    else if (words === '/32 host LOCAL') found.add(last)
  }
  for (const line of ifThere(() => readFileSync(`${folder}/if_inet6`, 'latin1'), '').split('\n')) {
    const digits = line.slice(0, 32)
    const address = digits.length === 32 ? parseAddress((digits.match(/.{4}/g) ?? []).join(':')) : undefined
    if (address) found.add(formatAddress(address))
  }
  return [...found]
}

/** The processes that have a container's ID in their environment, as "PID COMMAND". */
function callsByContainer(): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  const self = String(process.pid)
  for (const pid of processIDs()) {
    if (pid === self) continue
    const environment = ifThere(() => readFileSync(`/proc/${pid}/environ`, 'utf8'), '').split('\0')
    const named = environment.find((one) => one.startsWith(variable))
    if (named === undefined) continue
    const command = ifThere(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'), '').split('\0')[0]
    const id = named.slice(variable.length)
    found.set(id, [...(found.get(id) ?? []), `${pid} ${command}`])
  }
  return found
}

const variable = 'CNI_CONTAINERID='

import { closeSync, openSync } from 'node:fs'
import { createFiles, type Files } from '../exec/files.js'
import type { Element } from '../net/nft.js'
import type { ListedChain } from '../net/nft-chains.js'
import type { Operation, Tool } from '../plan/operation.js'
import { type Libc, loadLibc } from '../system/libc.js'
import { namespaceAt } from '../system/namespaces.js'
import { settingOf } from '../tools/settings.js'
import type { Address } from '../values/address.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { listedChains } from './chains.js'
import { changeElements, heldElements } from './elements.js'
import { encode } from './encode.js'
import { type Ask, hasLink, indexOf, linkTo, look, numberOf, type Unknown } from './look.js'
import { ask, cookieOf, ENODEV, openRoutingSocket, openSocket, protocol } from './netlink.js'
import { settingNow, writeValue } from './settings.js'
import { type ListeningSocket, listeningSockets } from './sockets.js'

/**
 * The kernel spoken to without a process in between, for what calls do most: a process costs 2 to 5 ms, the same request a tenth of
 * one. It decides nothing and explains nothing: what it does not know, and what is refused, is left to the tools, whose words the user gets.
 */
export interface Kernel {
  /** Runs a plan's operations from the first on, tells `done` of each, and returns how many ran before one that a tool must do. */
  readonly run: (plan: readonly Operation[], done: (operation: Operation) => void) => number
  /** Whether the host has a link of that name. */
  readonly has: (link: string) => boolean | Unknown
  /** One link with its addresses, or undefined when there is none of that name. */
  readonly look: (link: string, netns?: string) => ObservedLink | undefined | Unknown
  /** The link by which the host sends to an IPv4 address itself; undefined where a gateway is between. */
  readonly linkTo: (address: Address) => string | undefined | Unknown
  /**
   * The texts of a namespace's settings by their paths, such as net/ipv4/ip_forward, without those that cannot be read; undefined when it
   * cannot be entered.
   */
  readonly settings: (netns: string, paths: readonly string[]) => ReadonlyMap<string, string> | undefined
  /** The sockets that wait for whoever comes; undefined where the kernel cannot say. */
  readonly listening: (of: {
    family: 4 | 6
    protocol: 'tcp' | 'udp'
    netns?: string
  }) => readonly ListeningSocket[] | undefined
  /** Every chain of nftables; undefined where the kernel cannot say. */
  readonly chains: () => readonly ListedChain[] | undefined
  /** What a network namespace alone has, in this boot; undefined where the kernel does not tell, or it cannot be entered. */
  readonly cookie: (netns: string) => string | undefined
  /** Whether our maps and sets of nftables hold elements as these say; undefined where the kernel cannot say. */
  readonly held: (wanted: readonly Element[]) => readonly boolean[] | undefined
  /** The number that links of a namespace have for the host's (link_netnsid); undefined where there is none, or the kernel cannot say. */
  readonly hostNumberIn: (netns: string) => number | undefined
  /** Takes flock(2) LOCK_EX on an open file if nobody else has it. */
  readonly tryLock: (fd: number) => boolean
  /**
   * Runs `body` in a network namespace made for it, where processes that it starts are, too, and the kernel it gets works; undefined where
   * there can be none. What is made there goes with this process.
   */
  readonly aside: <T>(body: (kernel: Kernel) => T) => T | undefined
}

/**
 * The C library is looked up at the first need, and each namespace entered once: a socket stays in the one it was opened in.
 * @param ran hears of each operation
 */
export function createKernel(ran?: (operation: Operation) => void): Kernel {
  let loaded: { libc: Libc | undefined } | undefined
  const libc = () => {
    loaded ??= { libc: loadLibc() }
    return loaded.libc
  }
  const rooms = new Map<string | undefined, Room>()
  const roomOf = (netns: string | undefined) => {
    const known = rooms.get(netns)
    if (known) return known
    // Where it cannot be entered for want of descriptors, it may later.
    const room = openRoom(libc(), netns)
    if (room) rooms.set(netns, room)
    return room
  }
  const carryOut = (group: readonly Operation[]) => {
    const [first] = group as [Operation]
    if (first.tool === 'nft') return changeElements(libc, group)
    const handling = handlings[first.tool]
    const room = handling && roomOf(first.netns)
    return room !== undefined && (handling?.(room, first) ?? false)
  }
  return {
    run: (plan, done) => {
      let at = 0
      for (let group = neighbours(plan, at); group.length > 0; group = neighbours(plan, at)) {
        if (!carryOut(group)) break
        for (const operation of group) {
          done(operation)
          ran?.(operation)
        }
        at += group.length
      }
      return at
    },
    has: (link) => {
      const room = roomOf(undefined)
      return room ? hasLink(room.ask, link) : 'unknown'
    },
    look: (link, netns) => {
      const room = roomOf(netns)
      return room ? look(room.ask, link) : 'unknown'
    },
    linkTo: (address) => {
      const room = roomOf(undefined)
      return room ? linkTo(room.ask, address) : 'unknown'
    },
    settings: (netns, paths) => {
      const room = roomOf(netns)
      return room?.enter(() => new Map(paths.flatMap((path) => readSetting(room.files, path))))
    },
    listening: ({ family, protocol, netns }) => {
      const room = roomOf(netns)
      return room?.enter(() => room.listening(family, protocol))
    },
    chains: () => {
      const found = libc()
      return found && askOnce(found, protocol.netfilter, listedChains)
    },
    cookie: (netns) => roomOf(netns)?.cookie(),
    held: (wanted) => heldElements(libc, wanted),
    hostNumberIn: (netns) => {
      const [room, own] = [roomOf(netns), namespaceAt('/proc/self/ns/net')]
      return room && own !== undefined ? numberOf(room.ask, own) : undefined
    },
    tryLock: (fd) => libc()?.flock(fd, LOCK_EX | LOCK_NB) === 0,
    aside: (body) => {
      const found = libc()
      return (
        found &&
        fromHome(
          found,
          () => found.unshare(CLONE_NEWNET) === 0,
          () => body(createKernel()),
        )
      )
    },
  }
}

// --- internal

const LOCK_EX = 2
const LOCK_NB = 4
const CLONE_NEWNET = 0x40000000

/** The next operation, or all of nft's that stand together: they are one transaction. */
function neighbours(plan: readonly Operation[], at: number): readonly Operation[] {
  const end = plan.findIndex(({ tool }, index) => index >= at && tool !== 'nft')
  if (plan[at]?.tool !== 'nft') return plan.slice(at, at + 1)
  return plan.slice(at, end < 0 ? plan.length : end)
}

/** A network namespace at hand. */
interface Room {
  readonly ask: Ask
  readonly cookie: () => string | undefined
  /** Undefined when the namespace cannot be entered. */
  readonly enter: <T>(body: () => T) => T | undefined
  /** To be used inside. */
  readonly files: Files
  /** To be asked inside. */
  readonly listening: (family: 4 | 6, protocol: 'tcp' | 'udp') => readonly ListeningSocket[] | undefined
}

function openRoom(libc: Libc | undefined, netns: string | undefined): Room | undefined {
  const file = netns === undefined ? undefined : namespaceAt(netns)
  if (!libc || (netns !== undefined && file === undefined)) return undefined
  const enter = <T>(body: () => T) => (file === undefined ? body() : inNamespace(libc, file, body))
  const socket = enter(() => openRoutingSocket(libc))
  if (socket === undefined) return undefined
  return {
    enter,
    cookie: () => cookieOf(libc, socket),
    files: createFiles(),
    ask: (request) => ask(libc, socket, request),
    listening: (family, transport) =>
      askOnce(libc, protocol.sockets, (one) => listeningSockets(one, family, transport)),
  }
}

/** A socket for one question. */
function askOnce<T>(libc: Libc, part: number, body: (ask: Ask) => T): T | undefined {
  const socket = openSocket(libc, part)
  if (socket === undefined) return undefined
  try {
    return body((request) => ask(libc, socket, request))
  } finally {
    closeSync(socket)
  }
}

function openFile(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch {
    return undefined
  }
}

/** Runs `body` with this thread in another namespace: also what it reads and writes under /proc/sys/net is of that one. */
function inNamespace<T>(libc: Libc, file: number, body: () => T): T | undefined {
  return fromHome(libc, () => libc.setns(file, CLONE_NEWNET) === 0, body)
}

/** Runs `body` where `leave` leads, and comes back; undefined where it leads nowhere. */
function fromHome<T>(libc: Libc, leave: () => boolean, body: () => T): T | undefined {
  const home = openFile('/proc/thread-self/ns/net')
  if (home === undefined) return undefined
  try {
    if (!leave()) return undefined
    try {
      return body()
    } finally {
      // Going on in the wrong namespace would change what is not ours.
      if (libc.setns(home, CLONE_NEWNET) !== 0) process.abort()
    }
  } finally {
    closeSync(home)
  }
}

/** True when the operation is done. */
const handlings: Partial<Record<Tool, (room: Room, operation: Operation) => boolean>> = {
  ip: (room, operation) => {
    const request = encode(operation, { indexOf: (link) => indexOf(room.ask, link), openNetns: namespaceAt })
    const error = request && room.ask(request)?.error
    const isMissed = operation.undo !== undefined || !operation.tolerate?.includes('absent')
    return error === 0 || (error === -ENODEV && !isMissed)
  },
  sysctl: ({ ask, enter, files }, operation) => {
    const { key, path, value } = settingOf(operation)
    // A host's setting is left alone where it is so already; what is to change is written to its file.
    if (operation.netns === undefined) return String(settingNow(ask, key)) === value
    if (writeValue(ask, key, value)) return true
    const outcome = enter(() => writeSetting(files, path, value))
    return outcome === 'written' || (outcome === 'absent' && (operation.tolerate?.includes('absent') ?? false))
  },
}

function readSetting(files: Files, path: string): [string, string][] {
  try {
    return [[path, files.read(`/proc/sys/${path}`)]]
  } catch {
    return []
  }
}

function writeSetting(files: Files, path: string, value: string): 'written' | 'absent' | 'refused' {
  try {
    files.write(path, value)
    return 'written'
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? 'absent' : 'refused'
  }
}

import { closeSync, openSync } from 'node:fs'
import { createFiles, type Files } from '../exec/files.js'
import type { Netlink, Unknown } from '../plan/netlink.js'
import type { ListeningSocket } from '../plan/observer.js'
import type { Operation, Tool } from '../plan/operation.js'
import type { KernelRefusal } from '../plan/refusal.js'
import { settingOf } from '../plan/setting.js'
import { type Libc, loadLibc } from '../system/libc.js'
import { namespaceAt } from '../system/namespaces.js'
import { isLack } from '../values/errno.js'
import { listedChains, ruleTexts, unusedChains } from './chains.js'
import { changeElements, heldElements } from './elements.js'
import { encode } from './encode.js'
import { udpFlows } from './flows.js'
import { type Ask, hasLink, indexOf, linkTo, look, lookAtAll, numberOf } from './look.js'
import { ask, askEach, cookieOf, EEXIST, ENODEV, openRoutingSocket, openSocket, protocol } from './message.js'
import { routingOf } from './routes.js'
import { listedElements } from './sets.js'
import { settingNow, writeValue } from './settings.js'
import { listeningSockets } from './sockets.js'

/**
 * The C library is looked up at the first need, and each namespace entered once: a socket stays in the one it was
 * opened in.
 * @param ran hears of each operation
 */
export function createNetlink(ran?: (operation: Operation) => void, load = loadLibc): Netlink {
  let loaded: { libc: Libc | undefined } | undefined
  const libc = () => {
    loaded ??= { libc: load() }
    return loaded.libc
  }
  const handles = new Map<string | undefined, NamespaceHandle>()
  const handleOf = (netns: string | undefined) => {
    const known = handles.get(netns)
    if (known) return known
    // Where it cannot be entered for want of descriptors, it may later.
    const handle = openHandle(libc(), netns)
    if (handle) handles.set(netns, handle)
    return handle
  }
  /** Asks in a namespace, or the host's. */
  const asking = <T>(netns: string | undefined, question: (ask: Ask) => T): T | Unknown => {
    const handle = handleOf(netns)
    return handle ? question(handle.ask) : 'unknown'
  }
  /** Asks by a socket of its own for one question about netfilter. */
  const askingNetfilter = <T>(question: (ask: Ask, socket: number, libc: Libc) => T): T | undefined => {
    const found = libc()
    return found && askOnce(found, protocol.netfilter, (one, socket) => question(one, socket, found))
  }
  const carryOut = (group: readonly Operation[]): Outcome => {
    const [first] = group as [Operation]
    if (first.tool === 'nft') return changeElements(libc, group)
    const handling = handlings[first.tool]
    const handle = handling && handleOf(first.netns)
    return handle ? handling(handle, first) : { isDone: false }
  }
  return {
    run: (plan, done) => {
      let at = 0
      for (let group = nextGroup(plan, at); group.length > 0; group = nextGroup(plan, at)) {
        const { isDone, ...refusal } = carryOut(group)
        if (!isDone) return { ran: at, ...refusal }
        for (const operation of group) {
          done(operation)
          ran?.(operation)
        }
        at += group.length
      }
      return { ran: at }
    },
    has: (link) => asking(undefined, (ask) => hasLink(ask, link)),
    look: (link, netns) => asking(netns, (ask) => look(ask, link)),
    links: (netns) => asking(netns, lookAtAll),
    routing: (families, netns) => asking(netns, (ask) => routingOf(ask, families)),
    linkTo: (address) => asking(undefined, (ask) => linkTo(ask, address)),
    settings: (netns, paths) => {
      const handle = handleOf(netns)
      return handle?.enter(() => new Map(paths.flatMap((path) => readSetting(handle.files, path))))
    },
    listening: ({ family, protocol, netns }) => {
      const handle = handleOf(netns)
      return handle?.enter(() => handle.listening(family, protocol))
    },
    chains: () => askingNetfilter(listedChains),
    ruleTexts: (of) => askingNetfilter((ask) => ruleTexts(ask, of)),
    unusedChains: (isAsked) =>
      askingNetfilter((ask, socket, found) =>
        unusedChains(ask, (requests) => askEach(found, socket, requests), isAsked),
      ),
    elements: (family, of) => askingNetfilter((ask) => listedElements(ask, family, of?.name)),
    udpFlows: (family) => askingNetfilter((ask) => udpFlows(ask, family)),
    cookie: (netns) => handleOf(netns)?.cookie(),
    held: (wanted) => heldElements(libc, wanted),
    hostNumberIn: (netns) => {
      const [handle, own] = [handleOf(netns), namespaceAt('/proc/self/ns/net')]
      return handle && own !== undefined ? numberOf(handle.ask, own) : undefined
    },
    tryLock: (fd) => libc()?.flock(fd, LOCK_EX | LOCK_NB) === 0,
    inNewNamespace: (body) => {
      const found = libc()
      return (
        found &&
        inAnother(
          found,
          () => found.unshare(CLONE_NEWNET) === 0,
          () => body(createNetlink(undefined, load)),
        )
      )
    },
  }
}

/**
 * Runs `body` with this thread in another namespace: also what it reads and writes under /proc/sys/net is of that one.
 */
export function inNamespace<T>(libc: Libc, file: number, body: () => T): T | undefined {
  return inAnother(libc, () => libc.setns(file, CLONE_NEWNET) === 0, body)
}

// --- internal

const LOCK_EX = 2
const LOCK_NB = 4
const CLONE_NEWNET = 0x40000000

/** The next operation, or all of nft's that stand together: they are one transaction. */
function nextGroup(plan: readonly Operation[], at: number): readonly Operation[] {
  const end = plan.findIndex(({ tool }, index) => index >= at && tool !== 'nft')
  if (plan[at]?.tool !== 'nft') return plan.slice(at, at + 1)
  return plan.slice(at, end < 0 ? plan.length : end)
}

/** A network namespace at hand. */
interface NamespaceHandle {
  readonly ask: Ask
  readonly cookie: () => string | undefined
  /** Undefined when the namespace cannot be entered. */
  readonly enter: <T>(body: () => T) => T | undefined
  /** To be used inside. */
  readonly files: Files
  /** To be asked inside. */
  readonly listening: (family: 4 | 6, protocol: 'tcp' | 'udp') => readonly ListeningSocket[] | undefined
}

function openHandle(libc: Libc | undefined, netns: string | undefined): NamespaceHandle | undefined {
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
function askOnce<T>(libc: Libc, part: number, body: (ask: Ask, socket: number) => T): T | undefined {
  const socket = openSocket(libc, part)
  if (socket === undefined) return undefined
  try {
    return body((request) => ask(libc, socket, request), socket)
  } finally {
    libc.close(socket)
  }
}

function openFile(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch {
    return undefined
  }
}

/** Runs `body` where `move` leads, and comes back; undefined where it leads nowhere. */
function inAnother<T>(libc: Libc, move: () => boolean, body: () => T): T | undefined {
  const own = openFile('/proc/thread-self/ns/net')
  if (own === undefined) return undefined
  try {
    if (!move()) return undefined
    try {
      return body()
    } finally {
      // Going on in the wrong namespace would change what is not ours.
      if (libc.setns(own, CLONE_NEWNET) !== 0) process.abort()
    }
  } finally {
    closeSync(own)
  }
}

interface Outcome extends KernelRefusal {
  readonly isDone: boolean
}

const handlings: Partial<Record<Tool, (handle: NamespaceHandle, operation: Operation) => Outcome>> = {
  ip: (handle, operation) => {
    const request = encode(operation, { indexOf: (link) => indexOf(handle.ask, link), openNetns: namespaceAt })
    const answer = request && handle.ask(request)
    const reason = asGoodAsDone[answer?.error ?? 0]
    const isTolerated = reason !== undefined && operation.undo === undefined && operation.tolerate?.includes(reason)
    return {
      isDone: answer?.error === 0 || isTolerated === true,
      kernelError: answer?.error,
      kernelText: answer?.text,
    }
  },
  sysctl: (handle, operation) => ({ isDone: setSetting(handle, operation) }),
}

/** Refusals that an operation may tolerate, as tools would tell of them. */
const asGoodAsDone: Readonly<Record<number, 'absent' | 'exists'>> = { [-ENODEV]: 'absent', [-EEXIST]: 'exists' }

function setSetting({ ask, enter, files }: NamespaceHandle, operation: Operation): boolean {
  const { key, path, value } = settingOf(operation)
  // A host's setting is left alone where it is so already; what is to change is written to its file.
  if (operation.netns === undefined) return String(settingNow(ask, key)) === value
  if (writeValue(ask, key, value)) return true
  const outcome = enter(() => writeSetting(files, path, value))
  return outcome === 'written' || (outcome === 'absent' && (operation.tolerate?.includes('absent') ?? false))
}

function readSetting(files: Files, path: string): [string, string][] {
  try {
    return [[path, files.read(`/proc/sys/${path}`)]]
  } catch (thrown) {
    if (isLack(thrown)) throw thrown
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

import { closeSync, openSync } from 'node:fs'
import { createFiles, type Files } from '../exec/files.js'
import type { Netlink, Unknown } from '../plan/netlink.js'
import type { ListeningSocket } from '../plan/observer.js'
import type { Operation, Tool } from '../plan/operation.js'
import type { KernelRefusal } from '../plan/refusal.js'
import { settingOf } from '../plan/setting.js'
import { type Libc, loadLibc } from '../system/libc.js'
import { namespaceAt } from '../system/namespaces.js'
import { letGo } from '../system/outlive.js'
import { isLack } from '../values/errno.js'
import { leadingTogether, noteLinks, type Surroundings } from './batch.js'
import { listedChains, ruleTexts, unusedChains } from './chains.js'
import { changeElements, heldElements } from './elements.js'
import { encode, type Lookup } from './encode.js'
import { udpFlows } from './flows.js'
import { type Ask, hasLink, indexOf, linkTo, look, lookAtAll, numberOf } from './look.js'
import {
  type Answer,
  ask,
  askEach,
  cookieOf,
  EEXIST,
  ENODEV,
  flag,
  openRoutingSocket,
  openSocket,
  protocol,
  type Request,
} from './message.js'
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
  /** Links that were made here, are there yet, and go where the plan ends. */
  const made = new Set<string>()
  /** Does the first operation of a plan, and those that go with it. */
  const carryOut = (plan: readonly Operation[], numbers: Map<string, number>, goesOn: boolean): Outcome => {
    const [first] = plan as [Operation]
    if (first.tool === 'nft') {
      const group = leadingOfNft(plan)
      const { isDone, ...refusal } = changeElements(libc, group)
      return { tried: group, refused: isDone ? [] : group, ...refusal }
    }
    const handling = handlings[first.tool]
    const handle = handling && handleOf(first.netns)
    return handle ? handling(handle, plan, { made, numbers, goesOn }) : { tried: [first], refused: [first] }
  }
  return {
    run: (plan, done, { goesOn = false } = {}) => {
      const numbers = new Map<string, number>()
      for (let rest = plan; rest.length > 0; ) {
        const { tried, refused, ...refusal } = carryOut(rest, numbers, goesOn)
        rest = rest.slice(tried.length)
        for (const operation of tried) {
          if (refused.includes(operation)) continue
          // What a link's number was may be another's by now.
          if (operation.tool === 'ip' && noteLinks(operation, made)) numbers.clear()
          done(operation)
          ran?.(operation)
        }
        if (refused.length > 0) return { left: [...refused, ...rest], ...refusal }
      }
      return { left: [] }
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
    unusedChains: (isAsked, along) =>
      askingNetfilter((ask, socket, found) =>
        unusedChains(ask, (requests) => askEach(found, socket, requests), isAsked, along),
      ),
    elements: (family, of) => askingNetfilter((ask) => listedElements(ask, family, of?.name)),
    udpFlows: (family) => askingNetfilter((ask) => udpFlows(ask, family)),
    cookie: (netns) => handleOf(netns)?.cookie(),
    held: (wanted) => heldElements(libc, wanted),
    hostNumberIn: (netns) => {
      const [handle, own] = [handleOf(netns), namespaceAt('/proc/self/ns/net')]
      return handle && own !== undefined ? numberOf(handle.ask, own) : undefined
    },
    tryLock: (fd, kind) => libc()?.flock(fd, (kind === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0,
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

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4
const CLONE_NEWNET = 0x40000000

/** All of nft's that stand together: they are one transaction. */
function leadingOfNft(plan: readonly Operation[]): readonly Operation[] {
  const end = plan.findIndex(({ tool }) => tool !== 'nft')
  return end < 0 ? plan : plan.slice(0, end)
}

/** A network namespace at hand. */
interface NamespaceHandle {
  readonly ask: Ask
  /** Asks several requests at once that have one answer each. */
  readonly askEach: (requests: readonly Request[]) => readonly (Answer | undefined)[]
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
    askEach: (requests) => askEach(libc, socket, requests),
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
    letGo(libc, socket)
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

/** What became of the leading operations of a plan, and of the first that was refused why. */
interface Outcome extends KernelRefusal {
  readonly tried: readonly Operation[]
  readonly refused: readonly Operation[]
}

interface Memory extends Surroundings {
  /** Numbers of links that were asked for, by their names. */
  readonly numbers: Map<string, number>
}

const handlings: Partial<
  Record<Tool, (handle: NamespaceHandle, plan: readonly Operation[], memory: Memory) => Outcome>
> = {
  ip: ({ ask, askEach }, plan, memory) => {
    const together = plan.length === 1 ? plan : leadingTogether(plan, memory)
    const { numbers } = memory
    const lookup: Lookup = {
      indexOf: (link) => {
        const key = `${plan[0]?.netns ?? ''} ${link}`
        const number = numbers.get(key) ?? indexOf(ask, link)
        if (number !== undefined) numbers.set(key, number)
        return number
      },
      openNetns: namespaceAt,
    }
    const requests: Request[] = []
    for (const operation of together) {
      const request = encode(operation, lookup)
      // What stands behind one that only `ip` does waits for it.
      if (!request) break
      requests.push(request)
    }
    const tried = together.slice(0, requests.length || 1)
    const [single] = requests
    const answers = single && requests.length === 1 ? [ask(single)] : askEach(requests.map(acknowledged))
    const refused = tried.filter((operation, index) => !isDone(operation, answers[index]))
    const answer = answers[tried.indexOf(refused[0] as Operation)]
    return { tried, refused, kernelError: answer?.error, kernelText: answer?.text }
  },
  sysctl: (handle, plan) => {
    const [first] = plan as [Operation]
    return { tried: [first], refused: setSetting(handle, first) ? [] : [first] }
  },
}

function acknowledged({ flags, ...request }: Request): Request {
  return { ...request, flags: flag.acknowledge | flags }
}

/** Whether an operation ran, or need not have. */
function isDone({ undo, tolerate }: Operation, answer: Answer | undefined): boolean {
  const reason = asGoodAsDone[answer?.error ?? 0]
  return answer?.error === 0 || (reason !== undefined && undo === undefined && tolerate?.includes(reason) === true)
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

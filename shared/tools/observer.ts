import { shapes } from 'podwire:shapes'
import type { Command, Outcome, Run } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { excerpt, firstLine, reasonOf } from '../exec/stderr.js'
import { ownTable } from '../plan/element.js'
import type { Netlink } from '../plan/netlink.js'
import type { Observer, Routing } from '../plan/observer.js'
import { accept } from '../values/accept.js'
import type { Address } from '../values/address.js'
import { isLack, whatToRaise } from '../values/errno.js'
import { CniError, codes } from '../values/errors.js'
import type {
  NumberedRoute,
  ObservedFilter,
  ObservedLink,
  ObservedQdisc,
  ObservedRule,
} from '../values/observe.schema.js'
import { parseAnswer } from './answer.js'
import { answersArp } from './arping.js'
import type { Tools } from './batch.js'
import { readUdpFlows } from './conntrack.js'
import { hasLegacyTable, readSavedRules } from './iptables-save.js'
import { nftText } from './nft.js'
import { readChains } from './nft-chains.js'
import { heldByNft } from './nft-elements.js'
import { listElements, listRules } from './nft-rules.js'
import { clientPorts, listeningSockets, localAddresses } from './sockets.js'

/**
 * The two ways of looking behind one interface: netlink, where there is one and it tells, else tools and the kernel's
 * files.
 */
export function createObserver({ run: start, files }: Tools, netlink?: Netlink): Observer {
  const run = seeing(start)
  let bootID: string | undefined
  const hasLink = (name: string) => {
    const told = netlink?.has(name) ?? 'unknown'
    return told === 'unknown' ? hasFolder(files, name) : told
  }
  const link = (name: string, netns?: string) => {
    const told = netlink ? netlink.look(name, netns) : 'unknown'
    return told === 'unknown' ? shownLink(run, name, netns) : told
  }
  return {
    hasLink,
    link,
    linkIfThere: (name) => {
      const told = netlink ? netlink.look(name) : 'unknown'
      if (told !== 'unknown') return told
      return hasLink(name) ? shownLink(run, name) : undefined
    },
    links: (netns) => {
      const told = netlink ? netlink.links(netns) : 'unknown'
      return told === 'unknown' ? (query<ObservedLink[]>(run, netns, ['-d', 'addr', 'show'], 'links') ?? []) : told
    },
    linkTo: (address) => {
      const told = netlink ? netlink.linkTo(address) : 'unknown'
      return told === 'unknown' ? linkOfTable(files, address) : told
    },
    routing: (netns) => {
      const families = hasIPv6(files) ? ([4, 6] as const) : ([4] as const)
      const told = netlink ? netlink.routing(families, netns) : 'unknown'
      return told === 'unknown' ? shownRouting(run, families, netns) : told
    },
    qdiscs: (name) => queryTool<ObservedQdisc[]>(run, ['tc', '-j', '-r', 'qdisc', 'show', 'dev', name], 'qdiscs'),
    redirects: (name) => shownRedirects(run, name),
    settings: (netns, paths) => netlink?.settings(netns, paths) ?? grepped(run, netns, paths),
    listening: ({ family, protocol }) =>
      (protocol === 'sctp' ? undefined : netlink?.listening({ family, protocol })) ??
      listeningSockets(files, family, protocol),
    chains: () => netlink?.chains() ?? readChains(nftText(run, ['list', 'chains'])),
    ruleTexts: (of) => netlink?.ruleTexts(of),
    unusedChains: (isAsked, along = []) =>
      netlink?.unusedChains(isAsked, along) ?? {
        unused: readChains(nftText(run, ['list', 'chains'])).filter(
          ({ table, name, hook }) => table === ownTable && !hook && isAsked(name),
        ),
        along: undefined,
      },
    rules: (of) => listRules(run, of),
    elements: (family, of) => netlink?.elements(family, of) ?? listElements(run, family, of),
    savedRules: (tool, table) => readSavedRules(run, tool, table),
    hasLegacyTable: (family, table) => hasLegacyTable(files, family, table),
    udpFlows: (family) => netlink?.udpFlows(family) ?? readUdpFlows(run, family),
    clientPorts: () => clientPorts(files),
    answersArp: (address, name, netns) => answersArp(run, address, name, netns),
    holds: (wanted) => (wanted.length === 0 ? [] : (netlink?.held(wanted) ?? heldByNft(run, wanted))),
    holdsDirectly: (wanted) => netlink?.held(wanted),
    localAddresses: (family) => localAddresses(files, family),
    hasFixedAddress: (one) => hasFixedAddress(files, one),
    hasIPv6: () => hasIPv6(files),
    bootID: () => {
      bootID ??= files.read('/proc/sys/kernel/random/boot_id').trim()
      return bootID
    },
    cookie: (netns) => netlink?.cookie(netns),
    hostNumberIn: (netns) => netlink?.hostNumberIn(netns),
    tryLock: (fd, kind) => netlink?.tryLock(fd, kind) ?? false,
  }
}

// --- internal

/** Looks by processes: one that cannot be had says nothing of what is there. @throws code 11 */
function seeing(start: Run): Run {
  return (command) => {
    const outcome = start(command)
    const fix = whatToRaise[outcome.failure ?? '']
    if (fix === undefined) return outcome
    const what = `cannot ask "${command.argv.join(' ')}": no process can be started (${outcome.failure})`
    throw new CniError(codes.tryAgainLater, what, { fix })
  }
}

function shownLink(run: Run, name: string, netns?: string): ObservedLink | undefined {
  return query<ObservedLink[]>(run, netns, ['-d', 'addr', 'show', 'dev', name], 'links')?.[0]
}

function hasFixedAddress(files: Files, { ifname, ifindex }: ObservedLink): boolean {
  const tells = (file: string, text: string) => files.read(`/sys/class/net/${ifname}/${file}`) === `${text}\n`
  try {
    return tells('addr_assign_type', '3') && tells('ifindex', String(ifindex))
  } catch {
    return false
  }
}

function hasIPv6(files: Files): boolean {
  try {
    return files.read('/proc/net/if_inet6') !== undefined
  } catch (thrown) {
    if (isLack(thrown)) throw thrown
    return false
  }
}

/** A link of the host has a folder of settings; "all" and "default" are no link's. */
function hasFolder(files: Files, name: string): boolean {
  if (name === 'all' || name === 'default') return false
  try {
    return files.read(`/proc/sys/net/ipv4/conf/${name}/forwarding`) !== ''
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw thrown
  }
}

/** As the main table says in /proc/net/route, which has a line for each container of ptp. */
function linkOfTable(files: Files, { value }: Address): string | undefined {
  const target = Number(value)
  let best: { link: string; mask: number; gateway: string } | undefined
  for (const line of files.read('/proc/net/route').split('\n').slice(1)) {
    const [link = '', destination = '', gateway = '', , , , , maskText = ''] = line.split('\t')
    if (link === '') continue
    const mask = wordOf(maskText)
    const matches = (target & mask) >>> 0 === wordOf(destination)
    if (matches && (best === undefined || mask > best.mask)) best = { link, mask, gateway }
  }
  return best?.gateway === '00000000' ? best.link : undefined
}

/** A 32-bit word as /proc prints it: hex of the bytes in little-endian order. */
function wordOf(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE()
}

function shownRouting(run: Run, families: readonly (4 | 6)[], netns: string | undefined): Routing {
  const found = families.map((family) => {
    const inside = netns === undefined ? [] : ['nsenter', `--net=${netns}`]
    const [first = 'ip', ...rest] = [...inside, 'ip', '-N', '-j', '-d', `-${family}`, '-batch', '-']
    const words: Command['argv'] = [first, ...rest]
    const outcome = run({ argv: words, stdin: 'rule show\nroute show table all\n' })
    if (outcome.status !== 0) throw lookError(words, outcome)
    const [rules = '', routes = ''] = outcome.stdout.split('\n')
    const unmarked = readAnswer<Omit<NumberedRoute, 'family'>[]>(routes, 'numberedRoutes')
    return {
      rules: readAnswer<ObservedRule[]>(rules, 'rules'),
      routes: unmarked.map((one) => ({ ...one, family }) as NumberedRoute),
    }
  })
  return { rules: found.flatMap(({ rules }) => rules), routes: found.flatMap(({ routes }) => routes) }
}

function shownRedirects(run: Run, link: string): readonly string[] {
  const words = ['tc', '-j', 'filter', 'show', 'dev', link, 'parent', 'ffff:']
  const actions = (queryTool<ObservedFilter[]>(run, words, 'filters') ?? []).flatMap(
    ({ options }) => options?.actions ?? [],
  )
  return actions.flatMap(({ mirred_action: action, to_dev: target }) =>
    action === 'redirect' && target ? [target] : [],
  )
}

/** Its lines are "FILE:VALUE"; a setting that cannot be read has none. */
function grepped(run: Run, netns: string, paths: readonly string[]): ReadonlyMap<string, string> {
  const files = paths.map((path) => `/proc/sys/${path}`)
  const { failure, stdout } = run({ argv: ['nsenter', `--net=${netns}`, 'grep', '-sH', '', ...files] })
  if (failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, 'the program "nsenter" is not installed', { fix: 'install util-linux' })
  }
  const lines = stdout.split('\n')
  return new Map(
    paths.flatMap((path) => {
      const start = `/proc/sys/${path}:`
      const line = lines.find((one) => one.startsWith(start))
      return line === undefined ? [] : [[path, line.slice(start.length)]]
    }),
  )
}

function query<T>(run: Run, netns: string | undefined, words: readonly string[], shape: string): T | undefined {
  const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`]
  return queryTool(run, [...enter, 'ip', '-j', ...words], shape)
}

function queryTool<T>(run: Run, words: readonly string[], shape: string): T | undefined {
  const outcome = run({ argv: words as [string] })
  if (outcome.status !== 0) {
    if (reasonOf(outcome.stderr) === 'absent') return undefined
    throw lookError(words, outcome)
  }
  return readAnswer(outcome.stdout, shape)
}

function readAnswer<T>(text: string, shape: string): T {
  const { value, problems } = accept(parseAnswer(text, '[]', shape), shapes[`observe.${shape}`] as never)
  if (problems.length === 0) return value as T
  throw new CniError(codes.operationFailed, `cannot read an answer about ${shape}`, { problems })
}

function lookError(words: readonly string[], outcome: Outcome): CniError {
  if (outcome.failure === 'ENOENT') {
    return new CniError(codes.toolMissing, `the program "${words[0]}" is not installed`, {
      fix: 'install the packages iproute2 and util-linux',
    })
  }
  return new CniError(codes.operationFailed, `cannot ask "${words.join(' ')}": ${firstLine(outcome.stderr)}`, {
    details: `stderr: ${excerpt(outcome.stderr)}`,
  })
}

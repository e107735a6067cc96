import { shapes } from 'podwire:shapes'
import type { Files } from '../exec/files.js'
import type { Outcome, Run } from '../exec/run.js'
import { excerpt, firstLine, reasonOf } from '../exec/stderr.js'
import type { Kernel } from '../netlink/kernel.js'
import { accept } from '../values/accept.js'
import { CniError, codes } from '../values/errors.js'
import type {
  NumberedRoute,
  ObservedFilter,
  ObservedLink,
  ObservedQdisc,
  ObservedRoute,
  ObservedRule,
} from '../values/observe.schema.js'
import { parseAnswer } from './answer.js'

export type { NumberedRoute, ObservedLink, ObservedQdisc, ObservedRoute, ObservedRule }

/** What looking needs of the world. */
export interface Eyes {
  readonly run: Run
  readonly files: Files
  readonly kernel?: Kernel | undefined
}

/** How a namespace routes. */
export interface Routing {
  readonly rules: readonly ObservedRule[]
  readonly routes: readonly NumberedRoute[]
}

/** One link with its addresses and kind, or undefined when there is none of that name. */
export function observeLink({ run, kernel }: Eyes, link: string, netns?: string): ObservedLink | undefined {
  const seen = kernel ? kernel.look(link, netns) : 'unknown'
  if (seen !== 'unknown') return seen
  return query<ObservedLink[]>(run, netns, ['-d', 'addr', 'show', 'dev', link], 'links')?.[0]
}

/** The same of the host where the link may well be absent: then no process is started. */
export function observeIfThere(eyes: Eyes, link: string): ObservedLink | undefined {
  const seen = eyes.kernel?.look(link) ?? 'unknown'
  if (seen !== 'unknown') return seen
  return hostHasLink(eyes, link) ? observeLink(eyes, link) : undefined
}

/**
 * True where a link of the host has its MAC address from somebody who set it (NET_ADDR_SET in linux/netdevice.h); only sysfs tells. It may be
 * another namespace's that is mounted, and has to know the link by its number, too.
 */
export function hasFixedAddress({ files }: Eyes, { ifname, ifindex }: ObservedLink): boolean {
  const tells = (file: string, text: string) => files.read(`/sys/class/net/${ifname}/${file}`) === `${text}\n`
  try {
    return tells('addr_assign_type', '3') && tells('ifindex', String(ifindex))
  } catch {
    return false
  }
}

/** Every link of a namespace with its addresses. */
export function observeLinks({ run }: Eyes, netns?: string): readonly ObservedLink[] {
  return query<ObservedLink[]>(run, netns, ['-d', 'addr', 'show'], 'links') ?? []
}

/** The routes of every table, both families; `ip` calls the default route of either "default". */
export function observeRoutes({ run }: Eyes, netns?: string): readonly (ObservedRoute & { family: 4 | 6 })[] {
  return ([4, 6] as const).flatMap((family) => {
    const words = [`-${family}`, 'route', 'show', 'table', 'all']
    const routes = query<ObservedRoute[]>(run, netns, words, 'routes') ?? []
    return routes.map((route) => ({ ...route, family }))
  })
}

/** The rules and the routes of every table, both families, with numbers for the names of tables, protocols and scopes. */
export function observeRouting(eyes: Eyes, netns: string): Routing {
  const families = hasIPv6(eyes) ? ([4, 6] as const) : ([4] as const)
  const found = families.map((family) => {
    const words = ['nsenter', `--net=${netns}`, 'ip', '-N', '-j', '-d', `-${family}`, '-batch', '-'] as const
    const outcome = eyes.run({ argv: [...words], stdin: 'rule show\nroute show table all\n' })
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

/** The queueing disciplines of a link, or undefined when there is none of that name; limits with all their numbers. */
export function observeQdiscs({ run }: Eyes, link: string): readonly ObservedQdisc[] | undefined {
  return queryTool<ObservedQdisc[]>(run, ['tc', '-j', '-r', 'qdisc', 'show', 'dev', link], 'qdiscs')
}

/** The links that what comes in at a link is redirected to. */
export function observeRedirects({ run }: Eyes, link: string): readonly string[] {
  const words = ['tc', '-j', 'filter', 'show', 'dev', link, 'parent', 'ffff:']
  const actions = (queryTool<ObservedFilter[]>(run, words, 'filters') ?? []).flatMap(
    ({ options }) => options?.actions ?? [],
  )
  return actions.flatMap(({ mirred_action: action, to_dev: target }) =>
    action === 'redirect' && target ? [target] : [],
  )
}

/** True where the host has a link of that name: one look, however many there are. "all" and "default" are no link's. */
export function hostHasLink({ files, kernel }: Eyes, link: string): boolean {
  const seen = kernel?.has(link) ?? 'unknown'
  if (seen !== 'unknown') return seen
  if (link === 'all' || link === 'default') return false
  try {
    return files.read(`/proc/sys/net/ipv4/conf/${link}/forwarding`) !== ''
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw thrown
  }
}

/** True where the kernel has IPv6 (the module is in and not disabled at boot). */
export function hasIPv6({ files }: Eyes): boolean {
  try {
    return files.read('/proc/net/if_inet6') !== undefined
  } catch {
    return false
  }
}

/** Identifies this boot of this machine: the kernel's random boot ID. */
export function bootID({ files }: Eyes): string {
  return files.read('/proc/sys/kernel/random/boot_id').trim()
}

// --- internal

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

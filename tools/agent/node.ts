import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { Operation } from '../../shared/plan/operation.js'
import { hostPrefix } from '../../shared/values/address.js'
import { errnoOf } from '../../shared/values/errno.js'
import { refusalOf } from '../frame/disk.js'
import { inRoot, type Place, Unseen } from '../frame/place.js'
import { readNode } from '../node/node.js'
import { FileReader } from '../node/reader.js'
import type { ClusterNode } from './cluster.js'
import { conflistText } from './conflist.js'
import { FormerRanges } from './former.js'
import { type Forwarded, keepForwarding, uplinks } from './forwarding.js'
import { letGarbageGo } from './garbage.js'
import type { AgentKernel, Refused } from './kernel.js'
import type { Seen } from './look.js'
import { masqueradeTable, planExcepted, planMasquerade, setsOfMasquerade, withoutMasquerade } from './masquerade.js'
import type { Problem } from './problem.js'
import { type Inside, ownRangesOf, planRoutes, type RoutePlan, withoutRoutes } from './routes.js'
import { mostMtu, type Settings } from './settings.js'
import { clearDrafts, noState, readState, type State, textOf, writeState, writeWhole } from './state.js'

// The node that the agent keeps: its routes, its table of nftables, its configuration. What is as it should be is left
// alone.

/** The name of the configuration: runtimes take the first in the order of the names. */
export const conflistName = '10-podwire.conflist'

/** What a node is to be made. */
export interface Wanted {
  /** The node itself, as the cluster tells of it. */
  readonly own: ClusterNode
  /** All nodes of the cluster, as they are when it is asked. */
  readonly nodes: () => readonly ClusterNode[]
  readonly settings: Settings
  /** Waits between two parts of the work, long ones with thousands of nodes; `keepSoon` may be called meanwhile. */
  readonly pause: () => Promise<void>
}

export interface Outcome {
  readonly problems: readonly Problem[]
  /** What happened, rather than lasts. */
  readonly news: readonly Problem[]
  readonly routes: Pick<RoutePlan, 'wanted' | 'present'>
  /** Whether pods can be attached. */
  readonly isReady: boolean
  /** The errors of the kernel by their numbers. */
  readonly errors: readonly number[]
}

export class AgentNode {
  readonly #kernel: AgentKernel
  readonly #place: Place
  readonly #stateFile: string
  readonly #former: FormerRanges
  #state: State = noState
  /** Why the state cannot be read, or written; undefined where it can. */
  #unread: string | undefined
  #unwritten: string | undefined
  /** By family, what was written of the table and how the kernel tells it since. */
  readonly #tables = new Map<'ip' | 'ip6', { readonly plan: string; readonly told: string | undefined }>()
  #generation: number | undefined
  #masquerade:
    | {
        readonly key: readonly unknown[]
        readonly lists: readonly (readonly string[])[]
        readonly plans: Readonly<
          Record<'ip' | 'ip6', { operations: readonly Operation[]; isMade: boolean; plan: string }>
        >
      }
    | undefined
  readonly #boot = bootOf()
  #seen: Seen | undefined
  /** What says of a single node what is made at once, and of this node as it was told what it is planned for. */
  #soon: { readonly of: RoutePlan['soon']; readonly told: ClusterNode | undefined } | undefined
  /** What of the cluster has been excepted since the nodes were last asked for. */
  #excepted: string[] = []
  #own: { readonly told: ClusterNode; readonly believed: ReturnType<typeof ownRangesOf> } | undefined
  #planned:
    | { readonly key: readonly unknown[]; readonly plan: RoutePlan; readonly refused: readonly Refused[] }
    | undefined

  constructor(kernel: AgentKernel, place: Place, stateFolder: string) {
    this.#kernel = kernel
    this.#place = place
    this.#stateFile = path.join(inRoot(place, stateFolder), 'agent.json')
    try {
      this.#state = readState(this.#stateFile)
    } catch (thrown) {
      this.#unread = refusalOf(thrown)
    }
    this.#former = new FormerRanges({ attached: () => addressesOn(place), now: () => performance.now() })
  }

  /** The text of the last configuration that was good. */
  get lastGood(): string | undefined {
    return this.#state.configuration
  }

  keepGood(configuration: string): void {
    if (configuration !== this.#state.configuration) this.#save({ ...this.#state, configuration })
  }

  /** Makes the node what it should be, the configuration last. */
  async keep({ own: told, nodes: all, settings, pause }: Wanted): Promise<Outcome> {
    const news: Problem[] = []
    const seen = this.#kernel.look()
    this.#seen = seen
    const { own, problems: ranges } = this.#believed(told)
    this.#noteRanges(own, news)
    this.#forgetRanges(seen)
    const forwarded = this.#forwarding(own, seen, settings)
    await pause()
    const nodes = all()
    this.#excepted = []
    const prerequisites = [...forwarded.problems, ...unseenLeases(this.#place, settings), ...garbledIn(nodes)]
    const { plan, refused } = await this.#keepRoutes({ own, nodes, seen, pause })
    await pause()
    const masquerade = this.#keepMasquerade(own, plan.inside, settings)
    await pause()
    const blocked = masquerade.length > 0 || forwarded.isUnsafe
    const conflist = this.#conflistOrWhy(() => this.#keepConflist(own, seen, settings, blocked, news))
    const state = this.#keepState()
    return {
      problems: [
        ...ranges,
        ...prerequisites,
        ...plan.problems,
        ...refused.map(refusal),
        ...masquerade,
        ...conflist.problems,
        ...state,
      ],
      news,
      routes: { wanted: plan.wanted, present: plan.present },
      isReady: conflist.isThere,
      errors: refused.map(({ errno }) => errno),
    }
  }

  /** Whether a link of this node had an address at the last look; undefined before the first. */
  hasAddress(address: string): boolean | undefined {
    return this.#seen?.links.some(({ addresses }) => addresses.includes(address))
  }

  /**
   * Excepts nodes that have come or changed from masquerade, and makes the routes to their pods. What the kernel
   * refuses the next look tells of, as of what is planned for this node as it was before.
   */
  keepSoon(told: ClusterNode, nodes: readonly ClusterNode[]): void {
    const soon = this.#soon
    if (soon?.told !== told) return
    const plans = nodes.flatMap((node) => soon.of(node) ?? [])
    this.#except(plans.flatMap(({ inside }) => [...inside.ranges, ...inside.addresses.map(hostPrefix)]))
    this.#kernel.apply(plans.flatMap(({ operations }) => operations))
  }

  /** Whether somebody has changed rules of nftables since the last look: then the table is looked at. */
  hasOtherRules(): boolean {
    const now = this.#kernel.generation()
    return now === undefined || now !== this.#generation
  }

  /** Takes away all that the agent has made on the node. @returns what has failed */
  remove(): readonly string[] {
    const failures: string[] = this.#kernel
      .apply(withoutRoutes(this.#kernel.look().routes))
      .map(({ operation, why }) => {
        return `cannot ${operation.why}: ${why}`
      })
    for (const family of ['ip', 'ip6'] as const) {
      const errno = this.#kernel.changeRuleset(withoutMasquerade(family))
      if (errno !== 0 && errno !== EAFNOSUPPORT && errno !== EOPNOTSUPP)
        failures.push(`cannot remove the table ${masqueradeTable} of ${family}: errno ${errno}`)
    }
    const files = [this.#conflist, this.#stateFile]
    for (const file of files) {
      try {
        rmSync(file, { force: true })
        clearDrafts(file, 0)
      } catch (thrown) {
        failures.push(`cannot remove ${file}: ${refusalOf(thrown)}`)
      }
    }
    return failures
  }

  get #conflist(): string {
    // A link of that name is replaced, not followed.
    return path.join(inRoot(this.#place, this.#place.conf), conflistName)
  }

  /** What cannot be written is known to this agent all the same. */
  #save(state: State): void {
    this.#state = state
    try {
      writeState(this.#stateFile, state)
      this.#unwritten = undefined
    } catch (thrown) {
      this.#unwritten = refusalOf(thrown)
    }
  }

  /** Writes again what could not be written, and removes what writers left that were killed. */
  #keepState(): readonly Problem[] {
    if (this.#unwritten !== undefined) this.#save(this.#state)
    try {
      clearDrafts(this.#stateFile)
    } catch (thrown) {
      this.#unwritten ??= refusalOf(thrown)
    }
    const [why, what] = this.#unread === undefined ? [this.#unwritten, 'written'] : [this.#unread, 'read']
    if (why === undefined) return []
    const text = `${this.#stateFile} cannot be ${what}: ${why}: an agent that starts does not know the last good settings and the pod ranges of before`
    return [{ reason: 'StateRefused', key: what, text }]
  }

  /** The same object as the last time where the same is told. */
  #believed(told: ClusterNode): ReturnType<typeof ownRangesOf> {
    if (this.#own?.told !== told) this.#own = { told, believed: ownRangesOf(told) }
    return this.#own.believed
  }

  #noteRanges({ podCIDRs }: ClusterNode, news: Problem[]): void {
    const { ranges: before, formerRanges } = this.#state
    if (podCIDRs.length === 0 || before.join() === podCIDRs.join()) return
    const left = [...formerRanges, ...before].filter((one) => !podCIDRs.includes(one))
    this.#save({ ...this.#state, ranges: podCIDRs, formerRanges: [...new Set(left)] })
    if (before.length === 0) return
    const text = `the pod range of this node is ${podCIDRs.join(', ')}, and was ${before.join(', ')}: new pods get addresses of it, pods that run keep theirs and their routes until they end`
    news.push({ reason: 'PodCIDRChanged', key: podCIDRs.join(), text })
  }

  #forgetRanges(seen: Seen): void {
    const { formerRanges: before } = this.#state
    const formerRanges = this.#former.kept(before, seen)
    if (formerRanges !== before) this.#save({ ...this.#state, formerRanges })
  }

  async #keepRoutes({ own, nodes, seen, pause }: Seeing & Pick<Wanted, 'pause'>) {
    const key = [own, nodes, seen]
    if (this.#planned && key.every((one, index) => one === this.#planned?.key[index])) return this.#planned
    // The plan of before goes first: it knows thousands of ranges, too.
    this.#planned = undefined
    this.#soon = undefined
    letGarbageGo()
    const first = planRoutes(own, nodes, seen.routes)
    this.#soon = { of: first.soon, told: this.#own?.told }
    const refused: Refused[] = []
    for (let at = 0; at < first.operations.length; at += routesAtOnce) {
      await pause()
      refused.push(...this.#kernel.apply(first.operations.slice(at, at + routesAtOnce)))
    }
    if (first.operations.length === 0) {
      this.#planned = { key, plan: first, refused }
      return this.#planned
    }
    // The next look sees what became of them, and tries again what was refused.
    const present = first.wanted - refused.filter(({ operation }) => operation.argv[1] === 'replace').length
    return { plan: { ...first, present }, refused }
  }

  #keepMasquerade(own: ClusterNode, inside: Inside, settings: Settings): readonly Problem[] {
    const generation = this.#kernel.generation()
    // With what the agent changes itself.
    let known = generation
    const problems: Problem[] = []
    const planned = this.#plannedMasquerade(own, inside, settings)
    for (const family of ['ip', 'ip6'] as const) {
      const { operations, isMade, plan } = planned[family]
      const last = this.#tables.get(family)
      const isUnchanged = last?.plan === plan
      if (isUnchanged && generation !== undefined && generation === this.#generation) continue
      const told = () => this.#kernel.rulesetNow(family, masqueradeTable, setsOfMasquerade)
      if (isUnchanged && told() === last?.told && (last?.told !== undefined || !isMade)) continue
      const before = this.#kernel.generation()
      const errno = this.#kernel.changeRuleset(operations)
      // What somebody changed between the two is not the agent's: then it is made anew at the next look.
      const made = errno === 0 ? told() : undefined
      const isAlone = before !== undefined && this.#kernel.generation() === before + 1
      if (isAlone && before === known) known = before + 1
      if (errno === 0) this.#tables.set(family, { plan, told: isAlone ? made : undefined })
      else if (isMade) problems.push(notMasqueraded(family, errno))
    }
    const areKnown = [...this.#tables.values()].every(
      ({ plan, told }) => told !== undefined || !plan.includes(' rule '),
    )
    this.#generation = problems.length === 0 && areKnown ? known : undefined
    return problems
  }

  /** Excepts ranges in the tables that stand: the next look makes them anew. */
  #except(ranges: readonly string[]): void {
    this.#excepted.push(...ranges)
    for (const family of ['ip', 'ip6'] as const) {
      const plan = this.#masquerade?.plans[family].isMade ? planExcepted(family, ranges) : []
      if (plan.length === 0) continue
      const before = this.#kernel.generation()
      // One that is in a longer range is refused.
      const made = plan.filter((one) => this.#kernel.changeRuleset([one]) === 0).length
      this.#tables.delete(family)
      const isAlone = before !== undefined && before === this.#generation && this.#kernel.generation() === before + made
      this.#generation = isAlone ? before + made : undefined
    }
  }

  /** What the tables should be; put together anew only where something else is given, for many nodes take a while. */
  #plannedMasquerade(own: ClusterNode, { ranges, addresses }: Inside, settings: Settings) {
    const lists = [ranges, addresses, [...this.#excepted]]
    const key = [own, settings, this.#state.formerRanges]
    const last = this.#masquerade
    if (
      last &&
      key.every((one, at) => one === last.key[at]) &&
      lists.every((one, at) => isSameList(one, last.lists[at]))
    )
      return last.plans
    const pods = [...own.podCIDRs, ...this.#state.formerRanges]
    const hosts = [...addresses, ...own.addresses].map(hostPrefix)
    const inside = [...ranges, ...pods, ...hosts, ...this.#excepted, ...settings.noMasquerade]
    const all = { pods: settings.masquerade ? pods : [], inside }
    const of = (family: 'ip' | 'ip6') => {
      const operations = planMasquerade(family, all)
      const isMade = operations.length > withoutMasquerade(family).length
      return { operations, isMade, plan: operations.map(({ argv }) => argv.join(' ')).join('\n') }
    }
    const plans = { ip: of('ip'), ip6: of('ip6') }
    this.#masquerade = { key, lists, plans }
    return plans
  }

  /** A folder or a file that cannot be used, or something else in its place, holds up neither routes nor rules. */
  #conflistOrWhy(keep: () => { isThere: boolean; problems: readonly Problem[] }) {
    try {
      return keep()
    } catch (thrown) {
      if (errnoOf(thrown) === undefined && !(thrown instanceof Unseen)) throw thrown
      const folder = this.#place.conf
      const text = `${folder} cannot be looked at: ${refusalOf(thrown)}: it has to be a folder, which the agent may write to`
      return { isThere: false, problems: [{ reason: 'ConflistRefused' as const, key: 'folder', text }] }
    }
  }

  #keepConflist(own: ClusterNode, seen: Seen, settings: Settings, blocked: boolean, news: Problem[]) {
    const file = this.#conflist
    const before = textOf(file)
    const isThere = before !== undefined
    const problems = this.#othersFirst()
    clearDrafts(file)
    if (own.podCIDRs.length === 0) {
      const text =
        'this node has no pod range (spec.podCIDRs) yet: the controller manager gives it one, with --allocate-node-cidrs'
      return { isThere, problems: [...problems, { reason: 'NoPodCIDR' as const, key: '', text }] }
    }
    const mtu = settings.mtu ?? uplinkMtu(own, seen)
    const text = conflistText(own.podCIDRs, mtu, settings)
    const missing = missingPlugins(this.#place, settings)
    // Another that stands may have all that it needs.
    if (missing !== undefined) return { isThere: isThere && text !== before, problems: [...problems, missing] }
    if (blocked && !isThere) return { isThere, problems }
    if (text !== before) {
      try {
        writeWhole(file, text)
      } catch (thrown) {
        const fix = errnoOf(thrown) === 'EISDIR' ? ': there is a folder of that name, remove it' : ''
        const why = `cannot write ${path.posix.join(this.#place.conf, conflistName)}: ${refusalOf(thrown)}${fix}`
        return { isThere, problems: [...problems, { reason: 'ConflistRefused' as const, key: '', text: why }] }
      }
    }
    const { mtu: lastMtu } = this.#state
    if (lastMtu !== mtu) {
      this.#save({ ...this.#state, mtu })
      if (lastMtu !== undefined) {
        const changed = `the MTU of pods is ${mtu}, and was ${lastMtu}: new pods get it, those that run keep ${lastMtu} until they end`
        news.push({ reason: 'MTUChanged', key: String(mtu), text: changed })
      }
    }
    return { isThere: true, problems }
  }

  /** Configurations that a runtime takes instead. */
  #othersFirst(): readonly Problem[] {
    const folder = path.dirname(this.#conflist)
    const names = existsSync(folder) ? readdirSync(folder) : []
    const first = names.filter((name) => /\.(conf|conflist|json)$/.test(name) && name < conflistName).sort()
    if (first.length === 0) return []
    const text = `the runtime takes ${first[0]} instead of ${conflistName}, which comes after it: remove it to have pods attached by podwire`
    return [{ reason: 'OtherConflist', key: first.join(), text }]
  }

  #forwarding(own: ClusterNode, seen: Seen, { plugin }: Settings): Forwarded {
    const boot = this.#boot
    const isOurs = boot !== undefined && this.#state.forwards === boot
    const forwarded = keepForwarding(this.#place, { own, seen, plugin, isOurs })
    if (forwarded.isTurnedOn && !isOurs) this.#save({ ...this.#state, forwards: boot })
    return forwarded
  }
}

/**
 * Bytes: of the link with the node's address, the least of both families; else of the default route's. No link of a pod
 * has more than mostMtu.
 */
export function uplinkMtu(own: ClusterNode, seen: Seen): number {
  const names = uplinks(own, seen)
  const sizes = seen.links.filter(({ name }) => names.includes(name)).map(({ mtu }) => mtu)
  return sizes.length === 0 ? 1500 : Math.min(mostMtu, ...sizes)
}

// --- internal

/** What routes are planned of. */
interface Seeing {
  readonly own: ClusterNode
  readonly nodes: readonly ClusterNode[]
  readonly seen: Seen
}

/** Routes that are made between two pauses. */
const routesAtOnce = 500
const EAFNOSUPPORT = 97
const EOPNOTSUPP = 95

function isSameList(some: readonly string[], others: readonly string[] = []): boolean {
  return some.length === others.length && some.every((one, at) => one === others[at])
}

/** What tells this start of the machine from others; undefined where it is not told. */
function bootOf(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown
    return undefined
  }
}

/** Leases in a folder that the agent's container does not have are missing in its metrics. */
function unseenLeases(place: Place, { dataDir }: Settings): readonly Problem[] {
  if (dataDir === undefined || place.isHost || existsSync(inRoot(place, dataDir))) return []
  const text = `the agent does not see the folder of leases ${dataDir}, so that its metrics miss them: mount it at ${path.join(place.root, dataDir)}, as the volume "data" of deploy/podwire.yaml is`
  return [{ reason: 'Prerequisite', key: 'dataDir', text }]
}

/** The addresses of all attachments and leases of a node, also of leases that name nobody. */
function addressesOn(place: Place): readonly string[] {
  const { attachments, emptyLeases } = readNode(new FileReader(place), undefined)
  const leases = [...attachments.flatMap((one) => one.leases), ...emptyLeases]
  return [...attachments.flatMap(({ addresses }) => addresses), ...leases.map(({ file }) => path.posix.basename(file))]
}

function missingPlugins(place: Place, settings: Settings): Problem | undefined {
  const { plugin, list, portmap, bandwidth, firewall } = settings
  const members = [
    plugin,
    'host-local',
    ...Object.entries({ portmap, bandwidth, firewall }).flatMap(([name, isWanted]) => (isWanted ? [name] : [])),
  ]
  const names = list ? members : ['chain', ...members]
  const missing = names.filter((name) => !existsSync(inRoot(place, path.posix.join(place.bin, name))))
  if (missing.length === 0) return undefined
  const text = `${place.bin} has no ${missing.join(', ')}: podwire install puts them there`
  return { reason: 'Prerequisite', key: 'plugins', text }
}

function garbledIn(nodes: readonly ClusterNode[]): readonly Problem[] {
  return nodes
    .filter(({ garbled }) => garbled.length > 0)
    .map(({ name, garbled }) => {
      const text = `node ${name}: ${garbled.map((one) => JSON.stringify(one)).join(', ')} is no address or range`
      return { reason: 'NodeGarbled', key: name, text }
    })
}

function refusal({ operation, why }: Refused): Problem {
  const [, , destination = ''] = operation.argv
  return { reason: 'RouteRefused', key: destination, text: `cannot ${operation.why}: ${why}` }
}

function notMasqueraded(family: 'ip' | 'ip6', errno: number): Problem {
  const why = errno === EOPNOTSUPP || errno === 2 ? 'this kernel has no nf_tables' : `errno ${errno}`
  return {
    reason: 'MasqueradeRefused',
    key: family,
    text: `cannot masquerade what leaves the cluster (table ${family} ${masqueradeTable}): ${why}`,
  }
}

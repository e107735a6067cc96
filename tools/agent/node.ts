import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Operation } from '../../shared/plan/operation.js'
import { isIPv6 } from '../../shared/values/address.js'
import { isAbsent, messageOf } from '../../shared/values/errno.js'
import { inRoot, type Place } from '../frame/place.js'
import type { ClusterNode } from './cluster.js'
import { conflistText } from './conflist.js'
import type { AgentKernel, Refused } from './kernel.js'
import type { Seen } from './look.js'
import { masqueradeTable, planMasquerade, setsOfMasquerade, withoutMasquerade } from './masquerade.js'
import type { Problem } from './problem.js'
import { planRoutes, type RoutePlan, withoutRoutes } from './routes.js'
import type { Settings } from './settings.js'
import { readState, type State, writeState, writeWhole } from './state.js'

// The node that the agent keeps: its routes, its table of nftables, its configuration. What is as it should be is left
// alone.

/** The name of the configuration: runtimes take the first in the order of the names. */
export const conflistName = '10-podwire.conflist'

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
  #state: State
  /** By family, what was written of the table and how the kernel tells it since. */
  readonly #tables = new Map<'ip' | 'ip6', { readonly plan: string; readonly told: string | undefined }>()
  #generation: number | undefined
  #masquerade:
    | {
        readonly key: readonly unknown[]
        readonly plans: Readonly<
          Record<'ip' | 'ip6', { operations: readonly Operation[]; isMade: boolean; plan: string }>
        >
      }
    | undefined
  #planned:
    | { readonly key: readonly unknown[]; readonly plan: RoutePlan; readonly refused: readonly Refused[] }
    | undefined

  constructor(kernel: AgentKernel, place: Place, stateFolder: string) {
    this.#kernel = kernel
    this.#place = place
    this.#stateFile = inRoot(place, path.posix.join(stateFolder, 'agent.json'))
    this.#state = readState(this.#stateFile)
  }

  /** The text of the last configuration that was good. */
  get lastGood(): string | undefined {
    return this.#state.configuration
  }

  keepGood(configuration: string): void {
    if (configuration !== this.#state.configuration) this.#save({ ...this.#state, configuration })
  }

  /** Makes the node what it should be, the configuration last. */
  keep(own: ClusterNode, nodes: readonly ClusterNode[], settings: Settings): Outcome {
    const news: Problem[] = []
    const seen = this.#kernel.look()
    this.#noteRanges(own, news)
    const prerequisites = [...this.#forwarding(own, settings), ...garbledIn(nodes)]
    const { plan, refused } = this.#keepRoutes(own, nodes, seen)
    const masquerade = this.#keepMasquerade(own, nodes, settings)
    const blocked = masquerade.length > 0
    const conflist = this.#keepConflist(own, seen, settings, blocked, news)
    return {
      problems: [...prerequisites, ...plan.problems, ...refused.map(refusal), ...masquerade, ...conflist.problems],
      news,
      routes: { wanted: plan.wanted, present: plan.present },
      isReady: conflist.isThere,
      errors: refused.map(({ errno }) => errno),
    }
  }

  /** Whether somebody has changed rules of nftables since the last look: then the table is looked at. */
  hasOtherRules(): boolean {
    const now = this.#kernel.generation()
    return now === undefined || now !== this.#generation
  }

  /** Takes away all that the agent has made on the node. @returns what has failed */
  remove(): readonly string[] {
    const failures = this.#kernel.apply(withoutRoutes(this.#kernel.look().routes)).map(({ operation, why }) => {
      return `cannot ${operation.why}: ${why}`
    })
    for (const family of ['ip', 'ip6'] as const) {
      const errno = this.#kernel.changeRuleset(withoutMasquerade(family))
      if (errno !== 0 && errno !== EAFNOSUPPORT && errno !== EOPNOTSUPP)
        failures.push(`cannot remove the table ${masqueradeTable} of ${family}: errno ${errno}`)
    }
    for (const file of [this.#conflist, this.#stateFile]) rmSync(file, { force: true })
    return failures
  }

  get #conflist(): string {
    return inRoot(this.#place, path.posix.join(this.#place.conf, conflistName))
  }

  #save(state: State): void {
    this.#state = state
    writeState(this.#stateFile, state)
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

  #keepRoutes(own: ClusterNode, nodes: readonly ClusterNode[], seen: Seen) {
    const key = [own, nodes, seen]
    if (this.#planned && key.every((one, index) => one === this.#planned?.key[index])) return this.#planned
    const first = planRoutes(own, nodes, seen.routes)
    const refused = this.#kernel.apply(first.operations)
    if (first.operations.length === 0) {
      this.#planned = { key, plan: first, refused }
      return this.#planned
    }
    // The next look sees what became of them, and tries again what was refused.
    this.#planned = undefined
    const present = first.wanted - refused.filter(({ operation }) => operation.argv[1] === 'replace').length
    return { plan: { ...first, present }, refused }
  }

  #keepMasquerade(own: ClusterNode, nodes: readonly ClusterNode[], settings: Settings): readonly Problem[] {
    const generation = this.#kernel.generation()
    const problems: Problem[] = []
    const planned = this.#plannedMasquerade(own, nodes, settings)
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
      if (errno === 0) this.#tables.set(family, { plan, told: isAlone ? made : undefined })
      else if (isMade) problems.push(notMasqueraded(family, errno))
    }
    const areKnown = [...this.#tables.values()].every(
      ({ plan, told }) => told !== undefined || !plan.includes(' rule '),
    )
    this.#generation = problems.length === 0 && areKnown ? generation : undefined
    return problems
  }

  /** What the tables should be; put together anew only where something else is given, for many nodes take a while. */
  #plannedMasquerade(own: ClusterNode, nodes: readonly ClusterNode[], settings: Settings) {
    const key = [own, nodes, settings, this.#state.formerRanges]
    const last = this.#masquerade
    if (last && key.every((one, index) => one === last.key[index])) return last.plans
    const inside = [...nodes.flatMap(({ podCIDRs }) => podCIDRs), ...own.podCIDRs, ...this.#state.formerRanges]
    const hosts = [...nodes, own].flatMap(({ addresses }) => addresses.map((one) => `${one}/${isIPv6(one) ? 128 : 32}`))
    const pods = [...own.podCIDRs, ...this.#state.formerRanges]
    const all = { pods: settings.masquerade ? pods : [], inside: [...inside, ...hosts, ...settings.noMasquerade] }
    const of = (family: 'ip' | 'ip6') => {
      const operations = planMasquerade(family, all)
      const isMade = operations.length > withoutMasquerade(family).length
      return { operations, isMade, plan: operations.map(({ argv }) => argv.join(' ')).join('\n') }
    }
    const plans = { ip: of('ip'), ip6: of('ip6') }
    this.#masquerade = { key, plans }
    return plans
  }

  #keepConflist(own: ClusterNode, seen: Seen, settings: Settings, blocked: boolean, news: Problem[]) {
    const file = this.#conflist
    const before = textOf(file)
    const isThere = before !== undefined
    const problems = this.#othersFirst()
    if (own.podCIDRs.length === 0) {
      const text =
        'this node has no pod range (spec.podCIDRs) yet: the controller manager gives it one, with --allocate-node-cidrs'
      return { isThere, problems: [...problems, { reason: 'NoPodCIDR' as const, key: '', text }] }
    }
    const missing = missingPlugins(this.#place, settings)
    if (missing !== undefined) return { isThere, problems: [...problems, missing] }
    if (blocked && !isThere) return { isThere, problems }
    const mtu = settings.mtu ?? uplinkMtu(own, seen)
    const text = conflistText(own.podCIDRs, mtu, settings)
    if (text !== before) {
      try {
        writeWhole(file, text)
      } catch (thrown) {
        const why = `cannot write ${path.posix.join(this.#place.conf, conflistName)}: ${messageOf(thrown)}`
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

  #forwarding({ podCIDRs }: ClusterNode, { plugin }: Settings): readonly Problem[] {
    const wanted = [
      ...(podCIDRs.some((one) => !isIPv6(one)) ? ['net/ipv4/ip_forward'] : []),
      ...(podCIDRs.some(isIPv6) ? ['net/ipv6/conf/all/forwarding'] : []),
      ...(plugin === 'bridge' ? bridgeSettings(podCIDRs) : []),
    ]
    return wanted.flatMap((setting) => setOn(this.#place, setting) ?? [])
  }
}

/** Bytes: of the link with the node's address, the least of both families; else of the default route's. */
export function uplinkMtu(own: ClusterNode, { links, routes }: Seen): number {
  const holds = new Set(own.addresses)
  const byAddress = links.filter(({ addresses }) => addresses.some((one) => holds.has(one)))
  const usual = routes.filter(({ destination }) => destination === '0.0.0.0/0' || destination === '::/0')
  const byRoute = links.filter(({ name }) => usual.some((route) => route.link === name))
  const sizes = (byAddress.length > 0 ? byAddress : byRoute).map(({ mtu }) => mtu)
  return sizes.length === 0 ? 1500 : Math.min(...sizes)
}

// --- internal

const EAFNOSUPPORT = 97
const EOPNOTSUPP = 95

function bridgeSettings(podCIDRs: readonly string[]): readonly string[] {
  return [
    ...(podCIDRs.some((one) => !isIPv6(one)) ? ['net/bridge/bridge-nf-call-iptables'] : []),
    ...(podCIDRs.some(isIPv6) ? ['net/bridge/bridge-nf-call-ip6tables'] : []),
  ]
}

/** What is wrong where a setting of the kernel is not on, and cannot be put on. */
function setOn(place: Place, setting: string): Problem | undefined {
  const file = inRoot(place, `/proc/sys/${setting}`)
  const problem = (what: string): Problem => ({ reason: 'Prerequisite', key: setting, text: `${setting} ${what}` })
  try {
    if (readFileSync(file, 'latin1').trim() !== '0') return undefined
    writeFileSync(file, '1', { flag: 'r+' })
    return undefined
  } catch (thrown) {
    if (!isAbsent(thrown)) return problem(`is 0, and cannot be set to 1 (${messageOf(thrown)}): set it on the node`)
    if (!setting.startsWith('net/bridge/')) return problem('is not there: this kernel does not have that family')
    return problem(
      'is not there: load br_netfilter on the node, without which services do not work between pods of one bridge',
    )
  }
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

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (thrown) {
    if (isAbsent(thrown)) return undefined
    throw thrown
  }
}

import type { Outcome } from '../exec/command.js'
import { reasonOf } from '../exec/stderr.js'
import { mostParts, type Part, runTogether } from '../exec/together.js'
import type { Executor } from '../plan/machine.js'
import type { Netlink } from '../plan/netlink.js'
import type { Operation, Tool } from '../plan/operation.js'
import { neverRan, type Report, refusal, unclear } from '../plan/refusal.js'
import { batch, familyOption, type Tools, within } from './batch.js'
import { mostSettings, readSettings, settingsPart, writeSysctl } from './settings.js'
import { readTransaction, runRestore, transaction } from './transaction.js'

/** The two ways of carrying operations out, beside each other; without `netlink` all is left to tools. */
export function createExecutor(tools: Tools, netlink?: Netlink): Omit<Executor, 'inNewNamespace'> {
  return {
    request: (plan, done, options) => netlink?.run(plan, done, options) ?? { left: plan },
    isDirect: () => netlink !== undefined && netlink.has('lo') !== 'unknown',
    leadingGroups,
    runGroups: (groups, keepGoing) => runGroups(groups, tools, keepGoing),
  }
}

// --- internal

/** How a tool's neighbouring operations run: as one command whose outcome is read, or in a way of their own. */
type Handling =
  | {
      readonly part: (group: readonly Operation[], keepGoing: boolean) => Part
      readonly read: (group: readonly Operation[], outcome: Outcome, tools: Tools, keepGoing: boolean) => Report
    }
  | { readonly run: (group: readonly Operation[], tools: Tools, keepGoing: boolean) => Report }

function handlingOf(group: readonly Operation[]): Handling {
  const { tool, netns } = group[0] as Operation
  return tool === 'sysctl' && netns === undefined ? { run: writeSysctl } : handlings[tool]
}

const handlings: Record<Tool, Handling> = {
  ip: batch,
  bridge: batch,
  tc: batch,
  nft: { part: transaction, read: readTransaction },
  iptables: { run: runRestore },
  ip6tables: { run: runRestore },
  'iptables-legacy': { run: runRestore },
  'ip6tables-legacy': { run: runRestore },
  sysctl: { part: settingsPart, read: readSettings },
  conntrack: { run: runSingle },
  runcon: { run: runSingle },
}

/** A tool that takes one change a process. */
function runSingle(group: readonly Operation[], { run }: Tools): Report {
  const [operation] = group as [Operation]
  const outcome = run({ argv: within(operation.netns, operation.tool, ...operation.argv) })
  if (outcome.status === 0) return { ran: [operation], refused: [] }
  const isRefused = neverRan(outcome) || (outcome.signal === null && reasonOf(outcome.stderr) !== 'other')
  return isRefused ? { ran: [], refused: [refusal(operation, outcome)] } : unclear(group, outcome)
}

/** Runs groups, several by one process where their tools take part in that. */
function runGroups(groups: readonly (readonly Operation[])[], tools: Tools, keepGoing: boolean): readonly Report[] {
  const [first] = groups as [readonly Operation[]]
  const handling = handlingOf(first)
  if ('run' in handling) return [handling.run(first, tools, keepGoing)]
  const alone = () => [handling.read(first, tools.run(handling.part(first, keepGoing)), tools, keepGoing)]
  if (groups.length === 1) return alone()
  const handlings = groups.map(handlingOf).filter((one) => 'part' in one)
  const parts = groups.map((group, index) => ({
    ...(handlings[index] as (typeof handlings)[number]).part(group, keepGoing),
    beside: group[0]?.tool === 'nft',
  }))
  const outcomes = runTogether(tools.run, parts, keepGoing)
  if (outcomes.length === 0) return alone()
  return groups.flatMap((group, index) => {
    const outcome = outcomes[index]
    return outcome ? [(handlings[index] as (typeof handlings)[number]).read(group, outcome, tools, keepGoing)] : []
  })
}

/** The groups one process can do: one, or several whose tools take part in that, at most one of them nft's. */
function leadingGroups(plan: readonly Operation[]): readonly (readonly Operation[])[] {
  const groups: (readonly Operation[])[] = []
  for (let rest = plan; rest.length > 0 && groups.length < mostParts; ) {
    const group = firstGroup(rest)
    const isNft = group[0]?.tool === 'nft'
    const fits = 'part' in handlingOf(group) && !(isNft && groups.some(([one]) => one?.tool === 'nft'))
    if (groups.length > 0 && !fits) break
    groups.push(group)
    if (!fits) break
    rest = rest.slice(group.length)
  }
  return groups
}

/** The longest run of neighbours that one process can do. */
function firstGroup(plan: readonly Operation[]): readonly Operation[] {
  const [first] = plan as [Operation, ...Operation[]]
  const isAlone = first.tool === 'conntrack' || first.tool === 'runcon'
  if (isAlone || (first.tool === 'sysctl' && first.netns === undefined)) return [first]
  const differs = (one: Operation) => one.netns !== first.netns || familyOption(one) !== familyOption(first)
  const end = plan.findIndex((one) => one.tool !== first.tool || differs(one))
  const group = end < 0 ? plan : plan.slice(0, end)
  if (first.tool !== 'sysctl') return group
  if (group.length > mostSettings) return group.slice(0, mostSettings)
  const batch = plan.slice(group.length).findIndex((one) => one.tool !== 'ip' || differs(one))
  return batch < 0 ? plan : plan.slice(0, group.length + batch)
}

import { mostParts, runTogether } from '../exec/together.js'
import { familyOption } from '../tools/batch.js'
import { mostSettings } from '../tools/settings.js'
import { type Hands, handlingOf } from '../tools/tools.js'
import { CniError } from '../values/errors.js'
import type { Operation } from './operation.js'
import { isTolerated, operationError, type Report, unclearError } from './refusal.js'
import { asPossible, mayHaveRun, repeated, takenNames } from './unclear.js'

export type { Hands }

/**
 * Runs a plan in order, by asking the kernel where that is known (kernel.ts), else in as few processes as its neighbours allow, and
 * stops at the first refusal that the operation does not tolerate, and at a tool that ends without saying what it did. `done` hears of
 * each operation that ran, or may have, at once: what the caller will undo. nft runs beside its neighbours: rules and links are made
 * without looking at each other.
 * @throws CniError naming the operation, with the command and the tool's stderr, or all that a tool was given
 */
export function apply(plan: readonly Operation[], hands: Hands, done: (operation: Operation) => void): void {
  for (let rest = plan; rest.length > 0; ) {
    rest = rest.slice(hands.kernel?.run(rest, done))
    if (rest.length === 0) return
    const groups = leadingGroups(rest)
    const taken = takenNames(groups.flat(), hands)
    const reports = runNext(groups, hands, false)
    for (const { ran, unclear = [] } of reports) {
      ran.forEach(done)
      const possible = unclear.flatMap(({ operations }) => operations)
      for (const one of possible) if (mayHaveRun(one, taken, hands)) done(asPossible(one))
    }
    throwFirst(reports)
    rest = withoutSettled(rest, reports)
  }
}

/**
 * Runs every operation of a plan whatever the others say, and returns what was refused and not tolerated. Where no process can be had, the kernel
 * is asked for what stands behind the operation that needs one.
 */
export function sweep(plan: readonly Operation[], hands: Hands): readonly CniError[] {
  const failures: CniError[] = []
  // What nft removes is freed while the rest is removed; a tool of its own it waits beside (runNext).
  const isNft = ({ tool }: Operation) => tool === 'nft'
  let rest: readonly Operation[] = [...plan.filter(isNft), ...plan.filter((one) => !isNft(one))]
  while (rest.length > 0) {
    rest = rest.slice(hands.kernel?.run(rest, () => undefined))
    if (rest.length === 0) break
    const reports = settledOf(runNext(leadingGroups(rest), hands, true), rest).map((report) =>
      repeated(report, hands, (operation) => runNext([[operation]], hands, true)[0] as Report),
    )
    const refused = reports.flatMap((report) => report.refused)
    failures.push(...refused.filter((one) => !isTolerated(one)).map(operationError))
    rest = withoutSettled(rest, reports)
  }
  return failures
}

// --- internal

/** Of operations for which no process could be had, only those that the kernel cannot do at once with the first count as refused. */
function settledOf(reports: readonly Report[], plan: readonly Operation[]): readonly Report[] {
  const [first] = plan as [Operation, ...Operation[]]
  const end = plan.findIndex(({ tool }) => tool !== first.tool)
  const isKnown = first.tool === 'ip' || first.tool === 'sysctl'
  const atOnce = new Set(isKnown ? [first] : plan.slice(0, end < 0 ? undefined : end))
  return reports.map(({ refused, ...report }) => ({
    ...report,
    refused: refused.filter(({ operation, isUntried }) => !isUntried || atOnce.has(operation)),
  }))
}

/** Runs groups, several by one process where their tools take part in that. */
function runNext(groups: readonly (readonly Operation[])[], hands: Hands, keepGoing: boolean): readonly Report[] {
  const [first] = groups as [readonly Operation[]]
  const handling = handlingOf(first)
  if ('run' in handling) return [handling.run(first, hands, keepGoing)]
  const alone = () => [handling.read(first, hands.run(handling.part(first, keepGoing)), hands, keepGoing)]
  if (groups.length === 1) return alone()
  const handlings = groups.map(handlingOf).filter((one) => 'part' in one)
  const parts = groups.map((group, index) => ({
    ...(handlings[index] as (typeof handlings)[number]).part(group, keepGoing),
    beside: group[0]?.tool === 'nft',
  }))
  const outcomes = runTogether(hands.run, parts, keepGoing)
  if (outcomes.length === 0) return alone()
  return groups.flatMap((group, index) => {
    const outcome = outcomes[index]
    return outcome ? [(handlings[index] as (typeof handlings)[number]).read(group, outcome, hands, keepGoing)] : []
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

/** One error for what was refused and not tolerated, and for what is unclear: nft, beside the others, may have failed as they did. */
function throwFirst(reports: readonly Report[]): void {
  const errors = reports.flatMap(({ refused, unclear = [] }) => [
    ...refused.filter((one) => !isTolerated(one)).map(operationError),
    ...unclear.map(unclearError),
  ])
  const [first, ...others] = errors
  if (!first) return
  const more = others.flatMap(({ message, details }) => [message, details])
  throw more.length === 0
    ? first
    : new CniError(first.code, first.message, { details: [first.details, ...more].join('\n') })
}

/** What is left to do. @throws when a process settled nothing: it would go on for ever */
function withoutSettled(plan: readonly Operation[], reports: readonly Report[]): readonly Operation[] {
  const settled = new Set(reports.flatMap(({ ran, refused }) => [...ran, ...refused.map(({ operation }) => operation)]))
  if (settled.size === 0) throw new Error('a process neither ran nor refused any operation')
  return plan.filter((operation) => !settled.has(operation))
}

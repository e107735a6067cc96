import { CniError } from '../values/errors.js'
import type { Machine } from './machine.js'
import type { Operation } from './operation.js'
import { isTolerated, type KernelRefusal, operationError, type Refusal, type Report, unclearError } from './refusal.js'
import { asPossible, mayHaveRun, repeated, takenNames } from './unclear.js'

/**
 * Runs a plan in order, by asking the kernel where that is known, else in as few processes as its neighbours allow, and
 * stops at the first refusal that the operation does not tolerate, and at a tool that ends without saying what it did.
 * `done` hears of each operation that ran, or may have, at once: what the caller will undo. Of operations that the
 * kernel got together some behind a refused one may have run before that one is tried again. nft runs beside its
 * neighbours: rules and links are made without looking at each other.
 * @throws CniError naming the operation, with the command and the tool's stderr, or all that a tool was given
 */
export function apply(
  plan: readonly Operation[],
  { observer, executor }: Machine,
  done: (operation: Operation) => void,
): void {
  for (let rest = plan; rest.length > 0; ) {
    const { left, ...refusal } = executor.request(rest, done)
    rest = left
    if (rest.length === 0) return
    const groups = executor.leadingGroups(rest)
    const taken = takenNames(groups.flat(), observer)
    const reports = explained(executor.runGroups(groups, false), rest, refusal)
    for (const { ran, unclear = [] } of reports) {
      ran.forEach(done)
      const possible = unclear.flatMap(({ operations }) => operations)
      for (const one of possible) if (mayHaveRun(one, taken, observer)) done(asPossible(one))
    }
    throwFirst(reports)
    rest = withoutSettled(rest, reports)
  }
}

/**
 * Runs every operation of a plan whatever the others say, and returns what was refused and not tolerated. Where no
 * process can be had, the kernel is asked for what stands behind the operation that needs one.
 */
export function sweep(plan: readonly Operation[], { observer, executor }: Machine): readonly CniError[] {
  const failures: CniError[] = []
  // What nft removes is freed while the rest is removed; a tool of its own it waits beside (tools/executor.ts).
  const isNft = ({ tool }: Operation) => tool === 'nft'
  let rest: readonly Operation[] = [...plan.filter(isNft), ...plan.filter((one) => !isNft(one))]
  while (rest.length > 0) {
    const { left, ...refusal } = executor.request(rest, () => undefined, { goesOn: true })
    rest = left
    if (rest.length === 0) break
    const reports = settledOf(executor.runGroups(executor.leadingGroups(rest), true), rest).map((report) =>
      repeated(report, observer, (operation) => executor.runGroups([[operation]], true)[0] as Report),
    )
    const refused = explained(reports, rest, refusal).flatMap((report) => report.refused)
    failures.push(...refused.filter((one) => !isTolerated(one)).map(operationError))
    rest = withoutSettled(rest, reports)
  }
  return failures
}

// --- internal

/**
 * What the kernel said of the first operation goes beside what its tool says, if it can be started at all; of nft's it
 * is said of the whole transaction.
 */
function explained(
  reports: readonly Report[],
  [first]: readonly Operation[],
  refusal: KernelRefusal,
): readonly Report[] {
  const isAsked = ({ operation }: Refusal) => operation === first || (first?.tool === 'nft' && operation.tool === 'nft')
  return reports.map(({ refused, ...report }) => ({
    ...report,
    refused: refused.map((one) => (isAsked(one) ? { ...one, ...refusal } : one)),
  }))
}

/**
 * Of operations for which no process could be had, only those that the kernel cannot do at once with the first count as
 * refused.
 */
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

/**
 * One error for what was refused and not tolerated, and for what is unclear: nft, beside the others, may have failed as
 * they did.
 */
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

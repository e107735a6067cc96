import type { Outcome } from '../exec/command.js'
import { firstLine, reasonOf } from '../exec/stderr.js'
import type { Part } from '../exec/together.js'
import type { Operation } from '../plan/operation.js'
import { isTolerated, neverRan, type Refusal, type Report, refusal, together, unclear } from '../plan/refusal.js'
import { batchLine } from '../plan/render.js'
import { type Tools, text, within } from './batch.js'

/** nft: neighbours are one transaction. */
export function transaction(group: readonly Operation[]): Part {
  return { argv: within(group[0]?.netns, 'nft', '-f', '-'), stdin: text(group) }
}

/**
 * `nft -f` is atomic. Declarations are sent only when the kernel says something is absent: declaring what exists costs
 * the kernel 7 to 13 ms each time (bench/RESULTS.md), adding to it nothing. A sweep that fails is split until the
 * culprits stand alone.
 */
export function readTransaction(group: readonly Operation[], first: Outcome, tools: Tools, keepGoing: boolean): Report {
  let lines = group
  let outcome = first
  for (const [reason, key] of remedies) {
    const before = distinct(group.flatMap((operation) => operation[key] ?? []))
    if (!isRefused(outcome, refusedByNft) || before.length === 0 || reasonOf(outcome.stderr) !== reason) continue
    lines = [...before, ...lines]
    outcome = tools.run(transaction(lines))
  }
  if (outcome.status === 0) return { ran: group, refused: [] }
  if (!isRefused(outcome, refusedByNft)) return unclear(group, outcome)
  if (outcome.failure) return untried(keepGoing ? group : group.slice(0, 1), outcome)
  if (!keepGoing) return { ran: [], refused: [refusal(culprit(lines, outcome) ?? (group[0] as Operation), outcome)] }
  if (group.length === 1) return { ran: [], refused: [refusal(group[0] as Operation, outcome)] }
  return inHalves(group, (half) => readTransaction(half, tools.run(transaction(half)), tools, true))
}

/** iptables: neighbours of one table are one transaction. */
export function runRestore(group: readonly Operation[], tools: Tools, keepGoing: boolean): Report {
  const reports: Report[] = []
  for (const part of tables(group)) {
    const report = restoreTable(part, tools, keepGoing)
    reports.push(report)
    if (report.ran.length < part.length && !keepGoing) break
  }
  return together(reports)
}

/**
 * iptables-restore takes a table's lines as one transaction; a sweep that fails is split as for nft.
 */
function restoreTable(part: readonly Operation[], tools: Tools, keepGoing: boolean): Report {
  const [{ tool, netns, argv }] = part as [Operation]
  const rules = part.map((one) => batchLine({ ...one, argv: one.argv.slice(2) }))
  const stdin = [`*${argv[1]}`, ...rules, 'COMMIT', ''].join('\n')
  const outcome = tools.run({ argv: within(netns, `${tool}-restore`, '--noflush', '--wait'), stdin })
  if (outcome.status === 0) return { ran: part, refused: [] }
  if (!isRefused(outcome, refusedByRestore)) return unclear(part, outcome)
  if (outcome.failure) return untried(keepGoing ? part : part.slice(0, 1), outcome)
  if (keepGoing && part.length > 1) return inHalves(part, (half) => restoreTable(half, tools, true))
  return { ran: [], refused: [refusedLine(part, outcome)] }
}

// --- internal

/** What to send first when the kernel refuses a transaction for a reason that can be mended. */
const remedies = [
  ['absent', 'needs'],
  ['exists', 'displaces'],
] as const

/**
 * Words and exit statuses with which a tool says that it refused a transaction; whoever ends otherwise may have
 * committed it.
 */
interface RefusalForm {
  readonly word: string
  readonly highest: number
}
const refusedByNft: RefusalForm = { word: 'Error: ', highest: 1 }
const refusedByRestore: RefusalForm = { word: '-restore', highest: 4 }

function isRefused(outcome: Outcome, { word, highest }: RefusalForm): boolean {
  const { status, stderr } = outcome
  return neverRan(outcome) || (status !== null && status > 0 && status <= highest && stderr.includes(word))
}

function distinct(operations: readonly Operation[]): readonly Operation[] {
  return [...new Map(operations.map((one) => [batchLine(one), one])).values()]
}

/** The operation of the line that nft names, unless it would tolerate that: nothing of the transaction was done. */
function culprit(lines: readonly Operation[], outcome: Outcome): Operation | undefined {
  const line = Number(firstLine(outcome.stderr).split(':')[1])
  const named = lines[line - 1]
  return named && !isTolerated(refusal(named, outcome)) ? named : undefined
}

/**
 * The line that iptables-restore names, of those behind the table's; else the first. iptables-legacy does not say why
 * it makes no chain: there is one.
 */
function refusedLine(part: readonly Operation[], outcome: Outcome): Refusal {
  const { stderr } = outcome
  const [, line = '', words = ''] = /line (\d+)(?: failed)?:?(.*)/.exec(stderr) ?? []
  const named = part[Number(line) - 2]
  const isNew = named?.argv[2] === '-N'
  if (named && isNew && words.trim() === '') return { operation: named, reason: 'exists', stderr }
  const made = reasonOf(stderr) === 'exists' ? part.find(({ argv }) => argv[2] === '-N') : undefined
  return refusal(made ?? (part[0] as Operation), outcome)
}

/** Without a process there is no culprit to be found. */
function untried(group: readonly Operation[], outcome: Outcome): Report {
  return { ran: [], refused: group.map((one) => refusal(one, outcome)) }
}

function inHalves(group: readonly Operation[], runHalf: (half: readonly Operation[]) => Report): Report {
  const middle = group.length >> 1
  return together([runHalf(group.slice(0, middle)), runHalf(group.slice(middle))])
}

/** Neighbours of one table; every iptables operation begins with `-t TABLE`. */
function tables(group: readonly Operation[]): Operation[][] {
  const parts: Operation[][] = []
  for (const operation of group) {
    const last = parts.at(-1)
    if (last?.[0]?.argv[1] === operation.argv[1]) last?.push(operation)
    else parts.push([operation])
  }
  return parts
}

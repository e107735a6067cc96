import type { Outcome, Run } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { failedBatchLine, reasonOf } from '../exec/stderr.js'
import type { Part } from '../exec/together.js'
import type { Operation } from '../plan/operation.js'
import { neverRan, type Refusal, type Report, refusal, unclear } from '../plan/refusal.js'
import { batchLine } from '../plan/render.js'

/** What tools take: processes, and the files by which the settings of the host are written. */
export interface Tools {
  readonly run: Run
  readonly files: Files
}

/** `ip`, `bridge` and `tc`: one line an operation, applied line by line. */
export const batch = {
  part: (group: readonly Operation[], keepGoing: boolean): Part => {
    const [first] = group as [Operation]
    const family = familyOption(first)
    const options = [...(family ? [family] : []), ...(keepGoing ? ['-force'] : [])]
    const lines = family ? group.map((one) => ({ ...one, argv: one.argv.slice(1) })) : group
    return { argv: within(first.netns, first.tool, ...options, '-batch', '-'), stdin: text(lines) }
  },
  read: (group: readonly Operation[], outcome: Outcome, _: Tools, keepGoing: boolean): Report =>
    (keepGoing ? everyFailure : firstFailure)(group, outcome),
}

/** The family that an `ip` command is for where its words do not show it, as those of a rule: "-6" or none. */
export function familyOption({ argv }: Operation): string | undefined {
  return argv[0] === '-6' ? argv[0] : undefined
}

/** A command as its words, run inside a namespace where one is named. */
export function within(netns: string | undefined, tool: string, ...words: string[]): [string, ...string[]] {
  return netns === undefined ? [tool, ...words] : ['nsenter', `--net=${netns}`, tool, ...words]
}

/** The lines of a batch file. */
export function text(group: readonly Operation[]): string {
  return group.map((one) => `${batchLine(one)}\n`).join('')
}

/** The report of a batch that stops at its first refused line. */
export function firstFailure(group: readonly Operation[], outcome: Outcome): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const index = refusedIndex(group, outcome)
  const operation = index === undefined ? undefined : group[index]
  return operation ? { ran: group.slice(0, index), refused: [refusal(operation, outcome)] } : unclear(group, outcome)
}

/**
 * The operation a batch ended at; undefined when the tool does not say, as for a word it cannot read, or names a line
 * it was not given.
 */
function refusedIndex(group: readonly Operation[], outcome: Outcome): number | undefined {
  if (neverRan(outcome)) return 0
  if (outcome.signal !== null) return undefined
  const line = failedBatchLine(outcome.stderr)
  if (line !== undefined) return line - 1
  return group.length === 1 && reasonOf(outcome.stderr) !== 'other' ? 0 : undefined
}

/**
 * `-force` reports each failing line as its own "Command failed -:N" behind the reason; whoever ends otherwise was not
 * at the end.
 */
export function everyFailure(group: readonly Operation[], outcome: Outcome): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  if (neverRan(outcome)) return { ran: [], refused: group.map((operation) => refusal(operation, outcome)) }
  if (group.length === 1) return firstFailure(group, outcome)
  const refused: Refusal[] = []
  let stderr = ''
  for (const line of outcome.stderr.split('\n')) {
    stderr += `${line}\n`
    const number = failedBatchLine(line)
    if (number === undefined) continue
    const operation = group[number - 1]
    if (!operation) return unclear(group, outcome)
    refused.push(refusal(operation, { ...outcome, stderr }))
    stderr = ''
  }
  if (outcome.signal !== null || refused.length === 0 || stderr.trim() !== '') return unclear(group, outcome)
  return { ran: group.filter((one) => !refused.some(({ operation }) => operation === one)), refused }
}

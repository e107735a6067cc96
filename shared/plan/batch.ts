import type { Outcome } from '../exec/run.js'
import { failedBatchLine, wrongArgument } from '../exec/stderr.js'
import type { Part } from '../exec/together.js'
import type { Operation } from './operation.js'
import { type Refusal, type Report, refusal } from './refusal.js'
import { batchLine } from './render.js'
import type { Hands } from './tools.js'

/** `ip`, `bridge` and `tc`: one line an operation, applied line by line. */
export const batch = {
  part: (group: readonly Operation[], keepGoing: boolean): Part => {
    const [first] = group as [Operation]
    const family = familyOption(first)
    const options = [...(family ? [family] : []), ...(keepGoing ? ['-force'] : [])]
    const lines = family ? group.map((one) => ({ ...one, argv: one.argv.slice(1) })) : group
    return { argv: within(first.netns, first.tool, ...options, '-batch', '-'), stdin: text(lines) }
  },
  read: (group: readonly Operation[], outcome: Outcome, _: Hands, keepGoing: boolean): Report =>
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
  const line = failedBatchLine(outcome.stderr)
  const index = line === undefined ? unreadable(group, outcome.stderr) : line - 1
  const operation = group[index] ?? (group[0] as Operation)
  return { ran: group.slice(0, index), refused: [refusal(operation, outcome)] }
}

/** What stood before a line that the tool could not even read has run. */
function unreadable(group: readonly Operation[], stderr: string): number {
  const word = wrongArgument(stderr)
  return word === undefined
    ? 0
    : Math.max(
        group.findIndex(({ argv }) => argv.includes(word)),
        0,
      )
}

/** `-force` reports each failing line as its own "Command failed -:N" behind the reason. */
export function everyFailure(group: readonly Operation[], outcome: Outcome): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const refused: Refusal[] = []
  let stderr = ''
  for (const line of outcome.stderr.split('\n')) {
    stderr += `${line}\n`
    const number = failedBatchLine(line)
    const operation = number === undefined ? undefined : group[number - 1]
    if (!operation) continue
    refused.push(refusal(operation, { ...outcome, stderr }))
    stderr = ''
  }
  if (refused.length === 0) refused.push(...group.map((operation) => refusal(operation, outcome)))
  return { ran: group.filter((one) => !refused.some(({ operation }) => operation === one)), refused }
}

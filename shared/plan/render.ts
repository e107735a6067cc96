import { pasteable } from '../exec/run.js'
import { assertToken, unquoted } from '../values/token.js'
import type { Operation } from './operation.js'

/** A plan as the commands a person would type, one a line, each declaration once and before its first user. */
export function render(plan: readonly Operation[]): string {
  const lines: string[] = []
  for (const operation of plan) {
    for (const need of operation.needs ?? []) {
      const line = renderOne(need)
      if (!lines.includes(line)) lines.push(line)
    }
    lines.push(renderOne(operation))
  }
  return lines.map((line) => `${line}\n`).join('')
}

/** One operation as a command that can be pasted into a shell. */
export function renderOne(operation: Operation): string {
  const { tool, argv, netns } = operation
  argv.forEach(assertToken)
  const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`]
  const plain = pasteable({ argv: [...enter, tool, ...argv.map(unquoted)] })
  const isScript = tool === 'nft' && plain.includes("'")
  return isScript ? pasteable({ argv: [...enter, tool, batchLine(operation)] }) : plain
}

/** One operation as a line of its tool's batch file. */
export function batchLine({ argv }: Operation): string {
  argv.forEach(assertToken)
  return argv.join(' ')
}

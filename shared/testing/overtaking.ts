import type { Command } from '../exec/command.js'
import type { Row } from './golden.js'
import { openStage } from './live.js'
import { createMemory } from './memory.js'

/** What an ADD leaves where another program is faster with some chains of iptables: between our look and our change. */
export interface Overtaken {
  readonly status: number
  readonly said: string
  readonly things: readonly string[]
  /** Chains of iptables that were to be made. */
  readonly chains: readonly string[]
  /** How many of them the other one made first. */
  readonly lost: number
}

/**
 * @param faster the chains that the other program makes first, each when it is to be made for the first time
 * @param said what iptables-restore says of a chain that is there, in place of what nf_tables' says
 */
export async function overtaken(row: Row, faster: readonly string[], said?: string): Promise<Overtaken> {
  const memory = createMemory()
  const [chains, left] = [new Set<string>(), new Set(faster)]
  const run = (command: Pick<Command, 'argv' | 'stdin'>) => {
    const { argv, stdin = '' } = command
    if (argv[0]?.endsWith('-restore')) {
      const [table = '', ...lines] = stdin.split('\n')
      for (const chain of lines.flatMap((line) => (line.startsWith('-N ') ? [line.slice(3)] : []))) {
        chains.add(chain)
        if (left.delete(chain)) memory.run({ argv, stdin: [table, `-N ${chain}`, 'COMMIT', ''].join('\n') })
      }
    }
    const told = memory.run(command)
    return said !== undefined && argv[0]?.endsWith('-restore') && told?.status === 1 ? { ...told, stderr: said } : told
  }
  const stage = openStage({ ...memory, run })
  try {
    const { status, said: warned } = await stage.perform(row)
    return { status, said: warned, things: memory.things(), chains: [...chains], lost: faster.length - left.size }
  } finally {
    stage.close()
  }
}

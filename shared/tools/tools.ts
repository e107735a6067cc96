import type { Files } from '../exec/files.js'
import type { Outcome, Run } from '../exec/run.js'
import { reasonOf } from '../exec/stderr.js'
import type { Part } from '../exec/together.js'
import type { Kernel } from '../netlink/kernel.js'
import type { Operation, Tool } from '../plan/operation.js'
import { neverRan, type Report, refusal, unclear } from '../plan/refusal.js'
import { batch, within } from './batch.js'
import { readSettings, settingsPart, writeSysctl } from './settings.js'
import { readTransaction, runRestore, transaction } from './transaction.js'

/** What applying needs of the world. */
export interface Hands {
  readonly run: Run
  readonly files: Files
  /** Absent where only tools may be used. */
  readonly kernel?: Kernel | undefined
}

/** How a tool's neighbouring operations run: as one command whose outcome is read, or in a way of their own. */
export type Handling =
  | {
      readonly part: (group: readonly Operation[], keepGoing: boolean) => Part
      readonly read: (group: readonly Operation[], outcome: Outcome, hands: Hands, keepGoing: boolean) => Report
    }
  | { readonly run: (group: readonly Operation[], hands: Hands, keepGoing: boolean) => Report }

export function handlingOf(group: readonly Operation[]): Handling {
  const { tool, netns } = group[0] as Operation
  return tool === 'sysctl' && netns === undefined ? { run: writeSysctl } : handlings[tool]
}

// --- internal

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
function runSingle(group: readonly Operation[], { run }: Hands): Report {
  const [operation] = group as [Operation]
  const outcome = run({ argv: within(operation.netns, operation.tool, ...operation.argv) })
  if (outcome.status === 0) return { ran: [operation], refused: [] }
  const isRefused = neverRan(outcome) || (outcome.signal === null && reasonOf(outcome.stderr) !== 'other')
  return isRefused ? { ran: [], refused: [refusal(operation, outcome)] } : unclear(group, outcome)
}

import type { Outcome } from '../exec/run.js'
import { firstLine, type Reason, reasonOf } from '../exec/stderr.js'
import { CniError, codes } from '../protocol/errors.js'
import type { Operation } from './operation.js'
import { renderOne } from './render.js'

/** An operation that its tool or the kernel did not take. */
export interface Refusal {
  readonly operation: Operation
  readonly reason: Reason
  readonly stderr: string
  readonly missingTool?: string
}

/** The operations that ran, and those refused: without `keepGoing` at most one, and none behind it was tried. */
export interface Report {
  readonly ran: readonly Operation[]
  readonly refused: readonly Refusal[]
}

/** What became of an operation whose command failed. */
export function refusal(operation: Operation, outcome: Outcome): Refusal {
  if (outcome.failure === 'ENOENT') {
    const { tool, netns } = operation
    const missingTool = netns !== undefined ? 'nsenter' : tool.includes('tables') ? `${tool}-restore` : tool
    return { operation, reason: 'other', stderr: '', missingTool }
  }
  const why = outcome.failure ?? (outcome.signal ? `killed by ${outcome.signal}` : `exit status ${outcome.status}`)
  const stderr = outcome.stderr.trim() === '' ? why : outcome.stderr
  return { operation, reason: reasonOf(stderr), stderr }
}

export function isTolerated({ operation, reason, missingTool }: Refusal): boolean {
  return missingTool === undefined && (operation.tolerate?.includes(reason) ?? false)
}

/** A refusal as the user reads it. */
export function operationError({ operation, reason, stderr, missingTool }: Refusal): CniError {
  if (missingTool !== undefined) {
    return new CniError(codes.toolMissing, `cannot ${operation.why}: the program "${missingTool}" is not installed`, {
      details: `command: ${renderOne(operation)}`,
      fix: `install the package ${packages[missingTool] ?? (missingTool.includes('tables') ? 'iptables' : 'iproute2')}`,
    })
  }
  const meaning = operation.meaning?.[reason]
  const code = meaning?.code ?? (reason === 'unsupported' ? codes.featureMissing : codes.operationFailed)
  return new CniError(code, meaning?.says ?? `cannot ${operation.why}: ${firstLine(stderr)}`, {
    details: `command: ${renderOne(operation)}\nstderr: ${stderr.trim()}`,
    ...(meaning ? { fix: meaning.fix } : {}),
  })
}

// --- internal

const packages: Partial<Record<string, string>> = {
  nft: 'nftables',
  nsenter: 'util-linux',
  conntrack: 'conntrack',
  runcon: 'coreutils',
}

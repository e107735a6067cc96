import type { Outcome } from '../exec/command.js'
import { excerpt, firstLine, type Reason, reasonOf } from '../exec/stderr.js'
import { errnoText, whatToRaise } from '../values/errno.js'
import { CniError, codes } from '../values/errors.js'
import { officialRefusal } from './official.js'
import type { Operation } from './operation.js'
import { renderOne } from './render.js'

/** What the kernel answered to a request: a negative errno, and words where it has some of its own. */
export interface KernelRefusal {
  readonly kernelError?: number | undefined
  readonly kernelText?: string | undefined
}

/** An operation that its tool or the kernel did not take. */
export interface Refusal extends KernelRefusal {
  readonly operation: Operation
  readonly reason: Reason
  readonly stderr: string
  readonly missingTool?: string
  /** No process could be had for it (no task, descriptor or memory): nothing was tried. */
  readonly isUntried?: boolean
}

/** Operations of a tool that ended without saying which of them it did: none, some or all. */
export interface Unclear {
  readonly operations: readonly Operation[]
  readonly outcome: Outcome
}

/**
 * The operations that ran, and those refused: without `keepGoing` at most one, and none behind it was tried. What the
 * tool left unclear is in neither.
 */
export interface Report {
  readonly ran: readonly Operation[]
  readonly refused: readonly Refusal[]
  readonly unclear?: readonly Unclear[]
}

/** The report of a tool that ended without saying what it did. */
export function unclear(operations: readonly Operation[], outcome: Outcome): Report {
  return { ran: [], refused: [], unclear: [{ operations, outcome }] }
}

/** Several reports as one. */
export function together(reports: readonly Report[]): Report {
  return {
    ran: reports.flatMap(({ ran }) => ran),
    refused: reports.flatMap(({ refused }) => refused),
    unclear: reports.flatMap(({ unclear = [] }) => unclear),
  }
}

/** True when the tool was not even started: by us, or by nsenter, which says so under its own name. */
export function neverRan({ failure, signal, stderr }: Outcome): boolean {
  return failure !== undefined || (signal === null && stderr.startsWith('nsenter: '))
}

/** What became of an operation whose command failed. */
export function refusal(operation: Operation, outcome: Outcome): Refusal {
  const missingTool = missingProgram(operation, outcome)
  if (missingTool !== undefined) return { operation, reason: 'other', stderr: '', missingTool, isUntried: true }
  const stderr = outcome.stderr.trim() === '' ? endOf(outcome) : outcome.stderr
  return { operation, reason: reasonOf(stderr), stderr, ...(outcome.failure ? { isUntried: true } : {}) }
}

export function isTolerated({ operation, reason, missingTool }: Refusal): boolean {
  return missingTool === undefined && (operation.tolerate?.includes(reason) ?? false)
}

/** A refusal as the user reads it. */
export function operationError(refused: Refusal): CniError {
  const { operation, reason, stderr, missingTool, isUntried } = refused
  const kernel = kernelWords(refused)
  const command = `command: ${renderOne(operation)}`
  const told = kernel === undefined ? command : `${command}\nkernel: ${excerpt(kernel)}`
  if (missingTool !== undefined) {
    return new CniError(codes.toolMissing, `cannot ${operation.why}: the program "${missingTool}" is not installed`, {
      details: told,
      fix: `install the package ${packages[missingTool] ?? (missingTool.includes('tables') ? 'iptables' : 'iproute2')}`,
    })
  }
  if (isUntried) {
    return new CniError(codes.tryAgainLater, `cannot ${operation.why}: no process can be started (${stderr})`, {
      details: told,
      fix: whatToRaise[stderr] ?? 'mend the cause and try again',
    })
  }
  const meaning = operation.meaning?.[reason]
  const code = meaning?.code ?? (reason === 'unsupported' ? codes.featureMissing : codes.operationFailed)
  return new CniError(code, meaning?.says ?? `cannot ${operation.why}: ${firstLine(stderr)}`, {
    details: `${told}\nstderr: ${excerpt(stderr)}`,
    official: officialRefusal(refused),
    ...(meaning ? { fix: meaning.fix } : {}),
  })
}

/** What is known of operations whose tool did not say what it did: how it ended, and all that it was given. */
export function unclearError({ operations, outcome }: Unclear): CniError {
  const tools = [...new Set(operations.map(({ tool }) => `"${tool}"`))].join(' and ')
  const [first] = operations as [Operation]
  const many = operations.length > 1
  const says = many
    ? `${tools} ended without saying which of ${operations.length} commands it had done`
    : `cannot ${first.why}: ${tools} ended without saying whether it had done it`
  const told = [endOf(outcome), firstLine(outcome.stderr)].filter((text) => text !== '').join(': ')
  const lines = [many ? 'commands:' : 'command:', ...operations.map(renderOne), `stderr: ${excerpt(outcome.stderr)}`]
  return new CniError(codes.operationFailed, `${says}: ${told}`, {
    details: lines.join('\n'),
    fix: `see what keeps ${tools} from its work here (its version, what wraps it, a lack of memory), then repeat the call`,
  })
}

// --- internal

/** What the kernel said that the tool does not say, too: words of its own, or its error where no tool explains it. */
function kernelWords({ kernelText, kernelError = 0, stderr, missingTool, isUntried }: Refusal): string | undefined {
  // `ip` mostly repeats them.
  if (kernelText !== undefined) return stderr.includes(kernelText) ? undefined : kernelText
  return missingTool !== undefined || isUntried ? errnoText(kernelError) : undefined
}

function endOf({ failure, exceeded, signal, status }: Outcome): string {
  if (exceeded) return ''
  return failure ?? (signal === null ? `exit status ${status}` : `killed by ${signal}`)
}

/**
 * The program that is not there: the one we were to start, or the one that a shell or nsenter names in its last words.
 */
function missingProgram({ tool, netns }: Operation, { failure, status, stderr }: Outcome): string | undefined {
  const line = firstLine(stderr)
  const byNsenter = 'nsenter: failed to execute '
  if (status === 127 && line.startsWith(byNsenter)) return line.slice(byNsenter.length).split(':')[0]
  if (failure !== 'ENOENT') return undefined
  const named = line.split(': ').at(-2)
  return named ?? (netns === undefined ? (tool.includes('tables') ? `${tool}-restore` : tool) : 'nsenter')
}

const packages: Partial<Record<string, string>> = {
  nft: 'nftables',
  nsenter: 'util-linux',
  conntrack: 'conntrack',
  runcon: 'coreutils',
}

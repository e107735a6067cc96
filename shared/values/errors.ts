import { errnoOf, messageOf, scarce } from './errno.js'

/** One mistake in an input: where it is, what was found there, what would be right, and how to mend it. */
export interface Problem {
  readonly path: string
  readonly value?: unknown
  readonly expected: string
  readonly fix?: string
  /** What the official plugin says of the same mistake: it stands in `msg`, where people and scripts look for it. */
  readonly official?: string | undefined
}

/**
 * Every error code podwire prints. 1 to 99 are the specification's (SPEC.md, "Error"), 100 and up are our own.
 * `netns` (8) is what the official library uses for namespace mistakes; the specification leaves it unassigned.
 */
export const codes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodeFailure: 6,
  invalidConfiguration: 7,
  netns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  notAvailableLimited: 51,
  operationFailed: 100,
  toolMissing: 101,
  featureMissing: 102,
  nameTaken: 103,
  invalidNetns: 104,
  checkFailed: 105,
  portTaken: 106,
  delegateFailed: 107,
  addressUnavailable: 108,
  cleanupIncomplete: 109,
  addressConflict: 110,
  internal: 199,
} as const

export type Code = (typeof codes)[keyof typeof codes]

interface Explanation {
  readonly details?: string
  readonly problems?: readonly Problem[]
  readonly fix?: string
  /** The text of the official suite for the same, where the message is another one: it follows the message. */
  readonly official?: string | undefined
  /** Help for a person, of an error that callers compare as a whole: it goes to stderr. */
  readonly hint?: string
  readonly cause?: unknown
}

/** An error as a CNI client sees it: `code`, `msg` (what could not be done) and `details` (why, and how to mend it). */
export class CniError extends Error {
  readonly code: number
  readonly details: string
  readonly hint: string | undefined
  /** True once the text names plugin and network, or came whole from a delegate and is passed on as it is. */
  readonly complete: boolean

  constructor(code: number, message: string, explanation: Explanation & { complete?: boolean } = {}) {
    super(withOfficial(message, explanation), { cause: explanation.cause })
    this.code = code
    this.details = detailsOf(explanation)
    this.hint = explanation.hint
    this.complete = explanation.complete ?? false
  }
}

/** The same error with `plugin: network "name": ` before its message, unless it is complete already. */
export function attributed(error: CniError, plugin: string, network: string | undefined): CniError {
  if (error.complete) return error
  const where = network === undefined ? plugin : `${plugin}: network "${network}"`
  const options = { details: error.details, cause: error.cause, complete: true }
  return new CniError(error.code, `${where}: ${error.message}`, options)
}

/** A refusal of the network configuration that lists all mistakes at once (code 7). */
export function invalidConfiguration(problems: readonly Problem[], what = 'the configuration is not valid'): CniError {
  const many = problems.length > 1 ? ` (${problems.length} mistakes)` : ''
  return new CniError(codes.invalidConfiguration, what + many, { problems })
}

/**
 * Anything thrown, as a CniError: a lack of open files or memory is code 11 wherever it came; what no code of ours
 * expected becomes "internal" with its stack in the details.
 */
export function asCniError(thrown: unknown): CniError {
  if (thrown instanceof CniError) return thrown
  const fix = scarce[errnoOf(thrown) ?? '']
  if (fix) {
    return new CniError(codes.tryAgainLater, `this call has too little: ${messageOf(thrown)}`, { fix, cause: thrown })
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  return new CniError(codes.internal, `unexpected: ${error.message}`, {
    details: error.stack ?? '',
    fix: 'this is a defect of podwire; please report it with this text',
    cause: thrown,
  })
}

/**
 * The error object of the specification as text: four spaces of indent, no newline at the end, like the official suite.
 */
export function printError(error: CniError): string {
  const { code, message: msg, details } = error
  return goJson(details === '' ? { code, msg } : { code, msg, details })
}

/** JSON as Go's encoder writes it with four spaces of indent: `<`, `>`, `&` and the two line separators escaped. */
export function goJson(value: unknown): string {
  let out = ''
  for (const char of JSON.stringify(value, null, 4)) out += goEscapes[char] ?? char
  return out
}

// --- internal

const goEscapes: Record<string, string> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
}

/** The message, then what the official suite says of the same: once, and not again where the message has it. */
function withOfficial(message: string, { official, problems = [] }: Explanation): string {
  let text = message
  for (const one of [official, ...problems.map((problem) => problem.official)]) {
    if (one !== undefined && !text.includes(one)) text += `${text === message ? ': ' : '; '}${one}`
  }
  return text
}

function detailsOf({ details, problems = [], fix }: Explanation): string {
  const lines = problems.map(problemLine)
  if (details) lines.unshift(details)
  if (fix) lines.push(`fix: ${fix}`)
  return lines.join('\n')
}

function problemLine({ path, value, expected, fix }: Problem): string {
  const found = value === undefined ? 'nothing' : shortened(JSON.stringify(value) ?? String(value))
  return `${path}: found ${found}, expected ${expected}${fix ? `; fix: ${fix}` : ''}`
}

function shortened(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}... (${text.length} characters)` : text
}

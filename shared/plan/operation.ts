import type { Reason } from '../exec/stderr.js'
import type { Code } from '../values/errors.js'

export type Tool =
  | 'ip'
  | 'bridge'
  | 'tc'
  | 'nft'
  | 'sysctl'
  | 'iptables'
  | 'ip6tables'
  | 'iptables-legacy'
  | 'ip6tables-legacy'
  | 'conntrack'
  | 'runcon'

/**
 * One change to the system, as data. It prints as what a person would type (render.ts), runs together with its
 * neighbours (apply.ts) and knows what takes it back.
 */
export interface Operation {
  readonly tool: Tool
  /** The words after the tool's name; of `ip`, a first `-6` is the family that the rest cannot say. Never text to be split again: each is one token (see `assertToken`). */
  readonly argv: readonly string[]
  /** Path of the network namespace to run in; absent: the plugin's own, the host. */
  readonly netns?: string
  /** What it is for, phrased to follow "cannot". */
  readonly why: string
  /** Reasons for which a refusal is as good as success ("exists" when ensuring, "absent" when removing). */
  readonly tolerate?: readonly Reason[]
  /** What takes it back, in order; absent when nothing should (shared objects, things that vanish with another). */
  readonly undo?: readonly Operation[]
  /** The link whose being there, or being gone, shows that it ran, where its tool does not say (unclear.ts). */
  readonly shownBy?: { readonly link: string; readonly netns?: string | undefined; readonly exists: boolean }
  /** nft only: declarations the operation relies on. Sent first only when the kernel says they are absent. */
  readonly needs?: readonly Operation[]
  /** nft only: what must go first when the kernel says it exists: the leftover of an owner that is gone. */
  readonly displaces?: readonly Operation[]
  /** What a refusal means to the user, where it means more than "operation failed". */
  readonly meaning?: Partial<Record<Reason, { readonly code: Code; readonly fix: string; readonly says?: string }>>
}

/** A text as one quoted token for nft and iptables-restore. @throws when it could end the quotes or the line */
export function quoted(text: string): string {
  const token = `"${text.replaceAll('"', '\\"')}"`
  assertToken(token)
  return token
}

/**
 * Refuses a token that a batch file could read as anything but one word: white space, control characters, comments,
 * escapes, quotes that are not a whole quoted token, and nft's separators inside a word.
 * @throws Error: a defect of ours, for names from outside are refused at the edge (values/checks.ts)
 */
export function assertToken(token: string): void {
  const fault = faultOf(token)
  if (fault) throw new Error(`unsafe token ${JSON.stringify(token)}: ${fault}`)
}

/** Whether assertToken takes it: for words that come back from a file. */
export function isToken(token: string): boolean {
  return faultOf(token) === undefined
}

// --- internal

/** Character codes that end a word, or begin something else, in a batch file of ip, nft or iptables-restore. */
const separators = new Set(['"', "'", '\\', '#', ';', '{', '}', '`'].map((char) => char.charCodeAt(0)))

function faultOf(token: string): string | undefined {
  return token.startsWith('"') ? quotedFault(token) : wordFault(token)
}

function wordFault(token: string): string | undefined {
  if (token === '') return 'it is empty'
  if (token === ';' || token === '{' || token === '}') return undefined
  for (let at = 0; at < token.length; at++) {
    const code = token.charCodeAt(at)
    if (code <= 0x20 || code === 0x7f || code === 0x85) return 'white space or a control character'
    if (separators.has(code)) return `the character ${token[at]}`
  }
  return undefined
}

function quotedFault(token: string): string | undefined {
  const last = token.length - 1
  if (last < 1 || token.charCodeAt(last) !== quote) return 'its quotes are not closed'
  for (let at = 1; at < last; at++) {
    const code = token.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return 'a control character'
    if (code === quote) return 'quotes within quotes'
    if (code === backslash && (++at >= last || token.charCodeAt(at) !== quote)) return 'an escape'
  }
  return undefined
}

const quote = 0x22
const backslash = 0x5c

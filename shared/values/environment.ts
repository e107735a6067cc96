import { CniError, codes } from './errors.js'

export const verbs = ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC', 'VERSION'] as const
export type Verb = (typeof verbs)[number]

/** The CNI_* variables as the plugin uses them; an empty variable counts as absent, here as "". */
export interface Environment {
  readonly command: string
  readonly containerID: string
  readonly netns: string
  readonly ifName: string
  readonly args: string
  readonly path: string
  readonly netnsOverride: boolean
}

/** Variable x verbs that need it x check, in the order in which they are looked at (SPEC.md, "Parameters"). */
const table: readonly { name: string; needed: readonly Verb[]; check?: (value: string) => void }[] = [
  { name: 'CNI_COMMAND', needed: verbs },
  { name: 'CNI_CONTAINERID', needed: ['ADD', 'DEL', 'CHECK'], check: checkContainerID },
  { name: 'CNI_NETNS', needed: ['ADD', 'CHECK'] },
  { name: 'CNI_IFNAME', needed: ['ADD', 'DEL', 'CHECK'], check: checkIfName },
  { name: 'CNI_PATH', needed: ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC'] },
]

/**
 * Reads and checks the environment. The first invalid value wins over absent ones, which are reported together.
 * @throws code 4
 */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const verb = env['CNI_COMMAND'] ?? ''
  const missing: string[] = []
  for (const { name, needed, check } of table) {
    if (!(needed as readonly string[]).includes(verb)) continue
    const value = env[name] ?? ''
    if (value === '') missing.push(name)
    else check?.(value)
  }
  if (missing.length > 0) invalid(`required env variables [${missing.join(',')}] missing`)
  const override = env['CNI_NETNS_OVERRIDE'] ?? ''
  return {
    command: verb,
    containerID: env['CNI_CONTAINERID'] ?? '',
    netns: env['CNI_NETNS'] ?? '',
    ifName: env['CNI_IFNAME'] ?? '',
    args: env['CNI_ARGS'] ?? '',
    path: env['CNI_PATH'] ?? '',
    netnsOverride: override === '1' || override.toLowerCase() === 'true',
  }
}

/** True for a network name or container ID: ASCII letters, digits, `_`, `.`, `-`, the first one a letter or digit. */
export function isIdentifier(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    const alphanumeric = (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
    if (!alphanumeric && (index === 0 || (code !== 95 && code !== 46 && code !== 45))) return false
  }
  return text !== ''
}

/**
 * Why a text cannot be the name of a link (dev_valid_name in the kernel, and what the official library adds), or
 * undefined.
 */
export function ifNameFault(name: string): { message: string; details?: string } | undefined {
  if (name === '') return { message: 'interface name is empty' }
  if (Buffer.byteLength(name) > 15) {
    return { message: 'interface name is too long', details: 'interface name should be less than 16 characters' }
  }
  if (name === '.' || name === '..') return { message: 'interface name is . or ..' }
  for (const char of name) {
    if (char === '/' || char === ':' || whiteSpace.includes(char)) {
      return { message: 'interface name contains / or : or whitespace characters' }
    }
  }
  return undefined
}

// --- internal

/** Go's unicode.IsSpace; JavaScript's \s differs (it has U+FEFF and lacks U+0085). */
const whiteSpace =
  '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000'

function checkContainerID(value: string): void {
  if (!isIdentifier(value)) invalid('invalid characters in containerID', value)
}

function checkIfName(value: string): void {
  const fault = ifNameFault(value)
  if (fault) invalid(fault.message, fault.details)
}

function invalid(message: string, details?: string): never {
  throw new CniError(codes.invalidEnvironment, message, { complete: true, ...(details ? { details } : {}) })
}

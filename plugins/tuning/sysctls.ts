import { statSync } from 'node:fs'
import type { Files } from '../../shared/exec/files.js'
import { errnoOf } from '../../shared/values/errno.js'
import { CniError, codes, invalidConfiguration, type Problem } from '../../shared/values/errors.js'
import { duplicateKeys } from './duplicates.js'

/** A setting under /proc/sys/net: `path` below /proc/sys, `key` as the configuration wrote it. */
export interface Setting {
  readonly key: string
  readonly path: string
  readonly value: string
}

/**
 * The settings of a configuration in its order; `stronger` ones replace those of the same path. Keys that are not
 * usable are left out: `sysctlProblems` names them before anything is done.
 */
export function settingsOf(
  weaker: Readonly<Record<string, string>>,
  stronger: Readonly<Record<string, string>>,
  ifName: string,
): readonly Setting[] {
  const settings = new Map<string, Setting>()
  for (const [key, value] of [...Object.entries(weaker), ...Object.entries(stronger)]) {
    const path = pathOf(key, ifName)
    if (typeof path === 'string') settings.set(path, { key, path, value: singleSpaced(value) })
  }
  return [...settings.values()]
}

/** What is wrong with the keys and values of one object at `where`. */
export function sysctlProblems(
  sysctl: Readonly<Record<string, string>>,
  where: string,
  ifName: string,
): readonly Problem[] {
  const problems: Problem[] = []
  const paths = new Set<string>()
  for (const [key, value] of Object.entries(sysctl)) {
    const path = pathOf(key, ifName)
    if (typeof path !== 'string') {
      problems.push({
        path: where,
        value: key,
        expected: path.expected,
        official: `invalid net sysctl key: ${JSON.stringify(key.replaceAll('.', '/'))}`,
      })
    } else if (paths.has(path)) problems.push({ path: where, value: key, expected: 'each setting only once' })
    else paths.add(path)
    if (!isPrintable(value)) {
      problems.push({ path: `${where}.${key}`, value, expected: 'a value of one line without quotes and backslashes' })
    }
  }
  return problems
}

/** JSON.parse keeps the last of several equal keys and says nothing: the text itself has to be looked at. */
export function duplicateProblems(stdin: string): readonly Problem[] {
  return duplicateKeys(stdin, 'sysctl').map((key) => ({
    path: 'sysctl',
    value: key,
    expected: 'each key only once',
    official: 'duplicated sysctl keys are not allowed',
  }))
}

/**
 * Refuses what the administrator's list does not allow: a file of regular expressions, one a line, unanchored, matched
 * against keys as they are written. Without the file everything is allowed.
 * @throws code 7, with the text of the official plugin
 */
export function requireAllowed(settings: readonly Setting[], files: Files): void {
  const lines = settings.length === 0 ? undefined : allowlist(files)
  if (lines === undefined) return
  const patterns = lines.map(patternOf)
  for (const { key } of settings) {
    if (patterns.some((pattern) => pattern.test(key))) continue
    const message = `Sysctl ${key} is not allowed. Only the following sysctls are allowed: [${lines.join(' ')}]`
    throw new CniError(codes.invalidConfiguration, message, { fix: `add a line for it to ${allowlistFile}` })
  }
}

/** False for a setting of a link that only the container will have, and of a protocol that this kernel lacks. */
export function isOfEveryHost(path: string): boolean {
  return statSync(`/proc/sys/${path.slice(0, path.lastIndexOf('/'))}`, { throwIfNoEntry: false }) !== undefined
}

/** A value as it is compared: the kernel prints tabs where people write spaces. */
export function singleSpaced(value: string): string {
  return value
    .split('\t')
    .join(' ')
    .split(' ')
    .filter((word) => word !== '')
    .join(' ')
    .trim()
}

/** Whether an ADD can have noted that value of the setting at a path below /proc/sys. */
export function isRestorable(path: string, value: unknown): boolean {
  return pathOf(path, '') === path && typeof value === 'string' && isPrintable(value)
}

// --- internal

const allowlistFile = '/etc/cni/tuning/allowlist.conf'

/**
 * The path of a key, or what it should be. As sysctl(8) reads it: the first separator decides whether "." or "/" stands
 * between parts, so that an interface with a dot in its name can be written. Never out of net/, whatever the key holds.
 */
function pathOf(key: string, ifName: string): string | { readonly expected: string } {
  const [dot, slash] = [key.indexOf('.'), key.indexOf('/')]
  const isSlashed = slash >= 0 && (dot < 0 || slash < dot)
  const parts = isSlashed ? key.split('/') : key.split('.').map((part) => part.replaceAll('/', '.'))
  const named = parts.indexOf('IFNAME')
  if (named >= 0) parts[named] = ifName
  const path = parts.join('/')
  if (parts[0] !== 'net' || parts.length < 2) return { expected: 'a key below "net.": only settings of the namespace' }
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('/')) || !isWord(path)) {
    return { expected: 'a key of plain parts, such as "net.ipv4.conf.IFNAME.arp_filter"' }
  }
  return path
}

function isWord(text: string): boolean {
  return isPrintable(text) && !text.includes(' ') && !text.includes('=')
}

function isPrintable(text: string): boolean {
  for (const char of text) {
    if ((char < ' ' && char !== '\t') || char === '\x7f' || char === '"' || char === "'" || char === '\\') return false
  }
  return true
}

function allowlist(files: Files): readonly string[] | undefined {
  try {
    return files
      .read(allowlistFile)
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw new CniError(codes.ioFailure, `cannot read ${allowlistFile}`, { details: (thrown as Error).message })
  }
}

/** Strict ("u"): what only Go's RE2 knows, such as (?i), is refused rather than read as something else. */
function patternOf(line: string): RegExp {
  try {
    return new RegExp(line, 'u')
  } catch (thrown) {
    const problem = { path: allowlistFile, value: line, expected: `a regular expression: ${(thrown as Error).message}` }
    throw invalidConfiguration([problem], 'the list of allowed sysctls cannot be read')
  }
}

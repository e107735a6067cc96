import type { Run } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { excerpt } from '../exec/stderr.js'
import type { IptablesTool, SavedRules } from '../plan/observer.js'
import { errnoOf } from '../values/errno.js'
import { CniError, codes } from '../values/errors.js'

/**
 * Reads a table; undefined where the tool is not installed, empty where the table is absent. @throws code 100 when the
 * tool fails
 */
export function readSavedRules(run: Run, tool: IptablesTool, table: string): SavedRules | undefined {
  const outcome = run({ argv: [`${tool}-save`, '-t', table] })
  if (outcome.failure === 'ENOENT') return undefined
  if (outcome.status !== 0) {
    throw new CniError(codes.operationFailed, `cannot read the ${table} table of ${tool}`, {
      details: `stderr: ${excerpt(outcome.stderr)}`,
    })
  }
  const lines = outcome.stdout.split('\n').filter((line) => line.startsWith('-A ') || line.startsWith(':'))
  return lines.map(words)
}

/** The kernel lists the tables of the older interface, per network namespace. */
export function hasLegacyTable(files: Files, family: 'ip' | 'ip6', table: string): boolean {
  try {
    return files.read(`/proc/net/${family}_tables_names`).split('\n').includes(table)
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return false
    throw thrown
  }
}

// --- internal

/** Splits a saved line at spaces, leaving quoted parts whole. */
function words(line: string): readonly string[] {
  const found: string[] = []
  let word = ''
  let inQuotes = false
  for (let at = 0; at < line.length; at++) {
    const char = line[at] as string
    if (char === '\\') word += char + (line[++at] ?? '')
    else if (char === ' ' && !inQuotes) {
      if (word !== '') found.push(word)
      word = ''
    } else {
      if (char === '"') inQuotes = !inQuotes
      word += char
    }
  }
  return word === '' ? found : [...found, word]
}

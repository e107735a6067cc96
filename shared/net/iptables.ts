import type { Run } from '../exec/command.js'
import { excerpt, reasonOf } from '../exec/stderr.js'
import type { Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import { CniError, codes } from '../values/errors.js'
import { nftFamily } from './nft.js'

/** The `-legacy` ones name the older of two kernel interfaces where the plain ones speak to the newer. */
export type IptablesTool = 'iptables' | 'ip6tables' | 'iptables-legacy' | 'ip6tables-legacy'

export const plainTools = { ip: 'iptables', ip6: 'ip6tables' } as const

export function iptablesTool(address: string): 'iptables' | 'ip6tables' {
  return plainTools[nftFamily(address)]
}

/** True where the older of two kernel interfaces has a table: the kernel lists them, per network namespace. */
export function usesLegacy({ files }: Pick<Host, 'files'>, family: 'ip' | 'ip6', table: string): boolean {
  try {
    return files.read(`/proc/net/${family}_tables_names`).split('\n').includes(table)
  } catch (thrown) {
    if (reasonOf((thrown as Error).message) === 'absent') return false
    throw thrown
  }
}

/** A table of the older interface, where that has it; where it is the only one, its tool has the plain name. */
export function legacyTable(
  host: Pick<Host, 'files' | 'run'>,
  family: 'ip' | 'ip6',
  table: string,
): SavedTable | undefined {
  if (!usesLegacy(host, family, table)) return undefined
  const plain = plainTools[family]
  const legacy = `${plain}-legacy` as const
  const saved = readRules(host.run, legacy, table)
  return saved ? { tool: legacy, saved } : { tool: plain, saved: savedRules(host.run, plain, table) }
}

/** A change of one table, as iptables' own words; neighbours of one table become one iptables-restore transaction. */
export function iptables(tool: IptablesTool, table: string, words: readonly string[], why: string): Operation {
  return { tool, argv: ['-t', table, ...words], why }
}

/** The rules of a table as iptables-save writes them, each split into tokens (quoted comments are one token). */
export type SavedRules = readonly (readonly string[])[]

/** A table's rules, and the tool that read them. */
export interface SavedTable {
  readonly tool: IptablesTool
  readonly saved: SavedRules
}

/** Reads a table; empty where the tool or the table is absent. */
export function savedRules(run: Run, tool: IptablesTool, table: string): SavedRules {
  return readRules(run, tool, table) ?? []
}

/** Reads a table; undefined where the tool is not installed, empty where the table is absent. */
export function readRules(run: Run, tool: IptablesTool, table: string): SavedRules | undefined {
  const outcome = run({ argv: [`${tool}-save`, '-t', table] })
  if (outcome.failure === 'ENOENT') return undefined
  if (outcome.status !== 0) {
    throw new CniError(codes.operationFailed, `cannot read the ${table} table of ${tool}`, {
      details: `stderr: ${excerpt(outcome.stderr)}`,
    })
  }
  const lines = outcome.stdout.split('\n').filter((line) => line.startsWith('-A ') || line.startsWith(':'))
  return lines.map(tokens)
}

export function hasChain(saved: SavedRules, chain: string): boolean {
  return saved.some(([first]) => first === `:${chain}`)
}

export function hasRule(saved: SavedRules, rule: readonly string[]): boolean {
  const text = rule.join(' ')
  return saved.some((one) => one[0] === '-A' && one.slice(1).join(' ') === text)
}

/**
 * Removes a chain with the rules that jump to it, whoever made them: all of them, or those that are `ours`; then the chain stays as
 * long as another jumps to it. Nothing to do where it is not there.
 */
export function removeChain(
  saved: SavedRules,
  { tool, table, chain }: { tool: IptablesTool; table: string; chain: string },
  ours: (rule: readonly string[]) => boolean = () => true,
): readonly Operation[] {
  if (!hasChain(saved, chain)) return []
  const jumps = saved.filter((rule) => rule[0] === '-A' && rule[rule.indexOf('-j') + 1] === chain)
  const going = jumps.filter(ours)
  const rest =
    going.length < jumps.length
      ? []
      : [
          ['-F', chain],
          ['-X', chain],
        ]
  return [...going.map(([, ...rule]) => ['-D', ...rule]), ...rest].map((words) => ({
    ...iptables(tool, table, words, `remove the chain ${chain}`),
    tolerate: ['absent'],
  }))
}

// --- internal

/** Splits a saved line at spaces, leaving quoted parts whole. */
function tokens(line: string): readonly string[] {
  const found: string[] = []
  let token = ''
  let inQuotes = false
  for (let at = 0; at < line.length; at++) {
    const char = line[at] as string
    if (char === '\\') token += char + (line[++at] ?? '')
    else if (char === ' ' && !inQuotes) {
      if (token !== '') found.push(token)
      token = ''
    } else {
      if (char === '"') inQuotes = !inQuotes
      token += char
    }
  }
  return token === '' ? found : [...found, token]
}

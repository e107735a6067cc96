import type { IptablesTool, Observer, SavedRules } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import { codes } from '../values/errors.js'
import { nftFamily } from './nft.js'

export const plainTools = { ip: 'iptables', ip6: 'ip6tables' } as const

/** Those of the older interface, too. */
export const iptablesTools: readonly IptablesTool[] = [
  ...Object.values(plainTools),
  ...Object.values(plainTools).map((tool) => `${tool}-legacy` as const),
]

export function iptablesTool(address: string): 'iptables' | 'ip6tables' {
  return plainTools[nftFamily(address)]
}

/** A table of the older interface, where that has it; where it is the only one, its tool has the plain name. */
export function legacyTable(observer: Observer, family: 'ip' | 'ip6', table: string): SavedTable | undefined {
  if (!observer.hasLegacyTable(family, table)) return undefined
  const plain = plainTools[family]
  const legacy = `${plain}-legacy` as const
  const saved = observer.savedRules(legacy, table)
  return saved ? { tool: legacy, saved } : { tool: plain, saved: savedRules(observer, plain, table) }
}

/** A change of one table, as iptables' own words; neighbours of one table become one iptables-restore transaction. */
export function iptables(tool: IptablesTool, table: string, words: readonly string[], why: string): Operation {
  return { tool, argv: ['-t', table, ...words], why }
}

/** Makes a chain that others make, too, such as the official plugins, without a lock of ours: see missing.ts. */
export function newChain(tool: IptablesTool, table: string, chain: string, why: string): Operation {
  const fix = 'another program makes the same chains again and again: see which, and repeat the call'
  return { ...iptables(tool, table, ['-N', chain], why), meaning: { exists: { code: codes.nameTaken, fix } } }
}

/** A table's rules, and the tool that read them. */
export interface SavedTable {
  readonly tool: IptablesTool
  readonly saved: SavedRules
}

/** A table's rules; none where the tool or the table is absent. */
export function savedRules(observer: Observer, tool: IptablesTool, table: string): SavedRules {
  return observer.savedRules(tool, table) ?? []
}

/** A table's rules as each of several tools has them. */
export type SavedTables = ReadonlyMap<IptablesTool, SavedRules>

/** Each tool is asked once. */
export function savedTables(observer: Observer, tools: readonly IptablesTool[], table: string): SavedTables {
  return new Map([...new Set(tools)].map((tool) => [tool, savedRules(observer, tool, table)]))
}

export function hasChain(saved: SavedRules, chain: string): boolean {
  return saved.some(([first]) => first === `:${chain}`)
}

export function hasRule(saved: SavedRules, rule: readonly string[]): boolean {
  const text = rule.join(' ')
  return saved.some((one) => one[0] === '-A' && one.slice(1).join(' ') === text)
}

/**
 * Removes a chain with the rules that jump to it, whoever made them: all of them, or those that are `ours`; then the
 * chain stays as long as another jumps to it. Nothing to do where it is not there.
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

import {
  hasChain,
  hasRule,
  iptables,
  legacyTable,
  plainTools,
  type SavedTable,
  savedRules,
} from '../../shared/net/iptables.js'
import { nft } from '../../shared/net/nft.js'
import { ownTable } from '../../shared/plan/element.js'
import type { IptablesTool, ListedChain, Observer, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Problem } from '../../shared/values/errors.js'
import { quoted } from '../../shared/values/token.js'
import { missingSkeleton } from './rules.js'

/**
 * The bit of a packet's mark that says "admitted" while the packet is in the forward hook. A verdict of our chain is
 * not the last word: every other base chain of the hook is asked too, and none of them can look into our sets. So our
 * first chain sets the bit, one rule in each chain that could drop accepts it, and our last chain clears it again.
 */
export const admittedMark = { bit: '0x20000000', others: '0xdfffffff' }

/** A foreign chain of the forward hook, as it was seen: FORWARD of iptables, or a chain of nftables. */
export type ForwardChain = { readonly table: SavedTable } | { readonly chain: ListedChain; readonly hasRule: boolean }

/** The chains that an ADD has to get past yet. `chains` are all of nftables. */
export function lookAtForward(
  observer: Observer,
  chains: readonly ListedChain[],
  families: readonly Family[],
  adminChain: string,
): readonly ForwardChain[] {
  const read = families.filter((family) => !isSettled(chains, family, adminChain))
  return forwardChains(observer, chains, { families, read }).filter((one) => acceptance([one], adminChain).length > 0)
}

/**
 * Puts that one rule where it takes effect: into FORWARD of iptables, in whichever of its two kernel interfaces it has
 * rules, and into every nftables chain whose policy is drop. It is shared, and stays. Nothing where it is.
 */
export function acceptance(chains: readonly ForwardChain[], adminChain: string): readonly Operation[] {
  return chains.flatMap((one) => {
    if (!('table' in one)) return one.hasRule ? [] : [insertRule(one.chain)]
    const { saved, tool } = one.table
    return [...missingSkeleton(saved, tool, adminChain), ...accept(saved, tool)]
  })
}

/** The families in which nobody uses FORWARD of iptables yet. */
export function unusedForward(
  observer: Observer,
  chains: readonly ListedChain[],
  families: readonly Family[],
): readonly Family[] {
  return families.filter((family) => !forwardOf(chains, family) && !observer.hasLegacyTable(family, 'filter'))
}

/** FORWARD of iptables, as its tool has it; nothing where iptables is not installed. @throws where it cannot be read */
export function lookAtUnused(observer: Observer, family: Family): readonly ForwardChain[] {
  return iptablesForward(tableOf(observer, family))
}

/** What CHECK finds: chains that drop what the container sends. */
export function forwardDifferences(
  observer: Observer,
  families: readonly Family[],
  adminChain: string,
): readonly Problem[] {
  return forwardChains(observer, observer.chains(), { families, read: families })
    .filter((chain) => acceptance([chain], adminChain).length > 0)
    .map((chain) => ({
      path: nameOf(chain),
      value: 'no rule of ours',
      expected: 'a rule that accepts what the containers were admitted for',
      fix: 'DEL and ADD the attachment: something flushed its rules',
    }))
}

export type Family = 'ip' | 'ip6'

// --- internal

const why = 'let the containers through'
const ownChain = 'PODWIRE-ADMITTED'
const ruleComment = 'podwire: admitted by the firewall plugin'

/** `read`: the families whose FORWARD of iptables is read, which takes a process. */
function forwardChains(
  observer: Observer,
  chains: readonly ListedChain[],
  { families, read }: { families: readonly Family[]; read: readonly Family[] },
): readonly ForwardChain[] {
  const dropping = chains.filter(
    ({ hook, table, policy }) => hook === 'forward' && table !== ownTable && policy === 'drop',
  )
  const found: ForwardChain[] = []
  for (const family of families) {
    const legacy = legacyTable(observer, family, 'filter')
    if (legacy) found.push(...iptablesForward(legacy))
    const own = forwardOf(chains, family)
    const byIptables = own && read.includes(family) ? iptablesForward(tableOf(observer, family)) : []
    const plain = dropping.filter((one) => one.family === family && (one !== own || byIptables.length === 0))
    found.push(...byIptables, ...plain.map((one) => nftForward(observer, one)))
  }
  return [...found, ...dropping.filter(({ family }) => family === 'inet').map((one) => nftForward(observer, one))]
}

/** FORWARD of iptables as nf_tables has it. */
function forwardOf(chains: readonly ListedChain[], family: Family): ListedChain | undefined {
  return chains.find((one) => one.family === family && one.table === 'filter' && one.name === 'FORWARD')
}

/** True where FORWARD drops nothing by its policy, and the chains are there that an ADD of ours makes. */
function isSettled(chains: readonly ListedChain[], family: Family, adminChain: string): boolean {
  const isThere = (name: string) =>
    chains.some((one) => one.family === family && one.table === 'filter' && one.name === name)
  return forwardOf(chains, family)?.policy !== 'drop' && isThere(ownChain) && isThere(adminChain)
}

function tableOf(observer: Observer, family: Family): SavedTable {
  const tool = plainTools[family]
  return { tool, saved: savedRules(observer, tool, 'filter') }
}

/** Nothing where iptables is not installed or cannot read the chain: then it is a plain nftables chain for us. */
function iptablesForward(table: SavedTable): readonly ForwardChain[] {
  return hasChain(table.saved, 'FORWARD') ? [{ table }] : []
}

function nftForward(observer: Observer, chain: ListedChain): ForwardChain {
  const rules = observer.rules({ family: chain.family, table: chain.table, chain: chain.name })
  return { chain, hasRule: rules.some(({ comment }) => comment === ruleComment) }
}

function nameOf(chain: ForwardChain): string {
  if ('table' in chain) return `${chain.table.tool} FORWARD`
  const { family, table, name } = chain.chain
  return `${family} ${table} ${name}`
}

/**
 * The rule, in a chain of its own, whose name tells the next ADD that it is there: the others may be the official
 * plugin's.
 */
function accept(saved: SavedRules, tool: IptablesTool): readonly Operation[] {
  const marked = ['-m', 'mark', '--mark', `${admittedMark.bit}/${admittedMark.bit}`]
  const comment = ['-m', 'comment', '--comment', quoted(ruleComment)]
  const rules = [
    [ownChain, ...marked, ...comment, '-j', 'ACCEPT'],
    ['CNI-FORWARD', ...comment, '-j', ownChain],
  ]
  return [
    ...(hasChain(saved, ownChain) ? [] : [iptables(tool, 'filter', ['-N', ownChain], why)]),
    ...rules.filter((rule) => !hasRule(saved, rule)).map((rule) => iptables(tool, 'filter', ['-A', ...rule], why)),
  ]
}

function insertRule({ family, table, name }: ListedChain): Operation {
  const { bit } = admittedMark
  const rule = ['meta', 'mark', 'and', bit, '==', bit, 'accept', 'comment', quoted(ruleComment)]
  return nft(['insert', 'rule', family, table, name, ...rule], why)
}

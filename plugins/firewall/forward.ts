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
import type { Host } from '../../shared/plan/host.js'
import type { IptablesTool, ListedChain, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { CniError, type Problem } from '../../shared/values/errors.js'
import { quoted } from '../../shared/values/token.js'
import { exclusively } from './holders.js'
import { missingSkeleton } from './rules.js'

/**
 * The bit of a packet's mark that says "admitted" while the packet is in the forward hook. A verdict of our chain is
 * not the last word: every other base chain of the hook is asked too, and none of them can look into our sets. So our
 * first chain sets the bit, one rule in each chain that could drop accepts it, and our last chain clears it again.
 */
export const admittedMark = { bit: '0x20000000', others: '0xdfffffff' }

/**
 * Puts that one rule where it takes effect: into FORWARD of iptables, in whichever of its two kernel interfaces it has
 * rules, and into every nftables chain whose policy is drop. It is shared, and stays. `chains` are all there are.
 */
export function acceptInForward(
  host: Host,
  chains: readonly ListedChain[],
  families: readonly Family[],
  adminChain: string,
): void {
  const look = (seen: readonly ListedChain[]) => {
    const unsettled = families.filter((family) => !isSettled(seen, family, adminChain))
    return forwardChains(host, seen, { families, read: unsettled })
  }
  if (acceptance(look(chains), adminChain).length > 0) {
    // Another may have done it until the lock is ours.
    exclusively(host, () => host.apply(acceptance(look(host.observer.chains()), adminChain)))
  }
  for (const family of families) if (!forwardOf(chains, family)) prepareForward(host, family, adminChain)
}

/** What CHECK finds: chains that drop what the container sends. */
export function forwardDifferences(host: Host, families: readonly Family[], adminChain: string): readonly Problem[] {
  return forwardChains(host, host.observer.chains(), { families, read: families })
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

/** A foreign chain of the forward hook, as it was seen: FORWARD of iptables, or a chain of nftables. */
type ForwardChain = { readonly iptables: SavedTable } | { readonly chain: ListedChain; readonly hasRule: boolean }

const why = 'let the containers through'
const ownChain = 'PODWIRE-ADMITTED'
const ruleComment = 'podwire: admitted by the firewall plugin'

/** `read`: the families whose FORWARD of iptables is read, which takes a process. */
function forwardChains(
  host: Host,
  chains: readonly ListedChain[],
  { families, read }: { families: readonly Family[]; read: readonly Family[] },
): readonly ForwardChain[] {
  const dropping = chains.filter(
    ({ hook, table, policy }) => hook === 'forward' && table !== ownTable && policy === 'drop',
  )
  const found: ForwardChain[] = []
  for (const family of families) {
    const legacy = legacyTable(host.observer, family, 'filter')
    if (legacy) found.push(...iptablesForward(legacy))
    const own = forwardOf(chains, family)
    const byIptables = own && read.includes(family) ? iptablesForward(tableOf(host, family)) : []
    const plain = dropping.filter((one) => one.family === family && (one !== own || byIptables.length === 0))
    found.push(...byIptables, ...plain.map((one) => nftForward(host, one)))
  }
  return [...found, ...dropping.filter(({ family }) => family === 'inet').map((one) => nftForward(host, one))]
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

/**
 * Makes FORWARD of iptables with our rule before anybody uses it: who begins to (Docker, when it starts) sets its
 * policy to DROP, and containers that are there by then must keep their traffic. Where iptables cannot do it, nobody
 * sets that policy with it.
 */
function prepareForward(host: Host, family: Family, adminChain: string): void {
  if (host.observer.hasLegacyTable(family, 'filter')) return
  try {
    const look = () => iptablesForward(tableOf(host, family))
    if (acceptance(look(), adminChain).length > 0) exclusively(host, () => host.apply(acceptance(look(), adminChain)))
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    host.warn(`firewall: should the policy of ${plainTools[family]} FORWARD turn to DROP, ADD again: ${thrown.message}`)
  }
}

function tableOf({ observer }: Host, family: Family): SavedTable {
  const tool = plainTools[family]
  return { tool, saved: savedRules(observer, tool, 'filter') }
}

/** Nothing where iptables is not installed or cannot read the chain: then it is a plain nftables chain for us. */
function iptablesForward(table: SavedTable): readonly ForwardChain[] {
  return hasChain(table.saved, 'FORWARD') ? [{ iptables: table }] : []
}

function nftForward({ observer }: Host, chain: ListedChain): ForwardChain {
  const rules = observer.rules({ family: chain.family, table: chain.table, chain: chain.name })
  return { chain, hasRule: rules.some(({ comment }) => comment === ruleComment) }
}

function nameOf(chain: ForwardChain): string {
  if ('iptables' in chain) return `${chain.iptables.tool} FORWARD`
  const { family, table, name } = chain.chain
  return `${family} ${table} ${name}`
}

/** What has to be done to get past chains: nothing where they have our rule. */
function acceptance(chains: readonly ForwardChain[], adminChain: string): readonly Operation[] {
  return chains.flatMap((one) => {
    if (!('iptables' in one)) return one.hasRule ? [] : [insertRule(one.chain)]
    const { saved, tool } = one.iptables
    return [...missingSkeleton(saved, tool, adminChain), ...accept(saved, tool)]
  })
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

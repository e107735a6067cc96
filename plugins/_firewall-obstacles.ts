import { reasonOf } from '../shared/exec/stderr.js'
import { hasChain, hasRule, type IptablesTool, iptables, readRules, type SavedRules } from '../shared/net/iptables.js'
import { askNft, nft, ownTable } from '../shared/net/nft.js'
import type { Host } from '../shared/plan/host.js'
import { type Operation, quoted } from '../shared/plan/operation.js'
import type { Problem } from '../shared/protocol/errors.js'
import { exclusively } from './_firewall-holders.js'
import { missingSkeleton } from './_firewall-rules.js'

/**
 * The bit of a packet's mark that says "admitted" while the packet is in the forward hook. A verdict of our chain is not the last word:
 * every other base chain of the hook is asked too, and none of them can look into our sets. So our first chain sets the
 * bit, one rule in each chain that could drop accepts it, and our last chain clears it again.
 */
export const admittedMark = { bit: '0x20000000', others: '0xdfffffff' }

/**
 * Puts that one rule where it takes effect: into FORWARD of iptables, in whichever of its two kernel interfaces it has
 * rules, and into every nftables chain whose policy is drop. It is shared, and stays.
 */
export function passObstacles(host: Host, families: readonly Family[], adminChain: string): void {
  const look = () => obstacles(host, families, adminChain).flatMap(({ operations }) => operations)
  if (look().length === 0) return
  exclusively(host, () => host.apply(look()))
}

/** What CHECK finds: chains that drop what the container sends. */
export function obstacleDifferences(host: Host, families: readonly Family[], adminChain: string): readonly Problem[] {
  return obstacles(host, families, adminChain)
    .filter(({ operations }) => operations.length > 0)
    .map(({ chain }) => ({
      path: chain,
      value: 'no rule of ours',
      expected: 'a rule that accepts what the containers were admitted for',
      fix: 'DEL and ADD the attachment: something flushed its rules',
    }))
}

export type Family = 'ip' | 'ip6'

// --- internal

/** A foreign chain of the forward hook, and what has to be done to get past it: nothing when it has our rule. */
interface Obstacle {
  readonly chain: string
  readonly operations: readonly Operation[]
}

interface BaseChain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly policy?: string
}

const why = 'let the containers through'
const ruleComment = 'podwire: admitted by the firewall plugin'

const tools: Record<Family, 'iptables' | 'ip6tables'> = { ip: 'iptables', ip6: 'ip6tables' }

function obstacles(host: Host, families: readonly Family[], adminChain: string): readonly Obstacle[] {
  const chains = forwardChains(host)
  const found: Obstacle[] = []
  for (const family of families) {
    if (usesLegacy(host, family)) found.push(...iptablesObstacle(host, legacyTool(host, family), adminChain))
    const own = chains.find((one) => one.family === family && one.table === 'filter' && one.name === 'FORWARD')
    const byIptables = own ? iptablesObstacle(host, tools[family], adminChain) : []
    found.push(...byIptables)
    const dropping = chains.filter((one) => one.family === family && one.policy === 'drop')
    found.push(...dropping.filter((one) => one !== own || byIptables.length === 0).map((one) => nftObstacle(host, one)))
  }
  const both = chains.filter((one) => one.family === 'inet' && one.policy === 'drop')
  return [...found, ...both.map((one) => nftObstacle(host, one))]
}

function forwardChains({ run }: Host): readonly BaseChain[] {
  return askNft(run, ['list', 'chains'])
    .map((one) => one['chain'] as BaseChain | undefined)
    .filter((one) => one !== undefined && one.hook === 'forward' && one.table !== ownTable) as readonly BaseChain[]
}

/** The kernel lists the tables of iptables-legacy here, per network namespace; no file where it has none. */
function usesLegacy({ files }: Host, family: Family): boolean {
  try {
    return files.read(`/proc/net/${family}_tables_names`).split('\n').includes('filter')
  } catch (thrown) {
    if (reasonOf((thrown as Error).message) === 'absent') return false
    throw thrown
  }
}

/** Where the older interface is the only one, its tool has the plain name. */
function legacyTool({ run }: Host, family: Family): IptablesTool {
  const legacy = `${tools[family]}-legacy` as const
  return readRules(run, legacy, 'filter') ? legacy : tools[family]
}

/** Nothing where iptables is not installed or cannot read the chain: then it is a plain nftables chain for us. */
function iptablesObstacle({ run }: Host, tool: IptablesTool, adminChain: string): readonly Obstacle[] {
  const saved = readRules(run, tool, 'filter') ?? []
  if (!hasChain(saved, 'FORWARD')) return []
  return [
    { chain: `${tool} FORWARD`, operations: [...missingSkeleton(saved, tool, adminChain), ...accept(saved, tool)] },
  ]
}

function accept(saved: SavedRules, tool: IptablesTool): readonly Operation[] {
  const marked = ['-m', 'mark', '--mark', `${admittedMark.bit}/${admittedMark.bit}`]
  const rule = ['CNI-FORWARD', ...marked, '-m', 'comment', '--comment', quoted(ruleComment), '-j', 'ACCEPT']
  return hasRule(saved, rule) ? [] : [iptables(tool, 'filter', ['-A', ...rule], why)]
}

function nftObstacle({ run }: Host, { family, table, name }: BaseChain): Obstacle {
  const rules = askNft(run, ['list', 'chain', family, table, name])
  const isThere = rules.some((one) => (one['rule'] as { comment?: string } | undefined)?.comment === ruleComment)
  const { bit } = admittedMark
  const rule = ['meta', 'mark', 'and', bit, '==', bit, 'accept', 'comment', quoted(ruleComment)]
  const insert = nft(['insert', 'rule', family, table, name, ...rule], why)
  return { chain: `${family} ${table} ${name}`, operations: isThere ? [] : [insert] }
}

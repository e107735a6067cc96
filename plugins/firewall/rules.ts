import { hasChain, hasRule, iptables, newChain } from '../../shared/net/iptables.js'
import type { IptablesTool, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { quoted } from '../../shared/values/token.js'

// The rules of the official plugin, word for word as iptables-save writes them: its CHECK and DEL, and the tools that
// grep for them, find ours.

/** What of the chains and jumps that all containers share is not there yet. */
export function missingSkeleton(saved: SavedRules, tool: IptablesTool, adminChain: string): readonly Operation[] {
  return [
    ...missingChains(saved, tool, ['CNI-FORWARD', adminChain]),
    ...missingFirst(saved, tool, ['FORWARD', ...comment('CNI firewall plugin rules'), '-j', 'CNI-FORWARD']),
    ...missingFirst(saved, tool, ['CNI-FORWARD', ...comment('CNI firewall plugin admin overrides'), '-j', adminChain]),
  ]
}

/** The two rules of an address (without prefix length): replies to it, and everything from it. */
export function addressRules(address: string): readonly (readonly string[])[] {
  const host = `${address}/${address.includes(':') ? 128 : 32}`
  return [
    ['CNI-FORWARD', '-d', host, '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT'],
    ['CNI-FORWARD', '-s', host, '-j', 'ACCEPT'],
  ]
}

/** The addresses that such rules admit, in canonical text and without prefix lengths. */
export function admittedBy(saved: SavedRules): readonly string[] {
  return saved.flatMap(([verb, chain, option, host = '', ...target]) => {
    const isAdmission = verb === '-A' && chain === 'CNI-FORWARD' && option === '-s' && target.join(' ') === '-j ACCEPT'
    return isAdmission ? [host.slice(0, host.indexOf('/'))] : []
  })
}

/** The rules of `addressRules` that are not there; taken away again when the ADD fails. */
export function missingAddressRules(saved: SavedRules, tool: IptablesTool, address: string): readonly Operation[] {
  return addressRules(address)
    .filter((rule) => !hasRule(saved, rule))
    .map((rule) => ({
      ...iptables(tool, 'filter', ['-A', ...rule], `admit ${address}`),
      undo: [removeRule(tool, rule)],
    }))
}

export type IngressPolicy = 'same-bridge' | 'isolated'

/** The jumps and ends that the ingress policies of all bridges share. */
export function missingStages(saved: SavedRules, tool: IptablesTool): readonly Operation[] {
  const jump = ['FORWARD', ...policyComment('same-bridge|isolated'), '-j', stages[0]]
  return [
    ...missingChains(saved, tool, stages),
    ...missingFirst(saved, tool, jump),
    ...stages.flatMap((stage) =>
      missing(saved, tool, '-A', [stage, ...policyComment('same-bridge|isolated'), '-j', 'RETURN']),
    ),
  ]
}

/** The rules of one bridge under a policy: what leaves it for another bridge and, isolated, for itself. */
export function policyRules(bridge: string, policy: IngressPolicy): readonly (readonly string[])[] {
  const out = [stages[0], '-i', bridge, '!', '-o', bridge, ...policyComment(policy), '-j', stages[1]]
  const within = [stages[0], '-i', bridge, '-o', bridge, ...policyComment(policy), '-j', 'DROP']
  return policy === 'isolated' ? [out, within] : [out]
}

/** What drops the packets that come from another such bridge; shared by both policies. */
export function entryRule(bridge: string): readonly string[] {
  return [stages[1], '-o', bridge, ...policyComment('same-bridge|isolated'), '-j', 'DROP']
}

/** The same as versions before 1.7 of the official plugin have it. */
export function oldEntryRule(bridge: string): readonly string[] {
  return [stages[1], '-o', bridge, ...policyComment('same-bridge'), '-j', 'DROP']
}

/** Rules as they are, but what all bridges share in today's words: before 1.7 the official plugin knew one policy. */
export function inNewWords(saved: SavedRules): SavedRules {
  const [old = '', now = ''] = ['same-bridge', 'same-bridge|isolated'].map((one) => policyComment(one).at(-1))
  const isShared = ([verb, chain = '', option]: readonly string[]) =>
    verb === '-A' && ['FORWARD', ...stages].includes(chain) && option !== '-i'
  return saved.map((rule) => (isShared(rule) ? rule.map((word) => (word === old ? now : word)) : rule))
}

/** Inserts as first what is not there. */
export function missingFirst(saved: SavedRules, tool: IptablesTool, rule: readonly string[]): readonly Operation[] {
  return missing(saved, tool, '-I', rule)
}

export function removeRule(tool: IptablesTool, rule: readonly string[]): Operation {
  return { ...iptables(tool, 'filter', ['-D', ...rule], `remove a rule of ${rule[0]}`), tolerate: ['absent'] }
}

/** The chains that hold what is one container's or bridge's. */
export const chains = {
  forward: 'CNI-FORWARD',
  stages: ['CNI-ISOLATION-STAGE-1', 'CNI-ISOLATION-STAGE-2'],
} as const

// --- internal

const { stages } = chains

function comment(text: string): readonly string[] {
  return ['-m', 'comment', '--comment', quoted(text)]
}

function policyComment(policies: string): readonly string[] {
  return comment(`CNI firewall plugin rules (ingressPolicy: ${policies})`)
}

function missingChains(saved: SavedRules, tool: IptablesTool, chains: readonly string[]): readonly Operation[] {
  return chains
    .filter((chain) => !hasChain(saved, chain))
    .map((chain) => newChain(tool, 'filter', chain, `make the chain ${chain}`))
}

function missing(
  saved: SavedRules,
  tool: IptablesTool,
  verb: '-A' | '-I',
  rule: readonly string[],
): readonly Operation[] {
  return hasRule(saved, rule) ? [] : [iptables(tool, 'filter', [verb, ...rule], `add a rule to ${rule[0]}`)]
}

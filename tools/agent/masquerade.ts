import { nft } from '../../shared/net/nft.js'
import type { Operation } from '../../shared/plan/operation.js'
import { mergedSpans, spanText } from './ranges.js'

// What leaves the cluster bears the address of the node. All of it is one table in either family, made anew as a whole
// in one transaction: packets meet the old one or the new one.

export const masqueradeTable = 'podwire-agent'
/** The names of its sets. */
export const setsOfMasquerade = ['pods', 'inside'] as const

export interface Masqueraded {
  /** The ranges of this node's pods, also those that it had before. */
  readonly pods: readonly string[]
  /** What is not masqueraded: pods and nodes of the cluster, and what the configuration excepts. */
  readonly inside: readonly string[]
}

/** The whole table of a family; just its removal where this node has no pods of that family. */
export function planMasquerade(family: 'ip' | 'ip6', { pods, inside }: Masqueraded): readonly Operation[] {
  const number = family === 'ip' ? 4 : 6
  const spans = { pods: mergedSpans(pods, number), inside: mergedSpans([...inside, ...nowhere[family]], number) }
  if (spans.pods.length === 0) return withoutMasquerade(family)
  const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  const hook = ['type', 'nat', 'hook', 'postrouting', 'priority', '110', ';', 'policy', 'accept', ';']
  return [
    ...withoutMasquerade(family),
    own('table', family, []),
    ...setsOfMasquerade.flatMap((set) => [
      own('set', family, [set, '{', 'type', type, ';', 'flags', 'interval', ';', '}']),
      own('element', family, [set, '{', ...spans[set].flatMap((span) => [',', spanText(span)]).slice(1), '}']),
    ]),
    own('chain', family, ['postrouting', '{', ...hook, '}']),
    own('rule', family, ['postrouting', family, 'saddr', '!=', '@pods', 'return']),
    own('rule', family, ['postrouting', family, 'daddr', '@inside', 'return']),
    own('rule', family, ['postrouting', 'masquerade', 'fully-random']),
  ]
}

/** What excepts more of the cluster in a table that stands, each thing on its own: it may be excepted already. */
export function planExcepted(family: 'ip' | 'ip6', ranges: readonly string[]): readonly Operation[] {
  return mergedSpans(ranges, family === 'ip' ? 4 : 6).map((span) =>
    own('element', family, ['inside', '{', spanText(span), '}']),
  )
}

/** What takes the table of a family away, whether it is there or not. */
export function withoutMasquerade(family: 'ip' | 'ip6'): readonly Operation[] {
  const why = 'renew the rules that masquerade'
  return [own('table', family, []), nft(['delete', 'table', family, masqueradeTable], why)]
}

// --- internal

/** Destinations that no router takes on. */
const nowhere = { ip: ['224.0.0.0/4', '169.254.0.0/16', '255.255.255.255/32'], ip6: ['ff00::/8', 'fe80::/10'] } as const

function own(
  kind: 'table' | 'set' | 'element' | 'chain' | 'rule',
  family: string,
  words: readonly string[],
): Operation {
  return nft(['add', kind, family, masqueradeTable, ...words], 'masquerade what leaves the cluster')
}

import type { Run } from '../exec/command.js'
import { type NftFamily, ownTable } from '../plan/element.js'
import type { ListedElement, ListedRule } from '../plan/observer.js'
import { askNft } from './nft.js'

// What `nft -j list` tells of tables, rules and elements, as libnftables-json(5) has it.

export function listRules(
  run: Run,
  { family, table, chain }: { family: string; table: string; chain?: string },
): readonly ListedRule[] {
  const words = chain === undefined ? ['table', family, table] : ['chain', family, table, chain]
  return askNft(run, ['list', ...words]).flatMap((one) => ruleOf(one['rule'] as Rule | undefined))
}

export function listElements(
  run: Run,
  family: NftFamily,
  of?: { kind: 'map' | 'set'; name: string },
): readonly ListedElement[] {
  const words = of ? [of.kind, family, ownTable, of.name] : ['table', family, ownTable]
  return askNft(run, ['list', ...words]).flatMap((one) => {
    const { name = '', elem = [] } = (one['map'] ?? one['set'] ?? {}) as { name?: string; elem?: readonly unknown[] }
    return elem.map((listed) => ({ collection: name, ...elementOf('map' in one ? (listed as [unknown])[0] : listed) }))
  })
}

// --- internal

interface Rule {
  readonly chain: string
  readonly handle: number
  readonly comment?: string
  readonly expr?: readonly Expression[]
}

interface Expression {
  readonly dnat?: { readonly addr?: unknown; readonly port?: unknown }
  readonly jump?: { readonly target: string }
  readonly match?: { readonly left?: { readonly payload?: Payload }; readonly right?: unknown }
}

interface Payload {
  readonly protocol?: string
  readonly field?: string
}

function ruleOf(rule: Rule | undefined): readonly ListedRule[] {
  if (!rule) return []
  const { chain, handle, comment, expr = [] } = rule
  const matches = expr.flatMap(({ match }) => (match ? [{ ...match.left?.payload, value: String(match.right) }] : []))
  const { addr: target, port } = expr.find(({ dnat }) => dnat)?.dnat ?? {}
  const jump = expr.find((one) => one.jump)?.jump?.target
  return [
    {
      chain,
      handle,
      matches,
      ...(comment === undefined ? {} : { comment }),
      ...(target === undefined ? {} : { target: String(target) }),
      ...(typeof port === 'number' ? { targetPort: port } : {}),
      ...(jump === undefined ? {} : { jump }),
    },
  ]
}

/** An element without a comment stands there by its key alone. */
function elementOf(listed: unknown): Omit<ListedElement, 'collection'> {
  const elem = (listed as { elem?: { val: unknown; comment?: string } } | null)?.elem
  if (!elem) return { key: keyOf(listed) }
  return { key: keyOf(elem.val), ...(elem.comment === undefined ? {} : { comment: elem.comment }) }
}

function keyOf(value: unknown): readonly string[] {
  const parts = typeof value === 'object' ? (value as { concat?: readonly unknown[] } | null)?.concat : undefined
  return (parts ?? [value]).map(partOf)
}

function partOf(part: unknown): string {
  const range = (part as { range?: readonly [unknown, unknown] } | null)?.range
  return range ? range.join('-') : String(part)
}

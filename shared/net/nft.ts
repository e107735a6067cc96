import { type Element, type NftFamily, ownTable } from '../plan/element.js'
import type { Operation } from '../plan/operation.js'
import { codes } from '../values/errors.js'
import { quoted } from '../values/token.js'

export function nftFamily(address: string): 'ip' | 'ip6' {
  return address.includes(':') ? 'ip6' : 'ip'
}

/** An nft command, given as its words. */
export function nft(argv: readonly string[], why: string): Operation {
  return {
    tool: 'nft',
    argv,
    why,
    meaning: {
      unsupported: { code: codes.featureMissing, fix: 'use a kernel with nf_tables, or set the backend to "iptables"' },
    },
  }
}

/** One that may be made together with what later plugins of a chain make. */
export function waiting(operation: Operation): Operation {
  return operation.tool === 'nft' ? { ...operation, waits: true } : operation
}

/** Declares a table, chain, map or set of ours; declaring what is there changes nothing. */
export function declare(
  family: NftFamily,
  kind: 'table' | 'chain' | 'map' | 'set',
  words: readonly string[],
): Operation {
  return nft(['add', kind, family, ownTable, ...words], `declare the nftables ${kind} ${words[0] ?? ownTable}`)
}

/** A chain with exactly these rules, emptied and filled in one transaction. */
export function declareChain(
  family: NftFamily,
  chain: string,
  rules: readonly (readonly string[])[],
  hook: readonly string[] = [],
): readonly Operation[] {
  const why = `declare the nftables chain ${chain}`
  return [
    declare(family, 'chain', [chain, ...(hook.length > 0 ? ['{', ...hook, '}'] : [])]),
    nft(['flush', 'chain', family, ownTable, chain], why),
    ...rules.map((rule) => nft(['add', 'rule', family, ownTable, chain, ...rule], why)),
  ]
}

/** Adds an element; undone by removing it. */
export function addElement(element: Element, why: string, needs: readonly Operation[]): Operation {
  const { family, collection } = element
  return {
    ...nft(['add', 'element', family, ownTable, collection, '{', ...elementWords(element), '}'], why),
    needs,
    undo: [deleteElement(element, why)],
  }
}

export function deleteElement({ family, collection, key }: Element, why: string): Operation {
  const operation = nft(['delete', 'element', family, ownTable, collection, '{', ...key, '}'], `stop to ${why}`)
  return { ...operation, tolerate: ['absent'] }
}

/** An element as nft takes and shows it. */
export function elementWords({ key, value, comment }: Pick<Element, 'key' | 'value' | 'comment'>): readonly string[] {
  const note = comment === undefined ? [] : ['comment', quoted(comment)]
  return [...key, ...note, ...(value === undefined ? [] : [':', ...value])]
}

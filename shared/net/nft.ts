import type { Command, Outcome, Run } from '../exec/run.js'
import { excerpt, reasonOf } from '../exec/stderr.js'
import { type Operation, quoted } from '../plan/operation.js'
import { CniError, codes } from '../values/errors.js'
import { parseAnswer, unreadableAnswer } from './answer.js'

/**
 * Everything podwire makes in nftables lies in tables of this name, one a family: `ip` and `ip6` rather than `inet`, so that a
 * kernel without IPv6 can do its IPv4 part.
 */
export const ownTable = 'podwire'
export type NftFamily = 'ip' | 'ip6' | 'bridge'

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

/** An element of one of our maps or sets. `value` is absent in a set; `comment` is for people and for the search by owner. */
export interface Element {
  readonly family: NftFamily
  readonly collection: string
  readonly key: readonly string[]
  readonly value?: readonly string[]
  readonly comment?: string
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

/** An element as `nft -j` lists it: its key, its comment. */
export interface ListedElement {
  readonly key: unknown
  readonly comment?: string
}

/** The elements of one of our maps or sets; none where it, its table or nft itself is absent. */
export function listElements(
  run: Run,
  { family, collection, kind }: { family: NftFamily; collection: string; kind: 'map' | 'set' },
): readonly ListedElement[] {
  const answer = askNft(run, ['list', kind, family, ownTable, collection])
  const found = answer.find((one) => kind in one)?.[kind] as { elem?: readonly unknown[] } | undefined
  return (found?.elem ?? []).map((one) => (kind === 'map' ? listedKey((one as [unknown])[0]) : listedKey(one)))
}

/** What `nft -j` answers to a question; nothing where the thing asked about, or nft, or nf_tables is absent. */
export function askNft(run: Run, words: readonly string[]): readonly Record<string, unknown>[] {
  const answer = parseAnswer(nftText(run, ['-j', ...words]), '{"nftables":[]}', 'nftables') as { nftables?: unknown }
  if (!Array.isArray(answer?.nftables)) throw unreadableAnswer('nftables', JSON.stringify(answer))
  return answer.nftables
}

/** The text nft answers; none where the thing asked about, or nft, or nf_tables is absent. */
export function nftText(run: Run, words: readonly string[]): string {
  const argv = ['nft', ...words] as const
  const outcome = run({ argv })
  return outcome.failure === 'ENOENT' ? '' : (answerOf({ argv }, outcome) ?? '')
}

/**
 * What nft answered; undefined where what it was asked about, or nf_tables, is absent.
 * @throws code 101 where nft is not installed, 100 when it failed or died, which says nothing of what it was asked about
 */
export function answerOf({ argv }: Pick<Command, 'argv'>, outcome: Outcome): string | undefined {
  const { status, signal, failure, stdout, stderr } = outcome
  if (status === 0) return stdout
  if (failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, 'the program "nft" is not installed', { fix: 'install nftables' })
  }
  const reason = reasonOf(stderr)
  if (status !== null && (reason === 'absent' || reason === 'unsupported')) return undefined
  const end = signal ? `killed by ${signal}\n` : failure ? `it did not start: ${failure}\n` : ''
  throw new CniError(codes.operationFailed, `cannot ask "${argv.join(' ')}"`, {
    details: `${end}stderr: ${excerpt(stderr)}`,
  })
}

/** A table of nftables, whoever made it. */
export interface RuleTable {
  readonly family: string
  readonly name: string
}

/** Every table there is: a look before tables are listed whole, which nft refuses for one that is absent. */
export function ruleTables(run: Run): readonly RuleTable[] {
  return askNft(run, ['list', 'tables']).flatMap((one) => (one['table'] as RuleTable | undefined) ?? [])
}

// --- internal

function listedKey(listed: unknown): ListedElement {
  const elem = (listed as { elem?: { val: unknown; comment?: string } } | null)?.elem
  if (!elem) return { key: listed }
  return { key: elem.val, ...(elem.comment === undefined ? {} : { comment: elem.comment }) }
}

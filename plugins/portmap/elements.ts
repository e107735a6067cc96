import { elementWords } from '../../shared/net/nft.js'
import { ownTable } from '../../shared/plan/element.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { attachmentHash } from '../../shared/values/names.js'
import type { Port, Publication } from './publication.js'
import { conditionChain, hairpinChain } from './tables.js'

export interface Entry {
  readonly key: readonly string[]
  readonly value?: readonly string[]
}

export interface Collection {
  readonly name: string
  readonly entries: readonly Entry[]
}

/** Everything an attachment has in a family; its mark of ownership first, never an empty collection. */
export function collectionsOf(attachment: Attachment, publication: Publication): readonly Collection[] {
  const { address, masquerade } = publication
  const { ranges, singles, addressed } = sorted(publication)
  const to = (port: Port) => [address, '.', String(port.container)]
  const condition = ['jump', conditionChain(publication)]
  const isConditional = publication.conditions.length > 0
  const spared = publication.spared ?? []
  const collections: Collection[] = [
    { name: owners, entries: [{ key: [ownerKey(attachment)] }] },
    { name: 'portmap_ports', entries: singles.map((port) => ({ key: keyOf(port), value: to(port) })) },
    {
      name: 'portmap_ranges',
      entries: ranges.map(({ first, last }) => ({
        key: [first.protocol, '.', `${first.host}-${last.host}`],
        value: [address],
      })),
    },
    { name: 'portmap_addresses', entries: addressed.map((port) => ({ key: keyOf(port), value: to(port) })) },
    {
      name: 'portmap_conditions',
      entries: (isConditional ? singles : []).map((port) => ({ key: keyOf(port), value: condition })),
    },
    {
      name: 'portmap_address_conditions',
      entries: [
        ...(isConditional ? addressed : []).map((port) => ({ key: keyOf(port), value: condition })),
        ...spared.map((port) => ({ key: keyOf(port), value: ['accept'] })),
      ],
    },
    {
      name: 'portmap_hairpin',
      // Of every publication, also one that masquerades nothing: by it the next owner of the address finds what is
      // left.
      entries: [{ key: [address], value: masquerade === 'none' ? ['accept'] : ['jump', hairpinChain(publication)] }],
    },
    { name: pairs, entries: publication.alone ? [{ key: [address, '.', address] }] : [] },
  ]
  return collections.filter(({ entries }) => entries.length > 0)
}

/** The set of those who have elements. */
export const owners = 'portmap_owners'

/** The name by which an attachment marks that it has elements. */
export function ownerKey(attachment: Attachment): string {
  return `"${attachmentHash(attachment).slice(0, 15)}"`
}

/** Whether others cannot see what this publication has by creating an element of their own (holders.ts looks then). */
export function isSpecial(publication: Publication): boolean {
  const { ranges, addressed } = sorted(publication)
  return ranges.length > 0 || addressed.length > 0
}

/**
 * What is published for one address or in a range must not be published by itself: made and deleted in one
 * transaction, an element costs nothing and fails where there is one.
 */
export function exclusions(publication: Publication): readonly (readonly string[])[] {
  const { ranges, singles, addressed } = sorted(publication)
  const own = new Set(singles.map((port) => keyOf(port).join(' ')))
  const keys = new Map<string, readonly string[]>()
  const exclude = (key: readonly string[]) => own.has(key.join(' ')) || keys.set(key.join(' '), key)
  for (const port of addressed) exclude(keyOf({ protocol: port.protocol, host: port.host }))
  for (const { first, last } of ranges) {
    for (let host = first.host; host <= last.host; host++) exclude(keyOf({ protocol: first.protocol, host }))
  }
  if (keys.size === 0) return []
  const value = [publication.family === 'ip' ? '0.0.0.0' : '::', '.', '0']
  const entries = [...keys.values()].map((key) => ({ key, value }))
  const collection = { name: 'portmap_ports', entries }
  return [commandWords('create', publication, collection), commandWords('delete', publication, collection)]
}

/**
 * Removes, in the transaction that makes a collection, what may lie in its place. Versions before 0.2.0 do not know of
 * pairs, so that their DEL leaves one; of an address that somebody publishes there is another element, too.
 */
export function clearing(publication: Publication, collection: Collection): readonly (readonly string[])[] {
  if (collection.name !== pairs) return []
  return [commandWords('add', publication, collection), commandWords('delete', publication, collection)]
}

/** The command for the elements of a collection. */
export function commandWords(
  verb: 'add' | 'create' | 'delete',
  { family }: Publication,
  { name, entries }: Collection,
  comment?: string,
): readonly string[] {
  const words = entries.flatMap((entry, index) => [
    ...(index === 0 ? [] : [',']),
    ...(verb === 'create' ? elementWords({ ...entry, ...(comment === undefined ? {} : { comment }) }) : entry.key),
  ])
  return [verb, 'element', family, ownTable, name, '{', ...words, '}']
}

// --- internal

/** The set of addresses that are their own subnet, each with itself. */
const pairs = 'portmap_alone'

/** A run of ports that keep their numbers, from this many on, is one element. */
const rangeLength = 4

/** A network's conditions hold by single ports, so its ports are not gathered into ranges. */
function sorted({ ports, conditions }: Publication) {
  const everywhere = ports.filter(({ address }) => address === undefined)
  const order = (one: Port, other: Port) =>
    one.protocol === other.protocol ? one.host - other.host : one.protocol < other.protocol ? -1 : 1
  const runs: Port[][] = []
  for (const port of [...everywhere].sort(order)) {
    const last = runs.at(-1)?.at(-1)
    const follows = last?.protocol === port.protocol && last.host + 1 === port.host
    if (follows && keepsNumber(last) && keepsNumber(port)) runs.at(-1)?.push(port)
    else runs.push([port])
  }
  const isRange = (run: Port[]) => run.length >= rangeLength && conditions.length === 0
  return {
    ranges: runs.filter(isRange).map((run) => ({ first: run[0] as Port, last: run.at(-1) as Port })),
    singles: runs.filter((run) => !isRange(run)).flat(),
    addressed: ports.filter(({ address }) => address !== undefined),
  }
}

function keepsNumber({ host, container }: Port): boolean {
  return host === container
}

function keyOf({ protocol, host, address }: Pick<Port, 'protocol' | 'host' | 'address'>): readonly string[] {
  return [...(address === undefined ? [] : [address, '.']), protocol, '.', String(host)]
}

import { sha512 } from '../shared/net/hash.js'
import { attachmentHash, ownerComment } from '../shared/net/names.js'
import { askNft, declare, declareChain, nft, ownTable, type RuleTable } from '../shared/net/nft.js'
import type { Host } from '../shared/plan/host.js'
import { type Operation, quoted } from '../shared/plan/operation.js'
import { codes, type Problem } from '../shared/protocol/errors.js'
import type { Attachment } from '../shared/protocol/plugin.js'
import { type Family, type Port, type Publication, portText, subnetOf } from './_portmap-publication.js'

// Published ports as elements of maps: neither an ADD nor a packet's path grows with their number. A packet to one of
// the host's own addresses is looked for by address and port, then by port, then among the ranges.
//
// `create` lets the kernel decide between two who want one port. A deletion names only the key, whose element may be
// somebody else's by then (a DEL that was killed and comes again): so each attachment has an element of its own in
// `portmap_owners`, and all its elements are deleted in one transaction with that one, or not at all.

/** Makes a publication's elements, all or none. Code `portTaken` when a port, or the container's address, is somebody's. */
export function publish(attachment: Attachment, publication: Publication): readonly Operation[] {
  const needs = declarations(publication)
  const comment = quoted(ownerComment(attachment))
  const made = collectionsOf(attachment, publication).map((one) => elementWords('create', publication, one, comment))
  return [...made, ...exclusions(publication)].map((argv, index) => ({
    ...nft(argv, `publish ${summary(publication)}`),
    needs,
    meaning: { exists: { code: codes.portTaken, fix: 'choose another host port, or stop what has it' } },
    ...(index === 0 ? { undo: [{ ...unpublish(attachment, [publication]), tolerate: ['absent'] }] } : {}),
  }))
}

/** Removes all elements of an attachment at once, and none when it no longer is their owner (code `unknownContainer`). */
export function unpublish(attachment: Attachment, publications: readonly Publication[]): Operation {
  const commands = publications.flatMap((publication) =>
    collectionsOf(attachment, publication).map((one) => elementWords('delete', publication, one)),
  )
  const argv = commands.flatMap((words, index) => (index === 0 ? words : [';', ...words]))
  const fix = 'the rules were changed by somebody else'
  return {
    ...nft(argv, `stop to publish ${publications.map(summary).join(', ')}`),
    meaning: { absent: { code: codes.unknownContainer, fix } },
  }
}

/** Removes, by the owner's name in their comments, elements that no record tells of. */
export function unpublishByOwner(
  { run }: Host,
  attachment: Attachment,
  tables: readonly RuleTable[],
): readonly Operation[] {
  const own = ownerComment(attachment)
  const families = (['ip', 'ip6'] as const).filter((one) =>
    tables.some(({ family, name }) => family === one && name === ownTable),
  )
  return families.flatMap((family) =>
    listedElements(run, family)
      .filter(({ comment }) => comment === own)
      .map(({ collection, key }) => ({
        ...nft(['delete', 'element', family, ownTable, collection, '{', ...key, '}'], `remove what ${own} published`),
        tolerate: ['absent'] as const,
      })),
  )
}

/** What CHECK finds missing or changed of an attachment's elements. */
export function elementProblems({ run }: Host, attachment: Attachment, publication: Publication): readonly Problem[] {
  const comment = quoted(ownerComment(attachment))
  const collections = collectionsOf(attachment, publication)
  const shown = (ofThem: readonly Collection[]) => {
    const stdin = ofThem.map((one) => `${elementWords('get', publication, one).join(' ')}\n`).join('')
    const { status, stdout } = run({ argv: ['nft', '-f', '-'], stdin })
    return status === 0 ? stdout.split(/\s+/).join(' ') : undefined
  }
  // nft shows nothing when a single element is missing: then each is asked for by itself.
  const together = shown(collections)
  return collections.flatMap((collection) =>
    collection.entries
      .map((entry) => ({ entry, words: entryWords(entry, comment).join(' ') }))
      .filter(({ entry, words }) => !(together ?? shown([{ ...collection, entries: [entry] }]) ?? '').includes(words))
      .map(({ words }) => ({
        path: `nftables ${publication.family} ${ownTable} ${collection.name}`,
        value: 'no such element',
        expected: words,
        fix: 'DEL and ADD the attachment: something flushed or changed its rules',
      })),
  )
}

// --- internal

interface Entry {
  readonly key: readonly string[]
  readonly value?: readonly string[]
}

interface Collection {
  readonly name: string
  readonly entries: readonly Entry[]
}

/** Everything an attachment has in a family; its mark of ownership first, never an empty collection. */
function collectionsOf(attachment: Attachment, publication: Publication): readonly Collection[] {
  const { address, masquerade } = publication
  const { ranges, singles, addressed } = sorted(publication)
  const to = (port: Port) => [address, '.', String(port.container)]
  const condition = ['jump', conditionChain(publication)]
  const isConditional = publication.conditions.length > 0
  const collections: Collection[] = [
    { name: 'portmap_owners', entries: [{ key: [`"${attachmentHash(attachment).slice(0, 15)}"`] }] },
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
      entries: (isConditional ? addressed : []).map((port) => ({ key: keyOf(port), value: condition })),
    },
    {
      name: 'portmap_hairpin',
      entries: masquerade === 'none' ? [] : [{ key: [address], value: ['jump', hairpinChain(publication)] }],
    },
  ]
  return collections.filter(({ entries }) => entries.length > 0)
}

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

/** Whether others cannot see what this publication has by creating an element of their own (holders.ts looks then). */
export function isSpecial(publication: Publication): boolean {
  const { ranges, addressed } = sorted(publication)
  return ranges.length > 0 || addressed.length > 0
}

/**
 * What is published for one address or in a range must not be published by itself: made and deleted in one
 * transaction, an element costs nothing and fails where there is one.
 */
function exclusions(publication: Publication): readonly (readonly string[])[] {
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
  return [elementWords('create', publication, collection), elementWords('delete', publication, collection)]
}

function keyOf({ protocol, host, address }: Pick<Port, 'protocol' | 'host' | 'address'>): readonly string[] {
  return [...(address === undefined ? [] : [address, '.']), protocol, '.', String(host)]
}

function elementWords(
  verb: 'create' | 'delete' | 'get',
  { family }: Publication,
  { name, entries }: Collection,
  comment?: string,
): readonly string[] {
  const words = entries.flatMap((entry, index) => [
    ...(index === 0 ? [] : [',']),
    ...(verb === 'create' ? entryWords(entry, comment) : entry.key),
  ])
  return [verb, 'element', family, ownTable, name, '{', ...words, '}']
}

function entryWords({ key, value }: Entry, comment: string | undefined): readonly string[] {
  return [
    ...key,
    ...(comment === undefined ? [] : ['comment', comment]),
    ...(value === undefined ? [] : [':', ...value]),
  ]
}

function summary({ address, ports }: Publication): string {
  const [first] = ports
  const others = ports.length > 1 ? ` and ${ports.length - 1} more` : ''
  return `${first ? portText(first) : 'nothing'}${others} as ${address}`
}

function hairpinChain(publication: Publication): string {
  return publication.masquerade === 'all' ? 'portmap_masquerade_all' : `portmap_hairpin_${subnetName(publication)}`
}

function subnetName(publication: Publication): string {
  return subnetOf(publication).replaceAll(':', '-')
}

/** Named by what it says: networks that say the same share it, and one that changes its mind leaves the old one be. */
function conditionChain({ conditions }: Publication): string {
  return `portmap_if_${sha512(conditions.join(' ')).slice(0, 16)}`
}

const types = { ip: 'ipv4_addr', ip6: 'ipv6_addr' } as const
const loopback = { ip: '127.0.0.0/8', ip6: '::1' } as const

/** The table, its maps, and the chains that look into them. */
function declarations(publication: Publication): readonly Operation[] {
  const { family, conditions } = publication
  return [
    ...maps(family),
    ...declareChain(family, hairpinChain(publication), hairpinRules(publication)),
    ...(conditions.length > 0
      ? declareChain(family, conditionChain(publication), [[...conditions, 'return'], ['accept']])
      : []),
    ...lookups(family),
    ...hooks(family),
  ]
}

function maps(family: Family): readonly Operation[] {
  const address = types[family]
  const port = ['inet_proto', '.', 'inet_service']
  const at = [address, '.', ...port]
  const target = [address, '.', 'inet_service']
  const map = (name: string, key: readonly string[], value: readonly string[], flags: readonly string[] = []) =>
    declare(family, 'map', [name, '{', 'type', ...key, ':', ...value, ';', ...flags, '}'])
  return [
    declare(family, 'table', []),
    declare(family, 'set', ['portmap_owners', '{', 'type', 'ifname', ';', '}']),
    map('portmap_ports', port, target),
    map('portmap_ranges', port, [address], ['flags', 'interval', ';']),
    map('portmap_addresses', at, target),
    map('portmap_conditions', port, ['verdict']),
    map('portmap_address_conditions', at, ['verdict']),
    map('portmap_hairpin', [address], ['verdict']),
  ]
}

function hairpinRules(publication: Publication): readonly (readonly string[])[] {
  const { family, masquerade } = publication
  if (masquerade === 'all') return [['masquerade']]
  return [loopback[family], subnetOf(publication)].map((source) => [family, 'saddr', source, 'masquerade'])
}

/** Packets that a condition does not let pass are accepted here, which in a nat chain means: left as they are. */
function lookups(family: Family): readonly Operation[] {
  const port = ['meta', 'l4proto', '.', 'th', 'dport']
  const at = [family, 'daddr', '.', ...port]
  return declareChain(family, 'portmap', [
    [...at, 'vmap', '@portmap_address_conditions'],
    ['dnat', family, 'to', ...at, 'map', '@portmap_addresses'],
    [...port, 'vmap', '@portmap_conditions'],
    ['dnat', family, 'to', ...port, 'map', '@portmap_ports'],
    ['dnat', family, 'to', ...port, 'map', '@portmap_ranges'],
  ])
}

/**
 * Only packets to the host itself are looked at: what it forwards may go to the same port of others (CVE-2025-67499).
 * The guard drops what `route_localnet` would let in: packets to and from 127/8 that did not come from lo (CVE-2020-8558).
 */
function hooks(family: Family): readonly Operation[] {
  const hook = (type: string, name: string, priority: string) =>
    ['type', type, 'hook', name, 'priority', priority, ';', 'policy', 'accept', ';'] as const
  const local = [['fib', 'daddr', 'type', 'local', 'jump', 'portmap']]
  const fromOutside = ['iifname', '!=', '"lo"']
  const guards = ['daddr', 'saddr'].map((side) => [...fromOutside, 'ip', side, loopback.ip, 'drop'])
  return [
    ...declareChain(family, 'portmap_prerouting', local, hook('nat', 'prerouting', '-100')),
    ...declareChain(family, 'portmap_output', local, hook('nat', 'output', '-100')),
    ...declareChain(
      family,
      'portmap_postrouting',
      [['ct', 'status', 'dnat', family, 'daddr', 'vmap', '@portmap_hairpin']],
      hook('nat', 'postrouting', '100'),
    ),
    ...(family === 'ip' ? declareChain(family, 'portmap_guard', guards, hook('filter', 'prerouting', '-300')) : []),
  ]
}

interface Listed {
  readonly collection: string
  readonly key: readonly string[]
  readonly comment?: string
}

/** Every element of ours in a family. */
function listedElements(run: Host['run'], family: Family): readonly Listed[] {
  return askNft(run, ['list', 'table', family, ownTable]).flatMap((one) => {
    const { name = '', elem = [] } = (one['map'] ?? one['set'] ?? {}) as { name?: string; elem?: readonly unknown[] }
    if (!name.startsWith('portmap_')) return []
    return elem.map((listed) => ({ collection: name, ...listedOf('map' in one ? (listed as [unknown])[0] : listed) }))
  })
}

function listedOf(listed: unknown): Omit<Listed, 'collection'> {
  const { elem } = listed as { elem?: { val: unknown; comment?: string } }
  if (!elem) return { key: listedKey(listed) }
  return { key: listedKey(elem.val), ...(elem.comment === undefined ? {} : { comment: elem.comment }) }
}

/** A key as `nft -j` says it, in the words of `nft`. */
function listedKey(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.includes(':') || value.includes('.') ? [value] : [`"${value}"`]
  const { concat = [] } = value as { concat?: readonly unknown[] }
  return concat.flatMap((part, index) => [...(index === 0 ? [] : ['.']), partText(part)])
}

function partText(part: unknown): string {
  const { range } = part as { range?: readonly [number, number] }
  return range ? range.join('-') : String(part)
}

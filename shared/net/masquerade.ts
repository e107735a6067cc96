import {
  allRecords,
  mayHaveLostRecord,
  readRecord,
  recordWritings,
  removeRecord,
  staleRecords,
  writeRecord,
} from '../exec/records.js'
import { bothFamilies, type Element, ownTable } from '../plan/element.js'
import type { Host } from '../plan/host.js'
import type { IptablesTool, ListedChain, ListedElement, ListedRule, Observer } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import { hostPart, hostPrefix, subnetOf } from '../values/address.js'
import type { Attachment } from '../values/attachment.js'
import type { Problem } from '../values/errors.js'
import { attachmentHash, officialComment, officialName, ownerComment } from '../values/names.js'
import type { Result } from '../values/result.js'
import { quoted } from '../values/token.js'
import { hasChain, iptables, iptablesTool, plainTools, removeChain, type SavedTables, savedTables } from './iptables.js'
import { mayMention } from './leftovers.js'
import type { Needs } from './needs.js'
import { addElement, declare, declareChain, deleteElement, nft, nftFamily, waiting } from './nft.js'
import { removeUnusedChains } from './nft-chains.js'
import { missingElements } from './nft-elements.js'
import { backendNeeds } from './probe.js'

// Masquerading of a container's addresses: packets from them to anywhere but their own subnet and multicast leave with
// the host's address. In nftables a map from source address to the chain of its subnet, so that neither a packet's
// path nor an ADD depends on how many containers there are; in iptables the chains of the official plugin.
//
// An ADD looks (`seenForMasquerade`), notes what it is about to make (`noteMasquerade`), applies the plan
// (`masquerade`), and forgets who had the addresses before (`forgetLast`): the record lets DEL work without being told
// them. A DEL looks (`madeByMasquerade`), sweeps the plan (`unmasquerade`), and forgets.

export type MasqueradeBackend = 'nftables' | 'iptables'

/** What is masqueraded, and how: an ADD's record. `addresses` are with prefix lengths. */
export interface Masquerade {
  readonly addresses: readonly string[]
  readonly backend: MasqueradeBackend
}

/** What is there that a plan depends on. */
export interface SeenForMasquerade {
  readonly saved: SavedTables
  /**
   * The addresses that our map has already: another suite's DEL left them, or one that was killed, because IPAM has
   * given them to us. The kernel would take an equal element for the same, and leave its owner's name.
   */
  readonly left: readonly string[]
  /** Whose they were. */
  readonly last: readonly Attachment[]
}

/** What a configuration wants to be masqueraded of what IPAM gave. */
export function masqueradeOf(
  {
    ipMasq,
    ipMasqBackend = usual,
  }: { readonly ipMasq?: boolean; readonly ipMasqBackend?: MasqueradeBackend | undefined },
  { ips }: Pick<Result, 'ips'>,
): Masquerade | undefined {
  if (!ipMasq || ips.length === 0) return undefined
  return { addresses: ips.map(({ address }) => address), backend: ipMasqBackend }
}

export function seenForMasquerade(host: Host, attachment: Attachment, made: Masquerade): SeenForMasquerade {
  const { addresses, backend } = made
  const saved = backends[backend].look(host.observer, addresses.map(iptablesTool))
  const elements = addresses.map((address) => elementOf(attachment, address))
  const held = host.observer.holdsDirectly(elements.map(({ family, collection, key }) => ({ family, collection, key })))
  if (held && !held.includes(true)) return { saved, left: [], last: [] }
  const others = allRecords<Masquerade>(host, recordKind, attachment.network).filter(
    ({ attachment: other, data }) =>
      attachmentHash(other) !== attachmentHash(attachment) && data.addresses.some((one) => addresses.includes(one)),
  )
  const isLeft = (address: string, index: number) =>
    held ? held[index] : others.some(({ data }) => data.addresses.includes(address))
  return { saved, left: addresses.filter(isLeft), last: others.map(({ attachment: other }) => other) }
}

/** The operations that masquerade. They wait for nobody where they take something of others away (`forgetLast`). */
export function masquerade(attachment: Attachment, made: Masquerade, seen: SeenForMasquerade): readonly Operation[] {
  const plan = backends[made.backend].publish(attachment, made.addresses, seen.saved)
  if (seen.left.length === 0 && seen.last.length === 0) return plan.map(waiting)
  return [...seen.left.map((address) => withoutElement(attachment, address)), ...plan]
}

/** After the plan was applied: a late DEL of who had the addresses before takes nothing away. */
export function forgetLast(host: Host, { last }: SeenForMasquerade): void {
  for (const other of last) removeRecord(host, recordKind, other)
}

/** Notes what is about to be made; taken back when the ADD fails. */
export function noteMasquerade(host: Host, attachment: Attachment, made: Masquerade): void {
  writeRecord<Masquerade>(host, recordKind, attachment, made)
}

/** What `masquerade` needs. */
export function masqueradeNeeds(network: string, backend: MasqueradeBackend = usual): Needs {
  return { ...backendNeeds[backend], writes: recordWritings(network, recordKind) }
}

/** What an attachment has: by its record, or without one what bears its name, ours and the official suite's. */
export type MadeByMasquerade =
  | { readonly record: Masquerade; readonly saved: SavedTables }
  | {
      readonly elements: readonly ListedElement[]
      readonly saved: SavedTables
      readonly handles: readonly number[]
      /** Whether there is what was asked for along with it; undefined where the kernel does not tell. */
      readonly along: readonly boolean[] | undefined
    }

/**
 * @param told addresses with prefix lengths that the attachment may have had, as the caller says
 * @param along what else the kernel is asked for where it is asked, in the same request
 */
export function madeByMasquerade(
  host: Host,
  attachment: Attachment,
  told: readonly string[] = [],
  along: readonly Element[] = [],
): MadeByMasquerade {
  const { observer } = host
  const record = readRecord<Masquerade>(host, recordKind, attachment)?.data
  if (record) return { record, saved: backends[record.backend].look(observer, Object.values(plainTools)) }
  const { hasElements, tools, hasRules, hasAlong } = mayHave(observer, attachment, told, along)
  return {
    elements: hasElements ? elementsOf(observer, attachment) : [],
    saved: savedTables(observer, tools, 'nat'),
    handles: hasRules ? officialNftRules(observer, attachment).map(({ handle }) => handle) : [],
    along: hasAlong,
  }
}

/** The operations that undo `masquerade`. */
export function unmasquerade(attachment: Attachment, made: MadeByMasquerade): readonly Operation[] {
  if ('record' in made) {
    return backends[made.record.backend].withdraw(attachment, made.record.addresses, made.saved)
  }
  return [
    ...made.elements.map(({ key: [address = ''] }) => withoutElement(attachment, hostPrefix(address))),
    ...removeOfficialChains(attachment, made.saved),
    ...made.handles.map(removeOfficialNftRule),
  ]
}

/** What an attachment has by its record, where that alone tells it. */
export function recordedMasquerade(host: Host, attachment: Attachment): MadeByMasquerade | undefined {
  const record = readRecord<Masquerade>(host, recordKind, attachment)?.data
  return record && backends[record.backend].isOnRecord ? { record, saved: new Map() } : undefined
}

/** True where a record says so; an attachment of the official suite has none. */
export function isMasqueraded(host: Host, attachment: Attachment): boolean {
  return readRecord<Masquerade>(host, recordKind, attachment) !== undefined
}

/** Forgets the record, after the operations of `unmasquerade` have run. */
export function forgetMasquerade(host: Host, attachment: Attachment): void {
  removeRecord(host, recordKind, attachment)
}

/** The attachments of a network that are masqueraded and no longer valid: for GC. */
export function staleMasquerades(
  host: Host,
  network: string,
  valid: readonly { containerID: string; ifname: string }[],
): readonly Attachment[] {
  return staleRecords<Masquerade>(host, recordKind, network, valid).map(({ attachment }) => attachment)
}

/** Whether a chain of that name is a subnet's. */
export function isOfSubnet(chain: string): boolean {
  return chain.startsWith(subnetPrefix)
}

/** The operations that remove what subnets shared: their chains that nothing leads to any more. */
export function collectMasquerades(unused: readonly ListedChain[]): readonly Operation[] {
  return Object.values(backends).flatMap(({ collect }) => collect(unused))
}

/** What CHECK finds missing. */
export function masqueradeDifferences(
  host: Host,
  attachment: Attachment,
  addresses: readonly string[],
): readonly Problem[] {
  const record = readRecord<Masquerade>(host, recordKind, attachment)?.data
  const differences = record ? backends[record.backend].differences : unrecordedDifferences
  return differences(host.observer, attachment, addresses).map((address) => ({
    path: 'ipMasq',
    value: 'no rule',
    expected: `a rule that masquerades ${address}`,
    fix: 'DEL and ADD the attachment: something flushed its rules',
  }))
}

/** What the official plugins say of a backend that is none. */
export function sayMasquerade({ path, value }: Problem): string | undefined {
  return path === 'ipMasqBackend' ? `unknown ipmasq backend "${value}"` : undefined
}

// --- internal

const recordKind = 'masquerade'
const map = 'masqueraded'
const subnetPrefix = 'masquerade_'
const multicast = { ip: '224.0.0.0/4', ip6: 'ff00::/8' }

const usual: MasqueradeBackend = 'nftables'

/** The ways of masquerading. `addresses` are with prefix lengths. */
const backends: Readonly<
  Record<
    MasqueradeBackend,
    {
      /** Whether a record tells all that `withdraw` has to see. */
      readonly isOnRecord: boolean
      readonly look: (observer: Observer, tools: readonly IptablesTool[]) => SavedTables
      readonly publish: (
        attachment: Attachment,
        addresses: readonly string[],
        seen: SavedTables,
      ) => readonly Operation[]
      readonly withdraw: (
        attachment: Attachment,
        addresses: readonly string[],
        seen: SavedTables,
      ) => readonly Operation[]
      /** The addresses that are not masqueraded. */
      readonly differences: (
        observer: Observer,
        attachment: Attachment,
        addresses: readonly string[],
      ) => readonly string[]
      readonly collect: (unused: readonly ListedChain[]) => readonly Operation[]
    }
  >
> = {
  nftables: {
    isOnRecord: true,
    look: () => new Map(),
    publish: (attachment, addresses) => addresses.map((address) => mapElement(attachment, address)),
    withdraw: (attachment, addresses) => addresses.map((address) => withoutElement(attachment, address)),
    differences: (observer, attachment, addresses) => {
      const wanted = addresses.map((address) => elementOf(attachment, address))
      const missing = new Set(missingElements({ observer }, wanted))
      return addresses.filter((_, index) => missing.has(wanted[index] as Element))
    },
    collect: removeUnusedChains,
  },
  iptables: {
    isOnRecord: false,
    look: (observer, tools) => savedTables(observer, tools, 'nat'),
    publish: officialChains,
    withdraw: (attachment, addresses, seen) => removeOfficialChains(attachment, seen, addresses),
    differences: (observer, attachment, addresses) =>
      lackingOfficialChain(attachment, addresses, savedTables(observer, addresses.map(iptablesTool), 'nat')),
    collect: () => [],
  },
}

/** No record: another suite made it, in either way. */
function unrecordedDifferences(
  observer: Observer,
  attachment: Attachment,
  addresses: readonly string[],
): readonly string[] {
  const saved = savedTables(observer, addresses.map(iptablesTool), 'nat')
  const withoutChain = lackingOfficialChain(attachment, addresses, saved)
  if (withoutChain.length === 0) return []
  const sources = officialNftRules(observer, attachment).flatMap(({ matches }) => matches.map(({ value }) => value))
  return withoutChain.filter((address) => !sources.includes(hostPart(address)))
}

function mapElement(attachment: Attachment, address: string): Operation {
  const element = elementOf(attachment, address)
  const why = `masquerade ${hostPart(address)}`
  return {
    ...addElement(element, why, declarations(address)),
    displaces: [deleteElement(element, why)],
  }
}

function elementOf(attachment: Attachment, address: string): Element & { family: 'ip' | 'ip6' } {
  return {
    family: nftFamily(address),
    collection: map,
    key: [hostPart(address)],
    value: ['jump', subnetChain(address)],
    comment: ownerComment(attachment),
  }
}

function withoutElement(attachment: Attachment, address: string): Operation {
  return deleteElement(elementOf(attachment, address), `masquerade ${hostPart(address)}`)
}

/** The table, the map, the chain that looks into it, and the chain of the address's subnet. */
function declarations(address: string): readonly Operation[] {
  const family = nftFamily(address)
  const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  return [
    declare(family, 'table', []),
    declare(family, 'map', [map, '{', 'type', type, ':', 'verdict', ';', '}']),
    ...declareChain(family, subnetChain(address), [
      [family, 'daddr', subnetOf(address), 'return'],
      [family, 'daddr', multicast[family], 'return'],
      ['masquerade'],
    ]),
    ...declareChain(
      family,
      'masquerade_postrouting',
      [[family, 'saddr', 'vmap', `@${map}`]],
      ['type', 'nat', 'hook', 'postrouting', 'priority', 'srcnat', ';', 'policy', 'accept', ';'],
    ),
  ]
}

function subnetChain(address: string): string {
  return `${subnetPrefix}${subnetOf(address).replaceAll(':', '-')}`
}

/** What there may be without a record: by its name where that says all, by any where records may have been lost. */
function mayHave(observer: Observer, attachment: Attachment, told: readonly string[], along: readonly Element[]) {
  const chain = officialName('CNI-', attachment, 28)
  const comment = ownerComment(attachment)
  const isLost = mayHaveLostRecord(recordKind, attachment)
  const wanted = isLost
    ? bothFamilies.map((family) => ({ family, table: ownTable, set: map }))
    : told.map((address) => ({ family: nftFamily(address), collection: map, key: [hostPart(address)], comment }))
  const chains = bothFamilies.map((family) => ({ family, table: 'nat', chain }))
  const own = [officialTable, ...chains, ...wanted]
  const held = observer.holdsDirectly([...own, ...along])
  const [hasOfficial = true, ...others] = held?.slice(0, own.length) ?? []
  const isThere = (index: number) => others[index] ?? true
  return {
    hasElements: held === undefined || others.slice(chains.length).includes(true),
    tools: bothFamilies
      .filter((family, index) => isThere(index) || observer.hasLegacyTable(family, 'nat'))
      .map((family) => plainTools[family]),
    hasRules: hasOfficial && mayMention(observer, officialTable, [officialEnd(attachment)]),
    hasAlong: held?.slice(own.length),
  }
}

function elementsOf(observer: Observer, attachment: Attachment): readonly ListedElement[] {
  const own = ownerComment(attachment)
  return bothFamilies
    .flatMap((family) => observer.elements(family, { kind: 'map', name: map }))
    .filter(({ comment }) => comment === own)
}

/**
 * The chain, rules and comments of the official plugin (ip.SetupIPMasqForNetworks). All addresses of a container in a
 * network share the chain of their family, also those of another interface.
 */
function officialChains(attachment: Attachment, addresses: readonly string[], seen: SavedTables): readonly Operation[] {
  const chain = officialName('CNI-', attachment, 28)
  const present = new Set([...seen].flatMap(([tool, saved]) => (hasChain(saved, chain) ? [tool] : [])))
  return addresses.flatMap((address) => {
    const tool = iptablesTool(address)
    const isNew = !present.has(tool)
    present.add(tool)
    return officialRules(attachment, address, { chain, isNew })
  })
}

function officialRules(
  attachment: Attachment,
  address: string,
  { chain, isNew }: { chain: string; isNew: boolean },
): readonly Operation[] {
  const tool = iptablesTool(address)
  const comment = ['-m', 'comment', '--comment', quoted(officialComment(attachment))]
  const why = `masquerade ${hostPart(address)}`
  const jump = ['POSTROUTING', '-s', hostPart(address), ...comment, '-j', chain]
  const outside = ['!', '-d', multicast[nftFamily(address)]]
  const withoutJump = { ...iptables(tool, 'nat', ['-D', ...jump], why), tolerate: ['absent'] as const }
  return [
    ...(isNew ? [{ ...iptables(tool, 'nat', ['-N', chain], why), undo: dropChain(tool, chain, jump) }] : []),
    iptables(tool, 'nat', ['-A', chain, '-d', address, ...comment, '-j', 'ACCEPT'], why),
    iptables(tool, 'nat', ['-A', chain, ...outside, ...comment, '-j', 'MASQUERADE'], why),
    { ...iptables(tool, 'nat', ['-A', ...jump], why), ...(isNew ? {} : { undo: [withoutJump] }) },
  ]
}

function dropChain(tool: IptablesTool, chain: string, jump: readonly string[]): readonly Operation[] {
  const why = `remove the chain ${chain}`
  const absentIsFine = { tolerate: ['absent'] as const }
  return [
    ['-D', ...jump],
    ['-F', chain],
    ['-X', chain],
  ].map((words) => ({
    ...iptables(tool, 'nat', words, why),
    ...absentIsFine,
  }))
}

/** The interfaces of a container in one network share their chain: with `addresses`, only the jumps for these go. */
function removeOfficialChains(
  attachment: Attachment,
  seen: SavedTables,
  addresses?: readonly string[],
): readonly Operation[] {
  const chain = officialName('CNI-', attachment, 28)
  const sources = addresses?.map(sourceOf)
  const ours = (rule: readonly string[]) => sources?.some((source) => rule.includes(source)) ?? true
  return [...seen].flatMap(([tool, saved]) => removeChain(saved, { tool, table: 'nat', chain }, ours))
}

/** An address as iptables-save writes it behind `-s`. */
function sourceOf(address: string): string {
  return hostPrefix(hostPart(address))
}

/** Somebody may have flushed the table: an empty chain masquerades nothing. */
function lackingOfficialChain(
  attachment: Attachment,
  addresses: readonly string[],
  seen: SavedTables,
): readonly string[] {
  const chain = officialName('CNI-', attachment, 28)
  return addresses.filter((address) => {
    const rules = seen.get(iptablesTool(address)) ?? []
    const source = sourceOf(address)
    const jumps = rules.some((rule) => rule[1] === 'POSTROUTING' && rule.includes(source) && rule.at(-1) === chain)
    return !jumps || !rules.some((rule) => rule[1] === chain && rule.at(-1) === 'MASQUERADE')
  })
}

const officialTable = { family: 'inet', table: 'cni_plugins_masquerade', chain: 'masq_checks' } as const

/** The rules of the official plugin's nftables backend for this attachment, by their comment. */
function officialNftRules(observer: Observer, attachment: Attachment): readonly ListedRule[] {
  const end = officialEnd(attachment)
  return observer.rules(officialTable).filter(({ comment }) => comment?.includes(end))
}

function officialEnd({ network, ifName, containerID }: Attachment): string {
  return `net: ${network}, if: ${ifName}, id: ${containerID}`.slice(0, 128 - 35)
}

function removeOfficialNftRule(handle: number): Operation {
  const { family, table, chain } = officialTable
  const words = ['delete', 'rule', family, table, chain, 'handle', String(handle)]
  return { ...nft(words, 'remove a rule of the official plugin'), tolerate: ['absent'] }
}

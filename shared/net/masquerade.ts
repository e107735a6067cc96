import { readRecord, recordWritings, removeRecord, staleRecords, writeRecord } from '../exec/records.js'
import type { Element } from '../plan/element.js'
import type { Host } from '../plan/host.js'
import type { IptablesTool } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import { formatCidr, networkOf, parseCidr } from '../values/address.js'
import type { Attachment } from '../values/attachment.js'
import type { Problem } from '../values/errors.js'
import { officialComment, officialName, ownerComment } from '../values/names.js'
import { quoted } from '../values/token.js'
import { hasChain, iptables, iptablesTool, removeChain, savedRules } from './iptables.js'
import type { Needs } from './needs.js'
import { addElement, declare, declareChain, deleteElement, nft, nftFamily } from './nft.js'
import { removeUnusedChains } from './nft-chains.js'
import { missingElements } from './nft-elements.js'
import { backendNeeds } from './probe.js'

export type MasqueradeBackend = 'nftables' | 'iptables'

/**
 * Masquerading of a container's addresses: packets from them to anywhere but their own subnet and multicast leave with
 * the host's address. In nftables a map from source address to the chain of its subnet, so that neither a packet's
 * path nor an ADD depends on how many containers there are; in iptables the chains of the official plugin.
 *
 * `addresses` are with prefix lengths. Notes them first: the record is what lets DEL work without being told them.
 * @returns the operations to apply
 */
export function masquerade(
  host: Host,
  options: { attachment: Attachment; addresses: readonly string[]; backend: MasqueradeBackend },
): readonly Operation[] {
  const { attachment, addresses, backend } = options
  writeRecord<Made>(host, recordKind, attachment, { addresses, backend })
  if (backend === 'iptables') return officialChains(host, attachment, addresses)
  return addresses.map((address) => mapElement(attachment, address))
}

/** What `masquerade` needs. */
export function masqueradeNeeds(network: string, backend: MasqueradeBackend = 'nftables'): Needs {
  return { ...backendNeeds[backend], writes: recordWritings(network, recordKind) }
}

/** The operations that undo `masquerade`, found by the record, or without one by the owner's name in our rules and the official suite's. */
export function unmasquerade(host: Host, attachment: Attachment): readonly Operation[] {
  const record = readRecord<Made>(host, recordKind, attachment)?.data
  if (record?.backend === 'nftables') return record.addresses.map((address) => withoutElement(attachment, address))
  if (record) return removeOfficialChains(host, attachment, record.addresses)
  return [
    ...elementsOf(host, attachment),
    ...removeOfficialChains(host, attachment),
    ...removeOfficialNftRules(host, attachment),
  ]
}

/** True where a record says so; an attachment of the official suite has none. */
export function isMasqueraded(host: Host, attachment: Attachment): boolean {
  return readRecord<Made>(host, recordKind, attachment) !== undefined
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
  return staleRecords<Made>(host, recordKind, network, valid).map(({ attachment }) => attachment)
}

/** Removes what subnets shared whose last attachment is gone. */
export function collectMasquerades(host: Host): void {
  removeUnusedChains(host, [subnetPrefix])
}

/** What CHECK finds missing. */
export function masqueradeDifferences(
  host: Host,
  attachment: Attachment,
  addresses: readonly string[],
): readonly Problem[] {
  return unmasqueraded(host, attachment, addresses).map((address) => ({
    path: 'ipMasq',
    value: 'no rule',
    expected: `a rule that masquerades ${address}`,
    fix: 'DEL and ADD the attachment: something flushed its rules',
  }))
}

// --- internal

interface Made {
  readonly addresses: readonly string[]
  readonly backend: MasqueradeBackend
}

const recordKind = 'masquerade'
const map = 'masqueraded'
const subnetPrefix = 'masquerade_'
const multicast = { ip: '224.0.0.0/4', ip6: 'ff00::/8' }

function unmasqueraded(host: Host, attachment: Attachment, addresses: readonly string[]): readonly string[] {
  const backend = readRecord<Made>(host, recordKind, attachment)?.data.backend
  if (backend === 'nftables') {
    const wanted = addresses.map((address) => elementOf(attachment, address))
    const missing = new Set(missingElements(host, wanted))
    return addresses.filter((_, index) => missing.has(wanted[index] as Element))
  }
  const withoutChain = lackingOfficialChain(host, attachment, addresses)
  if (backend === 'iptables' || withoutChain.length === 0) return withoutChain
  return removeOfficialNftRules(host, attachment).length > 0 ? [] : withoutChain // no record: another suite made it
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

function subnetOf(address: string): string {
  const cidr = parseCidr(address)
  if (!cidr) throw new Error(`not an address with a prefix length: ${address}`)
  return formatCidr(networkOf(cidr))
}

function hostPart(address: string): string {
  return address.slice(0, address.indexOf('/'))
}

function elementsOf({ observer }: Host, attachment: Attachment): readonly Operation[] {
  const own = ownerComment(attachment)
  return (['ip', 'ip6'] as const).flatMap((family) =>
    observer
      .elements(family, { kind: 'map', name: map })
      .filter(({ comment }) => comment === own)
      .map(({ key: [address] }) => withoutElement(attachment, `${address}/${family === 'ip' ? 32 : 128}`)),
  )
}

/**
 * The chain, rules and comments of the official plugin (ip.SetupIPMasqForNetworks). All addresses of a container in a
 * network share the chain of their family, also those of another interface.
 */
function officialChains(host: Host, attachment: Attachment, addresses: readonly string[]): readonly Operation[] {
  const chain = officialName('CNI-', attachment, 28)
  const tools = [...new Set(addresses.map(iptablesTool))]
  const present = new Set(tools.filter((tool) => hasChain(savedRules(host.observer, tool, 'nat'), chain)))
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
  { observer }: Host,
  attachment: Attachment,
  addresses?: readonly string[],
): readonly Operation[] {
  const chain = officialName('CNI-', attachment, 28)
  const sources = addresses?.map(sourceOf)
  const ours = (rule: readonly string[]) => sources?.some((source) => rule.includes(source)) ?? true
  return (['iptables', 'ip6tables'] as const).flatMap((tool) =>
    removeChain(savedRules(observer, tool, 'nat'), { tool, table: 'nat', chain }, ours),
  )
}

/** An address as iptables-save writes it behind `-s`. */
function sourceOf(address: string): string {
  return `${hostPart(address)}/${address.includes(':') ? 128 : 32}`
}

/** Somebody may have flushed the table: an empty chain masquerades nothing. */
function lackingOfficialChain(
  { observer }: Host,
  attachment: Attachment,
  addresses: readonly string[],
): readonly string[] {
  const chain = officialName('CNI-', attachment, 28)
  const tables = new Map(
    [...new Set(addresses.map(iptablesTool))].map((tool) => [tool, savedRules(observer, tool, 'nat')]),
  )
  return addresses.filter((address) => {
    const rules = tables.get(iptablesTool(address)) ?? []
    const source = sourceOf(address)
    const jumps = rules.some((rule) => rule[1] === 'POSTROUTING' && rule.includes(source) && rule.at(-1) === chain)
    return !jumps || !rules.some((rule) => rule[1] === chain && rule.at(-1) === 'MASQUERADE')
  })
}

/** The rules of the official plugin's nftables backend for this attachment, by their comment. */
function removeOfficialNftRules({ observer }: Host, attachment: Attachment): readonly Operation[] {
  const [table, chain] = ['cni_plugins_masquerade', 'masq_checks']
  const end = `net: ${attachment.network}, if: ${attachment.ifName}, id: ${attachment.containerID}`
  return observer
    .rules({ family: 'inet', table, chain })
    .filter(({ comment }) => comment?.includes(end.slice(0, 128 - 35)))
    .map(({ handle }) => ({
      ...nft(
        ['delete', 'rule', 'inet', table, chain, 'handle', String(handle)],
        'remove a rule of the official plugin',
      ),
      tolerate: ['absent'] as const,
    }))
}

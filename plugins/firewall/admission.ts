import { addElement, declare, declareChain, deleteElement, nftFamily, waiting } from '../../shared/net/nft.js'
import { missingElements } from '../../shared/net/nft-elements.js'
import { bothFamilies, type Element } from '../../shared/plan/element.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { ownerComment } from '../../shared/values/names.js'
import { admittedMark, type Family } from './forward.js'
import { othersHolding } from './holders.js'

/**
 * The nftables backend: one set of admitted addresses a family, so that neither a packet's path nor an ADD depends on
 * how many containers there are. What such an address sends, and the replies to it, is marked while it is in the
 * forward hook.
 */
export function admit(
  attachment: Attachment,
  addresses: readonly string[],
  heldByOthers: ReadonlySet<string>,
): readonly Operation[] {
  return addresses.flatMap((address) => {
    const add = addElement(elementOf(address, attachment), why(address), declarations(nftFamily(address)))
    return heldByOthers.has(address) ? takeOver(add, address) : [waiting(add)]
  })
}

/** The operations that undo `admit` for the addresses that no other attachment has been given since. */
export function dismiss(addresses: readonly string[], heldByOthers: ReadonlySet<string>): readonly Operation[] {
  return addresses.filter((address) => !heldByOthers.has(address)).map(removal)
}

/**
 * Those of an attachment's addresses that another has been given since: a dead container's late DEL names them, too.
 */
export function heldByOthers(host: Host, attachment: Attachment, addresses: readonly string[]): ReadonlySet<string> {
  return new Set(addresses.filter((address) => othersHolding(host, thingOf(address), attachment) > 0))
}

/** The admitted addresses that carry the owner's name, for a DEL without a record. */
export function admittedAddresses({ observer }: Host, attachment: Attachment): readonly string[] {
  const own = ownerComment(attachment)
  return bothFamilies.flatMap((family) =>
    observer
      .elements(family, { kind: 'set', name: addressSet })
      .filter(({ comment }) => comment === own)
      .flatMap(({ key }) => key),
  )
}

/** What CHECK finds missing. */
export function admissionDifferences(host: Host, addresses: readonly string[]): readonly Problem[] {
  const wanted = addresses.map((address) => elementOf(address))
  return missingElements(host, wanted).map(({ key: [address = ''] }) => ({
    path: `nftables set ${addressSet}`,
    value: 'no element',
    expected: address,
    fix: 'DEL and ADD the attachment: something flushed its rules',
  }))
}

/** The name under which an address is held. */
export function thingOf(address: string): string {
  return `address-${address}`
}

/** An address that carries the owner's name. */
export function admittedElement(address: string, attachment: Attachment): Element {
  return elementOf(address, attachment)
}

/** The set of them. */
export const addressSet = 'firewall_addresses'

// --- internal

function elementOf(address: string, attachment?: Attachment): Element {
  const comment = attachment ? { comment: ownerComment(attachment) } : {}
  return { family: nftFamily(address), collection: addressSet, key: [address], ...comment }
}

function removal(address: string): Operation {
  return deleteElement(elementOf(address), why(address))
}

/** Adding what is there changes nothing, not even the owner's name: it is removed first, which needs it to be there. */
function takeOver(add: Operation, address: string): readonly Operation[] {
  const ensure = addElement(elementOf(address), why(address), declarations(nftFamily(address)))
  return [{ ...ensure, undo: [] }, removal(address), { ...add, undo: [] }]
}

function why(address: string): string {
  return `admit ${address}`
}

function declarations(family: Family): readonly Operation[] {
  const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  const { bit, others } = admittedMark
  const mark = ['meta', 'mark', 'set', 'meta', 'mark', 'or', bit]
  const isReply = ['ct', 'state', 'established,related']
  return [
    declare(family, 'table', []),
    declare(family, 'set', [addressSet, '{', 'type', type, ';', '}']),
    ...declareChain(
      family,
      'firewall_first',
      [
        [family, 'saddr', `@${addressSet}`, ...mark],
        [family, 'daddr', `@${addressSet}`, ...isReply, ...mark],
      ],
      hook('-400'),
    ),
    ...declareChain(family, 'firewall_last', [['meta', 'mark', 'set', 'meta', 'mark', 'and', others]], hook('400')),
  ]
}

function hook(priority: string): readonly string[] {
  return ['type', 'filter', 'hook', 'forward', 'priority', priority, ';', 'policy', 'accept', ';']
}

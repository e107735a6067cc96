import { elementWords, nft } from '../../shared/net/nft.js'
import { missingElements } from '../../shared/net/nft-elements.js'
import { ownTable } from '../../shared/plan/element.js'
import type { ListedElement, Observer } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { codes, type Problem } from '../../shared/values/errors.js'
import { ownerComment } from '../../shared/values/names.js'
import { quoted } from '../../shared/values/token.js'
import { clearing, collectionsOf, commandWords, exclusions } from './elements.js'
import { type Family, type Publication, portText } from './publication.js'
import { declarations } from './tables.js'

// Published ports as elements of maps: neither an ADD nor a packet's path grows with their number. A packet to one of
// the host's own addresses is looked for by address and port, then by port, then among the ranges.
//
// `create` lets the kernel decide between two who want one port. A deletion names only the key, whose element may be
// somebody else's by then (a DEL that was killed and comes again): so each attachment has an element of its own in
// `portmap_owners`, and all its elements are deleted in one transaction with that one, or not at all.

/**
 * Makes a publication's elements, all or none. Code `portTaken` when a port, or the container's address, is somebody's.
 */
export function publish(attachment: Attachment, publication: Publication): readonly Operation[] {
  const needs = declarations(publication)
  const comment = ownerComment(attachment)
  const made = collectionsOf(attachment, publication).flatMap((one) => [
    ...clearing(publication, one),
    commandWords('create', publication, one, comment),
  ])
  return [...made, ...exclusions(publication)].map((argv, index) => ({
    ...nft(argv, `publish ${summary(publication)}`),
    needs,
    meaning: { exists: { code: codes.portTaken, fix: 'choose another host port, or stop what has it' } },
    ...(index === 0 ? { undo: [{ ...unpublish(attachment, [publication]), tolerate: ['absent'] }] } : {}),
  }))
}

/**
 * Removes all elements of an attachment at once, and none when it no longer is their owner (code `unknownContainer`).
 */
export function unpublish(attachment: Attachment, publications: readonly Publication[]): Operation {
  const commands = publications.flatMap((publication) =>
    collectionsOf(attachment, publication).map((one) => commandWords('delete', publication, one)),
  )
  const argv = commands.flatMap((words, index) => (index === 0 ? words : [';', ...words]))
  const fix = 'the rules were changed by somebody else'
  return {
    ...nft(argv, `stop to publish ${publications.map(summary).join(', ')}`),
    meaning: { absent: { code: codes.unknownContainer, fix } },
  }
}

/** An element of a family. */
export type OwnElement = ListedElement & { readonly family: Publication['family'] }

/** The elements that carry the owner's name, whether or not a record tells of them. */
export function ownElements(
  observer: Observer,
  attachment: Attachment,
  families: readonly Family[],
): readonly OwnElement[] {
  const own = ownerComment(attachment)
  return families.flatMap((family) =>
    observer
      .elements(family)
      .filter(({ collection, comment }) => comment === own && collection.startsWith('portmap_'))
      .map((element) => ({ ...element, family })),
  )
}

/** Removes elements that carry the owner's name. */
export function removeElements(attachment: Attachment, elements: readonly OwnElement[]): readonly Operation[] {
  const why = `remove what ${ownerComment(attachment)} published`
  return elements.map((element) => ({
    ...nft(['delete', 'element', element.family, ownTable, element.collection, '{', ...keyWords(element), '}'], why),
    tolerate: ['absent'],
  }))
}

/** What CHECK finds missing or changed of an attachment's elements. */
export function elementProblems(
  observer: Observer,
  attachment: Attachment,
  publications: readonly Publication[],
): readonly Problem[] {
  const comment = ownerComment(attachment)
  const wanted = publications.flatMap((publication) =>
    collectionsOf(attachment, publication).flatMap(({ name, entries }) =>
      entries.map((entry) => ({ ...entry, family: publication.family, collection: name, comment })),
    ),
  )
  return missingElements({ observer }, wanted).map((element) => ({
    path: `nftables ${element.family} ${ownTable} ${element.collection}`,
    value: 'no such element',
    expected: elementWords(element).join(' '),
    fix: 'DEL and ADD the attachment: something flushed or changed its rules',
  }))
}

// --- internal

function summary({ address, ports }: Publication): string {
  const [first] = ports
  const others = ports.length > 1 ? ` and ${ports.length - 1} more` : ''
  return `${first ? portText(first) : 'nothing'}${others} as ${address}`
}

/** A key in the words of `nft`: that of an owner is a name. */
function keyWords({ collection, key }: ListedElement): readonly string[] {
  if (collection === 'portmap_owners') return key.map(quoted)
  return key.flatMap((part, index) => (index === 0 ? [part] : ['.', part]))
}

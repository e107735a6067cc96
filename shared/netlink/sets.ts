import { type NftFamily, ownTable } from '../plan/element.js'
import type { ListedElement } from '../plan/observer.js'
import { formatAddress } from '../values/address.js'
import { addressFrom } from './address.js'
import type { Ask } from './look.js'
import { type Attribute, attribute, attributesOf, flag, membersOf, type Request, textOf } from './message.js'
import { netfilterHeader, netfilterHeaderBytes, nftablesType, partsOf } from './netfilter.js'

/**
 * The elements of our maps and sets in a family, or of the one of that name, as linux/netfilter/nf_tables.h has them;
 * none where our table, or that one, is absent. Undefined where the kernel does not tell, and of types that none of
 * ours has.
 */
export function listedElements(ask: Ask, family: NftFamily, name?: string): readonly ListedElement[] | undefined {
  const sets = askedParts(ask, NFT_MSG_GETSET, family, name === undefined ? undefined : [attribute(SET.name, name)])
  const found: ListedElement[] = []
  for (const set of sets ?? []) {
    const attributes = attributesOf(set, netfilterHeaderBytes)
    const [collection, flags] = [textOf(attributes.get(SET.name)), attributes.get(SET.flags)?.readUInt32BE() ?? 0]
    if ((flags & NFT_SET_ANONYMOUS) !== 0) continue
    const types = typesOf(attributes.get(SET.keyType)?.readUInt32BE() ?? 0)
    const elements = askedParts(ask, NFT_MSG_GETSETELEM, family, [attribute(SET.name, collection)], flag.dump)
    // Intervals of one field are kept as their ends, each by itself.
    const isReadable = types !== undefined && ((flags & NFT_SET_INTERVAL) === 0 || types.length > 1)
    if (!isReadable || !elements) return undefined
    found.push(...elements.flatMap((part) => elementsIn(part, types).map((one) => ({ collection, ...one }))))
  }
  return sets && found
}

// --- internal

const NFT_MSG_GETSET = nftablesType(10)
const NFT_MSG_GETSETELEM = nftablesType(13)
const NFT_SET_ANONYMOUS = 1
const NFT_SET_INTERVAL = 4
const families: Readonly<Record<NftFamily, number>> = { ip: 2, ip6: 10, bridge: 7 }
const SET = { table: 1, name: 2, flags: 3, keyType: 4 } as const
const LIST = { elements: 3 } as const
const ELEMENT = { key: 1, userData: 6, keyEnd: 10 } as const
const DATA = { value: 1 } as const

/** A list where nothing in particular is asked for; none of what is absent. */
function askedParts(
  ask: Ask,
  type: number,
  family: NftFamily,
  of: readonly Attribute[] | undefined,
  flags = of ? 0 : flag.dump,
): readonly Buffer[] | undefined {
  const header = netfilterHeader(families[family])
  const request: Request = { type, flags, header, attributes: [attribute(SET.table, ownTable), ...(of ?? [])] }
  return partsOf(ask(request))
}

function elementsIn(part: Buffer, types: readonly Type[]): readonly Omit<ListedElement, 'collection'>[] {
  const list = attributesOf(part, netfilterHeaderBytes).get(LIST.elements)
  return (list ? membersOf(list) : []).map((bytes) => {
    const attributes = attributesOf(bytes, 0)
    const [first, last] = [ELEMENT.key, ELEMENT.keyEnd].map((of) => fieldsOf(attributes.get(of), types))
    const comment = commentOf(attributes.get(ELEMENT.userData))
    const key = (first ?? []).map((one, at) => ((last?.[at] ?? one) === one ? one : `${one}-${last?.[at]}`))
    return { key, ...(comment === undefined ? {} : { comment }) }
  })
}

/** The parts of a key, each in words of four bytes where there are several. */
function fieldsOf(bytes: Buffer | undefined, types: readonly Type[]): readonly string[] | undefined {
  const value = bytes && attributesOf(bytes, 0).get(DATA.value)
  if (!value) return undefined
  let at = 0
  return types.map(({ length, show }) => {
    const field = value.subarray(at, at + length)
    at += (length + 3) & ~3
    return show(field)
  })
}

/** A type of nft's, by how many bytes it has and how nft shows it. */
interface Type {
  readonly length: number
  readonly show: (bytes: Buffer) => string
}

const showAddress = (bytes: Buffer) => formatAddress(addressFrom(bytes))
const protocols: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' }

/** By the number that nft gives a type (`nft describe`), and keeps with a set. */
const typesByNumber: Readonly<Record<number, Type>> = {
  7: { length: 4, show: showAddress },
  8: { length: 16, show: showAddress },
  9: { length: 6, show: (bytes) => bytes.toString('hex').replaceAll(/..\B/g, '$&:') },
  12: { length: 1, show: ([number = 0]) => protocols[number] ?? String(number) },
  13: { length: 2, show: (bytes) => String(bytes.readUInt16BE()) },
  41: { length: 16, show: textOf },
}

/** Those of a key's parts: each has six bits of the number. Undefined where one is not known. */
function typesOf(number: number): readonly Type[] | undefined {
  const found: Type[] = []
  for (let rest = number; rest !== 0; rest >>>= 6) {
    const type = typesByNumber[rest & 63]
    if (!type) return undefined
    found.unshift(type)
  }
  return found.length === 0 ? undefined : found
}

/** As nft keeps it: a type (0), a length, a text that ends in 0. */
function commentOf(bytes: Buffer | undefined): string | undefined {
  return bytes?.[0] === 0 ? textOf(bytes.subarray(2, 2 + (bytes[1] ?? 0))) : undefined
}

import { type Element, type NftObject, ownTable } from '../plan/element.js'
import type { Operation } from '../plan/operation.js'
import type { KernelRefusal } from '../plan/refusal.js'
import type { Libc } from '../system/libc.js'
import { letGo, outlive } from '../system/outlive.js'
import { parseAddress } from '../values/address.js'
import { unquoted } from '../values/token.js'
import { addressBytes, isMapped } from './address.js'
import {
  type Attribute,
  acknowledgements,
  askEach,
  attribute,
  attributesOf,
  bytesOf,
  flag,
  openSocket,
  protocol,
  type Request,
  send,
  sizeOf,
} from './message.js'
import { isThere, netfilterHeader, netfilterHeaderBytes, nftablesType, transaction } from './netfilter.js'

// Elements of nftables' maps and sets by nfnetlink, as in linux/netfilter/nf_tables.h: what each ADD and DEL changes.
// Tables, chains, rules and intervals are left to `nft`, and so is every transaction the kernel refuses.

/**
 * Carries out neighbouring operations of nft as one transaction. Not done when one of them is left to `nft`, or the
 * kernel refused: then nothing has changed. The socket outlives the call, see `outlive`.
 */
export function changeElements(
  find: () => Libc | undefined,
  operations: readonly Operation[],
): KernelRefusal & { readonly isDone: boolean } {
  const commands = operations.map(encodeElements)
  if (commands.some((one) => one === undefined)) return { isDone: false }
  const messages = commands.flatMap((one) => one ?? [])
  const libc = find()
  const fd = libc && openSocket(libc, protocol.netfilter)
  if (!libc || fd === undefined) return { isDone: false }
  const errors = send(libc, fd, transaction(messages)) ? acknowledgements(libc, fd) : undefined
  if (errors?.length === 1 && errors[0] === 0) {
    if (messages.some(({ type }) => type === nftablesType(NFT_MSG_DELSETELEM))) outlive(libc, fd)
    return { isDone: true }
  }
  letGo(libc, fd)
  return { isDone: false, kernelError: errors?.find((error) => error !== 0) }
}

/** The messages of an operation, one a command, as they stand in a transaction; undefined when it is left to `nft`. */
export function encodeElements({ argv, netns }: Operation): readonly Request[] | undefined {
  const messages = split(argv, ';').map(messageOf)
  return netns === undefined && messages.every((one) => one !== undefined) ? messages : undefined
}

/**
 * Whether maps and sets hold elements as these say; of one without a value or a comment any will do. Of tables, chains
 * and sets, whether they are there. Undefined when one of them is left to `nft`, or the kernel cannot say.
 */
export function heldElements(
  find: () => Libc | undefined,
  wanted: readonly (Element | NftObject)[],
): readonly boolean[] | undefined {
  const questions = wanted.map((one) => ('collection' in one ? question(one) : objectQuestion(one)))
  if (questions.some((one) => one === undefined)) return undefined
  const libc = find()
  const fd = libc && openSocket(libc, protocol.netfilter)
  if (!libc || fd === undefined) return undefined
  try {
    const held: boolean[] = []
    while (held.length < questions.length) {
      const some = questions.slice(held.length, held.length + mostQuestions).map((one) => one as Question)
      const answers = askEach(
        libc,
        fd,
        some.map(({ request }) => request),
      )
      const there = answers.map(isThere)
      if (there.includes(undefined)) return undefined
      held.push(
        ...some.map((one, index) => (one.entry ? isHeld(one.entry, answers[index]?.parts[0]) : there[index] === true)),
      )
    }
    return held
  } finally {
    letGo(libc, fd)
  }
}

// --- internal

/** The answers to so many fit into a socket's buffer, where the kernel drops what does not. */
const mostQuestions = 32
const NFT_MSG_GETTABLE = 1
const NFT_MSG_GETCHAIN = 4
const NFT_MSG_GETSET = 10
const NFT_MSG_NEWSETELEM = 12
const NFT_MSG_GETSETELEM = 13
const NFT_MSG_DELSETELEM = 14
const list = { table: 1, set: 2, elements: 3 }
const element = { key: 1, data: 2, userData: 6, keyEnd: 10 }
const data = { value: 1, verdict: 2 }
const verdict = { code: 1, chain: 2 }
const families: Record<string, number> = { ip: 2, ip6: 10, bridge: 7 }
const askedFamilies: Record<string, number> = { ...families, inet: 1 }
const verbs: Record<string, { message: number; flags: number }> = {
  add: { message: NFT_MSG_NEWSETELEM, flags: flag.create },
  create: { message: NFT_MSG_NEWSETELEM, flags: flag.create | flag.exclusive },
  delete: { message: NFT_MSG_DELSETELEM, flags: 0 },
}

/** "add element ip TABLE SET { KEY comment TEXT : VALUE , ... }" */
function messageOf(words: readonly string[]): Request | undefined {
  const [verb = '', object, familyName = '', table = '', set = '', open, ...rest] = words
  const [family, how] = [families[familyName], verbs[verb]]
  if (!family || !how || object !== 'element' || open !== '{' || rest.pop() !== '}') return undefined
  const entries = split(rest, ',').map(entryOf)
  if (entries.some((one) => one === undefined)) return undefined
  const all = entries.map((one) => attribute(LIST_ELEMENT, one ?? []))
  if (sizeOf(all) > largestAttribute) return undefined
  const attributes = [attribute(list.table, table), attribute(list.set, set), attribute(list.elements, all)]
  return { type: nftablesType(how.message), flags: how.flags, header: netfilterHeader(family), attributes }
}

const LIST_ELEMENT = 1
/** Lengths of attributes have 16 bits. */
const largestAttribute = 60_000

function entryOf(words: readonly string[]): readonly Attribute[] | undefined {
  const colon = words.indexOf(':')
  const [left, value] = colon < 0 ? [words, undefined] : [words.slice(0, colon), words.slice(colon + 1)]
  const at = left.indexOf('comment')
  return encoded({
    key: at < 0 ? left : left.slice(0, at),
    ...(value ? { value } : {}),
    ...(at < 0 ? {} : { comment: unquoted(left[at + 1] ?? '') }),
  })
}

/** An element, or undefined when it is left to `nft`. */
function encoded({
  key,
  value,
  comment,
}: Pick<Element, 'key' | 'value' | 'comment'>): readonly Attribute[] | undefined {
  const found = dataOf(key)
  const mapped = value && (verdictOf(value) ?? dataOf(value))
  if (found === undefined || (value && mapped === undefined)) return undefined
  return [
    attribute(element.key, [found]),
    ...(mapped ? [attribute(element.data, [mapped])] : []),
    ...(comment === undefined ? [] : [attribute(element.userData, userDataOf(comment))]),
  ]
}

/** A question for an element, which says all of it: the kernel looks for the key. An interval is found by its start. */
function question({ family, collection, key, value, comment }: Element): Question | undefined {
  const interval = key.find(isInterval)
  const bound = (side: 0 | 1) => key.map((word) => (word === interval ? (word.split('-')[side] as string) : word))
  const start = encoded({ key: bound(0), ...(value ? { value } : {}), ...(comment === undefined ? {} : { comment }) })
  const end = interval === undefined ? undefined : dataOf(bound(1))
  if (!start || (interval !== undefined && !end)) return undefined
  const [first, ...rest] = start as [Attribute, ...Attribute[]]
  const entry = bytesOf([first, ...(end ? [attribute(element.keyEnd, [end])] : []), ...rest])
  const attributes = [
    attribute(list.table, ownTable),
    attribute(list.set, collection),
    attribute(list.elements, [attribute(LIST_ELEMENT, entry)]),
  ]
  const type = nftablesType(NFT_MSG_GETSETELEM)
  return { request: { type, flags: 0, header: netfilterHeader(families[family] ?? 0), attributes }, entry }
}

function objectQuestion({ family, table, chain, set }: NftObject): Question {
  const message = chain !== undefined ? NFT_MSG_GETCHAIN : set !== undefined ? NFT_MSG_GETSET : NFT_MSG_GETTABLE
  const attributes = [
    attribute(NAME_OF_TABLE, table),
    ...(chain !== undefined ? [attribute(NAME_OF_CHAIN, chain)] : set !== undefined ? [attribute(list.set, set)] : []),
  ]
  return {
    request: { type: nftablesType(message), flags: 0, header: netfilterHeader(askedFamilies[family] ?? 0), attributes },
  }
}

const NAME_OF_TABLE = 1
const NAME_OF_CHAIN = 3

interface Question {
  readonly request: Request
  /** The element; absent where it is no element that is asked for. */
  readonly entry?: Buffer
}

/** "8080-8090" */
function isInterval(word: string): boolean {
  return word.includes('-') && !word.startsWith('"')
}

/** The kernel answers in the order that the entry has: mostly no part needs to be looked at. */
function isHeld(entry: Buffer, answer: Buffer | undefined): boolean {
  if (!answer) return false
  if (entry.equals(answer.subarray(-entry.length))) return true
  const entries = attributesOf(answer, netfilterHeaderBytes).get(list.elements)
  const found = entries && attributesOf(entries, 0).get(LIST_ELEMENT)
  if (!found) return false
  const [wanted, shown] = [partsOf(entry), partsOf(found)]
  const isSaid = (said: string | undefined, is: string | undefined) => said === undefined || said === is
  return (
    shown.key === wanted.key &&
    shown.end === wanted.end &&
    isSaid(wanted.value, shown.value) &&
    isSaid(wanted.comment, shown.comment)
  )
}

/** An element's parts, each as a text to compare. */
function partsOf(entry: Buffer) {
  const parts = attributesOf(entry, 0)
  const [key, end, value] = [element.key, element.keyEnd, element.data].map((type) => shownData(parts.get(type)))
  return { key, end, value, comment: parts.get(element.userData)?.toString('latin1') }
}

function shownData(bytes: Buffer | undefined): string | undefined {
  const parts = bytes && attributesOf(bytes, 0)
  const code = parts?.get(data.verdict)
  if (!code) return parts?.get(data.value)?.toString('hex')
  const shown = attributesOf(code, 0)
  return `${shown.get(verdict.code)?.toString('hex')} ${shown.get(verdict.chain)?.toString('latin1')}`
}

/** The form nft keeps a comment in and shows it from: a type, a length, a text that ends in 0. */
function userDataOf(value: string): Buffer {
  const bytes = Buffer.from(`${value}\0`)
  return Buffer.concat([Buffer.from([0, bytes.length]), bytes])
}

/** "jump CHAIN" and the like. */
function verdictOf([name = '', chain]: readonly string[]): Attribute | undefined {
  const code = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 }[name]
  if (code === undefined) return undefined
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(code)
  const parts = [attribute(verdict.code, bytes), ...(chain === undefined ? [] : [attribute(verdict.chain, chain)])]
  return attribute(data.verdict, parts)
}

/** One field, or several joined by "." of which each fills whole words of four bytes. */
function dataOf(words: readonly string[]): Attribute | undefined {
  const fields = split(words, '.').map((one) => (one.length === 1 ? fieldOf(one[0] as string) : undefined))
  if (fields.some((one) => one === undefined)) return undefined
  const known = fields.map((one) => one as Buffer)
  const bytes = known.length === 1 ? (known[0] as Buffer) : Buffer.concat(known.map(padded))
  return attribute(data.value, bytes)
}

/** Many elements share a word. */
const fieldsByWord = new Map<string, Buffer | undefined>()

function fieldOf(word: string): Buffer | undefined {
  if (!fieldsByWord.has(word)) fieldsByWord.set(word, bytesOfField(word))
  return fieldsByWord.get(word)
}

/** An interface name, protocol, port, MAC address or address, told apart by its form; a range or prefix is none. */
function bytesOfField(word: string): Buffer | undefined {
  if (word.startsWith('"')) return Buffer.concat([Buffer.from(unquoted(word)), Buffer.alloc(IFNAMSIZ)], IFNAMSIZ)
  const transport = { tcp: 6, udp: 17, sctp: 132 }[word]
  if (transport !== undefined) return Buffer.from([transport])
  const port = Number(word)
  if (Number.isInteger(port) && port >= 0 && port < 2 ** 16) return Buffer.from([port >> 8, port & 255])
  const bytes = word.split(':')
  if (bytes.length === 6 && bytes.every((one) => one.length === 2)) return Buffer.from(bytes.join(''), 'hex')
  const address = parseAddress(word)
  return address && !isMapped(word, address.family) ? addressBytes(address) : undefined
}

const IFNAMSIZ = 16

const padding = Buffer.alloc(3)

function padded(field: Buffer): Buffer {
  return field.length % 4 === 0 ? field : Buffer.concat([field, padding], (field.length + 3) & ~3)
}

function split(words: readonly string[], separator: string): string[][] {
  const parts: string[][] = [[]]
  for (const word of words) {
    if (word === separator) parts.push([])
    else parts.at(-1)?.push(word)
  }
  return parts
}

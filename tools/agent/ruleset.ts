import { addressBytes } from '../../shared/netlink/address.js'
import {
  type Answer,
  type Attribute,
  acknowledgements,
  ask,
  attribute,
  attributesOf,
  flag,
  openSocket,
  protocol,
  type Request,
  send,
  u32,
} from '../../shared/netlink/message.js'
import { netfilterHeader, netfilterHeaderBytes, nftablesType, transaction } from '../../shared/netlink/netfilter.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Libc } from '../../shared/system/libc.js'
import { type Address, offset, parseAddress } from '../../shared/values/address.js'

// Tables, chains, rules and sets of intervals by nfnetlink, as in linux/netfilter/nf_tables.h: what the agent changes
// of nftables, so that its image needs no `nft`. Numbers inside attributes are in network byte order. It knows the
// words that masquerade.ts uses, and no others.

/**
 * Carries out operations of nft as one transaction.
 * @returns 0, or a negative errno: then nothing has changed
 */
export function changeRuleset(libc: Libc, operations: readonly Operation[]): number {
  const requests = encodeRuleset(operations)
  const fd = openSocket(libc, protocol.netfilter)
  if (fd === undefined) return -ENOBUFS
  try {
    const bytes = transaction(requests)
    const room = u32(bytes.length * 2)
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, libc.address(room), room.length)
    if (!send(libc, fd, bytes)) return -ENOBUFS
    const errors = acknowledgements(libc, fd) ?? [-ENOBUFS]
    return errors.find((error) => error !== 0) ?? (errors.length === 0 ? -ENOBUFS : 0)
  } finally {
    libc.close(fd)
  }
}

/** The requests of a transaction. @throws Error on words that it does not know */
export function encodeRuleset(operations: readonly Operation[]): readonly Request[] {
  const identities = new Map<string, number>()
  return operations.flatMap(({ argv }) => {
    const [verb, kind, familyName = '', table = '', ...words] = argv
    const family = families[familyName]
    const encoder = encoders[`${verb} ${kind}`]
    if (family === undefined || encoder === undefined) unknown(argv)
    return encoder({ family, table, words, identities })
  })
}

/**
 * What there is of a table, as a text that two looks at the same table have in common; undefined where there is no
 * table, or the kernel does not tell.
 */
export function rulesetNow(libc: Libc, familyName: 'ip' | 'ip6', table: string, sets: readonly string[]) {
  const family = families[familyName] as number
  return withSocket(libc, (fd) => {
    const dump = (message: number, attributes: readonly Attribute[]) =>
      ask(libc, fd, { type: nftablesType(message), flags: flag.dump, header: netfilterHeader(family), attributes })
    const rules = dump(NFT_MSG_GETRULE, [attribute(1, table)])
    const chains = dump(NFT_MSG_GETCHAIN, [])
    const elements = sets.map((set) => dump(NFT_MSG_GETSETELEM, [attribute(1, table), attribute(2, set)]))
    const all = [rules, ...elements, chains]
    if (all.some((answer) => answer?.error !== 0)) return undefined
    const ofTable = partsOf(chains).filter((part) => textIn(part, 1) === table)
    const [ruleParts, elementParts] = [partsOf(rules), elements.flatMap(partsOf)]
    if (ofTable.length === 0 || ruleParts.length === 0) return undefined
    return Buffer.concat([...ofTable, ...ruleParts, ...elementParts]).toString('latin1')
  })
}

/** The number of the rule set as a whole: every change by whomever makes it another. Undefined where it is not told. */
export function generationOf(libc: Libc): number | undefined {
  return withSocket(libc, (fd) => {
    const answer = ask(libc, fd, {
      type: nftablesType(NFT_MSG_GETGEN),
      flags: 0,
      header: netfilterHeader(0),
      attributes: [],
    })
    const [part] = partsOf(answer)
    return part && attributesOf(part, netfilterHeaderBytes).get(1)?.readUInt32BE()
  })
}

// --- internal

const ENOBUFS = 105
const SOL_SOCKET = 1
const SO_SNDBUFFORCE = 32
const NFT_MSG_NEWTABLE = 0
const NFT_MSG_DELTABLE = 2
const NFT_MSG_NEWCHAIN = 3
const NFT_MSG_GETCHAIN = 4
const NFT_MSG_NEWRULE = 6
const NFT_MSG_GETRULE = 7
const NFT_MSG_NEWSET = 9
const NFT_MSG_NEWSETELEM = 12
const NFT_MSG_GETSETELEM = 13
const NFT_MSG_GETGEN = 16
const NLM_F_APPEND = 0x800
const families: Readonly<Record<string, 2 | 10>> = { ip: 2, ip6: 10 }

interface Words {
  readonly family: 2 | 10
  readonly table: string
  readonly words: readonly string[]
  /** By the names of sets, the numbers that the transaction has for them. */
  readonly identities: Map<string, number>
}

const encoders: Readonly<Record<string, (words: Words) => readonly Request[]>> = {
  'add table': ({ family, table }) => [make(NFT_MSG_NEWTABLE, family, [attribute(1, table)])],
  'delete table': ({ family, table }) => [
    {
      type: nftablesType(NFT_MSG_DELTABLE),
      flags: 0,
      header: netfilterHeader(family),
      attributes: [attribute(1, table)],
    },
  ],
  'add chain': addChain,
  'add set': addSet,
  'add element': addElements,
  'add rule': addRule,
}

/** "NAME { type nat hook postrouting priority 110 ; policy accept ; }" */
function addChain({ family, table, words }: Words): readonly Request[] {
  const [name = '', open, , type = '', , hook, , priority = '', , , policy] = words
  if (open !== '{' || hook !== 'postrouting' || policy !== 'accept') unknown(words)
  const [NF_INET_POST_ROUTING, NF_ACCEPT] = [4, 1]
  return [
    make(NFT_MSG_NEWCHAIN, family, [
      attribute(1, table),
      attribute(3, name),
      attribute(4, [attribute(1, big(NF_INET_POST_ROUTING)), attribute(2, big(Number(priority)))]),
      attribute(5, big(NF_ACCEPT)),
      attribute(7, type),
    ]),
  ]
}

/** "NAME { type ipv4_addr ; flags interval ; }" */
function addSet({ family, table, words, identities }: Words): readonly Request[] {
  const [name = '', , , type] = words
  const known = { ipv4_addr: { number: 7, bytes: 4 }, ipv6_addr: { number: 8, bytes: 16 } }[type ?? '']
  if (!known || !words.includes('interval')) unknown(words)
  const identity = identities.size + 1
  identities.set(name, identity)
  const NFT_SET_INTERVAL = 4
  // How nft shows keys: their byte order (2: network), in the byte order of the machine.
  const userData = Buffer.concat([Buffer.from([0, 4]), u32(2)])
  return [
    make(NFT_MSG_NEWSET, family, [
      attribute(1, table),
      attribute(2, name),
      attribute(3, big(NFT_SET_INTERVAL)),
      attribute(4, big(known.number)),
      attribute(5, big(known.bytes)),
      attribute(10, big(identity)),
      attribute(13, userData),
    ]),
  ]
}

/** "NAME { FIRST-LAST , ADDRESS }": an interval is its first address, and the one behind its last as its end. */
function addElements({ family, table, words, identities }: Words): readonly Request[] {
  const [name = '', ...rest] = words
  const NFT_SET_ELEM_INTERVAL_END = 1
  const element = (address: Address, isEnd: boolean) =>
    attribute(1, [
      ...(isEnd ? [attribute(3, big(NFT_SET_ELEM_INTERVAL_END))] : []),
      attribute(1, [attribute(1, addressBytes(address))]),
    ])
  const all = rest
    .filter((word) => !['{', '}', ','].includes(word))
    .flatMap((word) => {
      const [from = '', to = from] = word.split('-')
      const [first, last] = [parseAddress(from), parseAddress(to)]
      if (!first || !last) unknown(words)
      const behind = offset(last, 1n)
      return [element(first, false), ...(behind ? [element(behind, true)] : [])]
    })
  const requests: Request[] = []
  for (let at = 0; at < all.length; at += mostElements) {
    requests.push(
      make(NFT_MSG_NEWSETELEM, family, [
        attribute(1, table),
        attribute(2, name),
        attribute(4, big(identities.get(name) ?? 0)),
        attribute(3, all.slice(at, at + mostElements)),
      ]),
    )
  }
  return requests
}

/** Elements of 40 bytes at the most, in an attribute whose length has 16 bits. */
const mostElements = 1000

/** "CHAIN ip saddr != @SET return", "CHAIN ip daddr @SET return", "CHAIN masquerade fully-random" */
function addRule({ family, table, words, identities }: Words): readonly Request[] {
  const [chain = '', ...rule] = words
  const expressions = rule[0] === 'masquerade' ? masquerade(rule) : returning(family, rule, identities)
  const attributes = [attribute(1, table), attribute(2, chain), attribute(4, expressions)]
  const flags = flag.create | NLM_F_APPEND
  return [{ type: nftablesType(NFT_MSG_NEWRULE), flags, header: netfilterHeader(family), attributes }]
}

function masquerade(rule: readonly string[]): readonly Attribute[] {
  if (rule[1] !== 'fully-random') unknown(rule)
  const NF_NAT_RANGE_PROTO_RANDOM_FULLY = 16
  return [expression('masq', [attribute(1, big(NF_NAT_RANGE_PROTO_RANDOM_FULLY))])]
}

function returning(family: 2 | 10, rule: readonly string[], identities: Words['identities']): readonly Attribute[] {
  const isNegated = rule[2] === '!='
  const [, field = '', ...rest] = rule.filter((word) => word !== '!=')
  const [set = '', verdict] = rest
  const place = { saddr: { 2: 12, 10: 8 }, daddr: { 2: 16, 10: 24 } }[field]?.[family]
  const identity = identities.get(set.slice(1))
  if (place === undefined || identity === undefined || verdict !== 'return') unknown(rule)
  const [REGISTER, NETWORK_HEADER, VERDICT_REGISTER, NFT_RETURN] = [1, 1, 0, -5]
  return [
    expression('payload', [
      attribute(1, big(REGISTER)),
      attribute(2, big(NETWORK_HEADER)),
      attribute(3, big(place)),
      attribute(4, big(family === 2 ? 4 : 16)),
    ]),
    expression('lookup', [
      attribute(1, set.slice(1)),
      attribute(2, big(REGISTER)),
      attribute(4, big(identity)),
      ...(isNegated ? [attribute(5, big(1))] : []),
    ]),
    expression('immediate', [
      attribute(1, big(VERDICT_REGISTER)),
      attribute(2, [attribute(2, [attribute(1, big(NFT_RETURN))])]),
    ]),
  ]
}

function expression(name: string, data: readonly Attribute[]): Attribute {
  return attribute(1, [attribute(1, name), attribute(2, data)])
}

function make(message: number, family: number, attributes: readonly Attribute[]): Request {
  return { type: nftablesType(message), flags: flag.create, header: netfilterHeader(family), attributes }
}

/** 32 bits in network byte order. */
function big(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function partsOf(answer: Answer | undefined): readonly Buffer[] {
  return answer?.parts ?? []
}

function textIn(part: Buffer, type: number): string {
  return attributesOf(part, netfilterHeaderBytes).get(type)?.toString('latin1').replace('\0', '') ?? ''
}

function withSocket<T>(libc: Libc, body: (fd: number) => T): T | undefined {
  const fd = openSocket(libc, protocol.netfilter)
  if (fd === undefined) return undefined
  try {
    return body(fd)
  } finally {
    libc.close(fd)
  }
}

function unknown(words: readonly string[]): never {
  throw new Error(`words of nft that the agent does not know: ${words.join(' ')}`)
}

import { parseAddress, parseCidr } from '../../shared/values/address.js'

/**
 * The words of a condition as nft reads them: match expressions on headers, `meta`, `ct` and `fib`, with anonymous
 * sets, intervals and concatenations. Statements, verdicts, named sets, maps and variables are none: they would act,
 * or refer to what is not there.
 * @returns the words, each one token; or the place of the first that does not fit, and what would
 */
export function nftWords(given: readonly string[]): { words: readonly string[] } | { fault: string } {
  const reader = new Reader(tokensOf(given.join(' ')))
  try {
    while (!reader.isAtEnd()) match(reader)
    return { words: reader.words }
  } catch (thrown) {
    if (!(thrown instanceof Misfit)) throw thrown
    const before = reader.words.slice(0, reader.at).join(' ')
    const found = reader.words[reader.at]
    const where = found === undefined ? `the end, behind "${before}"` : `"${found}"${before && `, behind "${before}"`}`
    return { fault: `${where}: ${thrown.message}` }
  }
}

// --- internal

class Misfit extends Error {}

class Reader {
  readonly words: readonly string[]
  at = 0

  constructor(words: readonly string[]) {
    this.words = words
  }

  isAtEnd(): boolean {
    return this.at >= this.words.length
  }

  /** The word here; "" at the end. */
  peek(distance = 0): string {
    return this.words[this.at + distance] ?? ''
  }

  take(): string {
    return this.words[this.at++] ?? ''
  }

  /** Takes the word here where it is one of these. */
  takes(words: readonly string[]): boolean {
    if (this.isAtEnd() || !words.includes(this.peek())) return false
    this.at++
    return true
  }

  refuse(expected: string): never {
    throw new Misfit(`expected ${expected}`)
  }
}

/** Signs that are words of their own wherever they stand; in an operator two belong together. */
const signs = '{}(),'
const operatorSigns = '!=<>&|^'

/** A text split as nft's scanner does: a quoted text is one token, with its quotes. */
function tokensOf(text: string): readonly string[] {
  const tokens: string[] = []
  let word = ''
  const end = () => {
    if (word !== '') tokens.push(word)
    word = ''
  }
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string
    if (char === '"') {
      const close = text.indexOf('"', at + 1)
      end()
      tokens.push(text.slice(at, close < 0 ? text.length : close + 1))
      at = close < 0 ? text.length : close
    } else if (char === ' ' || char === '\t' || char === '\n') end()
    else if (signs.includes(char)) {
      end()
      tokens.push(char)
    } else {
      if (operatorSigns.includes(char) !== operatorSigns.includes(word.slice(-1))) end()
      word += char
    }
  }
  end()
  return tokens
}

const network = ['saddr', 'daddr', 'version', 'dscp', 'ecn', 'length']
const transport = ['sport', 'dport', 'length', 'checksum']

/** Headers and their fields. */
const headers: Readonly<Record<string, readonly string[]>> = {
  ip: [...network, 'protocol', 'ttl', 'id', 'frag-off', 'hdrlength', 'checksum'],
  ip6: [...network, 'nexthdr', 'hoplimit', 'flowlabel'],
  tcp: [...transport, 'flags', 'sequence', 'ackseq', 'window', 'urgptr', 'doff'],
  udp: transport,
  udplite: transport,
  sctp: [...transport, 'vtag'],
  dccp: ['sport', 'dport', 'type'],
  th: ['sport', 'dport'],
  icmp: ['type', 'code', 'id', 'sequence', 'mtu', 'gateway', 'checksum'],
  icmpv6: ['type', 'code', 'id', 'sequence', 'mtu', 'max-delay', 'checksum'],
  ether: ['saddr', 'daddr', 'type'],
  vlan: ['id', 'pcp', 'dei', 'type'],
}

const links = ['iif', 'iifname', 'iiftype', 'iifgroup', 'oif', 'oifname', 'oiftype', 'oifgroup']
/** Keys of `meta` that need not be said to be of it. */
const bareMeta = [...links, 'mark', 'skuid', 'skgid', 'pkttype', 'cpu', 'cgroup', 'rtclassid']
const metaKeys = [...bareMeta, 'l4proto', 'nfproto', 'protocol', 'length', 'priority', 'time', 'day', 'hour', 'secmark']

const ctKeys = ['state', 'status', 'mark', 'direction', 'expiration', 'helper', 'zone', 'label', 'id', 'l3proto']
const ctOfDirection = ['saddr', 'daddr', 'protocol', 'proto-src', 'proto-dst', 'bytes', 'packets', 'avgpkt', 'zone']

/** What the values of a selector are, where a wrong one can be told. */
type Kind = 4 | 6 | 'port' | 'state' | 'any'

const states = ['new', 'established', 'related', 'untracked', 'invalid']

function match(reader: Reader): void {
  const kinds = [selector(reader)]
  while (reader.takes(['.'])) kinds.push(selector(reader))
  while (reader.takes(['&', '|', '^', 'and', 'or', 'xor'])) {
    operand(reader)
    kinds[0] = 'any'
  }
  reader.takes(['==', '!=', '<', '>', '<=', '>=', 'eq', 'ne', 'lt', 'gt', 'le', 'ge'])
  if (reader.takes(['{'])) {
    do element(reader, kinds)
    while (reader.takes([',']))
    if (!reader.takes(['}'])) reader.refuse('"," or "}"')
    return
  }
  do element(reader, kinds)
  while (reader.takes([',', '|']))
}

/** What a packet is looked at for. */
function selector(reader: Reader): Kind {
  const word = reader.peek()
  if (Object.hasOwn(headers, word)) {
    reader.take()
    const field = only(reader, headers[word] ?? [])
    if (field === 'sport' || field === 'dport') return 'port'
    const isAddress = field === 'saddr' || field === 'daddr'
    return isAddress && word === 'ip' ? 4 : isAddress && word === 'ip6' ? 6 : 'any'
  }
  if (bareMeta.includes(word)) {
    reader.take()
    return 'any'
  }
  if (reader.takes(['meta'])) {
    only(reader, metaKeys)
    return 'any'
  }
  if (reader.takes(['ct'])) return tracked(reader)
  if (reader.takes(['fib'])) return routed(reader)
  return reader.refuse(
    'a match: a header (ip, ip6, tcp, udp, sctp, th, icmp, icmpv6, ether, vlan), meta, ct, fib, iif or oif',
  )
}

function tracked(reader: Reader): Kind {
  const hasDirection = reader.takes(['original', 'reply'])
  const family = reader.takes(['ip']) ? 4 : reader.takes(['ip6']) ? 6 : 'any'
  if (family !== 'any') {
    only(reader, ['saddr', 'daddr'])
    return family
  }
  const key = only(reader, hasDirection ? ctOfDirection : [...ctKeys, ...ctOfDirection])
  return key === 'state' ? 'state' : 'any'
}

function routed(reader: Reader): Kind {
  const flags = ['saddr', 'daddr', 'mark', 'iif', 'oif']
  do only(reader, flags)
  while (reader.takes(['.']))
  only(reader, ['type', 'oif', 'oifname'])
  return 'any'
}

function only(reader: Reader, words: readonly string[]): string {
  if (!words.includes(reader.peek()) || reader.isAtEnd()) reader.refuse(`one of ${words.join(', ')}`)
  return reader.take()
}

/** A value, or one for each part of a concatenation. */
function element(reader: Reader, kinds: readonly Kind[]): void {
  kinds.forEach((kind, index) => {
    if (index > 0 && !reader.takes(['.'])) reader.refuse('"." and the next part of the concatenation')
    value(reader, kind)
  })
}

/** A mask: a value, or several in brackets. */
function operand(reader: Reader): void {
  const isGroup = reader.takes(['('])
  do value(reader, 'any')
  while (isGroup && reader.takes(['|', ',']))
  if (isGroup && !reader.takes([')'])) reader.refuse('")"')
}

/** A value, or the first and the last of an interval: one word where neither is quoted nor stands by itself. */
function value(reader: Reader, kind: Kind): void {
  single(reader, kind)
  if (reader.takes(['-'])) single(reader, kind)
}

function single(reader: Reader, kind: Kind): void {
  const word = reader.peek()
  if (!isWord(word)) reader.refuse('a value')
  const text = unquoted(word)
  if ((kind === 4 || kind === 6) && !(text === word ? isAddress(word, kind) : isOf(kind, text))) {
    reader.refuse(`an IPv${kind} address, a subnet or FIRST-LAST`)
  }
  if (kind === 'port' && !isPort(text)) reader.refuse('a port from 0 to 65535, FIRST-LAST or the name of a service')
  if (kind === 'state' && !states.includes(text)) reader.refuse(`one of ${states.join(', ')}`)
  reader.take()
}

function unquoted(word: string): string {
  return word.length > 2 && word.startsWith('"') && word.endsWith('"') ? word.slice(1, -1) : word
}

/** One word of letters, digits and what addresses, masks, intervals, times and names have; or such a text in quotes. */
function isWord(word: string): boolean {
  const text = unquoted(word)
  const isQuoted = text !== word
  const allowed = isQuoted ? ' -_.:/*+@' : '-_.:/*+'
  for (const char of text.toLowerCase()) {
    const isAlphanumeric = (char >= 'a' && char <= 'z') || (char >= '0' && char <= '9')
    if (!isAlphanumeric && !allowed.includes(char)) return false
  }
  return text !== '' && text !== '.' && !statements.includes(text)
}

/** What begins a statement or names a map: never a value. */
const statements = [
  'accept',
  'drop',
  'return',
  'jump',
  'goto',
  'continue',
  'queue',
  'vmap',
  'map',
  'set',
  'counter',
  'log',
  'reject',
]

function isAddress(word: string, family: 4 | 6): boolean {
  const [first = '', last, ...more] = word.split('-')
  if (last !== undefined) return more.length === 0 && isOf(family, first) && isOf(family, last)
  return isOf(family, word) || parseCidr(word)?.address.family === family
}

function isOf(family: 4 | 6, text: string): boolean {
  return parseAddress(text)?.family === family
}

function isPort(word: string): boolean {
  return word.split('-').every((part) => !isNumber(part) || Number(part) <= 65535) && word !== '-'
}

function isNumber(text: string): boolean {
  for (const char of text) if (char < '0' || char > '9') return false
  return text !== ''
}

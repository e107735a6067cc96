import type { Operation } from '../plan/operation.js'
import { parseAddress, parseCidr } from '../values/address.js'
import { unquoted } from '../values/token.js'
import { addressBytes, families, isMapped, scopes } from './address.js'
import { encodeFields, information, link, linkHeader, linkKinds, parseU32, portKinds } from './links.js'
import { type Attribute, attribute, flag, type Request, request, u32 } from './message.js'

/** What encoding has to look up in the namespace at hand. */
export interface Lookup {
  /** Undefined when no link has the name. */
  readonly indexOf: (link: string) => number | undefined
  /** An open file of the network namespace; undefined when it cannot be opened. */
  readonly openNetns: (path: string) => number | undefined
}

/**
 * The request by which `ip` would carry out its operation (ip-link(8), ip-address(8), ip-route(8), rtnetlink(7)), for
 * those words that plans use most. Undefined for all others: only `ip` does them.
 */
export function encode({ argv }: Operation, lookup: Lookup): Request | undefined {
  const [object = '', verb = '', ...words] = argv
  try {
    return encoders[`${object} ${verb}`]?.(words, lookup)
  } catch (thrown) {
    if (thrown instanceof ToolNeeded) return undefined
    throw thrown
  }
}

/** Types of a route's attributes, as in linux/rtnetlink.h. */
export const RTA = {
  destination: 1,
  outgoing: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  multipath: 9,
  table: 15,
  via: 18,
  preference: 20,
} as const

export const RTN_UNICAST = 1

// --- internal

class ToolNeeded extends Error {}

type Words = ReadonlyMap<string, string>

const encoders: Record<string, (words: readonly string[], lookup: Lookup) => Request> = {
  'link add': addLink,
  'link set': setLink,
  'link del': deleteLink,
  'addr add': addAddress,
  'route add': (words, lookup) => newRoute(words, lookup, flag.create | flag.exclusive),
  'route prepend': (words, lookup) => newRoute(words, lookup, flag.create),
  'route replace': (words, lookup) => newRoute(words, lookup, flag.create | flag.replace),
  'route del': (words, lookup) => ({
    type: request.deleteRoute,
    flags: 0,
    ...route(words, lookup, { protocol: 0, scope: RT_SCOPE_NOWHERE, type: 0 }),
  }),
}

function addLink(words: readonly string[], lookup: Lookup): Request {
  const at = words.indexOf('type')
  const [kind = '', ...details] = words.slice(at + 1)
  const data = kind === 'veth' ? peerOf(details, lookup) : encodeFields(linkKinds[kind] ?? needTool(), paired(details))
  const attributes = [...linkAttributes(paired(words.slice(0, at)), lookup), kindAndData(kind, data ?? needTool())]
  return { type: request.newLink, flags: flag.create | flag.exclusive, header: linkHeader(), attributes }
}

function kindAndData(kind: string, data: readonly Attribute[]): Attribute {
  const inner = data.length === 0 ? [] : [attribute(information.data, data)]
  return attribute(link.information, [attribute(information.kind, Buffer.from(kind)), ...inner])
}

/** The other end of a veth, from the words behind its kind. */
function peerOf([peer, ...words]: readonly string[], lookup: Lookup): readonly Attribute[] {
  if (peer !== 'peer') needTool()
  const VETH_INFO_PEER = 1
  return [attribute(VETH_INFO_PEER, [linkHeader(), ...linkAttributes(paired(words), lookup)])]
}

function linkAttributes(words: Words, lookup: Lookup): readonly Attribute[] {
  return [...words].map(([word, value]) => (linkWords[word] ?? needTool())(value, lookup))
}

const linkWords: Record<string, (value: string, lookup: Lookup) => Attribute> = {
  name: (value) => attribute(link.name, value),
  dev: (value) => attribute(link.name, value),
  address: (value) => attribute(link.address, Buffer.from(value.replaceAll(':', ''), 'hex')),
  mtu: (value) => attribute(link.mtu, u32Of(value)),
  txqueuelen: (value) => attribute(link.queueLength, u32Of(value)),
  link: (value, lookup) => attribute(link.link, lookup.indexOf(value) ?? needTool()),
  master: (value, lookup) => attribute(link.master, lookup.indexOf(value) ?? needTool()),
  netns: (value, lookup) => attribute(link.netns, lookup.openNetns(value) ?? needTool()),
  alias: (value) => attribute(link.alias, Buffer.from(unquoted(value))),
}

/** With a new name, which stands where the old one would, the link is meant by its number. */
function setLink(words: readonly string[], lookup: Lookup): Request {
  const at = words.indexOf('type')
  const [own, port] = at < 0 ? [words, []] : [words.slice(0, at), portAttributes(words.slice(at + 1))]
  const { dev = '', name = dev, ...others } = Object.fromEntries(paired(own, ['up', 'down']))
  const isRenamed = name !== dev
  const entries = Object.entries(others)
  const bits = entries.flatMap(([word, value]) => linkFlags[word]?.(value) ?? [])
  const values = entries.filter(([word]) => !(word in linkFlags))
  const header = linkHeader({
    index: isRenamed ? (lookup.indexOf(dev) ?? needTool()) : 0,
    flags: bits.reduce((sum, { bit, on }) => sum | (on ? bit : 0), 0),
    change: bits.reduce((sum, { bit }) => sum | bit, 0),
  })
  const attributes = linkAttributes(new Map([['name', name], ...values]), lookup)
  return { type: request.newLink, flags: 0, header, attributes: [...attributes, ...port] }
}

/** A link's flags by their words, as in linux/if.h. */
const linkFlags: Record<string, (value: string) => { bit: number; on: boolean }> = {
  up: () => ({ bit: 1, on: true }),
  down: () => ({ bit: 1, on: false }),
  promisc: (value) => ({ bit: 0x100, on: switched(value) }),
  allmulticast: (value) => ({ bit: 0x200, on: switched(value) }),
}

/** What only ports have, from the words behind `type`. */
function portAttributes([word = '', ...words]: readonly string[]): readonly Attribute[] {
  const { kind, fields } = portKinds[word] ?? needTool()
  const data = encodeFields(fields, paired(words)) ?? needTool()
  const inner = [attribute(information.portKind, Buffer.from(kind)), attribute(information.portData, data)]
  return [attribute(link.information, inner)]
}

function switched(value: string): boolean {
  return value === 'on' || (value === 'off' ? false : needTool())
}

function deleteLink(words: readonly string[], lookup: Lookup): Request {
  const attributes = linkAttributes(paired(words), lookup)
  return { type: request.deleteLink, flags: 0, header: linkHeader(), attributes }
}

/** The header is struct ifaddrmsg. */
function addAddress([text = '', ...words]: readonly string[], lookup: Lookup): Request {
  const { dev = '', brd, ...others } = Object.fromEntries(paired(words, ['nodad']))
  const { nodad, ...unknown } = others
  const { address: of, prefix } = cidrOf(text)
  const index = lookup.indexOf(dev) ?? needTool()
  if (Object.keys(unknown).length > 0) needTool()
  const IFA_F_NODAD = 2
  const address = addressBytes(of)
  const header = Buffer.from([families[of.family], prefix, nodad === undefined ? 0 : IFA_F_NODAD, scope(address)])
  const IFA = { address: 1, local: 2, broadcast: 4 }
  const attributes = [attribute(IFA.local, address), attribute(IFA.address, address)]
  if (brd !== undefined && prefix <= 30) attributes.push(attribute(IFA.broadcast, broadcast(address, prefix)))
  const flags = flag.create | flag.exclusive
  return { type: request.newAddress, flags, header: Buffer.concat([header, u32(index)]), attributes }
}

/** As `ip` decides it: only loopback addresses are not for everyone. */
function scope(address: Buffer): number {
  return address.length === 4 && address[0] === 127 ? scopes.host : scopes.global
}

/** What `brd +` stands for: the last address of the subnet, where that is none of its links' own. */
function broadcast(address: Buffer, prefix: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE((address.readUInt32BE() | (2 ** (32 - prefix) - 1)) >>> 0)
  return bytes
}

function newRoute(words: readonly string[], lookup: Lookup, flags: number): Request {
  const isDirect = !words.includes('via')
  const usual = { protocol: RTPROT_BOOT, scope: isDirect ? scopes.link : scopes.global, type: RTN_UNICAST }
  return { type: request.newRoute, flags, ...route(words, lookup, usual) }
}

/** The header is struct rtmsg; `usual` is what stands there unless a word says otherwise; of IPv6 none has a scope. */
function route(
  [to = '', ...words]: readonly string[],
  lookup: Lookup,
  usual: { protocol: number; scope: number; type: number },
): Pick<Request, 'header' | 'attributes'> {
  const options = paired(words, ['onlink'])
  for (const word of options.keys()) if (!routeWords.includes(word)) needTool()
  const { address, prefix } = cidrOf(to)
  const [gateway, source] = ['via', 'src'].map((word) => gatewayOf(options.get(word), address.family))
  const index = lookup.indexOf(options.get('dev') ?? '') ?? needTool()
  const table = u32Of(options.get('table') ?? String(RT_TABLE_MAIN))
  const scope =
    named(options.get('scope'), { ...scopes, 0: 0, 253: 253, 254: 254 }) ??
    (address.family === 6 ? scopes.global : usual.scope)
  const protocol = named(options.get('proto'), protocols) ?? usual.protocol
  const numbers = [families[address.family], prefix, 0, 0, table > 255 ? 0 : table, protocol, scope, usual.type]
  const attributes = [
    ...(prefix > 0 ? [attribute(RTA.destination, addressBytes(address))] : []),
    ...(gateway ? [attribute(RTA.gateway, gateway)] : []),
    ...(source ? [attribute(RTA.preferredSource, source)] : []),
    attribute(RTA.outgoing, index),
    ...(table > 255 ? [attribute(RTA.table, table)] : []),
    ...numberOf(options, 'metric', RTA.priority),
    ...metrics(options),
  ]
  const onlink = u32(options.has('onlink') ? RTNH_F_ONLINK : 0)
  return { header: Buffer.concat([Buffer.from(numbers), onlink]), attributes }
}

const routeWords = ['via', 'src', 'dev', 'metric', 'table', 'scope', 'proto', 'mtu', 'advmss', 'onlink']
const RT_TABLE_MAIN = 254
const RT_SCOPE_NOWHERE = 255
const RTPROT_BOOT = 3
const RTNH_F_ONLINK = 4
/** By their names, and the agent's by its number (tools/agent/routes.ts). */
const protocols: Record<string, number> = { kernel: 2, boot: 3, static: 4, 117: 117 }

/** The number of a name; undefined where no name is given. */
function named(name: string | undefined, numbers: Record<string, number>): number | undefined {
  return name === undefined ? undefined : (numbers[name] ?? needTool())
}

/** An address beside a destination; only of the destination's family. */
function gatewayOf(text: string | undefined, family: 4 | 6): Buffer | undefined {
  if (text === undefined) return undefined
  const address = parseAddress(text) ?? needTool()
  return address.family === family && !isMapped(text, family) ? addressBytes(address) : needTool()
}

function metrics(options: Words): readonly Attribute[] {
  const RTAX = { mtu: 2, advmss: 8 }
  const inner = [...numberOf(options, 'mtu', RTAX.mtu), ...numberOf(options, 'advmss', RTAX.advmss)]
  return inner.length > 0 ? [attribute(RTA.metrics, inner)] : []
}

function numberOf(options: Words, word: string, type: number): readonly Attribute[] {
  const value = options.get(word)
  return value === undefined ? [] : [attribute(type, u32Of(value))]
}

function cidrOf(text: string) {
  const cidr = parseCidr(text) ?? needTool()
  return isMapped(text, cidr.address.family) ? needTool() : cidr
}

/** "dev eth0 mtu 1400" as a map; words of `alone` have no value. */
function paired(words: readonly string[], alone: readonly string[] = []): Words {
  const found = new Map<string, string>()
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    const value = alone.includes(word) ? '' : words[++at]
    found.set(word, value ?? needTool())
  }
  return found
}

function u32Of(value: string): number {
  return parseU32(value) ?? needTool()
}

function needTool(): never {
  throw new ToolNeeded()
}

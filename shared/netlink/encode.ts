import type { Operation } from '../plan/operation.js'
import { parseAddress, parseCidr } from '../values/address.js'
import { unquoted } from '../values/token.js'
import { addressBytes, families, isMapped } from './address.js'
import { type Attribute, attribute, flag, half, type Request, request, word } from './message.js'

/** What encoding has to look up in the namespace at hand. */
export interface View {
  /** Undefined when no link has the name. */
  readonly indexOf: (link: string) => number | undefined
  /** An open file of the network namespace; undefined when it cannot be opened. */
  readonly openNetns: (path: string) => number | undefined
}

/**
 * The request by which `ip` would carry out its operation (ip-link(8), ip-address(8), ip-route(8), rtnetlink(7)), for
 * those words that plans use most. Undefined for all others: they are left to `ip`.
 */
export function encode({ argv }: Operation, view: View): Request | undefined {
  const [object = '', verb = '', ...words] = argv
  try {
    return encoders[`${object} ${verb}`]?.(words, view)
  } catch (thrown) {
    if (thrown instanceof LeftToIp) return undefined
    throw thrown
  }
}

/** The header of requests about links (struct ifinfomsg). */
export function linkHeader({ index = 0, flags = 0, change = 0 } = {}): Buffer {
  const header = Buffer.alloc(16)
  header.writeInt32LE(index, 4)
  header.writeUInt32LE(flags, 8)
  header.writeUInt32LE(change, 12)
  return header
}

/** Types of a link's attributes, as in linux/if_link.h. */
export const link = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  queueLength: 13,
  operationalState: 16,
  information: 18,
  alias: 20,
  specifics: 26,
  netns: 28,
  filterMask: 29,
  promiscuity: 30,
  linkNetns: 37,
  permanentAddress: 54,
  parentName: 56,
  parentBus: 57,
} as const

/** Types inside `link.information`. */
export const information = { kind: 1, data: 2, portKind: 4, portData: 5 } as const

/** Types inside `information.data` of a macvlan. */
export const macvlan = { mode: 1, queueLength: 7 } as const

export const macvlanModes: Record<string, number> = { private: 1, vepa: 2, bridge: 4, passthru: 8 }

/** Types inside `information.data` of an ipvlan. */
export const ipvlan = { mode: 1 } as const

/** Each in the place that is its number. */
export const ipvlanModes: readonly string[] = ['l2', 'l3', 'l3s']

/** Types inside `information.data` of a vlan. */
export const vlan = { id: 1 } as const

/** Types of a route's attributes, as in linux/rtnetlink.h. */
export const RTA = {
  destination: 1,
  outgoing: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  table: 15,
  via: 18,
} as const

export const RTN_UNICAST = 1

// --- internal

class LeftToIp extends Error {}

type Words = ReadonlyMap<string, string>

const encoders: Record<string, (words: readonly string[], view: View) => Request> = {
  'link add': addLink,
  'link set': setLink,
  'link del': deleteLink,
  'addr add': addAddress,
  'route add': (words, view) => newRoute(words, view, flag.create | flag.exclusive),
  'route prepend': (words, view) => newRoute(words, view, flag.create),
  'route replace': (words, view) => newRoute(words, view, flag.create | flag.replace),
  'route del': (words, view) => ({
    type: request.deleteRoute,
    flags: 0,
    ...route(words, view, { protocol: 0, scope: RT_SCOPE_NOWHERE, type: 0 }),
  }),
}

function addLink(words: readonly string[], view: View): Request {
  const at = words.indexOf('type')
  const [kind = '', ...details] = words.slice(at + 1)
  const data = kinds[kind]?.(details, view) ?? leave()
  const kindAndData = [attribute(information.kind, Buffer.from(kind)), ...data]
  const attributes = [...linkAttributes(paired(words.slice(0, at)), view), attribute(link.information, kindAndData)]
  return { type: request.newLink, flags: flag.create | flag.exclusive, header: linkHeader(), attributes }
}

/** What only links of one kind have, from the words behind `type KIND`. */
const kinds: Record<string, (words: readonly string[], view: View) => readonly Attribute[]> = {
  bridge: (words) => (words.length === 0 ? [] : leave()),
  dummy: (words) => (words.length === 0 ? [] : leave()),
  veth: ([peer, ...words], view) => {
    if (peer !== 'peer') leave()
    const VETH_INFO_PEER = 1
    const attributes = linkAttributes(paired(words), view)
    return [attribute(information.data, [attribute(VETH_INFO_PEER, [linkHeader(), ...attributes])])]
  },
  macvlan: (words) => {
    const mode = macvlanModes[only('mode', words)] ?? leave()
    return [attribute(information.data, [attribute(macvlan.mode, mode)])]
  },
  ipvlan: (words) => {
    const mode = ipvlanModes.indexOf(only('mode', words))
    return [attribute(information.data, [attribute(ipvlan.mode, mode < 0 ? leave() : half(mode))])]
  },
  vlan: (words) => {
    const id = whole(only('id', words))
    return [attribute(information.data, [attribute(vlan.id, id > 0xffff ? leave() : half(id))])]
  },
}

function linkAttributes(words: Words, view: View): readonly Attribute[] {
  return [...words].map(([word, value]) => (linkWords[word] ?? leave())(value, view))
}

const linkWords: Record<string, (value: string, view: View) => Attribute> = {
  name: (value) => attribute(link.name, value),
  dev: (value) => attribute(link.name, value),
  address: (value) => attribute(link.address, Buffer.from(value.replaceAll(':', ''), 'hex')),
  mtu: (value) => attribute(link.mtu, whole(value)),
  txqueuelen: (value) => attribute(link.queueLength, whole(value)),
  link: (value, view) => attribute(link.link, view.indexOf(value) ?? leave()),
  master: (value, view) => attribute(link.master, view.indexOf(value) ?? leave()),
  netns: (value, view) => attribute(link.netns, view.openNetns(value) ?? leave()),
  alias: (value) => attribute(link.alias, Buffer.from(unquoted(value))),
}

/** With a new name, which stands where the old one would, the link is meant by its number. */
function setLink(words: readonly string[], view: View): Request {
  const at = words.indexOf('type')
  const [own, port] = at < 0 ? [words, []] : [words.slice(0, at), bridgePort(words.slice(at + 1))]
  const { dev = '', name = dev, ...others } = Object.fromEntries(paired(own, ['up', 'down']))
  const isRenamed = name !== dev
  const entries = Object.entries(others)
  const bits = entries.flatMap(([word, value]) => linkFlags[word]?.(value) ?? [])
  const values = entries.filter(([word]) => !(word in linkFlags))
  const header = linkHeader({
    index: isRenamed ? (view.indexOf(dev) ?? leave()) : 0,
    flags: bits.reduce((sum, { bit, on }) => sum | (on ? bit : 0), 0),
    change: bits.reduce((sum, { bit }) => sum | bit, 0),
  })
  const attributes = linkAttributes(new Map([['name', name], ...values]), view)
  return { type: request.newLink, flags: 0, header, attributes: [...attributes, ...port] }
}

/** A link's flags by their words, as in linux/if.h. */
const linkFlags: Record<string, (value: string) => { bit: number; on: boolean }> = {
  up: () => ({ bit: 1, on: true }),
  down: () => ({ bit: 1, on: false }),
  promisc: (value) => ({ bit: 0x100, on: switched(value) }),
  allmulticast: (value) => ({ bit: 0x200, on: switched(value) }),
}

/** What only ports of a bridge have, from the words behind `type`. */
function bridgePort([kind, ...words]: readonly string[]): readonly Attribute[] {
  if (kind !== 'bridge_slave') leave()
  const IFLA_BRPORT: Record<string, number> = { hairpin: 4, isolated: 33 }
  const data = [...paired(words)].map(([word, value]) =>
    attribute(IFLA_BRPORT[word] ?? leave(), Buffer.from([switched(value) ? 1 : 0])),
  )
  const kindAndData = [attribute(information.portKind, Buffer.from('bridge')), attribute(information.portData, data)]
  return [attribute(link.information, kindAndData)]
}

function switched(value: string): boolean {
  return value === 'on' || (value === 'off' ? false : leave())
}

function deleteLink(words: readonly string[], view: View): Request {
  const attributes = linkAttributes(paired(words), view)
  return { type: request.deleteLink, flags: 0, header: linkHeader(), attributes }
}

/** The header is struct ifaddrmsg. */
function addAddress([text = '', ...words]: readonly string[], view: View): Request {
  const { dev = '', brd, ...others } = Object.fromEntries(paired(words, ['nodad']))
  const { nodad, ...unknown } = others
  const { address: of, prefix } = cidrOf(text)
  const index = view.indexOf(dev) ?? leave()
  if (Object.keys(unknown).length > 0) leave()
  const IFA_F_NODAD = 2
  const address = addressBytes(of)
  const header = Buffer.from([families[of.family], prefix, nodad === undefined ? 0 : IFA_F_NODAD, scope(address)])
  const IFA = { address: 1, local: 2, broadcast: 4 }
  const attributes = [attribute(IFA.local, address), attribute(IFA.address, address)]
  if (brd !== undefined) attributes.push(attribute(IFA.broadcast, broadcast(address, prefix)))
  const flags = flag.create | flag.exclusive
  return { type: request.newAddress, flags, header: Buffer.concat([header, word(index)]), attributes }
}

/** As `ip` decides it: only loopback addresses are not for everyone. */
function scope(address: Buffer): number {
  const RT_SCOPE_HOST = 254
  return address.length === 4 && address[0] === 127 ? RT_SCOPE_HOST : 0
}

/** What `brd +` stands for: the last address of the subnet. */
function broadcast(address: Buffer, prefix: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE((address.readUInt32BE() | (2 ** (32 - prefix) - 1)) >>> 0)
  return bytes
}

function newRoute(words: readonly string[], view: View, flags: number): Request {
  const isDirect = !words.includes('via') && !words[0]?.includes(':')
  const usual = { protocol: RTPROT_BOOT, scope: isDirect ? RT_SCOPE_LINK : 0, type: RTN_UNICAST }
  return { type: request.newRoute, flags, ...route(words, view, usual) }
}

/** The header is struct rtmsg; `usual` is what stands there unless a word says otherwise. */
function route(
  [to = '', ...words]: readonly string[],
  view: View,
  usual: { protocol: number; scope: number; type: number },
): Pick<Request, 'header' | 'attributes'> {
  const options = paired(words, ['onlink'])
  for (const word of options.keys()) if (!routeWords.includes(word)) leave()
  const { address, prefix } = cidrOf(to)
  const [gateway, source] = ['via', 'src'].map((word) => gatewayOf(options.get(word), address.family))
  const index = view.indexOf(options.get('dev') ?? '') ?? leave()
  const table = whole(options.get('table') ?? String(RT_TABLE_MAIN))
  const scope = named(options.get('scope'), scopes) ?? usual.scope
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
  const onlink = word(options.has('onlink') ? RTNH_F_ONLINK : 0)
  return { header: Buffer.concat([Buffer.from(numbers), onlink]), attributes }
}

const routeWords = ['via', 'src', 'dev', 'metric', 'table', 'scope', 'proto', 'mtu', 'advmss', 'onlink']
const RT_TABLE_MAIN = 254
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
const RTPROT_BOOT = 3
const RTNH_F_ONLINK = 4
const scopes: Record<string, number> = { global: 0, link: 253, host: 254, 0: 0, 253: 253, 254: 254 }
const protocols: Record<string, number> = { kernel: 2, boot: 3, static: 4 }

/** The number of a name; undefined where no name is given. */
function named(name: string | undefined, numbers: Record<string, number>): number | undefined {
  return name === undefined ? undefined : (numbers[name] ?? leave())
}

/** An address beside a destination; only of the destination's family. */
function gatewayOf(text: string | undefined, family: 4 | 6): Buffer | undefined {
  if (text === undefined) return undefined
  const address = parseAddress(text) ?? leave()
  return address.family === family && !isMapped(text, family) ? addressBytes(address) : leave()
}

function metrics(options: Words): readonly Attribute[] {
  const RTAX = { mtu: 2, advmss: 8 }
  const inner = [...numberOf(options, 'mtu', RTAX.mtu), ...numberOf(options, 'advmss', RTAX.advmss)]
  return inner.length > 0 ? [attribute(RTA.metrics, inner)] : []
}

function numberOf(options: Words, word: string, type: number): readonly Attribute[] {
  const value = options.get(word)
  return value === undefined ? [] : [attribute(type, whole(value))]
}

function cidrOf(text: string) {
  const cidr = parseCidr(text) ?? leave()
  return isMapped(text, cidr.address.family) ? leave() : cidr
}

/** "dev eth0 mtu 1400" as a map; words of `alone` have no value. */
function paired(words: readonly string[], alone: readonly string[] = []): Words {
  const found = new Map<string, string>()
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    const value = alone.includes(word) ? '' : words[++at]
    found.set(word, value ?? leave())
  }
  return found
}

/** The value of the one word that is known. */
function only(word: string, words: readonly string[]): string {
  const found = paired(words)
  return found.size === 1 ? (found.get(word) ?? leave()) : leave()
}

function whole(value: string): number {
  const parsed = Number(value)
  return Number.isInteger(parsed) && parsed >= 0 && parsed < 2 ** 32 ? parsed : leave()
}

function leave(): never {
  throw new LeftToIp()
}

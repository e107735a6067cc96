import ipaddr from 'ipaddr.js'
import { encodeElements } from '../netlink/elements.js'
import { encode } from '../netlink/encode.js'
import { attributesOf, bytesOf } from '../netlink/message.js'
import type { Operation, Tool } from '../plan/operation.js'
import { unquoted } from '../values/token.js'

/**
 * What only tools do, by the words by which it is known, in their order. A row that netlink does too fails its test, so
 * that it is taken out; an operation that netlink does not do and that is not here fails every golden row it stands in.
 */
export const toolOnly: readonly (readonly [words: string, example: string])[] = [
  ['ip link add type bridge vlan_filtering', 'ip link add name br0 type bridge vlan_filtering 1'],
  ['ip link set type bridge', 'ip link set dev br0 type bridge vlan_filtering 1'],
  ['ip link set nomaster', 'ip link set dev eth0 nomaster'],
  ['ip tuntap add', 'ip tuntap add mode tap name eth0'],
  ['ip addr del', 'ip addr del fd00::1/64 dev eth0'],
  ['ip neigh replace', 'ip neigh replace 10.1.2.5 lladdr 02:00:00:00:00:01 dev eth0 nud permanent'],
  ['ip rule add', 'ip rule add from 192.168.1.209 table 100'],
  ['ip rule del', 'ip rule del from 192.168.1.209 table 100'],
  ['ip -6 rule add', 'ip -6 rule add from fd00::1 table 100'],
  ['ip -6 rule del', 'ip -6 rule del from fd00::1 table 100'],
  ['ip route append', 'ip route append 10.0.0.0/8 via 10.1.2.1 dev eth0'],
  ['ip route del nexthop', 'ip route del 10.0.0.0/8 proto 3 nexthop via 10.1.2.1 dev eth0 weight 1'],
  ['ip route del proto 2', 'ip route del 10.0.0.0/8 dev eth0 proto 2'],
  ['ip route del proto 3', 'ip route del 10.0.0.0/8 dev eth0 proto 3'],
  ['bridge vlan', 'bridge vlan add dev eth0 vid 5'],
  ['tc qdisc', 'tc qdisc add dev eth0 ingress'],
  ['tc filter', 'tc filter add dev eth0 parent ffff: matchall'],
  ['iptables', 'iptables -t nat -A X -j ACCEPT'],
  ['ip6tables', 'ip6tables -t nat -A X -j ACCEPT'],
  ['iptables-legacy', 'iptables-legacy -t nat -A X -j ACCEPT'],
  ['ip6tables-legacy', 'ip6tables-legacy -t nat -A X -j ACCEPT'],
  ['conntrack', 'conntrack -D -p udp'],
  ['runcon', 'runcon label ip tuntap add mode tap name eth0'],
  ['nft add table', 'nft add table ip podwire'],
  ['nft add set', 'nft add set ip podwire portmap_owners { type ifname ; }'],
  ['nft add map', 'nft add map ip podwire portmap_hairpin { type ipv4_addr : verdict ; }'],
  ['nft add chain', 'nft add chain ip podwire a'],
  ['nft add rule', 'nft add rule ip podwire a accept'],
  ['nft insert rule', 'nft insert rule inet filter forward accept'],
  ['nft flush chain', 'nft flush chain ip podwire a'],
  ['nft delete rule', 'nft delete rule ip cni_hostport hostports handle 5'],
  ['nft delete chain', 'nft delete chain ip podwire masquerade_10.1.2.0/24'],
  ['nft create element portmap_ranges', 'nft create element ip podwire portmap_ranges { tcp . 1-4 : 10.1.0.2 }'],
  ['nft delete element portmap_ranges', 'nft delete element ip podwire portmap_ranges { tcp . 1-4 }'],
]

/** The maps and sets of ours as they are declared; ADDRESS is ipv4_addr in the family ip, ipv6_addr in ip6. */
export const collections: Readonly<Record<string, string>> = {
  allowed_macs: 'ifname . ether_addr',
  firewall_addresses: 'ADDRESS',
  firewall_bridges: 'ifname',
  firewall_isolated_ports: 'ifname',
  firewall_within: 'ifname . ifname : verdict',
  guarded_ports: 'ifname',
  masqueraded: 'ADDRESS : verdict',
  portmap_address_conditions: 'ADDRESS . inet_proto . inet_service : verdict',
  portmap_addresses: 'ADDRESS . inet_proto . inet_service : ADDRESS . inet_service',
  portmap_conditions: 'inet_proto . inet_service : verdict',
  portmap_alone: 'ADDRESS . ADDRESS',
  portmap_hairpin: 'ADDRESS : verdict',
  portmap_owners: 'ifname',
  portmap_ports: 'inet_proto . inet_service : ADDRESS . inet_service',
  portmap_ranges: 'inet_proto . inet_service : ADDRESS',
}

/**
 * Holds every operation that a dry run shows to both interpreters. @throws Error naming the line that only one of them
 * can do
 */
export function holdToInterpreters(plan: string): void {
  for (const line of plan.split('\n')) {
    const operation = operationOf(line)
    if (operation) hold(line, operation)
  }
}

/** The operation of a line as render.ts writes it; undefined where it shows none, such as a warning. */
export function operationOf(line: string): Operation | undefined {
  const words = shellWords(line)
  const isEntered = words[0] === 'nsenter'
  const [tool = '', ...argv] = isEntered ? words.slice(2) : words
  if (!tools.has(tool)) return undefined
  const isScript = tool === 'nft' && argv.length === 1
  const netns = isEntered ? { netns: words[1]?.slice('--net='.length) as string } : {}
  return { tool: tool as Tool, argv: isScript ? scriptWords(argv[0] as string) : argv, why: 'test', ...netns }
}

/** Whether the kernel is asked to do an operation rather than a tool. */
export function isEncoded(operation: Operation): boolean {
  if (operation.tool === 'sysctl') return true
  if (operation.tool === 'nft') return encodeElements(operation) !== undefined
  if (operation.tool !== 'ip') return false
  return encode(operation, { indexOf: () => 7, openNetns: () => 9 }) !== undefined
}

// --- internal

/**
 * The bytes of a key or a value by the types that are declared, as nft(8) has them; each field of several fills words
 * of four bytes.
 */
function bytesByType(types: string, words: readonly string[]): Buffer {
  const names = types.split(' . ')
  const fields = words.filter((word) => word !== '.').map((word, at) => fieldByType(names[at] ?? 'none', word))
  if (fields.length !== names.length) throw new Error(`${words.join(' ')} is no ${types}`)
  if (fields.length === 1) return fields[0] as Buffer
  return Buffer.concat(fields.map((one) => Buffer.concat([one, Buffer.alloc((4 - (one.length % 4)) % 4)])))
}

const tools = new Set(['ip', 'sysctl', 'nft', ...toolOnly.map(([words]) => words.split(' ')[0] as string)])

function hold(line: string, operation: Operation): void {
  const { tool, argv } = operation
  const [verb, object, family = '', , name = '', ...rest] = argv
  if (tool === 'nft' && verb === 'add' && (object === 'map' || object === 'set')) {
    const declared = rest.slice(2, rest.indexOf(';')).join(' ')
    if (declared !== typesOf(family, name)) throw new Error(`the table of collections has another type for: ${line}`)
  }
  const isOfTool = toolOnly.some(([words]) => isKnownBy(words, [tool, ...argv]))
  const isOfNetlink = isEncoded(operation)
  if (isOfTool === isOfNetlink) {
    throw new Error(
      `${isOfTool ? 'netlink does, too' : 'netlink does not do, and the table of tools has not'}: ${line}`,
    )
  }
  if (tool === 'nft' && object === 'element' && isOfNetlink) holdElements(line, operation)
}

/** Each element's bytes are those of its declared types. */
function holdElements(line: string, operation: Operation): void {
  const [, , family = '', , name = '', ...braced] = operation.argv
  const [keyTypes = '', valueTypes] = typesOf(family, name).split(' : ')
  const entries = braced.slice(1, -1).join(' ').split(' , ')
  const [message] = encodeElements(operation) ?? []
  const sent = elementsOf(bytesOf(message?.attributes ?? []))
  if (sent.length !== entries.length) throw new Error(`${sent.length} elements are sent for: ${line}`)
  for (const [at, entry] of entries.entries()) {
    const [left = '', value] = entry.split(' : ')
    const [key = ''] = left.split(' comment ')
    const { key: keySent, value: valueSent } = sent[at] as (typeof sent)[number]
    const isKey = keySent?.equals(bytesByType(keyTypes, key.split(' '))) ?? false
    const isVerdict = valueTypes === 'verdict' || value === undefined
    const isValue = isVerdict || (valueSent?.equals(bytesByType(valueTypes ?? 'none', value.split(' '))) ?? false)
    if (!isKey || !isValue) throw new Error(`not the bytes of ${typesOf(family, name)}: ${line}`)
  }
}

/** Keys and values of a message's elements, as in linux/netfilter/nf_tables.h. */
function elementsOf(body: Buffer): readonly { key: Buffer | undefined; value: Buffer | undefined }[] {
  const [NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA, NFTA_DATA_VALUE] = [3, 1, 2, 1]
  const list = attributesOf(body, 0).get(NFTA_SET_ELEM_LIST_ELEMENTS) ?? Buffer.alloc(0)
  const found = []
  for (let at = 0; at < list.length; at += (list.readUInt16LE(at) + 3) & ~3) {
    const parts = attributesOf(list.subarray(at + 4, at + list.readUInt16LE(at)), 0)
    const [key, value] = [NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA].map((type) => {
      const data = parts.get(type)
      return data && attributesOf(data, 0).get(NFTA_DATA_VALUE)
    })
    found.push({ key, value })
  }
  return found
}

/** @throws Error for a collection that the table has not */
function typesOf(family: string, name: string): string {
  const types = collections[name]
  if (types === undefined) throw new Error(`the table of collections has no ${name}`)
  return types.replaceAll('ADDRESS', family === 'ip6' ? 'ipv6_addr' : 'ipv4_addr')
}

const protocols = { tcp: 6, udp: 17, sctp: 132 }
const isHexadecimal = (word: string) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(word)

/** @throws Error for a word that is none of the type, and for a type that is not known here */
function fieldByType(type: string, word: string): Buffer {
  const bytes = fieldsByType[type]?.(word)
  if (!bytes) throw new Error(`${word} is no ${type}`)
  return bytes
}

const fieldsByType: Readonly<Record<string, (word: string) => Buffer | undefined>> = {
  ifname: (word) => (word.startsWith('"') ? Buffer.from(unquoted(word).padEnd(16, '\0')) : undefined),
  ether_addr: (word) => (isHexadecimal(word) ? Buffer.from(word.replaceAll(':', ''), 'hex') : undefined),
  inet_proto: (word) => (word in protocols ? Buffer.from([protocols[word as keyof typeof protocols]]) : undefined),
  inet_service: (word) => (/^\d{1,5}$/.test(word) ? Buffer.from([Number(word) >> 8, Number(word) & 255]) : undefined),
  ipv4_addr: (word) =>
    ipaddr.IPv4.isValidFourPartDecimal(word) ? Buffer.from(ipaddr.parse(word).toByteArray()) : undefined,
  ipv6_addr: (word) => (ipaddr.IPv6.isValid(word) ? Buffer.from(ipaddr.parse(word).toByteArray()) : undefined),
}

/** Whether the words of an operation have these among them, in this order, from the first on. */
function isKnownBy(known: string, words: readonly string[]): boolean {
  const [first, ...others] = known.split(' ')
  if (words[0] !== first) return false
  let at = 0
  return others.every((one) => {
    at = words.indexOf(one, at + 1)
    return at > 0
  })
}

/** A line of a shell's as its words. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|\\.|[^\s'])+/g)].map(([word]) => word.replaceAll(/'([^']*)'|\\(.)/g, '$1$2'))
}

/** A line of nft's as its words, of which those in quotes may hold blanks. */
function scriptWords(line: string): string[] {
  return [...line.matchAll(/"(?:\\.|[^"])*"|\S+/g)].map(([word]) => word)
}

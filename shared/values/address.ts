// IP addresses as numbers: text in, arithmetic, text out, with the meaning Go's net package gives the text, because
// results and lease file names must match the official suite. Written by hand: ipaddr.js costs every start about 2 ms
// (its regular expressions) and is the oracle of the tests instead.

/** Address family, as in "IPv4" and "IPv6". */
export type Family = 4 | 6

/** One address; an IPv4-mapped IPv6 address is held as the IPv4 address it means. */
export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** An address with a prefix length; host bits are kept. */
export interface Cidr {
  readonly address: Address
  readonly prefix: number
}

const DOT = 0x2e
const COLON = 0x3a
const MAPPED = 0xffffn

/** Bits in an address of the family. */
export function widthOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128
}

/** Reads an address as Go's net.ParseIP: no leading zeros, no zone; undefined when it is not one. */
export function parseAddress(text: string): Address | undefined {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === DOT) return parseIPv4(text)
    if (code === COLON) return parseIPv6(text)
  }
  return undefined
}

/**
 * Reads `address/prefix` as Go's net.ParseCIDR; `::ffff:1.2.3.4/120` is 1.2.3.4/24, a mapped prefix under 96 is
 * refused.
 */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/')
  if (slash < 0) return undefined
  const address = parseAddress(text.slice(0, slash))
  const prefix = decimal(text, slash + 1, text.length)
  if (address === undefined || prefix === undefined) return undefined
  const mapped = address.family === 4 && text.indexOf(':') >= 0
  const effective = mapped ? prefix - 96 : prefix
  return effective < 0 || effective > widthOf(address.family) ? undefined : { address, prefix: effective }
}

/** The canonical text: dotted quad, or RFC 5952. */
export function formatAddress(address: Address): string {
  const { family, value } = address
  if (family === 4) {
    const n = Number(value)
    return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`
  }
  const groups: number[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn))
  const zeros = longestZeroRun(groups)
  if (zeros.length < 2) return hexGroups(groups)
  return `${hexGroups(groups.slice(0, zeros.start))}::${hexGroups(groups.slice(zeros.start + zeros.length))}`
}

/** `address/prefix` in canonical text, host bits kept. */
export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.address)}/${cidr.prefix}`
}

/** The network itself: the same prefix with the host bits cleared. */
export function networkOf(cidr: Cidr): Cidr {
  const bits = hostBits(cidr)
  return { address: { family: cidr.address.family, value: (cidr.address.value >> bits) << bits }, prefix: cidr.prefix }
}

/** The last address of the network: IPv4's broadcast, IPv6's all-ones. */
export function lastOf(cidr: Cidr): Address {
  return { family: cidr.address.family, value: cidr.address.value | ((1n << hostBits(cidr)) - 1n) }
}

/** Whether an address, with or without a prefix length, is one of IPv6. */
export function isIPv6(address: string): boolean {
  return address.includes(':')
}

/** `address/prefix` without the prefix length. */
export function hostPart(address: string): string {
  return address.slice(0, address.indexOf('/'))
}

/** An address as a prefix of its own. */
export function hostPrefix(address: string): string {
  return `${address}/${isIPv6(address) ? 128 : 32}`
}

/** The subnet of `address/prefix` in canonical text. */
export function subnetOf(address: string): string {
  const cidr = parseCidr(address)
  if (!cidr) throw new Error(`not an address with a prefix length: ${address}`)
  return formatCidr(networkOf(cidr))
}

/** True of a gateway that is none: IPAM plugins and configurations write the unspecified address for it. */
export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}

/** Whether a gateway serves an address or a destination: it is one, and of its family. */
export function serves(gateway: string | undefined, other: string): gateway is string {
  return gateway !== undefined && !isUnspecified(gateway) && gateway.includes(':') === other.includes(':')
}

/** The first host address of an address's subnet as text, where a gateway usually is; undefined where there is none. */
export function firstOf(address: string): string | undefined {
  const cidr = parseCidr(address)
  const first = cidr && offset(networkOf(cidr).address, 1n)
  return first && contains(cidr, first) ? formatAddress(first) : undefined
}

/** Whether the network of `cidr` holds the address; never across families. */
export function contains(cidr: Cidr, address: Address): boolean {
  const bits = hostBits(cidr)
  return cidr.address.family === address.family && cidr.address.value >> bits === address.value >> bits
}

/** The address `distance` further on (back when negative); undefined outside the family. */
export function offset(address: Address, distance: bigint): Address | undefined {
  const value = address.value + distance
  const outside = value < 0n || value >> BigInt(widthOf(address.family)) !== 0n
  return outside ? undefined : { family: address.family, value }
}

/** Order for sorting: negative, zero or positive; IPv4 comes before IPv6. */
export function compareAddress(a: Address, b: Address): number {
  if (a.family !== b.family) return a.family - b.family
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0
}

function hostBits(cidr: Cidr): bigint {
  return BigInt(widthOf(cidr.address.family) - cidr.prefix)
}

function parseIPv4(text: string): Address | undefined {
  const value = quad(text, 0)
  return value === undefined ? undefined : { family: 4, value: BigInt(value) }
}

/** The dotted quad from `from` to the end of the text, as an unsigned 32 bit number. */
function quad(text: string, from: number): number | undefined {
  let value = 0
  let start = from
  for (let field = 0; field < 4; field++) {
    const dot = text.indexOf('.', start)
    const end = dot < 0 ? text.length : dot
    if (dot < 0 !== (field === 3)) return undefined
    const octet = end - start > 3 ? undefined : decimal(text, start, end)
    if (octet === undefined || octet > 255 || (end - start > 1 && text.charCodeAt(start) === 0x30)) return undefined
    value = value * 256 + octet
    start = end + 1
  }
  return value
}

function parseIPv6(text: string): Address | undefined {
  const gap = text.indexOf('::')
  const head = gap < 0 ? fields(text) : fields(text.slice(0, gap))
  const tail = gap < 0 ? [] : fields(text.slice(gap + 2))
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (gap < 0 ? missing !== 0 : missing < 1 || text.slice(0, gap).indexOf('.') >= 0) return undefined
  let value = 0n
  for (const group of [...head, ...new Array<number>(missing).fill(0), ...tail]) value = (value << 16n) | BigInt(group)
  return value >> 32n === MAPPED ? { family: 4, value: value & 0xffffffffn } : { family: 6, value }
}

/** Colon-separated groups as 16 bit numbers; a dotted quad may stand last, for two. Empty text is no groups. */
function fields(text: string): number[] | undefined {
  const groups: number[] = []
  for (let start = 0; text !== '' && start <= text.length; ) {
    const colon = text.indexOf(':', start)
    const end = colon < 0 ? text.length : colon
    if (colon < 0 && text.indexOf('.', start) >= 0) {
      const value = quad(text, start)
      return value === undefined ? undefined : [...groups, value >>> 16, value & 0xffff]
    }
    const group = hex(text, start, end)
    if (group === undefined) return undefined
    groups.push(group)
    start = end + 1
  }
  return groups
}

/** A run of decimal digits as a number below 2^24; leading zeros count for nothing, as in a Go prefix length. */
function decimal(text: string, start: number, end: number): number | undefined {
  let value = 0
  for (let at = start; at < end; at++) {
    const digit = text.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9 || value > 0xffffff) return undefined
    value = value * 10 + digit
  }
  return end > start ? value : undefined
}

/** One to four hexadecimal digits. */
function hex(text: string, start: number, end: number): number | undefined {
  if (end - start < 1 || end - start > 4) return undefined
  let value = 0
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at)
    const lower = code | 0x20
    const digit = code >= 0x30 && code <= 0x39 ? code - 0x30 : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
    if (digit < 0) return undefined
    value = value * 16 + digit
  }
  return value
}

function hexGroups(groups: readonly number[]): string {
  return groups.map((group) => group.toString(16)).join(':')
}

/** The first of the longest runs of zero groups, which is what `::` stands for. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let length = 0
  groups.forEach((group, index) => {
    length = group === 0 ? length + 1 : 0
    if (length > best.length) best = { start: index - length + 1, length }
  })
  return best
}

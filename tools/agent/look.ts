import { addressFrom, families } from '../../shared/netlink/address.js'
import { RTA, RTN_UNICAST } from '../../shared/netlink/encode.js'
import { link, linkHeader, linkHeaderBytes } from '../../shared/netlink/links.js'
import { ask, attribute, attributesOf, flag, openRoutingSocket, request, textOf } from '../../shared/netlink/message.js'
import type { Libc } from '../../shared/system/libc.js'
import { formatAddress, formatCidr } from '../../shared/values/address.js'
import type { SeenRoute } from './routes.js'

/** What the agent sees of the node's network. */
export interface Seen {
  readonly links: readonly SeenLink[]
  readonly routes: readonly SeenRoute[]
}

export interface SeenLink {
  readonly name: string
  /** Bytes. */
  readonly mtu: number
  /** In canonical text. */
  readonly addresses: readonly string[]
}

/**
 * Looks at links, addresses and the main table by rtnetlink. The kernel's answer is read only when it is another than
 * the last one. @throws Error where it does not answer
 */
export class Looker {
  readonly #libc: Libc
  readonly #socket: number
  #last: { readonly links: string; readonly routes: readonly Buffer[]; readonly seen: Seen } | undefined
  #known: KnownRoutes = new Map()

  constructor(libc: Libc) {
    const socket = openRoutingSocket(libc)
    if (socket === undefined) throw new Error('the kernel cannot be asked: there is no socket of rtnetlink to be had')
    this.#libc = libc
    this.#socket = socket
  }

  /** The same object as the last time where nothing has changed. */
  look(): Seen {
    const [links, addresses, routes4, routes6] = [
      this.#dump(request.getLink, linkHeader(), [attribute(link.filterMask, RTEXT_FILTER_SKIP_STATS)]),
      this.#dump(request.getAddress, Buffer.alloc(8), []),
      this.#dump(request.getRoute, routeHeader(families[4]), []),
      this.#dump(request.getRoute, routeHeader(families[6]), []),
    ]
    const known = linksOf(links, addresses)
    const text = JSON.stringify([...known])
    const bytes = [routes4, routes6]
    const last = this.#last
    const areSameLinks = last?.links === text
    if (last && areSameLinks && bytes.every((one, index) => one.equals(last.routes[index] as Buffer))) return last.seen
    // Of thousands of routes a few have changed: what the kernel tells in the same bytes is read once.
    const { seen, routes } = seenOf(known, bytes, areSameLinks ? this.#known : new Map())
    this.#known = routes
    const isSame = areSameLinks && areSameRoutes(seen.routes, last.seen.routes)
    this.#last = { links: text, routes: bytes, seen: isSame ? last.seen : seen }
    return this.#last.seen
  }

  #dump(type: number, header: Buffer, attributes: Parameters<typeof ask>[2]['attributes']): Buffer {
    const answer = ask(this.#libc, this.#socket, { type, flags: flag.dump, header, attributes })
    if (answer?.error !== 0)
      throw new Error(`the kernel does not tell of its network (${answer?.error ?? 'no answer'})`)
    return joined(answer.parts)
  }
}

// --- internal

/** Messages behind each other, each after its length; one buffer, for each of its own would cost thousands. */
function joined(parts: readonly Buffer[]): Buffer {
  const bytes = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + 4 + part.length, 0))
  let at = 0
  for (const part of parts) {
    at = bytes.writeUInt32LE(part.length, at)
    at += part.copy(bytes, at)
  }
  return bytes
}

function* partsIn(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    yield bytes.subarray(at + 4, end)
    at = end
  }
}

type Links = ReadonlyMap<number, SeenLink & { readonly addresses: string[] }>

/** By their numbers. Links tell of their timers, too: two answers may say the same in other bytes. */
function linksOf(links: Buffer, addresses: Buffer): Links {
  const byIndex = new Map(Array.from(partsIn(links), (part) => [part.readInt32LE(4), linkOf(part)]))
  for (const part of partsIn(addresses)) byIndex.get(part.readInt32LE(4))?.addresses.push(addressOf(part))
  return byIndex
}

/** By the bytes that tell of it; undefined of one that is in another table. */
type KnownRoutes = ReadonlyMap<string, SeenRoute | undefined>

function seenOf(links: Links, bytes: readonly Buffer[], known: KnownRoutes): { seen: Seen; routes: KnownRoutes } {
  const nameOf = (index: number) => links.get(index)?.name
  const routes = new Map<string, SeenRoute | undefined>()
  for (const all of bytes) {
    for (const part of partsIn(all)) {
      const text = part.toString('latin1')
      routes.set(text, known.has(text) ? known.get(text) : routeOf(part, nameOf))
    }
  }
  const all = [...routes.values()].filter((route) => route !== undefined)
  return { seen: { links: [...links.values()], routes: all }, routes }
}

/** Routes tell how long they live: other bytes may say the same. */
function areSameRoutes(some: readonly SeenRoute[], others: readonly SeenRoute[]): boolean {
  if (some.length !== others.length) return false
  return some.every((one, at) => one === others[at] || JSON.stringify(one) === JSON.stringify(others[at]))
}

const RTEXT_FILTER_SKIP_STATS = 8
const RT_TABLE_MAIN = 254
const routeHeaderBytes = 12
const addressHeaderBytes = 8

/** struct rtmsg: of the main table alone. */
function routeHeader(family: number): Buffer {
  const header = Buffer.alloc(routeHeaderBytes)
  header[0] = family
  header[4] = RT_TABLE_MAIN
  return header
}

function linkOf(part: Buffer): { name: string; mtu: number; addresses: string[] } {
  const attributes = attributesOf(part, linkHeaderBytes)
  return {
    name: textOf(attributes.get(link.name)),
    mtu: attributes.get(link.mtu)?.readUInt32LE() ?? 0,
    addresses: [],
  }
}

function addressOf(part: Buffer): string {
  const [IFA_ADDRESS, IFA_LOCAL] = [1, 2]
  const attributes = attributesOf(part, addressHeaderBytes)
  return formatAddress(addressFrom(attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? Buffer.alloc(4)))
}

function routeOf(part: Buffer, nameOf: (index: number) => string | undefined): SeenRoute | undefined {
  const [familyNumber, prefix = 0, , , table, protocol = 0, , type] = part
  const family = familyNumber === families[4] ? 4 : 6
  const attributes = attributesOf(part, routeHeaderBytes)
  if ((attributes.get(RTA.table)?.readUInt32LE() ?? table) !== RT_TABLE_MAIN) return undefined
  const destination = attributes.get(RTA.destination) ?? Buffer.alloc(family === 4 ? 4 : 16)
  const [gateway, via] = [attributes.get(RTA.gateway), attributes.get(RTA.via)]
  // One with several next hops names none of them here: it is no direct way to anybody.
  const isMultiple = attributes.has(RTA.multipath) || attributes.has(RTA_NH_ID)
  const by = gateway ? formatAddress(addressFrom(gateway)) : via || isMultiple ? 'others' : undefined
  return {
    family,
    destination: formatCidr({ address: addressFrom(destination), prefix }),
    ...(by === undefined ? {} : { gateway: by }),
    link: nameOf(attributes.get(RTA.outgoing)?.readUInt32LE() ?? 0) ?? '',
    metric: attributes.get(RTA.priority)?.readUInt32LE() ?? 0,
    protocol,
    isUnicast: type === RTN_UNICAST,
  }
}

const RTA_NH_ID = 30

import type { Unknown } from '../plan/netlink.js'
import { type Address, formatAddress } from '../values/address.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { addressBytes, addressFrom, families, scopes } from './address.js'
import { RTA, RTN_UNICAST } from './encode.js'
import { information, link, linkHeader, linkHeaderBytes, linkKinds, nameIn, showFields } from './links.js'
import { type Answer, attribute, attributesOf, ENODEV, flag, type Request, request, textOf } from './message.js'

/** Asks the kernel of the namespace at hand; undefined when the socket does not work. */
export type Ask = (request: Request) => Answer | undefined

/**
 * A link with its addresses, in the form of `ip -j -d addr show`, as far as podwire reads that (observe.schema.ts);
 * undefined when there is none of the name.
 */
export function look(ask: Ask, name: string): ObservedLink | undefined | Unknown {
  const found = linkOf(ask, name)
  if (found === undefined || found === 'unknown') return found
  const addresses = addressesOf(ask, found.readInt32LE(4))
  return addresses === 'unknown' ? addresses : observed(found, addresses, (index) => nameOf(ask, index))
}

/** Every link with its addresses, as `ip -j -d addr show` has them, in two questions however many there are. */
export function lookAtAll(ask: Ask): readonly ObservedLink[] | Unknown {
  const [links, addresses] = [ask({ ...linkRequest({}), flags: flag.dump }), addressesOf(ask, 0)]
  if (links?.error !== 0 || addresses === 'unknown') return 'unknown'
  const names = namesIn(links.parts)
  const byIndex = Map.groupBy(addresses, (part) => part.readInt32LE(4))
  const found = links.parts.map((part) =>
    observed(part, byIndex.get(part.readInt32LE(4)) ?? [], (index) => names.get(index)),
  )
  return found.every((one) => one !== 'unknown') ? found : 'unknown'
}

/** The names of all links by their numbers. */
export function linkNames(ask: Ask): ReadonlyMap<number, string> | Unknown {
  const links = ask({ ...linkRequest({}), flags: flag.dump })
  return links?.error === 0 ? namesIn(links.parts) : 'unknown'
}

/**
 * The number by which the namespace at hand knows another, which its links name; undefined where it has none for it.
 */
export function numberOf(ask: Ask, netns: number): number | undefined {
  const [NETNSA_NSID, NETNSA_FD] = [1, 3]
  const attributes = [attribute(NETNSA_FD, netns)]
  const [found] = ask({ type: request.getNetnsID, flags: 0, header: Buffer.alloc(4), attributes })?.parts ?? []
  const number = found && attributesOf(found, 4).get(NETNSA_NSID)?.readInt32LE()
  return number === undefined || number < 0 ? undefined : number
}

/** The index of a link in the namespace at hand. */
export function indexOf(ask: Ask, name: string): number | undefined {
  const found = linkOf(ask, name)
  return found === 'unknown' ? undefined : found?.readInt32LE(4)
}

/** Whether a link has this very name, and not another one too; unknown when the socket does not work. */
export function hasLink(ask: Ask, name: string): boolean | Unknown {
  const found = linkOf(ask, name)
  if (found === undefined || found === 'unknown') return found ?? false
  return textOf(attributesOf(found, linkHeaderBytes).get(link.name)) === name
}

/**
 * The link by which the kernel sends to an IPv4 address itself; undefined where it sends to a gateway, or has it
 * itself.
 */
export function linkTo(ask: Ask, address: Address): string | undefined | Unknown {
  const header = Buffer.alloc(routeHeaderBytes)
  header[0] = families[address.family]
  header[1] = 32
  const attributes = [attribute(RTA.destination, addressBytes(address))]
  const [route] = ask({ type: request.getRoute, flags: 0, header, attributes })?.parts ?? []
  if (!route) return 'unknown'
  const found = attributesOf(route, routeHeaderBytes)
  if (route[7] !== RTN_UNICAST || found.has(RTA.gateway) || found.has(RTA.via)) return undefined
  return nameOf(ask, found.get(RTA.outgoing)?.readUInt32LE() ?? 0) ?? 'unknown'
}

/**
 * All that the kernel tells of a link: its header (struct ifinfomsg) and attributes. Undefined when there is none of
 * the name.
 */
export function linkOf(ask: Ask, name: string): Buffer | undefined | Unknown {
  const answer = ask(linkRequest({}, name))
  if (answer?.error === -ENODEV) return undefined
  return (answer?.error === 0 ? answer.parts[0] : undefined) ?? 'unknown'
}

// --- internal

const addressHeaderBytes = 8
const routeHeaderBytes = 12

function linkRequest(of: { index?: number }, name?: string): Request {
  const RTEXT_FILTER_SKIP_STATS = 8
  const attributes = [
    attribute(link.filterMask, RTEXT_FILTER_SKIP_STATS),
    ...(name === undefined ? [] : [attribute(link.name, name)]),
  ]
  return { type: request.getLink, flags: 0, header: linkHeader(of), attributes }
}

/** A link by its message and those of its addresses. */
function observed(
  found: Buffer,
  addresses: readonly Buffer[],
  nameBy: (index: number) => string | undefined,
): ObservedLink | Unknown {
  const attributes = attributesOf(found, linkHeaderBytes)
  const linkinfo = informationOf(attributes.get(link.information))
  const [master, lower] = [link.master, link.link].map((type) => attributes.get(type)?.readUInt32LE() ?? 0)
  const index = found.readInt32LE(4)
  const names = [master, attributes.has(link.linkNetns) ? 0 : lower].map((one) => (one ? nameBy(one) : ''))
  if (names.includes(undefined)) return 'unknown'
  const alias = attributes.get(link.alias)
  const [mac, permanent] = [link.address, link.permanentAddress].map((type) => macOf(attributes.get(type)))
  const [parentdev, parentbus] = [link.parentName, link.parentBus].map((type) => textOf(attributes.get(type)))
  const netnsID = attributes.get(link.linkNetns)?.readInt32LE()
  return {
    ifindex: index,
    ifname: textOf(attributes.get(link.name)),
    flags: flagsOf(found.readUInt32LE(8)),
    mtu: attributes.get(link.mtu)?.readUInt32LE() ?? 0,
    operstate: operationalStates[attributes.get(link.operationalState)?.[0] ?? 0] ?? 'UNKNOWN',
    ...(mac === undefined ? {} : { address: mac }),
    ...(permanent === undefined || permanent === mac ? {} : { permaddr: permanent }),
    ...(parentbus ? { parentbus } : {}),
    ...(parentdev ? { parentdev } : {}),
    txqlen: attributes.get(link.queueLength)?.readUInt32LE() ?? 0,
    promiscuity: attributes.get(link.promiscuity)?.readUInt32LE() ?? 0,
    ...(names[0] ? { master: names[0] } : {}),
    ...(names[1] ? { link: names[1] } : {}),
    ...(lower && !names[1] ? { link_index: lower } : {}),
    ...(netnsID === undefined ? {} : { link_netnsid: netnsID }),
    ...(alias ? { ifalias: textOf(alias) } : {}),
    ...(linkinfo ? { linkinfo } : {}),
    addr_info: addresses.map(addressOf),
  }
}

function nameOf(ask: Ask, index: number): string | undefined {
  const [found] = ask(linkRequest({ index }))?.parts ?? []
  return found && textOf(attributesOf(found, linkHeaderBytes).get(link.name))
}

/** Of kinds that are not in the table nothing but the kind is read. */
function informationOf(bytes: Buffer | undefined): ObservedLink['linkinfo'] {
  if (bytes === undefined) return undefined
  const parts = attributesOf(bytes, 0)
  const info_kind = textOf(parts.get(information.kind))
  const [fields = {}, data] = [linkKinds[info_kind], parts.get(information.data)]
  return { info_kind, info_data: data ? showFields(fields, attributesOf(data, 0)) : {} }
}

function namesIn(links: readonly Buffer[]): ReadonlyMap<number, string> {
  return new Map(links.map((part) => [part.readInt32LE(4), textOf(attributesOf(part, linkHeaderBytes).get(link.name))]))
}

/** Messages about the addresses of a link; of every link where the index is 0. */
function addressesOf(ask: Ask, index: number): readonly Buffer[] | Unknown {
  const header = Buffer.alloc(addressHeaderBytes)
  header.writeUInt32LE(index, 4)
  const answer = ask({ type: request.getAddress, flags: flag.dump, header, attributes: [] })
  if (answer?.error !== 0) return 'unknown'
  const isOf = (part: Buffer) => index === 0 || part.readUInt32LE(4) === index
  return answer.parts.filter((part) => isOf(part) && (part[0] ?? 0) in familyNames)
}

const familyNames: Record<number, string> = { 2: 'inet', 10: 'inet6' }

function addressOf(part: Buffer): ObservedLink['addr_info'][number] {
  const [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS] = [1, 2, 4, 8]
  const attributes = attributesOf(part, addressHeaderBytes)
  const [family = 0, prefixlen = 0, , scope = 0] = part
  const flags = attributes.get(IFA_FLAGS)?.readUInt32LE() ?? 0
  const broadcast = attributes.get(IFA_BROADCAST)
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? Buffer.alloc(0)
  return {
    family: familyNames[family] ?? '',
    local: formatAddress(addressFrom(bytes)),
    prefixlen,
    scope: nameIn(scopes, scope) ?? String(scope),
    ...(flags & IFA_F_TENTATIVE ? { tentative: true } : {}),
    ...(flags & IFA_F_DADFAILED ? { dadfailed: true } : {}),
    ...(flags & IFA_F_PERMANENT ? {} : { dynamic: true }),
    ...(broadcast === undefined ? {} : { broadcast: formatAddress(addressFrom(broadcast)) }),
    ...(flags & IFA_F_NODAD ? { nodad: true } : {}),
  }
}

const IFA_F_NODAD = 0x02
const IFA_F_DADFAILED = 0x08
const IFA_F_TENTATIVE = 0x40
const IFA_F_PERMANENT = 0x80

function macOf(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('hex').replaceAll(/..\B/g, '$&:')
}

/** IFF_ flags as `ip` names them. */
function flagsOf(bits: number): string[] {
  const isDead = (bits & IFF_UP) !== 0 && (bits & IFF_RUNNING) === 0
  return [...(isDead ? ['NO-CARRIER'] : []), ...flagNames.filter(([bit]) => bits & bit).map(([, name]) => name)]
}

const IFF_UP = 0x1
const IFF_RUNNING = 0x40
const flagNames: readonly [number, string][] = [
  [0x8, 'LOOPBACK'],
  [0x2, 'BROADCAST'],
  [0x10, 'POINTOPOINT'],
  [0x1000, 'MULTICAST'],
  [0x80, 'NOARP'],
  [0x200, 'ALLMULTI'],
  [0x100, 'PROMISC'],
  [0x400, 'MASTER'],
  [0x800, 'SLAVE'],
  [IFF_UP, 'UP'],
  [0x10000, 'LOWER_UP'],
]

const operationalStates = ['UNKNOWN', 'NOTPRESENT', 'DOWN', 'LOWERLAYERDOWN', 'TESTING', 'DORMANT', 'UP']

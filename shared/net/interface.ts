import type { Machine } from '../plan/machine.js'
import type { Operation } from '../plan/operation.js'
import { contains, isUnspecified, parseAddress, parseCidr, serves } from '../values/address.js'
import { CniError, codes, type Problem } from '../values/errors.js'
import type { ObservedLink } from '../values/observe.schema.js'
import type { Dns, IpConfiguration, Result, Route } from '../values/result.js'
import { type At, addAddress, addRoute, setUp, sysctl } from './ip.js'
import { localTable, tableOf } from './routing.js'

/** How a container's interface gets its addresses and routes. */
export interface Addressing {
  readonly netns: string
  readonly ifName: string
  readonly ips: readonly IpConfiguration[]
  readonly routes: readonly Route[]
  /** Settings under net/, in slash form, to write before the link is up; those the kernel lacks are skipped. */
  readonly settings?: Readonly<Record<string, string>>
  /** IPv6 addresses are usable at once, without duplicate address detection. */
  readonly nodad?: boolean
  /** Direct routes to the gateways; without them a gateway outside all own subnets is reached by `onlink`. */
  readonly gatewayRoutes?: readonly Operation[]
}

/**
 * Gives the container's interface everything an IPAM result says, in the official order: settings, addresses, link up,
 * routes; each attribute of a route is applied, also those the official suite only echoes (mtu, advmss).
 */
export function configureInterface(addressing: Addressing): readonly Operation[] {
  const { netns, ifName, ips, routes, settings = {}, nodad = false, gatewayRoutes = [] } = addressing
  const at: At = { link: ifName, netns }
  const has6 = ips.some(({ address }) => address.includes(':'))
  return [
    ...containerSettings(at, settings),
    ...(has6 ? enableIPv6(at) : []),
    ...ips.map(({ address }) => addAddress(at, address, nodad && address.includes(':') ? ['nodad'] : [])),
    setUp(at),
    ...gatewayRoutes,
    ...routes.map((route) => routeOperation(at, route, { ips, onlink: gatewayRoutes.length === 0 })),
  ]
}

/** The settings every container interface gets before it is up: nothing on its link may configure it. */
export function containerSettings(
  { link, netns }: At,
  settings: Readonly<Record<string, string>>,
): readonly Operation[] {
  const all = { [`net/ipv6/conf/${link}/accept_ra`]: '0', ...settings }
  return Object.entries(all).map(([key, value]) => sysctl({ key, value, netns }, { ifSupported: true }))
}

/**
 * The gateway a route without one of its own uses: the first of its family, whatever address it stands beside. None
 * where that is the unspecified one, nor for a route of scope link (253).
 */
export function effectiveGateway(route: Route, ips: readonly IpConfiguration[]): string | undefined {
  if (route.gw !== undefined || route.scope === 253) return route.gw
  const first = ips.find(({ gateway }) => gateway !== undefined && isSameFamily(gateway, route.dst))?.gateway
  return serves(first, route.dst) ? first : undefined
}

/** The DNS of the result: the configuration's where it says anything (also an empty list), else the IPAM plugin's. */
export function dnsOf(configured: Dns | undefined, leased: Dns): Dns {
  const { nameservers, domain, search, options } = configured ?? {}
  return nameservers || domain || search || options ? (configured as Dns) : leased
}

/** The addresses that a result gives one interface, with their prefix lengths. */
export function addressesOf({ ips, interfaces }: Result, ifName: string): readonly string[] {
  return ips.filter((one) => interfaces[one.interface ?? -1]?.name === ifName).map(({ address }) => address)
}

/** What differs between a container's interface and prevResult: its presence, kind, MAC, addresses and routes. */
export function interfaceDifferences(
  host: Pick<Machine, 'observer'>,
  expected: { netns: string; ifName: string; prevResult: Result; kind?: string },
): { link?: ObservedLink; problems: readonly Problem[] } {
  const { netns, ifName, prevResult, kind } = expected
  const path = `interface ${ifName}`
  const listed = prevResult.interfaces.find(({ name, sandbox }) => name === ifName && sandbox === netns)
  if (!listed) {
    const names = prevResult.interfaces.map(({ name, sandbox }) => `${name} in ${sandbox ?? 'the host'}`)
    const sandbox = prevResult.interfaces.find(({ name }) => name === ifName)?.sandbox
    const official =
      kind === 'veth' && prevResult.interfaces.length === 0
        ? 'Interface name missing '
        : say(kind, `Sandbox in prevResult ${sandbox ?? ''} doesn't match configured netns: ${netns}`)
    const expected = `${ifName} with the sandbox ${netns}`
    return { problems: [{ path: 'prevResult.interfaces', value: names, expected, official }] }
  }
  const link = host.observer.link(ifName, netns)
  if (!link) {
    const official =
      kind === 'veth'
        ? `Interface name ${ifName} not found`
        : say(kind, `Container Interface name in prevResult: ${ifName} not found`)
    return { problems: [{ path, value: 'none', expected: `a link of this name in ${netns}`, official }] }
  }
  const problems: Problem[] = []
  const actualKind = link.linkinfo?.info_kind ?? 'none'
  if (kind !== undefined && actualKind !== kind) {
    const official = say(kind, `Error: Container interface ${ifName} not of type ${kind}`)
    problems.push({ path: `${path} kind`, value: actualKind, expected: kind, official })
  }
  if (listed.mac && listed.mac.toLowerCase() !== link.address) {
    const official = say(kind, `Interface ${ifName} Mac ${listed.mac} doesn't match container Mac: ${link.address}`)
    problems.push({ path: `${path} MAC`, value: link.address, expected: listed.mac, official })
  }
  return {
    link,
    problems: [...problems, ...addressDifferences(link, prevResult, path), ...routeDifferences(host, expected)],
  }
}

/** Throws what CHECK found, all of it in one error (code 105). */
export function throwDifferences(problems: readonly Problem[]): void {
  if (problems.length === 0) return
  const first = problems[0] as Problem
  throw new CniError(codes.checkFailed, `${first.path} is not as ADD left it`, { problems })
}

// --- internal

/**
 * The official plugins say the same of their interfaces, each in its way: macvlan in small letters, vlan with its
 * name.
 */
function say(kind: string | undefined, text: string): string {
  if (kind === 'macvlan') return `${text.slice(0, 1).toLowerCase()}${text.slice(1)}`
  const isPlain = text.startsWith('Error') || text.startsWith('Sandbox')
  return kind === 'vlan' && !isPlain ? `vlan: ${text}` : text
}

function enableIPv6({ link, netns }: At): readonly Operation[] {
  const meaning = {
    absent: { code: codes.featureMissing, fix: 'boot the kernel with IPv6, or take the IPv6 addresses out of ipam' },
  }
  return [
    sysctl({ key: 'net/ipv6/conf/lo/disable_ipv6', value: '0', netns }),
    sysctl({ key: `net/ipv6/conf/${link}/disable_ipv6`, value: '0', netns }),
    sysctl({ key: `net/ipv6/conf/${link}/keep_addr_on_down`, value: '1', netns }),
  ].map((operation) => ({ ...operation, meaning }))
}

/** What the first ten bits of a link-local address are: fe80::/10. */
const linkLocal = 0x3fan

/**
 * A gateway outside all own subnets (a /32 address, say) is reached on the link itself. One of the other family is none
 * where no IPv6 address of the interface leads to it.
 */
function routeOperation(
  at: At,
  route: Route,
  { ips, onlink }: { ips: readonly IpConfiguration[]; onlink: boolean },
): Operation {
  const gw = effectiveGateway(route, ips)
  const complete = gw === undefined ? route : { ...route, gw }
  const gateway = gw === undefined || isUnspecified(gw) ? undefined : parseAddress(gw)
  const isLocal = ips.some(({ address }) => {
    const cidr = parseCidr(address)
    return cidr && gateway && contains(cidr, gateway)
  })
  if (gateway?.family === 6 && !route.dst.includes(':') && !isLocal && gateway.value >> 118n !== linkLocal) {
    const { gw: _, ...direct } = route
    return addRoute(at, direct)
  }
  const isOwnGateway = ips.some((one) => one.gateway === gw)
  const extra = gateway && onlink && !isLocal && isOwnGateway ? ['onlink'] : []
  return addRoute(at, complete, extra)
}

function addressDifferences(link: ObservedLink, { ips }: Result, path: string): readonly Problem[] {
  const actual = link.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  return ips
    .filter(({ address }) => !actual.includes(address))
    .map(({ address }) => ({
      path: `${path} addresses`,
      value: actual,
      expected: address,
      official: `Failed to match addr ${goAddress(address)} on interface ${link.ifname}`,
    }))
}

/** Only the routes prevResult lists, in the table it names; the official suite looks into the main table alone. */
function routeDifferences(
  host: Pick<Machine, 'observer'>,
  { netns, prevResult }: { netns: string; prevResult: Result },
): readonly Problem[] {
  if (prevResult.routes.length === 0) return []
  const actual = host.observer.routing(netns).routes
  const missing = prevResult.routes.filter((route) => {
    const dst = printedDestination(route.dst)
    const family = route.dst.includes(':') ? 6 : 4
    return !actual.some(
      (one) =>
        one.family === family &&
        one.dst === dst &&
        isInTable(tableOf(one), route.table) &&
        (dst === 'default' || route.gw === undefined || one.gateway === undefined || one.gateway === route.gw),
    )
  })
  return missing.map((route) => ({
    path: 'routes',
    value: 'no such route',
    expected: JSON.stringify(route),
    official: `Expected Route ${goRoute(route)} not found in routing table`,
  }))
}

/** An address with its mask as Go prints the two. */
function goAddress(cidr: string): string {
  const [address, mask] = maskOf(cidr)
  return `{${address} ${mask}}`
}

function goRoute({ dst, gw, mtu = 0, advmss = 0, priority = 0, table, scope }: Route): string {
  const [address, mask] = maskOf(dst)
  const rest = `MTU:${mtu} AdvMSS:${advmss} Priority:${priority} Table:${table ?? '<nil>'} Scope:${scope ?? '<nil>'}`
  return `{Dst:{IP:${address} Mask:${mask}} GW:${gw ?? '<nil>'} ${rest}}`
}

/** "10.1.2.0/24" as its address and its mask in hexadecimal. */
function maskOf(cidr: string): readonly [string, string] {
  const [address = '', prefix = ''] = cidr.split('/')
  const width = address.includes(':') ? 128n : 32n
  const mask = ((1n << BigInt(prefix)) - 1n) << (width - BigInt(prefix))
  return [address, mask.toString(16).padStart(Number(width / 4n), '0')]
}

/** A route that names no table is in main, or in one that a later plugin of the chain moved it to (sbr, vrf). */
function isInTable(actual: number, asked: number | undefined): boolean {
  return asked === undefined ? actual !== localTable : actual === asked
}

/** A destination as `ip -j route` prints it. */
function printedDestination(dst: string): string {
  if (dst === '0.0.0.0/0' || dst === '::/0') return 'default'
  const [address, prefix] = dst.split('/')
  return prefix === (dst.includes(':') ? '128' : '32') ? (address as string) : dst
}

function isSameFamily(left: string, right: string): boolean {
  return left.includes(':') === right.includes(':')
}

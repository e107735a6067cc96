import { configureInterface } from '../../shared/net/interface.js'
import {
  type At,
  addAddress,
  addOnlyRoute,
  ip,
  refuseRouterAdvertisements,
  setUp,
  sysctl,
} from '../../shared/net/ip.js'
import { hostEndOf } from '../../shared/net/veth.js'
import type { Machine } from '../../shared/plan/machine.js'
import type { Operation } from '../../shared/plan/operation.js'
import {
  firstOf,
  hostPart,
  hostPrefix,
  isIPv6,
  parseCidr,
  serves,
  subnetOf,
  widthOf,
} from '../../shared/values/address.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { IpConfiguration, Result, Route } from '../../shared/values/result.js'

/** An address of the container, and the host's address that it sends everything to. */
export interface Pair extends IpConfiguration {
  readonly gateway: string
}

/**
 * The leased addresses as the container gets them. Where IPAM names no gateway it is the first address of the subnet,
 * as for a bridge; the official plugin fails there.
 * @throws code 107 when there is none, or it is the container's own address
 */
export function withGateways({ ips }: Result): readonly Pair[] {
  return ips.map(({ address, gateway = firstOf(address) }) => {
    if (gateway !== undefined && gateway !== hostPart(address)) return { address, gateway, interface: 1 }
    throw new CniError(codes.delegateFailed, `IPAM plugin returned no gateway for ${address}`, {
      problems: [{ path: 'ips gateway', value: gateway, expected: "an address for the host's end of the link" }],
      fix: 'name a gateway in the configuration of the IPAM plugin',
    })
  })
}

/**
 * The host's end: the gateways as its only addresses, and a route to each address of the container. No address waits
 * for duplicate address detection: the only neighbour is the container.
 */
export function hostEnd(link: string, ips: readonly Pair[]): readonly Operation[] {
  const addresses = ips.map(({ address }) => address)
  return [
    refuseRouterAdvertisements({ link }),
    ...(addresses.some(isIPv6) ? [sysctl(noDetection(link), { ifSupported: true })] : []),
    setUp({ link }),
    ...distinct(ips.filter(isServed).map(({ gateway }) => hostPrefix(gateway))).map((gateway) =>
      addAddress({ link }, gateway, isIPv6(gateway) ? ['nodad'] : []),
    ),
    ...addresses.map((address) => hostRoute(link, hostPart(address))),
  ]
}

/**
 * The container's end: everything goes through the gateway, also what is in its own subnet. The routes of the result
 * are added while the kernel's route to the subnet is there, so that any gateway in it resolves; one of them may be the
 * route to the subnet.
 */
export function containerEnd({ link, netns }: At & { netns: string }, ips: readonly Pair[], routes: readonly Route[]) {
  const at = { link, netns }
  const { key, value } = noDetection(link)
  const served = ips.filter(isServed)
  const gatewayRoutes = firstOfEach(served, ({ gateway }) => gateway).map(({ address, gateway }) =>
    addOnlyRoute(at, { dst: hostPrefix(gateway), ...linkScope(gateway) }, ['src', hostPart(address)]),
  )
  return [
    ...configureInterface({
      netns,
      ifName: link,
      ips,
      routes,
      settings: ips.some(({ address }) => isIPv6(address)) ? { [key]: value } : {},
      nodad: true,
      gatewayRoutes,
    }),
    ...firstOfEach(served.filter(hasSubnet), ({ address }) => subnetOf(address)).flatMap((pair) =>
      throughGateway(at, pair),
    ),
  ]
}

/** What differs at the host's end from what prevResult says of it. */
export function hostEndDifferences(
  host: Pick<Machine, 'observer'>,
  expected: { prevResult: Result; addresses: readonly string[]; link: ObservedLink },
): readonly Problem[] {
  const { prevResult, addresses, link } = expected
  const end = hostEndOf(host, link, prevResult)
  if (!end) {
    const names = prevResult.interfaces.filter(({ sandbox }) => !sandbox).map(({ name }) => name)
    return [{ path: 'prevResult.interfaces', value: names, expected: `the other end of ${link.ifname}` }]
  }
  const name = end.ifname
  const present = end.addr_info.map(({ local }) => local)
  const gateways = prevResult.ips
    .filter(({ address }) => addresses.includes(address))
    .flatMap(({ address, gateway }) => (serves(gateway, address) ? [gateway] : []))
  const missing = distinct(gateways).filter((gateway) => !present.includes(gateway))
  const routed = new Set(host.observer.routing().routes.flatMap(({ dst, dev }) => (dev === name ? [dst] : [])))
  const unrouted = addresses.map(hostPart).filter((address) => !routed.has(address))
  return [
    ...missing.map((expected): Problem => ({ path: `interface ${name} addresses`, value: present, expected })),
    ...unrouted.map(
      (address): Problem => ({ path: `routes on ${name}`, value: 'none', expected: `a route to ${address}` }),
    ),
  ]
}

// --- internal

/** Not so where IPAM says that there is no gateway: then everything is on the link. */
function isServed({ address, gateway }: Pair): boolean {
  return serves(gateway, address)
}

/** A route of this very address is another container's, for no two may have the same. */
function hostRoute(link: string, address: string): Operation {
  const scope = isIPv6(address) ? {} : { scope: 254 }
  const fix = `find who has the address with "ip route get ${address}", and detach it or give this container another`
  return {
    ...addOnlyRoute({ link }, { dst: hostPrefix(address), ...scope }),
    meaning: { exists: { code: codes.addressConflict, fix } },
  }
}

function throughGateway(at: At, { address, gateway }: Pair): readonly Operation[] {
  const subnet = subnetOf(address)
  const why = `remove the direct route to ${subnet} from ${at.link}`
  return [
    { ...ip(at.netns, ['route', 'del', subnet, 'dev', at.link, 'proto', 'kernel'], why), tolerate: ['absent'] },
    { ...addOnlyRoute(at, { dst: subnet, gw: gateway }, ['src', hostPart(address)]), tolerate: ['exists'] },
  ]
}

function noDetection(link: string): { key: string; value: string } {
  return { key: `net/ipv6/conf/${link}/accept_dad`, value: '0' }
}

function linkScope(address: string): Pick<Route, 'scope'> {
  return isIPv6(address) ? {} : { scope: 253 }
}

function hasSubnet({ address }: Pair): boolean {
  const cidr = parseCidr(address)
  return cidr !== undefined && cidr.prefix < widthOf(cidr.address.family)
}

function distinct(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)]
}

function firstOfEach(pairs: readonly Pair[], keyOf: (pair: Pair) => string): readonly Pair[] {
  return [...new Map(pairs.toReversed().map((pair) => [keyOf(pair), pair])).values()].toReversed()
}

import type { Operation } from '../plan/operation.js'
import { isUnspecified } from '../values/address.js'
import { codes } from '../values/errors.js'
import type { Route } from '../values/result.js'

/** Where a link is: its name, and its namespace when that is not the host. */
export interface At {
  readonly link: string
  readonly netns?: string | undefined
}

/** A new link with its attributes as `ip link add` takes them; it is removed again when a later step fails. */
export function addLink({ link, netns }: At, words: readonly string[], why = `create ${link}`): Operation {
  return {
    ...ip(netns, ['link', 'add', 'name', link, ...words], why),
    undo: [deleteLink({ link, netns })],
    shownBy: { link, netns, exists: true },
    meaning: {
      exists: {
        code: codes.nameTaken,
        fix: `remove or rename the interface that is there; a DEL of the attachment does`,
      },
      unsupported: { code: codes.featureMissing, fix: 'use a kernel that has this kind of link, or load its module' },
    },
  }
}

/** A link others use too: there already is as good as made, and no failure takes it away from them. */
export function ensureLink({ link, netns }: At, words: readonly string[]): Operation {
  const why = `create ${link}`
  return { ...ip(netns, ['link', 'add', 'name', link, ...words], why), tolerate: ['exists'] }
}

/**
 * A veth pair whose container end is made in the container's namespace under its final name: no rename, no move.
 * `mtu` in bytes, 0 leaves the kernel's choice.
 */
export function addVethPair(pair: {
  host: string
  hostMac: string
  container: string
  containerMac: string
  netns: string
  mtu: number
  master?: string
}): Operation {
  const { host, hostMac, container, containerMac, netns, mtu, master } = pair
  const size = mtu > 0 ? ['mtu', String(mtu)] : []
  const own = ['address', hostMac, 'txqueuelen', '0', ...size, ...(master === undefined ? [] : ['master', master])]
  const peer = ['type', 'veth', 'peer', 'name', container, 'address', containerMac, ...size, 'netns', netns]
  return addLink({ link: host }, [...own, ...peer], `create the veth pair ${host} - ${container}`)
}

export function setLink({ link, netns }: At, words: readonly string[], why: string): Operation {
  return ip(netns, ['link', 'set', 'dev', link, ...words], why)
}

export function setUp({ link, netns }: At): Operation {
  return setLink({ link, netns }, ['up'], `set ${link} up`)
}

export function deleteLink({ link, netns }: At): Operation {
  const operation = ip(netns, ['link', 'del', 'dev', link], `remove ${link}`)
  return { ...operation, tolerate: ['absent'], shownBy: { link, netns, exists: false } }
}

/**
 * An address with its prefix length; `extra` as `nodad`, `noprefixroute`. It goes when its link goes. `broadcast` is
 * the subnet's last address unless given; an empty one is none.
 */
export function addAddress(
  { link, netns }: At,
  address: string,
  extra: readonly string[] = [],
  broadcast?: string,
): Operation {
  const usual = address.includes(':') || Number(address.split('/')[1]) > 30 ? '' : '+'
  const last = broadcast ?? usual
  return ip(
    netns,
    ['addr', 'add', address, ...(last === '' ? [] : ['brd', last]), 'dev', link, ...extra],
    `give ${link} the address ${address}`,
  )
}

/** An address on a shared link. */
export function ensureAddress(at: At, address: string, extra: readonly string[] = [], broadcast?: string): Operation {
  return { ...addAddress(at, address, extra, broadcast), tolerate: ['exists'] }
}

export function deleteAddress({ link, netns }: At, address: string): Operation {
  const operation = ip(netns, ['addr', 'del', address, 'dev', link], `take the address ${address} from ${link}`)
  return { ...operation, tolerate: ['absent'] }
}

/**
 * A route with every attribute the result can carry; `gw` absent means directly on the link. `prepend` sets the flags
 * the official suite sets: IPv6 routes to one destination share it (ECMP), an IPv4 one goes before those of other
 * links, as the default route of a container's second network must.
 */
export function addRoute(at: At, route: Route, extra: readonly string[] = []): Operation {
  return routeOperation('prepend', at, route, extra)
}

/** A route that must be the only one to its destination: another is refused as "exists". */
export function addOnlyRoute(at: At, route: Route, extra: readonly string[] = []): Operation {
  return routeOperation('add', at, route, extra)
}

export function deleteRoute(at: At, route: Route): Operation {
  return { ...routeOperation('del', at, route, []), tolerate: ['absent'] }
}

/** `key` in slash form, such as `net/ipv4/ip_forward`; with `ifSupported` a kernel without the setting is fine. */
export function sysctl(
  { key, value, netns }: { key: string; value: string; netns?: string | undefined },
  options: { ifSupported?: boolean } = {},
): Operation {
  return {
    tool: 'sysctl',
    argv: ['-w', `${key}=${value}`],
    ...(netns === undefined ? {} : { netns }),
    why: `set ${key} to ${value}`,
    ...(options.ifSupported ? { tolerate: ['absent'] as const } : {}),
  }
}

/**
 * No router of a container's link may configure the other end: set on both ends before they are up (CVE-2020-10749).
 */
export function refuseRouterAdvertisements({ link, netns }: At): Operation {
  return sysctl({ key: `net/ipv6/conf/${link}/accept_ra`, value: '0', netns }, { ifSupported: true })
}

/** The host forwards packets of each family that the addresses are of. */
export function forwarding(addresses: readonly string[]): readonly Operation[] {
  const has6 = addresses.some((address) => address.includes(':'))
  const has4 = addresses.some((address) => !address.includes(':'))
  return [
    ...(has4 ? [sysctl({ key: 'net/ipv4/ip_forward', value: '1' })] : []),
    ...(has6 ? [sysctl({ key: 'net/ipv6/conf/all/forwarding', value: '1' })] : []),
  ]
}

/** An `ip` operation of any kind. */
export function ip(netns: string | undefined, argv: readonly string[], why: string): Operation {
  return { tool: 'ip', argv, ...(netns === undefined ? {} : { netns }), why }
}

// --- internal

function routeOperation(verb: string, { link, netns }: At, route: Route, extra: readonly string[]): Operation {
  const { dst, gw, mtu, advmss, priority, table, scope } = route
  const words = [
    ...nextHop(dst, gw),
    'dev',
    link,
    ...attribute('metric', priority),
    ...attribute('table', table),
    ...attribute('scope', scope),
    ...attribute('mtu', mtu),
    ...attribute('advmss', advmss),
    ...extra,
  ]
  const why = `add the route to ${dst}${gw === undefined ? '' : ` via ${gw}`} on ${link}`
  return ip(netns, ['route', verb, dst, ...words], verb === 'del' ? why.replace('add', 'remove') : why)
}

function attribute(word: string, value: number | undefined): readonly string[] {
  return value === undefined ? [] : [word, String(value)]
}

/**
 * An IPv4 destination can be reached by way of an IPv6 neighbour (Linux 5.2), not the other way round: that is no
 * gateway.
 */
function nextHop(dst: string, gw: string | undefined): readonly string[] {
  if (gw === undefined || isUnspecified(gw)) return []
  const isIPv6 = gw.includes(':')
  if (isIPv6 === dst.includes(':')) return ['via', gw]
  return isIPv6 ? ['via', 'inet6', gw] : []
}

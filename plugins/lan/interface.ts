import { configureInterface, containerSettings } from '../../shared/net/interface.js'
import { setUp } from '../../shared/net/ip.js'
import type { Operation } from '../../shared/plan/operation.js'
import { isIPv6, isUnspecified, serves } from '../../shared/values/address.js'
import type { Result, Route } from '../../shared/values/result.js'

/** An interface of a container, and what of its network it may learn by itself. */
export interface Lan {
  readonly ifName: string
  readonly netns: string
  readonly acceptRA?: boolean
  readonly keepIPv6: boolean
}

/**
 * An interface on a network that others share: it takes nothing from routers, and has no IPv6 unless that is asked for,
 * or something that is needs it. Without IPAM it only comes up, for whoever gives it its addresses.
 */
export function configureLan(
  { ifName, netns, acceptRA = false, keepIPv6 }: Lan,
  { ips, routes }: Pick<Result, 'ips' | 'routes'>,
  more: Readonly<Record<string, string>> = {},
): readonly Operation[] {
  const conf = `net/ipv6/conf/${ifName}`
  const isIPv4 = ips.length > 0 && !ips.some(({ address }) => isIPv6(address))
  const isWanted =
    acceptRA || (isIPv4 && routes.some(({ dst, gw = '' }) => isIPv6(dst) || (isIPv6(gw) && !isUnspecified(gw))))
  const settings = {
    [`${conf}/accept_ra`]: acceptRA ? '2' : '0',
    [`${conf}/autoconf`]: acceptRA ? '1' : '0',
    ...(isWanted ? { [`${conf}/disable_ipv6`]: '0' } : {}),
    ...(isIPv4 && !isWanted && !keepIPv6 ? { [`${conf}/disable_ipv6`]: '1' } : {}),
  }
  const at = { link: ifName, netns }
  const all = { ...settings, ...more }
  if (ips.length === 0) return [...containerSettings(at, all), setUp(at)]
  return configureInterface({ netns, ifName, ips, routes, settings: all })
}

/**
 * A family that IPAM gives neither gateway nor routes gets a default route, for without one it reaches nobody; its
 * metric makes way for any other default route of the container.
 */
export function withDirectRoutes({ ips, routes }: Pick<Result, 'ips' | 'routes'>): readonly Route[] {
  const lastMetric = 4096
  const direct = (['0.0.0.0/0', '::/0'] as const).filter((dst) => {
    const isOfFamily = (text: string) => text.includes(':') === dst.includes(':')
    const own = ips.filter(({ address }) => isOfFamily(address))
    return (
      own.length > 0 &&
      !own.some(({ address, gateway }) => serves(gateway, address)) &&
      !routes.some((route) => isOfFamily(route.dst))
    )
  })
  return [...routes, ...direct.map((dst) => ({ dst, priority: lastMetric }))]
}

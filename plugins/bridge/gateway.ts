import { deleteAddress, ensureAddress } from '../../shared/net/ip.js'
import type { Operation } from '../../shared/plan/operation.js'
import { contains, firstOf, isUnspecified, parseCidr, serves } from '../../shared/values/address.js'
import { CniError, codes } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { IpConfiguration, Result, Route } from '../../shared/values/result.js'
import type { BridgeConfiguration } from './bridge.schema.js'

type GatewayKeys = Pick<BridgeConfiguration, 'isGateway' | 'isDefaultGateway' | 'forceAddress'>

export function isGateway(config: GatewayKeys): boolean {
  return config.isGateway || config.isDefaultGateway
}

/**
 * The leased addresses and routes as the container gets them: with a gateway for each address where the bridge is one
 * (the first address of the subnet unless IPAM names another), and a default route of each family through it.
 */
export function withGateways(config: GatewayKeys, leased: Result, index: number): Pick<Result, 'ips' | 'routes'> {
  const ips = leased.ips.map(({ address, gateway }): IpConfiguration => {
    const own = gateway ?? (isGateway(config) ? firstOf(address) : undefined)
    return { address, ...(own === undefined ? {} : { gateway: own }), interface: index }
  })
  const routes: Route[] = [...leased.routes]
  for (const { address, gateway } of config.isDefaultGateway ? ips : []) {
    const dst = address.includes(':') ? '::/0' : '0.0.0.0/0'
    if (gateway === undefined || routes.some((route) => route.dst === dst)) continue
    routes.push({ dst, ...(serves(gateway, address) || isUnspecified(gateway) ? { gw: gateway } : {}) })
  }
  return { ips, routes }
}

/**
 * The gateways' addresses on the host's link. Other addresses of the link are in the way: always those
 * of IPv4, of IPv6 only overlapping ones.
 * @throws code 110 unless `forceAddress` lets them be replaced
 */
export function gatewayOperations(
  config: GatewayKeys,
  { link, observed, ips }: { link: string; observed: ObservedLink | undefined; ips: readonly IpConfiguration[] },
): readonly Operation[] {
  const wanted = ips.flatMap(({ address, gateway }) =>
    serves(gateway, address) ? [`${gateway}/${address.split('/')[1]}`] : [],
  )
  const present = (observed?.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  const missing = wanted.filter((address) => !present.includes(address))
  const inTheWay = present.filter((one) => !wanted.includes(one) && missing.some((address) => conflict(one, address)))
  if (inTheWay.length > 0 && !config.forceAddress) throw addressConflict(link, inTheWay, missing)
  return [
    ...inTheWay.map((address) => deleteAddress({ link }, address)),
    ...missing.map((address) => ensureAddress({ link }, address, address.includes(':') ? ['nodad'] : [])),
  ]
}

// --- internal

function conflict(present: string, wanted: string): boolean {
  const [left, right] = [parseCidr(present), parseCidr(wanted)]
  if (!left || !right || left.address.family !== right.address.family) return false
  if (left.address.family === 4) return true
  return contains(left, right.address) || contains(right, left.address)
}

function addressConflict(link: string, inTheWay: readonly string[], wanted: readonly string[]): CniError {
  const commands = inTheWay.map((address) => `ip addr del ${address} dev ${link}`).join('; ')
  return new CniError(
    codes.addressConflict,
    `failed to set bridge addr: "${link}" already has an IP address different from ${wanted.join(', ')}`,
    {
      problems: [{ path: `addresses of ${link}`, value: inTheWay, expected: `only ${wanted.join(', ')}` }],
      fix: `if nothing needs the other address: ${commands}; or set "forceAddress": true, or give the network a bridge of its own`,
    },
  )
}

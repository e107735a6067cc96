import { formatAddress, formatCidr, parseAddress, parseCidr } from '../shared/net/address.js'
import type { Route } from '../shared/protocol/result.js'

/** A configured route as a result prints it: canonical addresses, host bits kept, nothing that is zero or empty. */
export function canonicalRoute({ dst, gw, mtu, advmss, priority, table, scope }: Route): Route {
  const destination = parseCidr(dst)
  const gateway = parseAddress(gw ?? '')
  return {
    dst: destination ? formatCidr(destination) : dst,
    ...(gateway ? { gw: formatAddress(gateway) } : {}),
    ...(mtu ? { mtu } : {}),
    ...(advmss ? { advmss } : {}),
    ...(priority ? { priority } : {}),
    ...(table === undefined ? {} : { table }),
    ...(scope === undefined ? {} : { scope }),
  }
}

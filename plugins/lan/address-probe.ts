import { addressesTaken } from '../../shared/net/announce.js'
import { type At, addAddress, deleteAddress, setLink, sysctl } from '../../shared/net/ip.js'
import type { Host } from '../../shared/plan/host.js'
import { lease, unlease } from '../../shared/program/ipam.js'
import type { Call } from '../../shared/program/plugin.js'
import { hostPart, isIPv6 } from '../../shared/values/address.js'
import { CniError, codes } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { Result } from '../../shared/values/result.js'

/** Where to ask whether somebody has an address. */
export interface Probe {
  /** The container's interface: it is up and has no address yet. */
  readonly child: At & { readonly netns: string }
  /** Where ARP answers arrive: at the child, or at its master where both have one MAC address. */
  readonly arp: At
  /** The child never hears it answer for its own addresses. */
  readonly master: ObservedLink
}

/**
 * A lease whose addresses nobody on the link answers for. A lease that somebody does answer for is kept under an owner
 * of its own, so that it is not handed out again before the next GC, and the next one is tried.
 * @throws code 110 where IPAM has no other, or too many are taken
 */
export function leaseFree(call: Call, probe: Probe): Result {
  const { host } = call
  const tried: string[] = []
  for (let attempt = 0; attempt < mostAttempts; attempt++) {
    const leased = lease(call)
    const addresses = leased.ips.map(({ address }) => address)
    const taken = host.dryRun ? [] : findTaken(host, probe, addresses)
    if (taken.length === 0) return leased
    const isNew = !tried.includes(addresses.join())
    tried.push(addresses.join())
    if (!isNew) break
    host.warn(`another machine on the link has ${taken.join(', ')}: another address is taken`)
    quarantine(call, addresses)
  }
  throw new CniError(codes.addressConflict, `other machines on the link have the addresses ${tried.join(', ')}`, {
    fix: 'exclude them in the IPAM configuration, or find the machines: ip neigh show',
  })
}

// --- internal

const mostAttempts = 8

function findTaken(host: Host, { child, arp, master }: Probe, addresses: readonly string[]): readonly string[] {
  const mastersOwn = master.addr_info.map(({ local }) => local)
  const [own, foreign] = [addresses.filter(isOwn), addresses.filter((address) => !isOwn(address))]
  function isOwn(address: string): boolean {
    return mastersOwn.includes(hostPart(address))
  }
  const four = foreign.filter(
    (address) => !isIPv6(address) && host.observer.answersArp(hostPart(address), arp.link, arp.netns),
  )
  return [...own, ...four, ...askNeighbours(host, child, foreign.filter(isIPv6))]
}

/** The kernel's own duplicate address detection, on the very link; the addresses are only lent for it. */
function askNeighbours(host: Host, at: Probe['child'], addresses: readonly string[]): readonly string[] {
  if (addresses.length === 0) return []
  const { link, netns } = at
  host.apply([
    sysctl({ key: `net/ipv6/conf/${link}/disable_ipv6`, value: '0', netns }),
    ...addresses.map((address) => addAddress(at, address)),
  ])
  const taken = addressesTaken(host, at)
  host.apply([
    ...addresses.map((address) => deleteAddress(at, address)),
    setLink(at, ['down'], `set ${link} down`),
    setLink(at, ['up'], `set ${link} up`),
  ])
  return addresses.filter((address) => taken.includes(hostPart(address)))
}

/** Gives the lease to an owner that never was, whose name tells why. */
function quarantine(call: Call, addresses: readonly string[]): void {
  unlease(call)
  const containerID = `address-conflict-${hostPart(addresses[0] ?? '').replaceAll(':', '-')}`
  const config = JSON.parse(call.stdin)
  const runtimeConfig = { ...call.config.runtimeConfig, ips: addresses }
  const others = Object.entries(config).filter(([key]) => key.toLowerCase() !== 'runtimeconfig')
  lease({
    ...call,
    stdin: JSON.stringify({ ...Object.fromEntries(others), runtimeConfig }),
    environment: { ...call.environment, containerID },
    host: { ...call.host, env: { ...call.host.env, CNI_CONTAINERID: containerID } },
  })
}

import type { Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import { CniError, codes } from '../values/errors.js'
import { pause } from './carrier.js'
import { type At, sysctl } from './ip.js'

/**
 * Settings under which the kernel tells the neighbours who has an address now: by a gratuitous ARP when the link comes
 * up with it, and by an unsolicited neighbour advertisement once no one objected to it. Whoever remembers the address's
 * last owner learns the new one, without waiting for his entry to expire.
 */
export function announcing(link: string): Readonly<Record<string, string>> {
  return {
    [`net/ipv4/conf/${link}/arp_notify`]: '1',
    [`net/ipv6/conf/${link}/ndisc_notify`]: '1',
    // Duplicate address detection begins at once and waits for objections as long as a LAN needs: a third of a second.
    [`net/ipv6/conf/${link}/router_solicitation_delay`]: '0',
    [`net/ipv6/neigh/${link}/retrans_time_ms`]: String(detectionMilliseconds),
  }
}

/**
 * Waits until the kernel has found each IPv6 address of an interface to be its own, and puts its timing back.
 * @throws code 110 when a neighbour has one of them already
 */
export function settle(host: Host, at: At): void {
  if (!host.dryRun) refuseTaken(addressesTaken(host, at), at)
  host.apply([usualTiming(at)])
}

/** Those of an interface's IPv6 addresses that a neighbour has already. Without a carrier nobody can be asked. */
export function addressesTaken(host: Host, { link, netns }: At): readonly string[] {
  const end = performance.now() + deadlineMilliseconds
  for (let milliseconds = detectionMilliseconds; ; milliseconds = 30) {
    const { addr_info = [], flags = [] } = host.observer.link(link, netns) ?? {}
    const failed = addr_info.filter(({ dadfailed }) => dadfailed).map(({ local = '' }) => local)
    const isWaiting = addr_info.some(({ tentative, dadfailed }) => tentative && !dadfailed)
    if (!isWaiting || !flags.includes('LOWER_UP')) return failed
    if (performance.now() > end) throw stillTentative(link)
    pause(milliseconds)
  }
}

// --- internal

const detectionMilliseconds = 300
const usualMilliseconds = 1000
const deadlineMilliseconds = 5000

function usualTiming({ link, netns }: At): Operation {
  const key = `net/ipv6/neigh/${link}/retrans_time_ms`
  return sysctl({ key, value: String(usualMilliseconds), netns }, { ifSupported: true })
}

function refuseTaken(taken: readonly string[], { link }: At): void {
  if (taken.length === 0) return
  throw new CniError(codes.addressConflict, `another machine on the link has the address ${taken.join(', ')}`, {
    details: `duplicate address detection failed on ${link}`,
    fix: 'exclude the address in the IPAM configuration, or find the machine: ip neigh show',
  })
}

function stillTentative(link: string): CniError {
  return new CniError(codes.operationFailed, `${link} still has tentative addresses after ${deadlineMilliseconds} ms`)
}

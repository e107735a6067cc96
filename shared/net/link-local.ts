import type { Host } from '../plan/host.js'
import { formatAddress, parseAddress } from '../values/address.js'
import { isAbsent } from '../values/errno.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { pause } from './carrier.js'
import { ensureAddress } from './ip.js'

/**
 * Sees to it that a bridge that is up has its IPv6 link-local address. The kernel gives it with the first carrier, so a
 * moment after a port forwards, and never while no port does. One that `isOurs` gets the very address at once; another
 * one is waited for, if it `willCarry`. Where IPv6 is off, or the address is left to somebody, there is none.
 */
export function ensureLinkLocal(
  host: Host,
  bridge: ObservedLink,
  { isOurs, willCarry }: { isOurs: () => boolean; willCarry: boolean },
): void {
  const { ifname: link, address = '' } = bridge
  if (host.dryRun || hasLinkLocal(bridge)) return
  const generation = generationOn(host, link)
  if (generation === fromHardware && isOurs()) {
    host.apply([ensureAddress({ link }, `${linkLocalOf(address)}/64`, ['nodad'])])
  } else if (willCarry && generation !== undefined && generation !== byHand) awaitLinkLocal(host, link)
}

/** The link-local address that follows from a MAC address (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const [first = '', ...others] = mac.split(':')
  const [a, b, c, d, e, f] = [(Number.parseInt(first, 16) ^ 2).toString(16).padStart(2, '0'), ...others]
  const parsed = parseAddress(`fe80::${a}${b}:${c}ff:fe${d}:${e}${f}`)
  if (parsed === undefined) throw new Error(`no MAC address: ${mac}`)
  return formatAddress(parsed)
}

// --- internal

const deadlineMilliseconds = 2000

/** Values of addr_gen_mode (linux/if_link.h, IN6_ADDR_GEN_MODE). */
const fromHardware = '0'
const byHand = '1'

/** How the link gets its link-local address; undefined where it gets none. */
function generationOn({ files }: Host, link: string): string | undefined {
  const setting = (key: string) => files.read(`/proc/sys/net/ipv6/conf/${link}/${key}`).trim()
  try {
    return setting('disable_ipv6') === '0' ? setting('addr_gen_mode') : undefined
  } catch (thrown) {
    if (isAbsent(thrown)) return undefined
    throw thrown
  }
}

function awaitLinkLocal(host: Host, link: string): void {
  const end = performance.now() + deadlineMilliseconds
  for (let wait = 1; !isThere(host, link); wait = Math.min(2 * wait, 50)) {
    if (performance.now() > end) {
      host.warn(`${link} has no IPv6 link-local address after ${deadlineMilliseconds} ms`)
      return
    }
    pause(wait)
  }
}

function isThere(host: Host, link: string): boolean {
  const found = host.observer.link(link)
  return found !== undefined && hasLinkLocal(found)
}

function hasLinkLocal({ addr_info }: ObservedLink): boolean {
  return addr_info.some(({ local = '', scope }) => scope === 'link' && local.includes(':'))
}

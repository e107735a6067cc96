import { families } from './address.js'
import { link, linkHeader, linkHeaderBytes } from './links.js'
import { type Ask, linkOf } from './look.js'
import { type Attribute, attribute, attributesOf, request } from './message.js'

// Settings below /proc/sys/net by rtnetlink: with many namespaces each way into /proc/sys/net/ipv4 or ipv6 takes the
// kernel a millisecond (exec/files.ts). It tells those of a link beside the link, and takes those of IPv4 there.

/**
 * The value of a setting of the namespace at hand, such as net/ipv4/conf/eth0/arp_notify; undefined where only its file
 * tells.
 */
export function settingNow(ask: Ask, path: string): number | undefined {
  if (path === 'net/ipv4/ip_forward') return forwardingOf(ask, families[4])
  if (path === 'net/ipv6/conf/all/forwarding') return forwardingOf(ask, families[6])
  const setting = settingOfLink(path)
  if (setting === undefined) return undefined
  const found = linkOf(ask, setting.name)
  if (found === undefined || found === 'unknown') return undefined
  const specifics = attributesOf(found, linkHeaderBytes).get(link.specifics)
  if (!specifics) return undefined
  const ofFamily = attributesOf(specifics, 0).get(families[setting.family])
  const values = ofFamily && attributesOf(ofFamily, 0).get(configuration[setting.family])
  const at = setting.index * 4
  return values && at + 4 <= values.length ? values.readInt32LE(at) : undefined
}

/** Writes a setting of a link. False where only its file takes it. */
export function writeValue(ask: Ask, path: string, value: string): boolean {
  const setting = settingOfLink(path)
  const number = Number(value)
  // Of the others writing the file has effects that this has not.
  if (setting?.key !== 'arp_notify' || (number !== 0 && number !== 1)) return false
  const inside = (type: number, part: Attribute) => attribute(type, [part])
  const one = attribute(setting.index + 1, number)
  const specifics = inside(link.specifics, inside(families[4], inside(configuration[4], one)))
  const attributes = [attribute(link.name, setting.name), specifics]
  return ask({ type: request.newLink, flags: 0, header: linkHeader(), attributes })?.error === 0
}

// --- internal

/** IFLA_INET_CONF and IFLA_INET6_CONF, as in linux/if_link.h. */
const configuration = { 4: 1, 6: 2 } as const

/** Places in what the kernel tells: of IPv4 one below the numbers in linux/ip.h, of IPv6 those in linux/ipv6.h. */
const places = {
  4: { forwarding: 0, arp_notify: 21, route_localnet: 25 },
  6: { forwarding: 0, accept_ra: 3 },
} as const

function settingOfLink(path: string): { family: 4 | 6; name: string; key: string; index: number } | undefined {
  const [net, ip, conf, name = '', key = '', ...more] = path.split('/')
  if (net !== 'net' || conf !== 'conf' || more.length > 0 || name === 'all' || name === 'default') return undefined
  const family = ip === 'ipv4' ? 4 : 6
  const index = (places[family] as Readonly<Record<string, number>>)[key]
  return index === undefined ? undefined : { family, name, key, index }
}

/** Whether all of a family is forwarded, as in linux/netconf.h. */
function forwardingOf(ask: Ask, family: number): number | undefined {
  const RTM_GETNETCONF = 82
  const NETCONFA = { index: 1, forwarding: 2 }
  const all = Buffer.from([255, 255, 255, 255])
  const header = Buffer.from([family, 0, 0, 0])
  const answer = ask({ type: RTM_GETNETCONF, flags: 0, header, attributes: [attribute(NETCONFA.index, all)] })
  const [part] = answer?.parts ?? []
  return part && attributesOf(part, header.length).get(NETCONFA.forwarding)?.readInt32LE()
}

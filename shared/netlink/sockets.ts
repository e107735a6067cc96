import type { ListeningSocket } from '../plan/observer.js'
import { type Address, formatAddress } from '../values/address.js'
import { addressFrom, families } from './address.js'
import type { Ask } from './look.js'
import { attributesOf, flag } from './message.js'

/**
 * The TCP sockets that listen, or the UDP sockets without a peer, of the namespace at hand, by sock_diag(7).
 * /proc/net/tcp tells the same, but there the kernel goes through every connection there is. Undefined where the kernel
 * cannot say.
 */
export function listeningSockets(
  ask: Ask,
  family: 4 | 6,
  protocol: 'tcp' | 'udp',
): readonly ListeningSocket[] | undefined {
  const header = Buffer.alloc(56)
  const { number, state } = protocols[protocol]
  header.set([families[family], number])
  header.writeUInt32LE(1 << state, 4)
  const answer = ask({ type: SOCK_DIAG_BY_FAMILY, flags: flag.dump, header, attributes: [] })
  return answer?.error === 0 ? answer.parts.map((part) => socketOf(part, family)) : undefined
}

// --- internal

const SOCK_DIAG_BY_FAMILY = 20
const INET_DIAG_SKV6ONLY = 11
const diagBytes = 72
/** TCP_LISTEN, and for UDP what the kernel calls TCP_CLOSE. */
const protocols = { tcp: { number: 6, state: 10 }, udp: { number: 17, state: 7 } } as const

/**
 * struct inet_diag_msg, and behind it an attribute that the kernel adds to IPv6 sockets which listen
 * (INET_DIAG_SKV6ONLY).
 */
function socketOf(part: Buffer, family: 4 | 6): ListeningSocket {
  const source = part.subarray(8, family === 4 ? 12 : 24)
  return {
    address: formatAddress(unmapped(addressFrom(source))),
    port: part.readUInt16BE(4),
    inode: String(part.readUInt32LE(68)),
    isIPv6Only: attributesOf(part, diagBytes).get(INET_DIAG_SKV6ONLY)?.[0] === 1,
  }
}

/** An IPv6 socket bound to an IPv4 address shows it as ::ffff:ADDRESS. */
function unmapped(address: Address): Address {
  const isMapped = address.family === 6 && address.value >> 32n === 0xffffn
  return isMapped ? { family: 4, value: address.value & 0xffffffffn } : address
}

import type { Address } from '../values/address.js'

/** Address families as the kernel numbers them: AF_INET, AF_INET6. */
export const families = { 4: 2, 6: 10 } as const

/**
 * How far an address or a route reaches, by the names of `ip`: RT_SCOPE_UNIVERSE and so on, as in linux/rtnetlink.h.
 */
export const scopes = { global: 0, site: 200, link: 253, host: 254 } as const

/** An address in network byte order, 4 or 16 bytes. */
export function addressBytes({ family, value }: Address): Buffer {
  return Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex')
}

export function addressFrom(bytes: Buffer): Address {
  return { family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${bytes.toString('hex')}`) }
}

/** `::ffff:192.0.2.1` is an IPv4 address to us (address.ts), and none to `ip` and `nft`. */
export function isMapped(text: string, family: 4 | 6): boolean {
  return family === 4 && text.includes(':')
}

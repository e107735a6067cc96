import type { Files } from '../exec/files.js'
import { parseAddress } from './address.js'

/**
 * The link by which the host's main table reaches an IPv4 address directly (no gateway between), read from
 * /proc/net/route: no process is needed. Undefined where it is reached otherwise or not at all.
 */
export function linkTowards({ files }: { readonly files: Pick<Files, 'read'> }, address: string): string | undefined {
  const parsed = parseAddress(address)
  if (parsed?.family !== 4) return undefined
  const target = Number(parsed.value)
  let best: { link: string; mask: number; gateway: string } | undefined
  for (const line of files.read('/proc/net/route').split('\n').slice(1)) {
    const [link = '', destination = '', gateway = '', , , , , maskText = ''] = line.split('\t')
    if (link === '') continue
    const mask = wordOf(maskText)
    const matches = (target & mask) >>> 0 === wordOf(destination)
    if (matches && (best === undefined || mask > best.mask)) best = { link, mask, gateway }
  }
  return best?.gateway === '00000000' ? best.link : undefined
}

// --- internal

/** A 32-bit word as /proc prints it: hex of the bytes in little-endian order. */
function wordOf(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE()
}

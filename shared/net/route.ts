import type { Files } from '../exec/files.js'
import type { Kernel } from '../netlink/kernel.js'
import { parseAddress } from '../values/address.js'

/**
 * The link by which the host reaches an IPv4 address directly (no gateway between), as the kernel finds it by its rules and tables; where it
 * cannot be asked, as the main table says in /proc/net/route, which has a line for each container of ptp. No process is needed. Undefined
 * where the address is reached otherwise or not at all.
 */
export function linkTowards(
  { files, kernel }: { readonly files: Pick<Files, 'read'>; readonly kernel?: Pick<Kernel, 'linkTo'> | undefined },
  address: string,
): string | undefined {
  const parsed = parseAddress(address)
  if (parsed?.family !== 4) return undefined
  const seen = kernel ? kernel.linkTo(parsed) : 'unknown'
  if (seen !== 'unknown') return seen
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

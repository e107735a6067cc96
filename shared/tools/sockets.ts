import type { Files } from '../exec/files.js'
import type { ListeningSocket } from '../plan/observer.js'
import { formatAddress, parseAddress } from '../values/address.js'

/** The sockets that wait for whoever comes, as /proc/net lists them: of SCTP those of both families. */
export function listeningSockets(
  files: Files,
  family: 4 | 6,
  protocol: 'tcp' | 'udp' | 'sctp',
): readonly ListeningSocket[] {
  if (protocol === 'sctp') return sctpSockets(files)
  return read(files, protocol, family === 4 ? '' : '6')
}

/** The addresses of the host itself, in canonical text. */
export function localAddresses(files: Files, family: 4 | 6): ReadonlySet<string> {
  return family === 4 ? localAddresses4(files) : localAddresses6(files)
}

/** The ports of clients that asked for none. */
export function clientPorts(files: Files): readonly [first: number, last: number] {
  const [first = 0, last = 0] = files.read('/proc/sys/net/ipv4/ip_local_port_range').trim().split('\t').map(Number)
  return [first, last]
}

// --- internal

/**
 * The states in /proc/net: a TCP or SCTP socket that listens, a UDP socket without a peer (include/net/tcp_states.h).
 */
const listening = { tcp: '0A', udp: '07', sctp: '10' } as const

/**
 * Lines are "sl local rem st tx:rx tr:when retrnsmt uid timeout inode ...", addresses in hex as the machine holds them.
 */
function read(files: Files, protocol: 'tcp' | 'udp', suffix: string): readonly ListeningSocket[] {
  const found: ListeningSocket[] = []
  for (const line of textOf(files, `/proc/net/${protocol}${suffix}`).split('\n').slice(1)) {
    const [, local = '', , state, , , , , , inode = ''] = line.split(' ').filter((word) => word !== '')
    if (state !== listening[protocol]) continue
    const [address = '', port = ''] = local.split(':')
    found.push({ address: addressOf(address), port: Number.parseInt(port, 16), inode, isIPv6Only: false })
  }
  return found
}

/** Lines are "endpoint sock style state hash port uid inode address ...": it may be bound to several. */
function sctpSockets(files: Files): readonly ListeningSocket[] {
  return textOf(files, '/proc/net/sctp/eps')
    .split('\n')
    .flatMap((line) => {
      const [, , , state, , port, , inode = '', ...addresses] = line.split(' ').filter((word) => word !== '')
      if (state !== listening.sctp) return []
      return addresses.map((text) => {
        const parsed = parseAddress(text)
        const address = parsed ? formatAddress(parsed) : text
        return { address, port: Number(port), inode, isIPv6Only: false }
      })
    })
}

/** A kernel without IPv6, or without the protocol, has no such file. */
function textOf(files: Files, path: string): string {
  try {
    return files.read(path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw thrown
  }
}

/** Words of 32 bits, each in the machine's byte order (little-endian on every machine we build for). */
function addressOf(hex: string): string {
  let value = 0n
  for (let at = 0; at < hex.length; at += 8) {
    const word = Buffer.from(hex.slice(at, at + 8), 'hex').readUInt32LE()
    value = (value << 32n) | BigInt(word)
  }
  if (hex.length === 8) return formatAddress({ family: 4, value })
  const isMapped = value >> 32n === 0xffffn
  return formatAddress(isMapped ? { family: 4, value: value & 0xffffffffn } : { family: 6, value })
}

/** In /proc/net/fib_trie a local address is a line "|-- ADDRESS" followed by one that says "/32 host LOCAL". */
function localAddresses4(files: Files): ReadonlySet<string> {
  const local = new Set<string>()
  let address = ''
  for (const line of files.read('/proc/net/fib_trie').split('\n')) {
    const at = line.indexOf('|-- ')
    if (at >= 0) address = line.slice(at + 4).trim()
    else if (line.includes('/32 host LOCAL')) local.add(address)
  }
  return local
}

/** Lines of /proc/net/if_inet6 begin with the address in 32 hex digits. */
function localAddresses6(files: Files): ReadonlySet<string> {
  const lines = files.read('/proc/net/if_inet6').split('\n')
  return new Set(lines.map((line) => canonical(line.slice(0, 32))))
}

function canonical(hex: string): string {
  const groups = Array.from({ length: 8 }, (_, index) => hex.slice(index * 4, index * 4 + 4)).join(':')
  const address = parseAddress(groups)
  return address ? formatAddress(address) : ''
}

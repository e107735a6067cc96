import type { Host } from '../../shared/plan/host.js'
import { formatAddress, parseAddress } from '../../shared/values/address.js'
import type { Family } from './publication.js'

/** The addresses of the host itself, in canonical text. */
export function localAddresses(host: Host, family: Family): ReadonlySet<string> {
  return family === 'ip' ? localAddresses4(host) : localAddresses6(host)
}

// --- internal

/** In /proc/net/fib_trie a local address is a line "|-- ADDRESS" followed by one that says "/32 host LOCAL". */
function localAddresses4({ files }: Host): ReadonlySet<string> {
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
function localAddresses6({ files }: Host): ReadonlySet<string> {
  const lines = files.read('/proc/net/if_inet6').split('\n')
  return new Set(lines.map((line) => canonical(line.slice(0, 32))))
}

function canonical(hex: string): string {
  const groups = Array.from({ length: 8 }, (_, index) => hex.slice(index * 4, index * 4 + 4)).join(':')
  const address = parseAddress(groups)
  return address ? formatAddress(address) : ''
}

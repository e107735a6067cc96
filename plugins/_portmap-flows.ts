import { formatAddress, parseAddress } from '../shared/net/address.js'
import { type Flow, forgetFlows, udpFlows } from '../shared/net/conntrack.js'
import type { Host } from '../shared/plan/host.js'
import { CniError } from '../shared/protocol/errors.js'
import type { Publication } from './_portmap-publication.js'

/**
 * A UDP flow outlives the rules it began under: after ADD, clients that kept sending would not reach the container,
 * after DEL they would reach a dead one. Forgets the flows of exactly these mappings: at ADD those to the host that
 * somebody else answers, at DEL those the container answers.
 */
export function forgetOldFlows(host: Host, verb: 'ADD' | 'DEL', publications: readonly Publication[]): void {
  const published = publications.filter(
    ({ waiting, ports }) => !waiting && ports.some(({ protocol }) => protocol === 'udp'),
  )
  if (host.dryRun || published.length === 0) return
  try {
    for (const publication of published) forgetFlowsOf(host, verb, publication)
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    // The mapping itself is as it should be: not worth a failed ADD, nor a DEL that comes again.
    host.warn(
      `portmap: UDP clients that keep sending may go on to where they went: ${thrown.message}; ${thrown.details}`,
    )
  }
}

// --- internal

function forgetFlowsOf(host: Host, verb: 'ADD' | 'DEL', publication: Publication): void {
  const own = udpFlows(host.run, publication.family).filter((flow) => isOfMapping(flow, publication))
  const answered = own.filter((flow) => isAnsweredBy(flow, publication))
  const others = own.filter((flow) => !answered.includes(flow))
  host.sweep(forgetFlows(publication.family, verb === 'DEL' ? answered : notForwarded(host, publication, others)))
}

function isOfMapping({ destination, destinationPort }: Flow, { ports }: Publication): boolean {
  return ports.some(
    ({ protocol, host, address }) =>
      protocol === 'udp' && host === destinationPort && (address === undefined || address === destination),
  )
}

function isAnsweredBy({ destinationPort, answerer, answererPort }: Flow, { address, ports }: Publication): boolean {
  return (
    answerer === address && ports.some(({ host, container }) => host === destinationPort && container === answererPort)
  )
}

/** What the host sends or forwards to the same port of others is none of ours. */
function notForwarded(host: Host, { family }: Publication, flows: readonly Flow[]): readonly Flow[] {
  if (flows.length === 0) return []
  const local = family === 'ip' ? localAddresses4(host) : localAddresses6(host)
  return flows.filter(({ destination }) => local.has(destination))
}

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
  return new Set(lines.map((line) => conntrackText(line.slice(0, 32))))
}

/** The address in the canonical text that conntrack prints, too. */
function conntrackText(hex: string): string {
  const groups = Array.from({ length: 8 }, (_, index) => hex.slice(index * 4, index * 4 + 4)).join(':')
  const address = parseAddress(groups)
  return address ? formatAddress(address) : ''
}

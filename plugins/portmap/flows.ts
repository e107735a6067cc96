import { forgetFlows } from '../../shared/net/conntrack.js'
import type { Host } from '../../shared/plan/host.js'
import type { Flow } from '../../shared/plan/observer.js'
import { CniError } from '../../shared/values/errors.js'
import type { Port, Publication } from './publication.js'

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
  const own = host.observer.udpFlows(publication.family).filter((flow) => isOfMapping(flow, publication))
  const answered = own.filter((flow) => isAnsweredBy(flow, publication))
  const others = own.filter((flow) => !answered.includes(flow))
  host.sweep(forgetFlows(publication.family, verb === 'DEL' ? answered : notForwarded(host, publication, others)))
}

function isOfMapping({ destination, destinationPort }: Flow, { ports, spared = [] }: Publication): boolean {
  const leadsTo = ({ protocol, host, address }: Port) =>
    protocol === 'udp' && host === destinationPort && (address === undefined || address === destination)
  return ports.some(leadsTo) && !spared.some(leadsTo)
}

function isAnsweredBy({ destinationPort, answerer, answererPort }: Flow, { address, ports }: Publication): boolean {
  return (
    answerer === address && ports.some(({ host, container }) => host === destinationPort && container === answererPort)
  )
}

/** What the host sends or forwards to the same port of others is none of ours. */
function notForwarded(host: Host, { family }: Publication, flows: readonly Flow[]): readonly Flow[] {
  if (flows.length === 0) return []
  const local = host.observer.localAddresses(family === 'ip' ? 4 : 6)
  return flows.filter(({ destination }) => local.has(destination))
}

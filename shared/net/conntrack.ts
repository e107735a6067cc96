import type { Flow } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import { conntrackFamily } from '../tools/conntrack.js'

/** Forgets flows, those to one destination and answered by one answerer together; one that is gone already is fine. */
export function forgetFlows(family: 'ip' | 'ip6', flows: readonly Flow[]): readonly Operation[] {
  const distinct = new Map(flows.map((flow) => [Object.values(flow).join(' '), flow]))
  return [...distinct.values()].map(({ destination, destinationPort, answerer, answererPort }) => ({
    tool: 'conntrack',
    argv: [
      ...['-D', '-f', conntrackFamily[family], '-p', 'udp'],
      ...['--orig-dst', destination, '--orig-port-dst', String(destinationPort)],
      ...['--reply-src', answerer, '--reply-port-src', String(answererPort)],
    ],
    why: `forget the UDP flows to ${destination} port ${destinationPort}`,
    tolerate: ['absent'],
  }))
}

import { type PublishingHost, publishingHosts, type Way, ways } from './hosts.js'
import { descendantsCpu } from './measure.js'
import { type Cost, compared, type Line, type Section } from './report.js'

const remark =
  "On iptables all mappings present but the first 100 are the official plugin's rules for these repeated: making them by ADDs would take minutes."

/**
 * ADD and DEL of portmap alone when mappings of other containers are present, in the same number for each way to
 * publish; and before that, CHECK of very many ports.
 */
export function publishing(): Section {
  const hosts = publishingHosts('portmap')
  const lines: Line[] = checking(hosts)
  for (const present of [0, 1_000, 10_000]) {
    for (const way of ways) hosts[way].fill(present)
    for (const ports of [2, 100]) {
      const costs = inTurn(hosts, ports, ports === 100 ? 3 : 9)
      const what = (way: Way) => `${ports} ports, ${present.toLocaleString('en')} mappings present, official on ${way}`
      for (const way of ['iptables', 'nftables'] as const) {
        for (const verb of ['ADD', 'DEL'] as const)
          lines.push(compared(`${what(way)}: ${verb}`, costs[verb].podwire, costs[verb][way]))
      }
    }
  }
  for (const way of ways) hosts[way].remove()
  return { title: 'portmap alone, each suite and backend on a host of its own', remark, lines }
}

// --- internal

type Costs = Record<Way, Cost[]>

/** The official plugin's ADD of 1,000 ports on iptables would take minutes: a tenth of that there. */
function checking(hosts: Record<Way, PublishingHost>): Line[] {
  return [['iptables', 100] as const, ['nftables', 1_000] as const].map(([way, ports]) => {
    const costs: Costs = { podwire: [], iptables: [], nftables: [] }
    const both = ['podwire', way] as const
    const call = (of: Way, verb: 'ADD' | 'CHECK' | 'DEL') =>
      hosts[of].call(verb, hosts[of].portmap(ports, 50_000, 9), 'checked')
    for (const one of both) call(one, 'ADD')
    for (let round = 0; round < 5; round++) {
      for (const one of both) {
        const before = descendantsCpu()
        const { ms } = call(one, 'CHECK')
        costs[one].push({ ms, cpu: descendantsCpu() - before })
      }
    }
    for (const one of both) call(one, 'DEL')
    const what = `${ports.toLocaleString('en')} ports, official on ${way}: CHECK`
    return compared(what, costs.podwire, costs[way])
  })
}

function inTurn(hosts: Record<Way, PublishingHost>, ports: number, rounds: number): Record<'ADD' | 'DEL', Costs> {
  const none = (): Costs => ({ podwire: [], iptables: [], nftables: [] })
  const costs = { ADD: none(), DEL: none() }
  for (let round = -1; round < rounds; round++) {
    for (const way of ways) {
      for (const verb of ['ADD', 'DEL'] as const) {
        const before = descendantsCpu()
        const { ms } = hosts[way].call(verb, hosts[way].portmap(ports, 50_000, 9), `next-${round}`)
        if (round >= 0) costs[verb][way].push({ ms, cpu: descendantsCpu() - before })
      }
    }
  }
  return costs
}

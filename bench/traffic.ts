import { execFileSync } from 'node:child_process'
import { type PublishingHost, publishingHosts, type Way, ways } from './hosts.js'
import { median, ratio } from './measure.js'
import type { Line, Section } from './report.js'

/** What is measured at the published ports; but for the connect time more is better. */
const figures = ['UDP packets a second, 64 bytes', 'TCP, Mbit/s', 'connect, µs', 'connections a second'] as const
type Figures = Record<(typeof figures)[number], number>

const rounds = 12

const remark = [
  'Each way to publish has a host of its own, with a machine outside and one container. The nearer to nothing the connect time the better; of',
  'all others more is better, so above 1 podwire is faster. The other ports belong to containers that publish 100 each and came before the',
  "measured one; on iptables they are the official plugin's rules for the first of them repeated (so many ADDs would take minutes): 15 ports a rule.",
].join('\n')

/**
 * Traffic from outside through a published port, with nothing else published and with 10,000 ports of other containers.
 */
export async function traffic(): Promise<Section> {
  requireIperf()
  const hosts = publishingHosts('traffic')
  const lines: Line[] = []
  for (const others of [0, 10_000]) {
    for (const way of ways) {
      hosts[way].fill(others)
      hosts[way].publish('ADD')
    }
    lines.push(...(await compare(hosts, others)))
    for (const way of ways) hosts[way].publish('DEL')
  }
  for (const way of ways) hosts[way].remove()
  return { title: 'Traffic from outside through a published port', unit: '', remark, lines }
}

// --- internal

function requireIperf(): void {
  try {
    execFileSync('iperf3', ['--version'])
  } catch (cause) {
    throw new Error('the section "traffic" needs iperf3: run conformance/setup/debian bench', { cause })
  }
}

/** All figures of the three in turn, round by round, each round begun by another. */
async function compare(hosts: Record<Way, PublishingHost>, others: number): Promise<readonly Line[]> {
  const seen: Record<Way, Figures[]> = { podwire: [], iptables: [], nftables: [] }
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < ways.length; turn++) {
      const way = ways[(round + turn) % ways.length] ?? 'podwire'
      seen[way].push(await measure(hosts[way]))
    }
  }
  return figures.flatMap((figure) =>
    (['iptables', 'nftables'] as const).map((way) => {
      const [ours, theirs] = [seen.podwire, seen[way]].map((all) => all.map((one) => one[figure])) as [
        number[],
        number[],
      ]
      const what = `${figure}; ${others.toLocaleString('en')} other ports published, official on ${way}`
      return { what, podwire: median(ours), official: median(theirs), ratio: ratio(ours, theirs) }
    }),
  )
}

async function measure(host: PublishingHost): Promise<Figures> {
  const udp = (await iperf(host, '--udp', '--bitrate', '0', '--length', '64', '--blockcount', '40000')).sum
  const tcp = (await iperf(host, '--bytes', '400M')).sum_received
  const { times, perSecond } = await connections(host)
  return {
    'UDP packets a second, 64 bytes': (udp.packets - udp.lost_packets) / udp.seconds,
    'TCP, Mbit/s': tcp.bits_per_second / 1e6,
    'connect, µs': median(times) * 1000,
    'connections a second': perSecond,
  }
}

/** A server of its own for each run: after one that lost packets it may wait for ever. */
async function iperf(host: PublishingHost, ...what: readonly string[]): Promise<IperfReport['end']> {
  const port = ['--port', `${host.ports.iperf}`]
  const report = await host.serving(['iperf3', '--server', '--forceflush', ...port], () =>
    host.outside('iperf3', '--client', host.address, ...port, '--json', ...what),
  )
  return (JSON.parse(report) as IperfReport).end
}

async function connections(host: PublishingHost): Promise<{ times: number[]; perSecond: number }> {
  const [node, port] = [process.execPath, `${host.ports.connections}`]
  const answer = await host.serving([node, 'bench/connections.ts', 'serve', port], () =>
    host.outside(node, 'bench/connections.ts', 'ask', host.address, port, '400'),
  )
  return JSON.parse(answer)
}

interface IperfReport {
  readonly end: {
    readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number }
    readonly sum_received: { readonly bits_per_second: number }
  }
}

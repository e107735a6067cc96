import { readFileSync } from 'node:fs'
import { Cluster } from '../conformance/agent/cluster.js'
import { Host } from '../conformance/harness/host.js'
import { until } from '../conformance/harness/process.js'

// What `podwire agent` costs with many nodes, in a namespace beside a simulated API server: memory, processor time at
// rest, and the time until a new node's route stands. `bench/run agent`, after `make build`.

interface Figures {
  readonly nodes: number
  /** Seconds from the start until all routes stand. */
  readonly start: number
  /** MB, now and the most there was. */
  readonly memory: number
  readonly peak: number
  /** Requests and megabytes of the API server until all routes stood, and megabytes in the busy seconds, an hour. */
  readonly asked: number
  readonly sent: number
  readonly sentAnHour: number
  /** Of one processor, in percent, while nothing changes. */
  readonly rest: number
  /** The same while every node's status is written every five minutes. */
  readonly busy: number
  /** Milliseconds until a new node's route stands, of ten, in order. */
  readonly routes: readonly number[]
}

async function measure(nodes: number): Promise<Figures> {
  const host = await Host.create()
  try {
    const cluster = await Cluster.create(host)
    const one = await cluster.node(1)
    await cluster.api.order('many', { from: 256, to: 256 + nodes })
    const started = performance.now()
    const { child } = one.agent(['--every', '10'])
    const count = async () => (await one.routes()).length
    const isWhole = async () => (await count()) === 2 * nodes
    await until(`${2 * nodes} routes stand`, isWhole, 120_000)
    const start = (performance.now() - started) / 1000
    const told = async () => {
      const { asked, sent } = await cluster.api.show()
      const sum = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((one, other) => one + other, 0)
      return { asked: sum(asked), megabytes: sum(sent) / 1e6 }
    }
    const first = await told()
    const ticks = () => {
      const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return Number(fields[11]) + Number(fields[12])
    }
    const share = async (seconds: number, busy: boolean) => {
      const [from, since] = [ticks(), performance.now()]
      for (let at = 0; performance.now() - since < seconds * 1000; at++) {
        if (busy) await cluster.api.order('touch', { from: 256, to: 256 + nodes, share: 1 / 300, at })
        await new Promise((resolve) => setTimeout(resolve, 1000))
      }
      return (ticks() - from) / ((performance.now() - since) / 1000)
    }
    // The first seconds are those of compiling.
    await share(5, false)
    const rest = await share(30, false)
    const before = await told()
    const busy = await share(30, true)
    const sentAnHour = ((await told()).megabytes - before.megabytes) * 120
    const routes: number[] = []
    for (let at = 0; at < 10; at++) {
      const number = 256 + nodes + at
      const asked = performance.now()
      await cluster.api.order('many', { from: number, to: number + 1 })
      const address = `172.20.${number >> 8}.${number & 255}`
      const isThere = async () => (await one.place.output(['ip', 'route', 'show', 'via', address])) !== ''
      await until('its route stands', isThere, 20_000)
      routes.push(performance.now() - asked)
    }
    const memory = (field: string) => {
      const text = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1]) / 1024
    }
    return {
      nodes,
      start,
      asked: first.asked,
      sent: first.megabytes,
      sentAnHour,
      memory: memory('VmRSS'),
      peak: memory('VmHWM'),
      rest,
      busy,
      routes: routes.sort((a, b) => a - b),
    }
  } finally {
    await host.dispose()
  }
}

/** The part of the report that is the agent's: it has nobody beside it. */
export async function agentTable(): Promise<string> {
  const rows: string[] = []
  for (const nodes of [1000, 5000]) {
    const { start, asked, sent, sentAnHour, memory, peak, rest, busy, routes } = await measure(nodes)
    const [median = 0, most = 0] = [routes[5], routes.at(-1)]
    const cells = [
      nodes.toLocaleString('en'),
      `${start.toFixed(1)} s`,
      `${asked} requests, ${sent.toFixed(0)} MB`,
      `${sentAnHour.toFixed(0)} MB`,
      `${memory.toFixed(0)}, ${peak.toFixed(0)} MB`,
      `${rest.toFixed(1)}, ${busy.toFixed(1)} %`,
      `${median.toFixed(0)}, ${most.toFixed(0)} ms`,
    ]
    rows.push(`| ${cells.join(' | ')} |`)
  }
  const head = ['nodes', 'start', 'asked', 'sent an hour', 'memory, peak', 'CPU at rest, busy', 'new route, longest']
  return [
    '## podwire agent beside a simulated API server',
    '',
    'Nodes of two families with 50 images each; a look at all routes every ten seconds. Start: until all routes stand, and what is asked of the API server until then. Busy: while each node is written every five minutes, which the API server sends. Memory is resident, more than half of it pages of the program file. New route: from the order to make a node until its route is seen, median and longest of ten.',
    '',
    `| ${head.join(' | ')} |`,
    `|${'---|'.repeat(head.length)}`,
    ...rows,
    '',
  ].join('\n')
}

import { type Call, descendantsCpu, median, timed } from './measure.js'
import { bridge, type Config, chained, hostLocal, portmap } from './networks.js'
import type { Cost, Line, Section } from './report.js'

// What runtimes repeat most: a DEL of what is not there.

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 21)
const netns = '/run/netns/gone'

/** A DEL that finds nothing, beyond what VERSION takes: the plugin's own share of it. */
export function beyondVersion(): Section {
  const alone: readonly [string, (suite: Call['suite']) => Config][] = [
    ['bridge', (suite) => bridge(suite, { ipMasq: true })],
    ['ptp', (suite) => ({ ...bridge(suite, { ipMasq: true }), type: 'ptp' })],
    ['portmap', (suite) => portmap(suite, { ports: 2, first: 20_000 })],
    ['firewall', (suite) => chained(suite, 'firewall')],
    ['host-local', hostLocal],
    ['tuning without work', (suite) => chained(suite, 'tuning')],
    ['loopback', (suite) => chained(suite, 'loopback')],
  ]
  return {
    title: 'A DEL that finds nothing, beyond VERSION',
    remark: 'Medians of the differences of a DEL and a VERSION that ran one after the other, in milliseconds.',
    lines: alone.map(([what, config]) => differences(what, config)),
  }
}

/** DELs of a chain that find nothing. */
export function nothingToDo(chain: readonly Record<Call['suite'], Config>[]): {
  readonly podwire: Cost
  readonly official: Cost
} {
  const run = (suite: Call['suite']): Cost => {
    const before = descendantsCpu()
    let ms = 0
    for (const one of chain.toReversed()) ms += del(suite, one[suite])
    return { ms, cpu: descendantsCpu() - before }
  }
  return { podwire: run('podwire'), official: run('official') }
}

// --- internal

function del(suite: Call['suite'], config: Config): number {
  return timed({ suite, verb: 'DEL', config, containerID: 'nothing', netns }).ms
}

function differences(what: string, config: (suite: Call['suite']) => Config): Line {
  const seen = { podwire: [] as number[], official: [] as number[] }
  for (let round = -2; round < rounds; round++) {
    for (const suite of ['podwire', 'official'] as const) {
      const { ms } = timed({ suite, verb: 'VERSION', config: config(suite), containerID: 'nothing', netns })
      const difference = del(suite, config(suite)) - ms
      if (round >= 0) seen[suite].push(difference)
    }
  }
  const { podwire, official } = seen
  // Differences may be near zero: a ratio of pairs would say nothing.
  const [ours, theirs] = [median(podwire), median(official)]
  return { what, podwire: ours, official: theirs, ratio: ours / theirs }
}

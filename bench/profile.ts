import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type Call, median, timed } from './measure.js'
import { bridge, type Config, chained, hostLocal, portmap, prevResult } from './networks.js'

/** What one call was made of; milliseconds, medians. */
interface Profile {
  readonly what: string
  readonly wall: number
  /** A start that does nothing: VERSION of the same plugin. */
  readonly start: number
  /** Waiting for the processes it ran. */
  readonly processes: number
  /** The rest: reading the configuration, looking, planning, leases, records, the result. */
  readonly own: number
  /** The commands, those of one process joined by "+". */
  readonly commands: string
}

interface TraceLine {
  readonly time: string
  readonly ms: number
  readonly argv: readonly string[]
}

const rounds = 11
const trace = '/run/bench-trace'
const netns = '/run/netns/bench'

const subjects: readonly { what: string; config: Config }[] = [
  { what: 'loopback', config: chained('podwire', 'loopback') },
  { what: 'host-local', config: hostLocal('podwire') },
  { what: 'bridge', config: bridge('podwire') },
  { what: 'bridge, ipMasq', config: bridge('podwire', { ipMasq: true }) },
  {
    what: 'portmap, 2 ports',
    config: portmap('podwire', { ports: 2, first: 20_000, more: { prevResult: prevResult('podwire', 9) } }),
  },
  { what: 'firewall', config: chained('podwire', 'firewall', { prevResult: prevResult('podwire', 9) }) },
  { what: 'tuning', config: chained('podwire', 'tuning', { prevResult: prevResult('podwire', 9) }) },
]

function profile({ what, config }: (typeof subjects)[number]): readonly Profile[] {
  const call = (verb: Call['verb']): Call => ({ suite: 'podwire', verb, config, containerID: 'profile', netns })
  const seen = { ADD: [] as { wall: number; lines: TraceLine[] }[], DEL: [] as { wall: number; lines: TraceLine[] }[] }
  const starts: number[] = []
  for (let round = -1; round < rounds; round++) {
    const start = timed(call('VERSION')).ms
    for (const verb of ['ADD', 'DEL'] as const) {
      rmSync(trace, { force: true })
      const wall = timed(call(verb), { PODWIRE_TRACE: trace }).ms
      if (round >= 0) seen[verb].push({ wall, lines: readTrace() })
    }
    if (round >= 0) starts.push(start)
  }
  const start = median(starts)
  return (['ADD', 'DEL'] as const).map((verb) => {
    const wall = median(seen[verb].map((one) => one.wall))
    const processes = median(seen[verb].map(({ lines }) => waited(lines)))
    return {
      what: `${what}: ${verb}`,
      wall,
      start,
      processes,
      own: wall - start - processes,
      commands: commandsOf(seen[verb][0]?.lines ?? []),
    }
  })
}

function readTrace(): TraceLine[] {
  if (!existsSync(trace)) return []
  const lines = readFileSync(trace, 'utf8').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as TraceLine)
}

/** Commands that one process ran have one time and share its milliseconds. */
function waited(lines: readonly TraceLine[]): number {
  return [...new Map(lines.map(({ time, ms }) => [`${time} ${ms}`, ms])).values()].reduce((sum, ms) => sum + ms, 0)
}

function commandsOf(lines: readonly TraceLine[]): string {
  const groups = Map.groupBy(lines, ({ time, ms }) => `${time} ${ms}`)
  return [...groups.values()].map((group) => group.map(({ argv }) => programOf(argv)).join(' + ')).join(', ')
}

function programOf(argv: readonly string[]): string {
  const inside = argv[0] === 'nsenter' ? argv.slice(2) : argv
  return argv[0] === 'nsenter' ? `nsenter ${inside[0]}` : (inside[0] ?? '')
}

function table(profiles: readonly Profile[]): string {
  const rows = profiles.map(
    ({ what, wall, start, processes, own, commands }) =>
      `| ${what} | ${wall.toFixed(1)} | ${start.toFixed(1)} | ${processes.toFixed(1)} | ${own.toFixed(1)} | ${commands || 'none'} |`,
  )
  return [
    '| call | wall ms | the start alone | waiting for processes | the rest | processes |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

const asked = process.argv.slice(2).filter((word) => word !== '--write')
execFileSync('ip', ['netns', 'add', 'bench'])
const chosen = subjects.filter(({ what }) => asked.length === 0 || asked.some((word) => what.startsWith(word)))
const text = table(chosen.flatMap(profile))
console.log(text)
if (process.argv.includes('--write')) {
  writeFileSync(
    'bench/PROFILE.md',
    `# Where a call's time goes\n\nMedians of ${rounds} calls by \`make profile\`.\n\n${text}`,
  )
}

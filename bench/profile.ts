import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type Call, median, timed } from './measure.js'
import { proseWrapped } from './report.js'
import { profileSubjects, type Subject } from './subjects.js'

/** What is seen of one call: milliseconds from exec, but for what the processes took. */
interface Seen {
  /** The end of VERSION, whose answer is a constant. */
  readonly boot: number
  /**
   * The beginning of the first process or netlink request and the end of the last; both the end of the call where there
   * is none.
   */
  readonly first: number
  readonly last: number
  readonly end: number
  readonly processes: number
}

/** A process, or netlink requests of one moment. */
interface Step {
  /** Milliseconds of the clock. */
  readonly ended: number
  readonly ms: number
  readonly programs: string
  readonly requests: number
}

interface TraceLine {
  readonly time: string
  readonly argv: readonly string[]
  /** Of a process. */
  readonly ms?: number
  readonly netlink?: boolean
}

const rounds = 11
const trace = '/run/bench-trace'

/** A row for ADD and one for DEL. @throws where the kernel cannot do it */
function profile(subject: Subject): readonly string[] {
  const seen = { ADD: [] as Seen[], DEL: [] as Seen[] }
  const commands = { ADD: '', DEL: '' }
  for (let round = -1; round < rounds; round++) {
    for (const verb of ['ADD', 'DEL'] as const) {
      const { one, lines } = look(subject, verb)
      commands[verb] = commandsOf(lines)
      if (round >= 0) seen[verb].push(one)
    }
  }
  return (['ADD', 'DEL'] as const).map((verb) => row(`${subject.what}: ${verb}`, seen[verb], commands[verb]))
}

function look({ config, netns }: Subject, verb: 'ADD' | 'DEL'): { one: Seen; lines: readonly Step[] } {
  const call = (one: Call['verb']): Call => ({ suite: 'podwire', verb: one, config, containerID: 'profile', netns })
  const { ms: boot } = timed(call('VERSION'))
  rmSync(trace, { force: true })
  const began = performance.timeOrigin + performance.now()
  const { ms: end } = timed(call(verb), { PODWIRE_TRACE: trace })
  const lines = readTrace()
  const [first, last] = [lines[0], lines.at(-1)]
  const processes = lines.reduce((sum, { ms }) => sum + ms, 0)
  const between = { first: first ? first.ended - first.ms - began : end, last: last ? last.ended - began : end }
  return { one: { boot, ...between, end, processes }, lines }
}

/**
 * The processes and netlink requests of a call; of commands that one process ran, which share a time, the programs are
 * joined by "+".
 */
function readTrace(): readonly Step[] {
  if (!existsSync(trace)) return []
  const lines = readFileSync(trace, 'utf8').trim().split('\n')
  const groups = Map.groupBy(
    lines.map((line) => JSON.parse(line) as TraceLine),
    ({ time, ms, netlink }) => `${time} ${ms} ${netlink}`,
  )
  return [...groups.values()].map((group) => {
    const { time = '', ms = 0, netlink = false } = group[0] ?? {}
    const programs = netlink ? '' : group.map(({ argv }) => programOf(argv)).join(' + ')
    // A time in the trace has whole milliseconds, cut off: half a one is the mean of what is missing.
    return { ended: Date.parse(time) + 0.5, ms, programs, requests: netlink ? group.length : 0 }
  })
}

function commandsOf(steps: readonly Step[]): string {
  const requests = steps.reduce((sum, step) => sum + step.requests, 0)
  const processes = steps.filter(({ programs }) => programs !== '').map(({ programs }) => programs)
  return [...processes, ...(requests > 0 ? [`${requests} netlink`] : [])].join(', ') || 'none'
}

function programOf(argv: readonly string[]): string {
  return argv[0] === 'nsenter' ? `nsenter ${argv[2]}` : (argv[0] ?? '')
}

function row(what: string, seen: readonly Seen[], commands: string): string {
  const middle = (of: (one: Seen) => number) => median(seen.map(of))
  const boot = middle((one) => one.boot)
  const figures = [
    middle((one) => one.end),
    boot,
    middle((one) => one.first) - boot,
    middle((one) => one.processes),
    middle((one) => one.last - one.first - one.processes),
    middle((one) => one.end - one.last),
  ]
  return `| ${what} | ${figures.map((figure) => Math.max(0, figure).toFixed(1)).join(' | ')} | ${commands} |`
}

const words = [
  `Medians of ${rounds} calls by \`make profile\`, in milliseconds from exec to exit. Boot: the plugin's VERSION, whose answer is a constant, its`,
  "exit included. Before: the plugin's script, the configuration, what is looked at without a process,",
  'leases, until the first process or request that changes something (to the end where there is none). Between: netlink requests, reading what',
  'processes said, planning, records. After: records, the result. Commands joined by "+" run in one process of podwire\'s.',
].join('\n')
const head = `| call | wall | boot | before | in processes | between | after | processes, netlink requests |
|---|---|---|---|---|---|---|---|`

const notesBegin = '## What a start executes'

const asked = process.argv.slice(2).filter((word) => word !== '--write')
const rows: string[] = []
const failed: string[] = []
for (const subject of profileSubjects()) {
  if (asked.length > 0 && !asked.some((word) => subject.what.startsWith(word))) continue
  try {
    rows.push(...profile(subject))
  } catch (error) {
    failed.push(`Not measured: ${(error as Error).message.replaceAll(/\s+/g, ' ').slice(0, 200)}`)
  }
}
const text = [head, ...rows, '', ...failed.flatMap((one) => [one, ''])].join('\n')
console.log(text)
if (process.argv.includes('--write')) {
  // What people wrote below stays.
  const before = readFileSync('bench/PROFILE.md', 'utf8')
  const notes = before.includes(notesBegin) ? before.slice(before.indexOf(notesBegin)) : ''
  writeFileSync('bench/PROFILE.md', `${proseWrapped(`# Where a call's time goes\n\n${words}\n\n${text}`)}\n${notes}`)
}

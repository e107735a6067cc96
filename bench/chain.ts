import { execFileSync } from 'node:child_process'
import { firstPort, podmanChain, runChain } from './lists.js'
import { type Call, descendantsCpu, timed, timedTogether } from './measure.js'
import { inNamespace } from './namespace.js'
import { hasNetavark, runNetavark } from './netavark.js'
import { bridge, type Config, chained, portmap } from './networks.js'
import { nothingToDo } from './nothing.js'
import { type Cost, compared, type Line, type Section } from './report.js'

// The plugin `chain`, one process, against the official list of the same four members, and against netavark.

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 21)
const subjects = ['chain', 'official', ...(hasNetavark ? (['netavark'] as const) : [])] as const
type Subject = (typeof subjects)[number]
const netns = '/run/netns/bench'

export async function chainRows(): Promise<Section> {
  const remark = hasNetavark
    ? 'The rows of netavark have its figures in the place of ours. It hands out no addresses, and knows no firewall or tuning plugin.'
    : 'netavark is not measured: dist/roots has no Debian 13 with it.'
  return {
    title: 'chain: bridge (ipMasq), portmap (2 ports), firewall, tuning in one process, against the official list',
    remark,
    lines: [
      ...onHost('empty host', 0),
      ...onHost(`${attachments.toLocaleString('en')} attachments`, attachments),
      ...nothing(),
      ...(await together(20)),
    ],
  }
}

// --- internal

const attachments = Number(process.env['BENCH_ATTACHMENTS'] ?? 1_000)

/** ADD and DEL of each in turn, each on a host of its own with so many attachments. */
function onHost(what: string, count: number): readonly Line[] {
  const hosts = new Map(subjects.map((subject) => [subject, `${subject}-${count}`]))
  for (const [subject, host] of hosts) {
    execFileSync('ip', ['netns', 'add', host])
    execFileSync('ip', ['-n', host, 'link', 'set', 'lo', 'up'])
    for (let index = 0; index < count; index++) {
      const name = `${host}-${index}`
      execFileSync('ip', ['netns', 'add', name])
      inNamespace(host, () => run(subject, 'ADD', { id: name, netns: `/run/netns/${name}`, index }))
    }
  }
  const costs = newCosts()
  for (let round = -2; round < rounds; round++) {
    for (const [subject, host] of hosts) {
      for (const verb of ['ADD', 'DEL'] as const) {
        const before = descendantsCpu()
        const place = { id: `next-${count}-${round + 2}`, netns, index: 12_000 }
        const ms = inNamespace(host, () => run(subject, verb, place))
        if (round >= 0) costs[subject][verb].push({ ms, cpu: descendantsCpu() - before })
      }
    }
  }
  return linesOf(what, costs)
}

interface Place {
  readonly id: string
  readonly netns: string
  /** Keeps ports and addresses apart. */
  readonly index: number
}

function run(subject: Subject, verb: 'ADD' | 'DEL', { id, netns, index }: Place): number {
  if (subject === 'netavark') return runNetavark(verb, id, netns, { host: index + 16, port: 10_000 + index * 4 })
  if (subject === 'official')
    return runChain(
      'official',
      verb,
      podmanChain(2, () => 10_001 + index * 4),
      id,
      netns,
    )
  return timed(chainCall(verb, { id, netns, index })).ms
}

function chainCall(verb: Call['verb'], { id, netns, index }: Place): Call {
  return { suite: 'podwire', verb, config: chainConfig(10_000 + index * 4), containerID: id, netns }
}

function chainConfig(first: number): Config {
  const { runtimeConfig } = portmap('podwire', { ports: 2, first }) as unknown as { runtimeConfig: object }
  const plugins = [
    bridge('podwire', { ipMasq: true, hairpinMode: true }),
    { type: 'portmap', capabilities: { portMappings: true } },
    { type: 'firewall' },
    { type: 'tuning' },
  ]
  return chained('podwire', 'chain', { plugins, capabilities: { portMappings: true }, runtimeConfig })
}

/** A DEL that finds nothing, of the list and of the chain. */
function nothing(): readonly Line[] {
  const list = podmanChain(2, firstPort)
  const inOne = [{ podwire: chainConfig(firstPort('podwire')), official: chained('official', 'tuning') }]
  const asList = { podwire: [] as Cost[], official: [] as Cost[] }
  const asChain = { podwire: [] as Cost[], official: [] as Cost[] }
  for (let round = -2; round < rounds; round++) {
    const both = nothingToDo(list)
    const { podwire } = nothingToDo(inOne)
    if (round < 0) continue
    for (const suite of ['podwire', 'official'] as const) asList[suite].push(both[suite])
    asChain.podwire.push(podwire)
    asChain.official.push(both.official)
  }
  return [
    compared('list of four: DEL that finds nothing', asList.podwire, asList.official),
    compared('chain: DEL that finds nothing', asChain.podwire, asChain.official),
  ]
}

/** Many at once: each list one plugin after the other, as a runtime calls them. */
async function together(count: number): Promise<readonly Line[]> {
  const names = Array.from({ length: count }, (_, index) => `once${index}`)
  for (const name of names) execFileSync('ip', ['netns', 'add', name])
  const costs = newCosts()
  for (let round = -1; round < Math.max(3, Math.floor(rounds / 7)); round++) {
    for (const subject of ['chain', 'official'] as const) {
      for (const verb of ['ADD', 'DEL'] as const) {
        const before = descendantsCpu()
        const ms = await (subject === 'chain' ? chainsTogether(verb, names) : listsTogether(verb, names))
        if (round >= 0) costs[subject][verb].push({ ms, cpu: (descendantsCpu() - before) / count })
      }
    }
  }
  for (const name of names) execFileSync('ip', ['netns', 'del', name])
  return linesOf(`${count} at once`, costs)
}

function chainsTogether(verb: 'ADD' | 'DEL', names: readonly string[]): Promise<number> {
  return timedTogether(
    names.map((name, index) => chainCall(verb, { id: name, netns: `/run/netns/${name}`, index: index + 1 })),
  )
}

/** The official list of each attachment in a process of its own, which calls one plugin after the other. */
async function listsTogether(verb: 'ADD' | 'DEL', names: readonly string[]): Promise<number> {
  const began = performance.now()
  const lists = names.map((name, index) => ({ name, chain: podmanChain(2, () => 30_001 + index * 4) }))
  const previous = new Map<string, unknown>()
  const steps = lists[0]?.chain.length ?? 0
  for (let step = 0; step < steps; step++) {
    const calls = lists.map(({ name, chain }): Call => {
      const config = (verb === 'ADD' ? chain : chain.toReversed())[step]?.official as Config
      const prevResult = previous.get(name)
      const netns = `/run/netns/${name}`
      return {
        suite: 'official',
        verb,
        config: prevResult ? { ...config, prevResult } : config,
        containerID: name,
        netns,
      }
    })
    await timedTogether(calls, (index, stdout) => {
      if (verb === 'ADD') previous.set(names[index] ?? '', JSON.parse(stdout))
    })
  }
  return performance.now() - began
}

type Costs = Record<'chain' | 'official' | 'netavark', Record<'ADD' | 'DEL', Cost[]>>

function newCosts(): Costs {
  return { chain: { ADD: [], DEL: [] }, official: { ADD: [], DEL: [] }, netavark: { ADD: [], DEL: [] } }
}

function linesOf(what: string, { chain, official, netavark }: Costs): readonly Line[] {
  return (['ADD', 'DEL'] as const).flatMap((verb) => [
    compared(`${what}: ${verb}`, chain[verb], official[verb]),
    ...(netavark[verb].length > 0 ? [compared(`${what}, netavark: ${verb}`, netavark[verb], official[verb])] : []),
  ])
}

import { execFileSync } from 'node:child_process'
import { type Call, peakMemory, peakTogether, type Suite } from './measure.js'
import { bridge, type Config, hostLocal, portmap, prevResult } from './networks.js'
import type { Line, Section } from './report.js'

const subjects: readonly [string, (suite: Suite) => Config][] = [
  ['host-local', hostLocal],
  ['bridge', bridge],
  ['portmap, 100 ports', (suite) => portmap(suite, { ports: 100, first: firstPort(suite), more: withResult(suite) })],
]

const remark =
  'One call: resident memory of its largest process, most of it the program file. Many at once: what all plugin processes hold together, each\n' +
  'page that several share counted once (the tools they run are not counted).'

/** What calls need at their peak, alone and 20 at once. */
export async function memory(): Promise<Section> {
  const alone = subjects.flatMap(([what, config]) => {
    const peaks = (suite: Suite) =>
      (['ADD', 'DEL'] as const).map((verb) =>
        peakMemory({ suite, verb, config: config(suite), containerID: 'memory', netns: '/run/netns/bench' }),
      )
    const [[add = 0, del = 0], [officialAdd = 0, officialDel = 0]] = [peaks('podwire'), peaks('official')] as const
    return [line(`${what}: ADD`, add, officialAdd), line(`${what}: DEL`, del, officialDel)]
  })
  return { title: 'Memory at the peak', unit: 'MiB', remark, lines: [...alone, ...(await together(20))] }
}

// --- internal

const firstPort = (suite: Suite) => (suite === 'podwire' ? 20_000 : 20_001)
const withResult = (suite: Suite) => ({ prevResult: prevResult(suite, 9) })
const line = (what: string, podwire: number, official: number): Line => ({
  what,
  podwire,
  official,
  ratio: podwire / official,
})

async function together(count: number): Promise<readonly Line[]> {
  const names = Array.from({ length: count }, (_, index) => `memory${index}`)
  for (const name of names) execFileSync('ip', ['netns', 'add', name])
  const peak = (suite: Suite, verb: Call['verb']) =>
    peakTogether(
      names.map((name) => ({
        suite,
        verb,
        config: bridge(suite),
        containerID: name,
        netns: `/run/netns/${name}`,
      })),
    )
  const ours = { add: await peak('podwire', 'ADD'), del: await peak('podwire', 'DEL') }
  const theirs = { add: await peak('official', 'ADD'), del: await peak('official', 'DEL') }
  for (const name of names) execFileSync('ip', ['netns', 'del', name])
  const what = `${count} at once, bridge`
  return [line(`${what}: ADD`, ours.add, theirs.add), line(`${what}: DEL`, ours.del, theirs.del)]
}

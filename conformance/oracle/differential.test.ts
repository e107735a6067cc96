import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { hasPlugin } from '../harness/locations.js'
import { run } from '../harness/process.js'
import { compareLines, type Snapshot } from '../harness/snapshot.js'
import { readCases } from './cases.js'
import { type Difference, differences } from './differences.js'
import { runCase } from './run-case.js'

const seen = new Set<Difference>()

/** The lines that differ and that no row of the table explains, as "suite: line". */
function unexplained(name: string, official: Snapshot, podwire: Snapshot): string[] {
  const { only, others } = compareLines(official, podwire)
  const known = differences.filter(({ cases }) => cases === undefined || cases.test(name))
  const explains = (suite: 'official' | 'podwire', line: string) => {
    const row = known.find((difference) => difference[suite]?.test(line))
    if (row !== undefined) seen.add(row)
    return row !== undefined
  }
  return [
    ...only.filter((line) => !explains('official', line)).map((line) => `official: ${line}`),
    ...others.filter((line) => !explains('podwire', line)).map((line) => `podwire: ${line}`),
  ]
}

// Asked in a namespace of its own: the answer is the same, and the machine's is left alone.
const bridge = ['ip', 'link', 'add', 'probe', 'type', 'bridge', 'vlan_filtering', '1']
const kernelHas = { vlan_filtering: (await run(['unshare', '--net', ...bridge])).status === 0 }

describe('podwire does what the official suite does', () => {
  for (const subject of readCases()) {
    const missing = subject.list.plugins.filter(({ type }) => !hasPlugin('podwire', type))
    const unable = subject.needs !== undefined && !kernelHas[subject.needs]
    const title = `${subject.name}: ${subject.what}${unable ? ` (this kernel has no ${subject.needs})` : ''}`

    test.skipIf(missing.length > 0 || unable)(title, async () => {
      const [official, podwire] = await Promise.all([runCase('official', subject), runCase('podwire', subject)])
      expect(podwire.results).toEqual(official.results)
      expect(official.checks.includes(false), 'CHECK of the official suite fails').toBe(
        subject.officialCheckFails !== undefined,
      )
      expect(podwire.checks).not.toContain(false)
      expect(unexplained(subject.name, official.attached, podwire.attached)).toEqual([])
      expect(unexplained(subject.name, official.detached, podwire.detached)).toEqual([])
    })
  }

  test('and the table of differences has no row that nothing shows', () => {
    const plugins = new Set(readCases().flatMap(({ list }) => list.plugins.map(({ type }) => type)))
    expect([...plugins].filter((plugin) => !hasPlugin('podwire', plugin))).toEqual([])
    expect(differences.filter((row) => !seen.has(row)).map(({ what }) => what)).toEqual([])
  })
})

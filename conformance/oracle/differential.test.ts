import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { hasPlugin } from '../harness/locations.js'
import { type Case, readCases } from './cases.js'
import { hasPlugins, holdToOfficial, kernelCan, seen } from './compare.js'
import { differences } from './differences.js'

const cases = readCases()
const able = new Set<Case>()
for (const subject of cases) if (await kernelCan(subject)) able.add(subject)

describe('podwire does what the official suite does', () => {
  for (const subject of cases) {
    const isAble = able.has(subject)
    const title = `${subject.name}: ${subject.what}${isAble ? '' : ` (this kernel has no ${subject.needs})`}`
    test.skipIf(!isAble || !hasPlugins(subject))(title, () => holdToOfficial(subject))
  }

  test('and the table of differences has no row that nothing shows', () => {
    const plugins = new Set(cases.flatMap(({ list }) => list.plugins.map(({ type }) => type)))
    expect([...plugins].filter((plugin) => !hasPlugin('podwire', plugin))).toEqual([])
    const shown = differences.filter(({ cases: names }) => [...able].some(({ name }) => names?.test(name) ?? true))
    expect(shown.filter((row) => !seen.has(row)).map(({ what }) => what)).toEqual([])
  })
})

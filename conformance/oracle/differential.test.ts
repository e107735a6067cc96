import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { type Case, readCases } from './cases.js'
import { holdToFormer, holdToOfficial, kernelCan, seen } from './compare.js'
import { differences } from './differences.js'

const cases = readCases()
const able = new Set<Case>()
for (const subject of cases) if (await kernelCan(subject)) able.add(subject)

const isWhole = process.env['PODWIRE_ALL_ORACLES'] === '1'
const formerly = cases.filter((subject) => isWhole || subject.formerly)

describe('podwire does what the official suite does', () => {
  for (const subject of cases) {
    test(`${subject.name}: ${subject.what}`, ({ skip }) => {
      skip(!able.has(subject), `this kernel has no ${subject.needs}`)
      return holdToOfficial(subject)
    })
  }
})

describe(`podwire does what the official suite did in v1.9.1${isWhole ? '' : ', where the newer one differs'}`, () => {
  for (const subject of formerly) {
    test(`${subject.name}: ${subject.formerly?.what ?? subject.what}`, ({ skip }) => {
      skip(!able.has(subject), `this kernel has no ${subject.needs}`)
      return holdToFormer(subject)
    })
  }

  test('and the table of differences has nothing that no case shows', () => {
    const stale = differences.flatMap(({ what, shown = [] }) =>
      shown
        .filter(({ cases: names, of: version }) => {
          const compared = version === 'official-1.9.1' ? formerly : cases
          return compared.some((subject) => able.has(subject) && (names?.test(subject.name) ?? true))
        })
        .filter((one) => !seen.has(one))
        .map(({ cases: names }) => `${what}: ${names}`),
    )
    expect(stale).toEqual([])
  })
})

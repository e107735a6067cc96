import { describe, expect, test } from 'vitest'
import { readCases } from '../oracle/cases.js'
import { kernelCan } from '../oracle/compare.js'
import { runCase } from '../oracle/run-case.js'
import { asChain } from './setting.js'

// A chain means what its list means: the cases of the oracle, as a list and as a chain. All that have several members,
// of the others one a plugin.

const first = new Set<string>()
const cases = readCases().filter(({ list: { plugins } }) => {
  const name = plugins[0]?.type ?? ''
  const isNew = plugins.length > 1 || !first.has(name)
  if (plugins.length === 1) first.add(name)
  return isNew
})

describe('a chain does what its list does', () => {
  for (const subject of cases) {
    test(`${subject.name}: ${subject.what}`, async ({ skip }) => {
      if (!(await kernelCan(subject))) skip(`this kernel has no ${subject.needs}`)
      const chained = { ...subject, list: asChain(subject.list) }
      const [list, chain] = await Promise.all([runCase('podwire', subject), runCase('podwire', chained)])
      expect(chain).toEqual(list)
    })
  }
})

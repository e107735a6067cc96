import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { readCases } from './cases.js'
import { holdToFormer, holdToOfficial, kernelCan } from './compare.js'

describe('podwire does what the official suite does, on a full kernel', () => {
  for (const subject of readCases().filter(({ needs }) => needs !== undefined)) {
    test(`${subject.name}: ${subject.what}`, async () => {
      expect(await kernelCan(subject), `the kernel has ${subject.needs}`).toBe(true)
      await holdToOfficial(subject)
      if (subject.formerly) await holdToFormer(subject)
    })
  }
})

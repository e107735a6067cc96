import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { currentEpoch, epochOf } from './epoch.js'

const machine = '0123456789abcdef0123456789abcdef'
const other = 'fedcba9876543210fedcba9876543210'
const now = epochOf(() => machine, 'boot-2')

describe('what counts as proof that a lease is dead', () => {
  test.each([
    ['an earlier boot of this machine', epochOf(() => machine, 'boot-1').text, true],
    ['this boot', epochOf(() => machine, 'boot-2').text, false],
    ['another machine', epochOf(() => other, 'boot-1').text, false],
    ['an unknown time', '-', false],
    ['nothing', '', false],
  ])('%s', (_, earlier, dead) => expect(now.outlived(earlier)).toBe(dead))

  test.each([
    ['no machine id', epochOf(() => '', 'boot-2')],
    ['a machine id not set up yet', epochOf(() => 'uninitialized', 'boot-2')],
    ['no boot id', epochOf(() => machine, '')],
  ])('with %s nothing is proven', (_, epoch) => {
    expect(epoch.text).toBe('')
    expect(epoch.outlived(epochOf(() => machine, 'boot-1').text)).toBe(false)
  })
})

test('each boot has its own seal, before any time a file can have', () => {
  const seals = ['a', 'b', 'c', 'd'].map((boot) => epochOf(() => machine, boot).sealSeconds ?? 0)
  expect(new Set(seals).size).toBe(4)
  for (const seal of seals) expect(new Date(seal * 1000).getUTCFullYear()).toBeLessThan(1996)
  expect(epochOf(() => machine, '').sealSeconds).toBeUndefined()
})

test('this machine as it is; a machine without such files has no epoch', () => {
  expect(currentEpoch({ readFileSync }).sealSeconds).toBeGreaterThan(0)
  const absent = () => {
    throw Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' })
  }
  expect(currentEpoch({ readFileSync: absent as never }).text).toBe('')
})

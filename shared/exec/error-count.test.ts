import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { countError, errorFolder, mostErrors } from './error-count.js'
import { keepStateIn, stateRoot, systemStateFiles } from './state.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'podwire-errors-'))
  const before = stateRoot
  keepStateIn(root)
  onTestFinished(() => {
    keepStateIn(before)
    rmSync(root, { recursive: true })
  })
})

const sizes = () =>
  readdirSync(errorFolder())
    .sort()
    .map((name) => [name, readFileSync(join(errorFolder(), name)).length])

test('errors are counted by plugin and code, where somebody has made the folder', () => {
  countError('bridge', 7)
  expect(readdirSync(root)).toEqual([])
  mkdirSync(errorFolder())
  for (const code of [7, 11, 7, 7, 4711, -1]) countError('bridge', code)
  expect(sizes()).toEqual([
    ['bridge.11', 1],
    ['bridge.200', 1],
    ['bridge.255', 1],
    ['bridge.7', 3],
  ])
})

test('what is planted in the place of a count stays as it is', () => {
  mkdirSync(errorFolder())
  const victim = join(root, 'victim')
  writeFileSync(victim, 'kept')
  symlinkSync(victim, join(errorFolder(), 'ptp.7'))
  linkSync(victim, join(errorFolder(), 'ptp.11'))
  mkdirSync(join(errorFolder(), 'ptp.100'))
  writeFileSync(join(errorFolder(), 'ptp.199'), '')
  truncateSync(join(errorFolder(), 'ptp.199'), mostErrors)
  for (const code of [7, 11, 100, 199]) countError('ptp', code)
  expect(readFileSync(victim, 'utf8')).toBe('kept')
  expect(readFileSync(join(errorFolder(), 'ptp.199')).length).toBe(mostErrors)
  rmSync(errorFolder(), { recursive: true })
  mkdirSync(join(root, 'elsewhere'))
  symlinkSync(join(root, 'elsewhere'), errorFolder())
  countError('ptp', 7)
  expect(readdirSync(join(root, 'elsewhere'))).toEqual([])
})

test("a count that cannot be made is nobody's matter", () => {
  mkdirSync(errorFolder())
  for (const name of ['lstatSync', 'openSync', 'fstatSync', 'writeSync'] as const) {
    const broken = () => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' })
    }
    expect(() => countError('ptp', 7, { ...systemStateFiles, [name]: broken })).not.toThrow()
  }
})

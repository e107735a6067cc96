import { appendFileSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { seal } from '../packing/seal.js'
import { isSameBuild, sealBytes, sealMark } from './same-build.js'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'podwire-seal-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A file with a text, and its seal if it gets one. */
function file(name: string, text: string, isSealed: boolean): string {
  const place = path.join(folder, name)
  writeFileSync(place, text)
  if (isSealed) seal(place)
  return place
}

test('a copy has the same length and seal', () => {
  const own = file('own', 'a program', true)
  const copy = path.join(folder, 'copy')
  copyFileSync(own, copy)
  expect(isSameBuild(copy, own)).toBe(true)
})

test.each([
  ['another content of that length', 'a progra_'],
  ['another length', 'a program!'],
  ['nothing', ''],
])('%s is another build', (_, text) => {
  expect(isSameBuild(file('other', text, true), file('own', 'a program', true))).toBe(false)
})

test('what has no seal is no build, though it is equal: a Node that runs the tests, say', () => {
  expect(isSameBuild(file('other', 'a program', false), file('own', 'a program', false))).toBe(false)
  expect(isSameBuild(process.execPath)).toBe(false)
})

test('what is not there, and what is shorter than a seal, is none', () => {
  const own = file('own', 'a program', true)
  expect(isSameBuild(path.join(folder, 'none'), own)).toBe(false)
  expect(isSameBuild(file('short', sealMark, false), own)).toBe(false)
})

test('a seal is the last bytes of a file', () => {
  const own = file('own', 'a program', true)
  appendFileSync(own, '.'.repeat(sealBytes))
  expect(isSameBuild(own, own)).toBe(false)
})

import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keepStateIn, stateRoot, systemStateFiles } from '../../shared/exec/state.js'
import type { Host } from '../../shared/plan/host.js'
import { thrownBy } from '../../shared/testing/thrown.js'
import type { CniError } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import { exclusively, hold, holds, othersHolding, release } from './holders.js'

const [one, other] = ['c1', 'c2'].map((containerID) => ({ network: 'net', containerID, ifName: 'eth0' })) as [
  { network: string; containerID: string; ifName: string },
  { network: string; containerID: string; ifName: string },
]
const thing = 'address-10.1.0.2'

const usual = stateRoot
let root = ''
let undo: (() => readonly CniError[])[] = []
let said: string[] = []
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'holders-'))
  keepStateIn(join(root, 'state'))
  undo = []
  said = []
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(root, { recursive: true })
})

const host = {
  dryRun: false,
  change: (_: string, body: () => void) => body(),
  warn: (text: string) => said.push(text),
  journal: { note: (one: () => readonly CniError[]) => undo.push(one) },
  observer: { tryLock: () => true },
  run: () => expect.fail('executed'),
} as unknown as Host

const directory = () => `${stateRoot}/firewall-holders/${thing}`

test('a thing is held until the last one lets go of it, and then nothing is left', () => {
  expect([holds(host, thing, one), othersHolding(host, thing, one)]).toEqual([false, 0])
  hold(host, thing, one)
  hold(host, thing, other)
  expect([holds(host, thing, one), othersHolding(host, thing, one)]).toEqual([true, 1])
  expect(readdirSync(directory()).sort()).toEqual([attachmentHash(one), attachmentHash(other)].sort())
  expect([statSync(directory()).mode & 0o777, statSync(`${directory()}/${attachmentHash(one)}`).mode & 0o777]).toEqual([
    0o700, 0o600,
  ])
  release(host, thing, one)
  expect([holds(host, thing, one), holds(host, thing, other), othersHolding(host, thing, one)]).toEqual([
    false,
    true,
    1,
  ])
  release(host, thing, other)
  release(host, thing, other)
  expect(readdirSync(`${stateRoot}/firewall-holders`)).toEqual([])
  expect(said).toEqual([])
})

test('what an ADD holds is let go of when it fails, but not what it held before', () => {
  hold(host, thing, one)
  hold(host, thing, one)
  expect(undo).toHaveLength(1)
  expect(undo.flatMap((take) => take())).toEqual([])
  expect(holds(host, thing, one)).toBe(false)
})

test('what cannot be taken back is said', () => {
  hold(host, thing, one)
  rmSync(directory(), { recursive: true })
  mkdirSync(`${directory()}/${attachmentHash(one)}`, { recursive: true })
  expect(undo.flatMap((take) => take())).toEqual([])
  expect(said).toEqual([`firewall: ${directory()}/${attachmentHash(one)} is a directory: it is skipped`])
})

test('what cannot be removed is an error of the file system, no defect', () => {
  hold(host, thing, one)
  const refuse = vi.spyOn(systemStateFiles, 'unlinkSync').mockImplementation(() => {
    throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' })
  })
  try {
    const file = `${directory()}/${attachmentHash(one)}`
    const expected = { code: 5, message: `cannot remove ${file}`, details: 'EROFS: read-only file system' }
    expect(thrownBy(() => release(host, thing, one))).toMatchObject(expected)
    expect(undo.flatMap((take) => take())).toMatchObject([expected])
  } finally {
    refuse.mockRestore()
  }
})

test('what podwire 0.1.0 wrote is no holder', () => {
  hold(host, thing, one)
  writeFileSync(`${directory()}/official`, '')
  expect(othersHolding(host, thing, one)).toBe(0)
  expect(othersHolding(host, thing, other)).toBe(1)
})

test('where something else lies in its place, nobody holds it, and an ADD fails', () => {
  mkdirSync(`${stateRoot}/firewall-holders`, { recursive: true })
  writeFileSync(directory(), '')
  expect([holds(host, thing, one), othersHolding(host, thing, one)]).toEqual([false, 0])
  expect(said[0]).toMatch(/^firewall: .*address-10\.1\.0\.2 .*: it is skipped$/)
  expect(() => hold(host, thing, one)).toThrow(`cannot write ${directory()}`)
  release(host, thing, one)
  rmSync(directory())
  symlinkSync('/nowhere', directory())
  expect(() => hold(host, thing, one)).toThrow('cannot write')
})

test('who looks first and changes then is alone; in a dry run nothing is made', () => {
  expect(exclusively(host, () => statSync(`${stateRoot}/firewall-holders/lock`).isFile())).toBe(true)
  keepStateIn(join(root, 'other'))
  expect(exclusively({ ...host, dryRun: true }, () => 7)).toBe(7)
  expect(() => statSync(stateRoot)).toThrow('ENOENT')
})

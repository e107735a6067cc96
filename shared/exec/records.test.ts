import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { thrownBy } from '../testing/thrown.js'
import { type CniError, codes } from '../values/errors.js'
import {
  allRecords,
  type RecordHost,
  readRecord,
  recordsOfAllNetworks,
  recordWritings,
  removeEverywhere,
  removeRecord,
  staleRecords,
  writeRecord,
} from './records.js'
import { keepStateIn, stateRoot } from './state.js'

const usual = stateRoot
let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'records-'))
  keepStateIn(root)
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(root, { recursive: true })
})

/** A machine whose changes happen, with what it said and what would take them back. */
function hosted({ dryRun = false } = {}) {
  const heard: string[] = []
  const undo: (() => readonly CniError[])[] = []
  const host: RecordHost = {
    dryRun,
    change: (description, body) => {
      heard.push(description)
      if (!dryRun) body()
    },
    warn: (text) => heard.push(text),
    journal: { note: (one) => undo.push(one) },
  }
  return { host, heard, rollback: () => undo.reverse().flatMap((one) => one()) }
}

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const other = { ...attachment, containerID: 'c2' }
const elsewhere = { ...attachment, network: 'net2' }
const made = { mac: '02:00:00:00:00:01', guarded: true }
const kind = 'bridge'

/** The files below a kind's folder. */
const files = () =>
  readdirSync(join(root, kind), { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
const fileOf = () => {
  const [file] = files()
  return join(file?.parentPath ?? '', file?.name ?? '')
}

test('a record is read as it was written, and is gone when it is removed', () => {
  const { host, heard } = hosted()
  const netns = { path: '/run/netns/c1', boot: 'boot', inode: 7 }
  expect(readRecord(host, kind, attachment)).toBeUndefined()
  writeRecord(host, kind, attachment, made, { netns })
  expect(readRecord(host, kind, attachment)).toEqual({ attachment, netns, data: made })
  expect(dirname(fileOf())).toBe(join(root, kind, 'net'))
  expect(heard).toEqual([`note bridge of net/c1 in ${fileOf()}`])
  removeRecord(host, kind, attachment)
  expect(readRecord(host, kind, attachment)).toBeUndefined()
  expect(files()).toEqual([])
  removeRecord(host, kind, attachment)
})

test('one that is written again stays one of its namespace, unless another is named', () => {
  const { host } = hosted()
  const netns = { path: '/run/netns/c1' }
  writeRecord(host, kind, attachment, made, { netns })
  writeRecord(host, kind, attachment, { ...made, guarded: false })
  expect(readRecord(host, kind, attachment)).toEqual({ attachment, netns, data: { ...made, guarded: false } })
  writeRecord(host, kind, attachment, made, { netns: { path: '/run/netns/c9' } })
  expect(readRecord(host, kind, attachment)?.netns).toEqual({ path: '/run/netns/c9' })
})

test('an ADD that fails has no record, or the one of before', () => {
  const first = hosted()
  writeRecord(first.host, kind, attachment, made)
  const second = hosted()
  writeRecord(second.host, kind, attachment, { ...made, guarded: false })
  expect(second.rollback()).toEqual([])
  expect(readRecord(second.host, kind, attachment)?.data).toEqual(made)
  expect(first.rollback()).toEqual([])
  expect(files()).toEqual([])
})

test('a directory in the place of a record is left there when it is taken back', () => {
  const { host, rollback } = hosted()
  writeRecord(host, kind, attachment, made)
  const path = fileOf()
  rmSync(path)
  mkdirSync(path)
  expect(rollback()).toEqual([])
  expect(existsSync(path)).toBe(true)
})

test('what is no record of its kind is not written', () => {
  const { host } = hosted()
  const error = thrownBy(() => writeRecord(host, kind, attachment, { mac: 7 }))
  expect(error).toMatchObject({ code: codes.ioFailure, message: expect.stringContaining('cannot write') })
  expect(error.details).toContain(`make ${root} a writable directory`)
  expect(existsSync(join(root, kind))).toBe(false)
})

test('a dry run writes and removes nothing', () => {
  writeRecord(hosted().host, kind, attachment, made)
  const { host } = hosted({ dryRun: true })
  writeRecord(host, kind, other, made)
  removeRecord(host, kind, attachment)
  staleRecords(host, kind, 'net', [])
  expect(files()).toHaveLength(1)
})

describe('of several', () => {
  beforeEach(() => {
    const { host } = hosted()
    for (const one of [attachment, other, elsewhere]) writeRecord(host, kind, one, made)
  })
  const containers = (entries: readonly { attachment: typeof attachment }[]) =>
    entries.map((one) => `${one.attachment.network}/${one.attachment.containerID}`).sort()

  test('those of a network, or of all, are found', () => {
    const { host } = hosted()
    expect(containers(allRecords(host, kind, 'net'))).toEqual(['net/c1', 'net/c2'])
    expect(containers(recordsOfAllNetworks(host, kind))).toEqual(['net/c1', 'net/c2', 'net2/c1'])
    expect(allRecords(host, kind, 'none')).toEqual([])
  })

  test('those whose attachment is not valid are stale: container and interface count', () => {
    const { host } = hosted()
    const valid = (containerID: string, ifname = 'eth0') => [{ containerID, ifname }]
    expect(containers(staleRecords(host, kind, 'net', valid('c1')))).toEqual(['net/c2'])
    expect(containers(staleRecords(host, kind, 'net', valid('c1', 'eth1')))).toEqual(['net/c1', 'net/c2'])
    expect(containers(staleRecords(host, kind, 'net', []))).toEqual(['net/c1', 'net/c2'])
  })

  test('a GC clears drafts of its kind that a killed writer left', () => {
    const drafts = ['bridge.a.1', 'ptp.a.1'].map((name) => join(root, 'drafts', name))
    for (const draft of drafts) writeFileSync(draft, '')
    staleRecords(hosted().host, kind, 'net', [])
    expect(drafts.map((draft) => existsSync(draft))).toEqual([false, true])
  })

  test('a DEL clears those of its attachment alone', () => {
    const [name] = readdirSync(join(root, kind, 'net2'))
    const drafts = [`bridge.${name}.1`, 'bridge.other.1'].map((one) => join(root, 'drafts', one))
    for (const draft of drafts) writeFileSync(draft, '')
    removeRecord(hosted().host, kind, elsewhere)
    expect(drafts.map((draft) => existsSync(draft))).toEqual([false, true])
  })

  test('one that may lie in any folder is removed in each', () => {
    const { host } = hosted()
    for (const folder of ['a', 'b']) writeRecord(host, kind, attachment, made, { folder })
    removeEverywhere(host, kind, attachment)
    for (const folder of ['a', 'b']) expect(allRecords(host, kind, folder)).toEqual([])
  })
})

describe('what lies in the place of a record is skipped, and named', () => {
  test.each<[string, (path: string) => void, RegExp]>([
    ['no JSON', (path) => writeFileSync(path, '{'), /is no JSON/],
    [
      'of another kind',
      (path) => writeFileSync(path, JSON.stringify({ version: 2, attachment, data: { mac: 7 } })),
      /is no record/,
    ],
    ['without an attachment', (path) => writeFileSync(path, '{"data": {}}'), /is no record of record/],
    ['a directory', (path) => mkdirSync(path), /is no regular file/],
  ])('%s', (_, plant, why) => {
    const { host, heard } = hosted()
    writeRecord(host, kind, attachment, made)
    const path = fileOf()
    rmSync(path)
    plant(path)
    expect(readRecord(host, kind, attachment)).toBeUndefined()
    expect(allRecords(host, kind, 'net')).toEqual([])
    expect(heard.at(-1)).toMatch(why)
    expect(heard.at(-1)).toContain(path)
  })

  test('a file where a folder should be', () => {
    mkdirSync(join(root, kind))
    writeFileSync(join(root, kind, 'net'), '')
    const { host } = hosted()
    expect(allRecords(host, kind, 'net')).toEqual([])
    expect(thrownBy(() => writeRecord(host, kind, attachment, made)).code).toBe(codes.ioFailure)
  })
})

test('records of podwire 0.1.0 say of their namespace what they did', () => {
  const { host } = hosted()
  writeRecord(host, kind, attachment, made)
  const path = fileOf()
  const old = (data: object) =>
    writeFileSync(path, JSON.stringify({ version: 1, attachment, data: { ...made, ...data } }))
  old({ netns: '/run/netns/c1' })
  expect(readRecord(host, kind, attachment)?.netns).toEqual({ path: '/run/netns/c1' })
  old({ netns: { path: '/run/netns/c1', inode: 7 }, boot: 'boot' })
  expect(readRecord(host, kind, attachment)?.netns).toEqual({ path: '/run/netns/c1', boot: 'boot', inode: 7 })
  for (const odd of [
    { netns: { path: '/n', inode: 7 } },
    { netns: null },
    { netns: { path: '/n', inode: 0.5 }, boot: 'b' },
  ]) {
    old(odd)
    expect(readRecord(host, kind, attachment)?.netns).toBeUndefined()
  }
})

test('drafts of podwire 0.1.0, beside the records, are none', () => {
  const { host } = hosted()
  writeRecord(host, kind, attachment, made)
  writeFileSync(`${fileOf()}.new`, readFileSync(fileOf()))
  expect(allRecords(host, kind, 'net')).toHaveLength(1)
})

test('records can be read by root alone, and what they take is known before', () => {
  writeRecord(hosted().host, kind, attachment, made)
  chmodSync(root, 0o700)
  expect(recordWritings('net', kind, 'ptp')).toEqual([
    { directory: join(root, 'drafts'), files: 0 },
    { directory: join(root, kind, 'net') },
    { directory: join(root, 'ptp', 'net') },
  ])
})

test('a folder that is a link to itself has no records: what is removed from it is only told of', () => {
  const { host, heard } = hosted()
  mkdirSync(join(root, kind))
  symlinkSync('net', join(root, kind, 'net'))
  removeRecord(host, kind, attachment)
  expect(heard).toContainEqual(expect.stringContaining('is below a symbolic link that leads nowhere: it is skipped'))
})

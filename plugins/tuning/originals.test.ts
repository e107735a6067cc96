import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Netns } from '../../shared/exec/records.js'
import type { Host } from '../../shared/plan/host.js'
import type { CniError } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import {
  areOf,
  fileOf,
  forgetOriginals,
  keepOriginals,
  type Originals,
  readOriginals,
  staleFiles,
} from './originals.js'

// The file of original values: what is read of it, whose it is, and who may write it.

const path = '/proc/self/ns/net'
const inode = statSync(path).ino
const mac = '02:00:00:00:00:01'
const owner = { network: 'net', containerID: 'c1', ifName: 'eth0' }

let dataDir = ''
let file = ''
let said: string[] = []
let undo: (() => readonly CniError[])[] = []
beforeEach(() => {
  dataDir = mkdtempSync(`${tmpdir()}/originals-`)
  file = fileOf(dataDir, owner)
  said = []
  undo = []
})
afterEach(() => rmSync(dataDir, { recursive: true }))

const hostWith = (cookie?: string) =>
  ({
    warn: (text: string) => said.push(text),
    change: (_: string, body: () => void) => body(),
    journal: { note: (one: () => readonly CniError[]) => undo.push(one) },
    observer: { cookie: () => cookie, bootID: () => 'boot-1' },
  }) as unknown as Host
const host = hostWith()
const takeBack = () => undo.toReversed().flatMap((one) => one())
const put = (content: unknown) => writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))

describe('read', () => {
  const mark = { ...owner, netns: { path: '/run/netns/c1' } }
  test.each<[string, object, Originals]>([
    [
      'all there is',
      { mac, promisc: true, mtu: 1400, allmulti: false, txQLen: 7 },
      { mac, promisc: true, mtu: 1400, allmulti: false, txQLen: 7 },
    ],
    ['what has the right type', { promisc: 1, mtu: '9', allmulti: 'x', txQLen: 7 }, { txQLen: 7 }],
    ['a MAC address in any spelling', { mac: '0200.0000.0001' }, { mac }],
    ['settings', { sysctl: { 'net/core/somaxconn': '128' } }, { sysctl: { 'net/core/somaxconn': '128' } }],
    ['whose it is', { podwire: mark }, { podwire: mark }],
    ['nothing of null', { sysctl: null, podwire: null }, {}],
  ])('%s', (_, content, originals) => {
    put(content)
    expect([readOriginals(host, file), said]).toEqual([originals, []])
  })

  test.each<[string, unknown, string]>([
    ['a text that is no JSON', '{', 'is no JSON'],
    ['a setting of the machine', { sysctl: { 'kernel/panic': '1' } }, 'has a "sysctl" that no ADD wrote'],
    [
      'a value of two lines',
      { sysctl: { 'net/core/a': '1', 'net/core/b': '1\n2' } },
      'has a "sysctl" that no ADD wrote',
    ],
    ['an owner without a name', { podwire: { ...mark, network: 7 } }, 'has a "podwire" that no ADD wrote'],
    ['an owner without an interface', { podwire: { network: 'net', containerID: 'c1' } }, 'has a "podwire" that'],
    ['a namespace that is no path', { podwire: { ...mark, netns: { path: 7 } } }, 'has a "podwire" that no ADD wrote'],
    ['another version', { podwire: { ...mark, version: 9 } }, 'is of another version of podwire'],
  ])('not %s, which is told', (_, content, why) => {
    put(content)
    expect(readOriginals(host, file)).toBeUndefined()
    expect(said).toEqual([expect.stringMatching(/^tuning: .*c1_eth0\.json .*: it is skipped$/)])
    expect(said[0]).toContain(why)
  })

  test('no file is nothing, and nothing to tell of; a link is never followed', () => {
    expect([readOriginals(host, file), said]).toEqual([undefined, []])
    symlinkSync('/etc/passwd', file)
    expect(readOriginals(host, file)).toBeUndefined()
    expect(said).toHaveLength(1)
  })
})

describe('whose they are', () => {
  const known = { index: 7, mac }
  const there = { ifindex: 7, address: mac } as ObservedLink
  const recorded: Netns = { path, boot: 'boot-1', inode, link: known }
  const of = (netns?: Netns, more: Originals = {}): Originals => ({
    ...more,
    podwire: { ...owner, ...(netns ? { netns } : {}) },
  })

  test.each<[string, Originals, ObservedLink | undefined, string | undefined, boolean]>([
    ["the official plugin's count as such", { mac }, undefined, undefined, true],
    ['the same namespace and link', of(recorded), there, undefined, true],
    ['another link under the name', of(recorded), { ...there, ifindex: 8 }, undefined, false],
    ['no link, and nothing else that tells', of(recorded), undefined, undefined, false],
    ['no link in the same namespace', of({ ...recorded, cookie: '12' }), undefined, '12', true],
    ['a link made anew in it', of({ ...recorded, cookie: '12' }), { ...there, ifindex: 8 }, '12', false],
    ['another namespace', of({ ...recorded, cookie: '12' }), there, '13', false],
    ['a namespace without a link on record', of({ path, boot: 'boot-1', inode, cookie: '12' }), there, '12', true],
    ['another address of the link', of(recorded), { ...there, address: '02:00:00:00:00:09' }, undefined, false],
    [
      'a link that was not tuned any more',
      of(recorded, { mac: '02:00:00:00:00:05' }),
      { ...there, address: '02:00:00:00:00:05' },
      undefined,
      true,
    ],
    [
      'an address that is neither',
      of(recorded, { mac: '02:00:00:00:00:05' }),
      { ...there, address: '02:00:00:00:00:06' },
      undefined,
      false,
    ],
  ])('%s', (_, originals, link, cookie, are) => {
    expect(areOf(hostWith(cookie), originals, path, () => link)).toBe(are)
  })

  test('of podwire 0.1.0 by inode, index and peer', () => {
    const old = (link: string): Originals => ({ podwire: { ...owner, link } })
    const veth = { ...there, link_index: 9 } as ObservedLink
    expect(areOf(host, old(`${inode}/7/9`), path, () => veth)).toBe(true)
    expect(areOf(host, old(`${inode}/7/0`), path, () => there)).toBe(true)
    expect(areOf(host, old(`${inode}/8/9`), path, () => veth)).toBe(false)
    expect(areOf(host, old(''), path, () => undefined)).toBe(true)
  })
})

describe('kept', () => {
  const written = () => JSON.parse(readFileSync(file, 'utf8'))
  const mark = { ...owner, netns: { path: '/run/netns/new' } }

  test('in the order of the official plugin, with the version in our own part', () => {
    keepOriginals(host, file, { txQLen: 7, mac, promisc: false, podwire: mark }, undefined)
    expect(readFileSync(file, 'utf8')).toBe(
      JSON.stringify({ mac, promisc: false, txQLen: 7, podwire: { ...mark, version: 2 } }, null, 1),
    )
    expect(takeBack()).toEqual([])
    expect(readdirSync(dataDir).filter((name) => name.endsWith('.json'))).toEqual([])
  })

  test('the first values stay, new ones come to them, and the owner is the new one', () => {
    const before = {
      mtu: 1500,
      sysctl: { 'net/core/a': '1' },
      podwire: { ...owner, netns: { path: '/run/netns/old' } },
    }
    put(before)
    const present = { mtu: 1400, txQLen: 7, sysctl: { 'net/core/a': '2', 'net/core/b': '3' }, podwire: mark }
    keepOriginals(host, file, present, before)
    expect(written()).toEqual({
      mtu: 1500,
      txQLen: 7,
      sysctl: { 'net/core/a': '1', 'net/core/b': '3' },
      podwire: { ...mark, version: 2 },
    })
    expect(takeBack()).toEqual([])
    expect(written()).toEqual({ ...before, podwire: { ...before.podwire, version: 2 } })
  })

  test('without settings there is no word of any', () => {
    keepOriginals(host, file, { mtu: 1400 }, { mtu: 1500 })
    expect(written()).toEqual({ mtu: 1500 })
  })

  test('where it cannot be written the ADD fails, and says where', () => {
    mkdirSync(file)
    expect(() => keepOriginals(host, file, { mtu: 1400 }, undefined)).toThrow(`cannot write ${file}`)
    expect(takeBack()).toEqual([])
    expect(said.at(-1)).toMatch(/c1_eth0\.json cannot be removed: .*: it is skipped$/)
  })
})

test('forgotten with its drafts, any number of times', () => {
  put({ mtu: 1500 })
  const drafts = `${dataDir}/.podwire`
  mkdirSync(drafts)
  for (const name of ['c1_eth0.json.1', 'c2_eth0.json.1']) writeFileSync(`${drafts}/${name}`, '')
  forgetOriginals(host, file)
  forgetOriginals(host, file)
  expect([readdirSync(dataDir), said]).toEqual([['.podwire'], []])
  expect(readdirSync(drafts)).not.toContain('c1_eth0.json.1')
  expect(readdirSync(drafts)).toContain('c2_eth0.json.1')
})

test('stale are those of the network that nobody valid has', () => {
  const write = (name: string, content: object) => writeFileSync(`${dataDir}/${name}`, JSON.stringify(content))
  const of = (more: object) => ({ podwire: { ...owner, ...more } })
  write('c1_eth0.json', of({}))
  write('c1_net1.json', of({ ifName: 'net1' }))
  write('c2_eth0.json', of({ containerID: 'c2' }))
  write('c3_eth0.json', of({ containerID: 'c3', network: 'other' }))
  write('c4_eth0.json', { mtu: 1500 })
  write('c5_eth0.txt', of({ containerID: 'c5' }))
  const stale = (...valid: [string, string][]) =>
    staleFiles(
      host,
      dataDir,
      'net',
      valid.map(([containerID, ifname]) => ({ containerID, ifname })),
    ).toSorted()
  expect(stale(['c1', 'eth0'])).toEqual([`${dataDir}/c1_net1.json`, `${dataDir}/c2_eth0.json`])
  expect(stale(['c2', 'eth0'], ['c1', 'net1'], ['c1', 'eth0'])).toEqual([])
  expect(staleFiles(host, `${dataDir}/none`, 'net', [])).toEqual([])
  expect(staleFiles(host, `${dataDir}/c5_eth0.txt`, 'net', [])).toEqual([])
  expect(said).toHaveLength(1)
})

import { statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Netns } from '../exec/records.js'
import type { Machine } from '../plan/machine.js'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import type { ObservedLink } from '../values/observe.schema.js'
import {
  compareNetns,
  inodeOf,
  lingering,
  livingNetns,
  netnsAt,
  netnsState,
  ownNetnsFault,
  requireNetns,
} from './netns.js'

// A namespace that is there wherever tests run, and files that are none.
const path = '/proc/self/ns/net'
const gone = '/run/netns/none-such'
const link = { ifindex: 7, address: '02:00:00:00:00:01' } as ObservedLink

const hostWith = (cookie?: string, bootID = 'boot-1') =>
  ({ observer: { cookie: () => cookie, bootID: () => bootID } }) as unknown as Pick<Machine, 'observer'>

test('a path leads to a namespace, to nothing, or to something else, which is an error', () => {
  expect([netnsState(path), netnsState(gone)]).toEqual(['present', 'gone'])
  for (const other of ['/tmp', '/proc/self/ns/net/below']) {
    const error = thrownBy(() => netnsState(other))
    expect(error).toMatchObject({ code: codes.invalidNetns, message: expect.stringContaining(`"${other}"`) })
  }
})

test('ADD needs one that is there, by a path that can be a word; DEL takes what it finds', () => {
  expect([requireNetns(path), livingNetns(path)]).toEqual([path, path])
  expect(thrownBy(() => requireNetns(gone)).details).toContain('no such file or directory')
  expect([livingNetns(gone), livingNetns('')]).toEqual([undefined, undefined])
})

test.each(['a b', 'a"b', "a'b", 'a\\b', 'a#b', 'a;b', 'a{b', 'a}b', 'a`b', 'a\x7fb', 'a\nb'])(
  '%j is no path of one',
  (name) => {
    const error = thrownBy(() => requireNetns(`/run/netns/${name}`))
    expect(error).toMatchObject({ code: codes.invalidNetns, details: expect.stringContaining('white space, quotes') })
  },
)

test('a record of one has all that tells it from others', () => {
  const inode = statSync(path).ino
  expect(netnsAt(hostWith('12'), path, link)).toEqual({
    path,
    boot: 'boot-1',
    inode,
    cookie: '12',
    link: { index: 7, mac: '02:00:00:00:00:01' },
  })
  expect(netnsAt(hostWith(), path)).toEqual({ path, boot: 'boot-1', inode })
  expect(netnsAt(hostWith(), gone)).toEqual({ path: gone, boot: 'boot-1' })
  expect(netnsAt(hostWith(), path, { ifindex: 8 } as ObservedLink).link).toEqual({ index: 8, mac: '' })
})

describe('the namespace at a path and the one on record', () => {
  const recorded: Netns = { path, boot: 'boot-1', inode: inodeOf(path) ?? 0, cookie: '12' }
  const { cookie: _, ...old } = { ...recorded, link: { index: 7, mac: '02:00:00:00:00:01' } }
  const unlinked: Netns = { path, boot: 'boot-1', inode: inodeOf(path) ?? 0 }

  test.each<[string, Netns | undefined, string | undefined, ObservedLink | undefined, string]>([
    ['by the cookie', recorded, '12', undefined, 'same'],
    ['by another cookie', recorded, '13', link, 'other'],
    ['by boot, inode and link where there was no cookie', old, '12', link, 'same'],
    ['by the same where the kernel tells none now', { ...old, cookie: '12' }, undefined, link, 'same'],
    ['another index', old, undefined, { ...link, ifindex: 8 }, 'unknown'],
    ['another MAC address', old, undefined, { ...link, address: '02:00:00:00:00:02' }, 'unknown'],
    ['no link there', old, undefined, undefined, 'unknown'],
    ['no link on record', unlinked, undefined, link, 'unknown'],
    ['another boot', { ...recorded, boot: 'boot-0' }, '12', link, 'other'],
    ['another inode', { ...recorded, inode: 1 }, '12', link, 'other'],
    ['no inode on record', { path, boot: 'boot-1', cookie: '12' }, '12', link, 'other'],
    ['no boot on record', { path, inode: recorded.inode ?? 0 }, '12', link, 'unknown'],
    ['no record', undefined, '12', link, 'unknown'],
  ])('%s', (_name, record, cookie, inside, verdict) => {
    expect(compareNetns(hostWith(cookie), record, path, () => inside)).toBe(verdict)
  })

  test('a link is only looked for where nothing else decides', () => {
    const never = () => expect.fail('looked inside')
    expect(compareNetns(hostWith('12'), recorded, path, never)).toBe('same')
    expect(compareNetns(hostWith(), unlinked, path, never)).toBe('unknown')
  })
})

test('a namespace that something keeps is found by another path, and is no other one', () => {
  const inode = inodeOf(path) ?? 0
  const recorded: Netns = { path: gone, boot: 'boot-1', inode, cookie: '12' }
  const found = lingering(hostWith('12'), recorded)
  expect([found, found === undefined ? 0 : inodeOf(found)]).toEqual([expect.stringMatching(/^\/proc\/\d+\//), inode])
  expect(lingering(hostWith('13'), recorded)).toBeUndefined()
  expect(lingering(hostWith('12', 'boot-2'), recorded)).toBeUndefined()
  expect(lingering(hostWith('12'), { ...recorded, inode: 1 })).toBeUndefined()
  expect(lingering(hostWith('12'), { path: gone, boot: 'boot-1', cookie: '12' })).toBeUndefined()
  expect(lingering(hostWith('12'), undefined)).toBeUndefined()
})

test('the plugin’s own namespace is told from others and from nothing', () => {
  expect(ownNetnsFault(path)).toBe("plugin's netns and netns from CNI_NETNS should not be the same")
  for (const other of ['', gone, '/proc/self/status']) expect(ownNetnsFault(other)).toBeUndefined()
})

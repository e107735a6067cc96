import fc from 'fast-check'
import { expect, test } from 'vitest'
import { leaseText, ownerOf, sameOwner } from './lease.js'

test('the text is the official one, byte for byte', () => {
  const text = leaseText({ containerID: 'c1id', ifName: 'eth0' })
  expect(Buffer.from(text).toString('hex')).toBe('633169640d0a65746830')
})

test.each([
  ['c1id\r\neth0', 'c1id', 'eth0'],
  ['  c1id\r\neth0\n', 'c1id', 'eth0'],
  ['c1id', 'c1id', ''],
  ['c1id\n', 'c1id', ''],
  ['c1id\r\n', 'c1id', ''],
  ['kept for the router', 'kept for the router', ''],
])('%j belongs to %j, interface %j', (text, containerID, ifName) => {
  expect(ownerOf(text)).toEqual({ containerID, ifName })
})

test.each(['', ' \r\n', '\0\0\0\0', 'c1\0\0', '\x7f', '\ufffd\ufffd'])('%j names no owner', (text) => {
  expect(ownerOf(text)).toBeUndefined()
})

test('what matched nobody upstream matches nobody here', () => {
  expect(sameOwner(ownerOf(' old3 \r\neth0'), { containerID: 'old3', ifName: 'eth0' })).toBe(false)
  expect(sameOwner(ownerOf('old4\neth0'), { containerID: 'old4', ifName: 'eth0' })).toBe(false)
  expect(sameOwner(ownerOf('c1'), { containerID: 'c1', ifName: 'eth0' })).toBe(false)
})

test('every owner is read back', () => {
  const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,70}$/)
  fc.assert(
    fc.property(name, name, (containerID, ifName) => {
      expect(ownerOf(leaseText({ containerID, ifName }))).toEqual({ containerID, ifName })
    }),
    { seed: 1 },
  )
})

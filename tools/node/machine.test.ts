import { expect, test } from 'vitest'
import { ownMeans } from './machine.js'

test.each([
  ['netlink and tools', {}, true],
  ['netlink and tools where the switch is empty', { PODWIRE_NO_NETLINK: '' }, true],
  ['tools alone', { PODWIRE_NO_NETLINK: '1' }, false],
])('looks and changes by %s', (_, env, expected) => {
  expect(ownMeans(env).netlink !== undefined).toBe(expected)
})

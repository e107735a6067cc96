import { expect, test } from 'vitest'
import { holdToInterpreters, isEncoded, operationOf, toolOnly } from '../testing/interpreters.js'

// Golden rows of plugins go through both interpreters in shared/testing/golden.ts; here is what that finds.

test.each(toolOnly)('only a tool does: %s', (_, example) => {
  const operation = operationOf(example)
  expect(operation && isEncoded(operation)).toBe(false)
  expect(() => holdToInterpreters(example)).not.toThrow()
})

test.each([
  ['an operation that neither does', 'ip maddr add 01:00:5e:00:00:01 dev eth0', 'netlink does not do'],
  [
    'a word that netlink does not know',
    'ip link add name a type veth peer name b numtxqueues 4',
    'netlink does not do',
  ],
  ['a map of another type', 'nft add map ip podwire portmap_ports { type mark : verdict ; }', 'another type'],
  ['a set that nobody knows', 'nft add set ip podwire marks { type mark ; }', 'has no marks'],
  ['an element of a set that nobody knows', 'nft add element ip podwire marks { 5 }', 'has no marks'],
  ['a field of another type', 'nft add element ip podwire firewall_addresses { 80 }', 'is no ipv4_addr'],
  ['an address of the other family', 'nft add element ip podwire firewall_addresses { fd00::1 }', 'is no ipv4_addr'],
  ['a name without quotes', 'nft add element ip podwire portmap_owners { 80 }', 'is no ifname'],
  [
    'a field too few',
    'nft add element ip podwire portmap_conditions { tcp : drop }',
    'is no inet_proto . inet_service',
  ],
  [
    'a value of another type',
    'nft create element ip podwire portmap_ports { tcp . 1 : 10.0.0.2 }',
    'is no ipv4_addr .',
  ],
])('a golden row fails for %s', (_, line, message) => {
  expect(() => holdToInterpreters(line)).toThrow(message)
})

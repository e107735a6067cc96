import { describe, expect, test } from 'vitest'
import type { Operation } from '../plan/operation.js'
import { operationOf } from '../testing/interpreters.js'
import { leadingTogether, noteLinks } from './batch.js'

const netns = '/run/netns/a'
const inside = (line: string, more: Partial<Operation> = {}): Operation => ({
  ...(operationOf(`ip ${line}`) as Operation),
  netns,
  ...more,
})
const made = new Set([`${netns} eth0`])
const none: ReadonlySet<string> = new Set()

/** How many of these go together. */
const together = (lines: readonly string[], more: { made?: ReadonlySet<string>; goesOn?: boolean } = {}) =>
  leadingTogether(
    lines.map((line) => inside(line)),
    { made, goesOn: false, ...more },
  ).length

const address = 'addr add 10.1.2.3/24 brd + dev eth0'
const other = 'addr add fd00::3/64 dev eth0'
const up = 'link set dev eth0 up'
const down = 'link set dev eth0 down'
const direct = 'route add 10.1.2.1/32 dev eth0 scope link src 10.1.2.3'
const otherDirect = 'route prepend fd00::1/128 dev eth0'
const gateway = 'route prepend 0.0.0.0/0 via 10.1.2.1 dev eth0'
const otherGateway = 'route prepend ::/0 via fd00::1 dev eth0'
const scoped = 'route prepend 10.9.0.0/16 via 10.1.2.1 dev eth0 scope 253'
const removed = 'route del 10.1.2.0/24 dev eth0'
const promisc = 'link set dev eth0 promisc on'
const mtu = 'link set dev eth0 mtu 1400'
const added = 'link add name eth0 type dummy'
const port = 'link set dev eth0 type bridge_slave hairpin on'

describe('what is done to a link that was made here goes together', () => {
  test.each([
    ['all that gives it addresses and routes', [address, other, up, direct, otherDirect, gateway, otherGateway], 7],
    ['up and addresses behind it', [up, address, other, otherDirect], 4],
    ['attributes', [promisc, mtu, 'link set dev eth0 txqueuelen 7'], 3],
    ['the removal of a route', [address, up, direct, removed], 4],
  ])('%s', (_, lines, expected) => {
    expect(together(lines)).toBe(expected)
  })

  test.each([
    // The tool would do what has to be refused, or say something else.
    ['an address behind what it may be the way to', [gateway, address]],
    ['a direct route behind what it may be the way to', [gateway, otherDirect]],
    ['a route that may be the way to another', [gateway, scoped]],
    ['a route by a link whose name is a word', [gateway, 'route prepend fd00::1/128 dev via']],
    ['a route behind what may be the way to it', [removed, gateway]],
    ['the removal of a way', [gateway, removed]],
    ['an address behind a route that has it as its source', [direct, other]],
    ['up behind what needs it', [direct, up]],
    ['up behind what it may not take', [mtu, up]],
    ['an attribute behind addresses', [other, mtu]],
    ['addresses behind an attribute', [mtu, other]],
    // Its tool would undo, or take for its own, what comes behind it.
    ['up behind down', [down, up]],
    ['down behind up', [up, down]],
    ['a route behind the removal of one to the same', ['route del fd00::/64 dev eth0', 'route add fd00::/64 dev eth0']],
    ['a route before another to the same', [gateway, 'route prepend 0.0.0.0/0 via 10.1.2.9 dev eth0 table 5']],
    ['an address twice', [address, address]],
    ['an attribute twice', [mtu, 'link set dev eth0 mtu 1500']],
    // It would be done to what somebody else has under the name.
    ['anything behind a new link', [added, up]],
    ['a new link', [up, added]],
    ['a setting of a new port', [added, port]],
    ['a new name', [up, 'link set dev eth0 name eth1']],
    ['anything behind a new name', ['link set dev eth0 name eth1', up]],
    ['another namespace', [up, 'link set dev eth0 netns /run/netns/b']],
    ['a removal', [up, 'link del dev eth0']],
    // What is in no table.
    ['what only `ip` does', [up, 'neigh replace 10.1.2.5 lladdr 02:00:00:00:00:01 dev eth0']],
    ['a rule', ['rule add from 10.1.2.3 table 100', up]],
    ['an address that goes', [up, 'addr del 10.1.2.3/24 dev eth0']],
    ['a master', [up, 'link set dev eth0 master br0']],
    ['several attributes', [promisc, 'link set dev eth0 mtu 1400 txqueuelen 5']],
  ])('but not %s', (_, lines) => {
    expect(together(lines)).toBe(1)
  })

  test('up to so many that the answers have room', () => {
    const many = Array.from({ length: 50 }, (_, index) => `addr add 10.1.2.${index}/24 dev eth0`)
    expect(together(many)).toBe(32)
  })

  test('not with what is done elsewhere, or by another tool', () => {
    const elsewhere = [inside(address), inside(up, { netns: '/run/netns/b' })]
    const setting: Operation = { ...inside(up), tool: 'sysctl', argv: ['-w', 'net/ipv4/conf/eth0/arp_notify=1'] }
    const surroundings = { made: new Set([...made, '/run/netns/b eth0']), goesOn: false }
    expect(leadingTogether(elsewhere, surroundings)).toEqual(elsewhere.slice(0, 1))
    expect(leadingTogether([inside(address), setting, inside(up)], surroundings)).toHaveLength(1)
  })
})

describe('what is done to a link that others use stands behind nothing', () => {
  test('as it would be left where the plan ends', () => {
    expect(together([address, other, up, gateway], { made: none })).toBe(1)
    expect(together([address, other], { made: new Set([' eth0', '/run/netns/b eth0', `${netns} eth1`]) })).toBe(1)
  })

  test('but what is taken back by an operation', () => {
    const plan = [promisc, mtu].map((line) => inside(line, { undo: [inside(line)] }))
    expect(leadingTogether(plan, { made: none, goesOn: false })).toHaveLength(2)
    expect(leadingTogether([...plan.slice(0, 1), inside(mtu)], { made: none, goesOn: false })).toHaveLength(1)
  })

  test('and what is to be tried whatever becomes of the others', () => {
    expect(together([promisc, mtu], { made: none, goesOn: true })).toBe(2)
    expect(together(['link del dev a', 'link del dev b', 'link del dev c'], { made: none, goesOn: true })).toBe(3)
    expect(together(['link del dev a', 'link del dev a'], { made: none, goesOn: true })).toBe(1)
    expect(together(['link del dev a', up], { made: none, goesOn: true })).toBe(1)
  })
})

const takenBack = { undo: [inside('link del dev h')] }

/** Links that are made, and one that is no more what it was. */
test.each<[string, string[], string | undefined]>([
  ['link add name eth0 type dummy', [`${netns} eth0`], undefined],
  ['link add name eth0 link top netns /run/netns/b type macvlan mode bridge', ['/run/netns/b eth0'], undefined],
  ['link add name h type veth peer name eth0 netns /run/netns/b', [`${netns} h`, '/run/netns/b eth0'], undefined],
  ['link add name h mtu 1400 type veth peer name g', [`${netns} h`, `${netns} g`], undefined],
  ['link add name type netns /run/netns/b type dummy', ['/run/netns/b type'], undefined],
  ['link add name peer mtu 1400 type macvlan mode bridge', [`${netns} peer`], undefined],
  [
    'link add name netns master peer type veth peer name netns netns /run/netns/b',
    [`${netns} netns`, '/run/netns/b netns'],
    undefined,
  ],
  ['link del dev h', [], `${netns} h`],
  ['link set dev h name g', [], `${netns} h`],
  ['link set dev h netns /run/netns/b name g', [], `${netns} h`],
  ['link set dev h up', [], undefined],
  ['addr add 10.1.2.3/24 dev h', [], undefined],
])('%s: makes %j, loses %s', (line, links, lost) => {
  const known = new Set([`${netns} h`, 'other'])
  expect(noteLinks(inside(line, takenBack), known)).toBe(links.length > 0 || lost !== undefined)
  expect([...known].sort()).toEqual(
    [...new Set([`${netns} h`, 'other', ...links])].filter((one) => one !== lost).sort(),
  )
})

test('the host has links of its own', () => {
  const { netns: _, ...host } = inside('link add name h type veth peer name eth0 netns /run/netns/b')
  const known = new Set<string>()
  noteLinks({ ...host, ...takenBack }, known)
  expect([...known]).toEqual([' h', '/run/netns/b eth0'])
})

test('a link that nothing takes away where the plan ends is as others, whoever made it', () => {
  const known = new Set<string>()
  expect(noteLinks(inside('link add name br0 type bridge', { tolerate: ['exists'] }), known)).toBe(true)
  expect([...known]).toEqual([])
})

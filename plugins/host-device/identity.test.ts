import { describe, expect, test } from 'vitest'
import type { Host } from '../../shared/plan/host.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { isDevice, isMarked, isOfHost, isOfMake, type Moved, makeOf, placeOf } from './identity.js'

const mac = '02:00:00:00:aa:01'
const link = (more: Partial<ObservedLink> = {}): ObservedLink => ({
  ...{ ifindex: 7, ifname: 'eth0', flags: [], mtu: 1500, addr_info: [], address: mac },
  ...more,
})
const kind = (info_kind: string) => ({ linkinfo: { info_kind } })
const hardware = link({ parentbus: 'pci', parentdev: '0000:01:00.0', permaddr: '02:00:00:00:ff:ff' })

test('what a link is made as', () => {
  expect(makeOf(hardware)).toEqual({ permanent: '02:00:00:00:ff:ff', parent: 'pci/0000:01:00.0' })
  expect(makeOf(link())).toEqual({ permanent: mac })
  expect(makeOf(link(kind('veth')))).toEqual({ kind: 'veth' })
  expect(makeOf(link({ parentdev: 'x' }))).toEqual({ permanent: mac, parent: '/x' })
  const { address: _, ...without } = link()
  expect(makeOf(without)).toEqual({})
})

test('where a link is', () => {
  expect(placeOf(link())).toEqual({ index: 7 })
  expect(placeOf(link({ link_index: 3, link_netnsid: 0 }))).toEqual({ index: 7, link: 3, netnsID: 0 })
})

test('the marks are the alias and the address, both', () => {
  const moved: Moved = { device: 'hd0', up: true, mac }
  expect(isMarked(moved, link({ ifalias: 'hd0' }))).toBe(true)
  expect(isMarked(moved, link({ ifalias: 'hd1' }))).toBe(false)
  expect(isMarked(moved, link())).toBe(false)
  expect(isMarked(moved, link({ ifalias: 'hd0', address: '02:00:00:00:aa:02' }))).toBe(false)
})

describe('a link can be the device', () => {
  const other = { permaddr: '02:00:00:00:ff:fe' }
  const rows: [what: string, make: Parameters<typeof isOfMake>[0], link: ObservedLink, can: boolean][] = [
    ['hardware', makeOf(hardware), hardware, true],
    ['hardware with another address that was set', makeOf(hardware), { ...hardware, address: other.permaddr }, true],
    ['hardware with another permanent address', makeOf(hardware), { ...hardware, ...other }, false],
    ['hardware at another place', makeOf(hardware), { ...hardware, parentdev: '0000:02:00.0' }, false],
    ['hardware whose place is not told', makeOf(hardware), link({ permaddr: '02:00:00:00:ff:ff' }), true],
    ['no hardware', makeOf(hardware), { ...hardware, ...kind('dummy') }, false],
    ['the kind', makeOf(link(kind('dummy'))), link(kind('dummy')), true],
    ['another kind', makeOf(link(kind('dummy'))), link(kind('veth')), false],
    ['hardware instead of the kind', makeOf(link(kind('dummy'))), link(), false],
    ['anything where nothing is on record', {}, link(kind('veth')), true],
  ]
  test.each(rows)('%s', (_, make, one, can) => {
    expect(isOfMake(make, one)).toBe(can)
  })
})

describe('a link of a container is the device', () => {
  const base: Moved = { device: 'hd0', up: true, mac }
  const veth: Moved = { ...base, kind: 'veth', inside: { index: 7, link: 3, netnsID: 0 } }
  const there = link({ ...kind('veth'), link_index: 3, link_netnsid: 0 })
  const uncertain: Moved = { ...base, kind: 'veth' }
  const rows: [what: string, moved: Moved, link: ObservedLink, isNamed: boolean, is: boolean][] = [
    ['hardware, whatever it is called', { ...base, ...makeOf(hardware) }, hardware, false, true],
    ['other hardware', { ...base, ...makeOf(hardware) }, { ...hardware, parentdev: 'x' }, true, false],
    ['where it was put', veth, there, false, true],
    ['another number', veth, { ...there, ifindex: 8 }, true, false],
    ['another end', veth, { ...there, link_index: 4 }, true, false],
    ['an end elsewhere', veth, { ...there, link_netnsid: 1 }, true, false],
    ['another kind there', veth, { ...there, ...kind('dummy') }, true, false],
    ['by its marks', uncertain, link({ ...kind('veth'), ifalias: 'hd0' }), false, true],
    ['by its address and its name', uncertain, link(kind('veth')), true, true],
    ['by its address alone', uncertain, link(kind('veth')), false, false],
    ['by its alias and its name', uncertain, link({ ...kind('veth'), ifalias: 'hd0', address: 'x' }), true, true],
    ['by its name alone', uncertain, link({ ...kind('veth'), address: 'x' }), true, false],
  ]
  test.each(rows)('%s', (_, moved, one, isNamed, is) => {
    expect(isDevice(moved, one, isNamed)).toBe(is)
  })
})

describe('a link that the root of a container cannot have made', () => {
  const host = { observer: { hostNumberIn: () => 0 } } as unknown as Host
  const strange = { observer: { hostNumberIn: () => undefined } } as unknown as Host
  const rows: [what: string, host: Host, link: ObservedLink, is: boolean][] = [
    ['hardware', strange, link(), true],
    ['the end of one of the host', host, link({ ...kind('veth'), link_index: 3, link_netnsid: 0 }), true],
    ['the end of one elsewhere', host, link({ ...kind('veth'), link_index: 3, link_netnsid: 1 }), false],
    ['the end of one in the container', host, link({ ...kind('veth'), link_index: 3 }), false],
    ['one without an end', host, link({ ...kind('dummy'), link_netnsid: 0 }), false],
    ['where the number is not told', strange, link({ ...kind('veth'), link_index: 3 }), false],
  ]
  test.each(rows)('%s', (_, machine, one, is) => {
    expect(isOfHost(machine, '/x', one)).toBe(is)
  })
})

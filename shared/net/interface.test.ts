import { describe, expect, test } from 'vitest'
import type { Machine } from '../plan/machine.js'
import { renderOne } from '../plan/render.js'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import type { NumberedRoute, ObservedLink } from '../values/observe.schema.js'
import { emptyResult, type Result } from '../values/result.js'
import {
  addressesOf,
  configureInterface,
  dnsOf,
  effectiveGateway,
  interfaceDifferences,
  throwDifferences,
} from './interface.js'

const netns = '/run/netns/c1'

describe('configuring', () => {
  const shown = (addressing: Partial<Parameters<typeof configureInterface>[0]>) =>
    configureInterface({ netns, ifName: 'eth0', ips: [], routes: [], ...addressing })
      .map(renderOne)
      .map((line) => line.replace(`nsenter --net=${netns} `, ''))

  test('without addresses: nothing on the link may configure it, and it is up', () => {
    expect(shown({})).toEqual(['sysctl -w net/ipv6/conf/eth0/accept_ra=0', 'ip link set dev eth0 up'])
  })

  test('IPv6 is turned on for an IPv6 address alone; "nodad" is of such addresses only', () => {
    const lines = shown({ ips: [{ address: '10.0.0.2/24' }, { address: 'fd00::2/64' }], nodad: true })
    expect(lines).toContain('sysctl -w net/ipv6/conf/eth0/disable_ipv6=0')
    expect(lines).toContain('ip addr add fd00::2/64 dev eth0 nodad')
    expect(lines).toContain('ip addr add 10.0.0.2/24 brd + dev eth0')
    expect(shown({ ips: [{ address: '10.0.0.2/31' }] }).join()).not.toMatch(/disable_ipv6|brd/)
    expect(shown({ ips: [{ address: 'fd00::2/64' }] })).toContain('ip addr add fd00::2/64 dev eth0')
  })

  test.each<[string, object, string]>([
    ['a route of its own gateway', { dst: '10.9.0.0/16', gw: '10.0.0.9' }, 'via 10.0.0.9 dev eth0'],
    ['one without takes that of its family', { dst: '0.0.0.0/0' }, 'via 10.0.0.1 dev eth0'],
    ['one of the other family, too', { dst: '::/0' }, 'via fd01::1 dev eth0 onlink'],
    ['one of the link has none', { dst: '10.9.0.0/16', scope: 253 }, 'dev eth0 scope 253'],
  ])('%s', (_, route, words) => {
    const ips = [
      { address: '10.0.0.2/24', gateway: '10.0.0.1' },
      { address: 'fd00::2/64', gateway: 'fd01::1' },
    ]
    const { dst } = route as { dst: string }
    expect(shown({ ips, routes: [route as { dst: string }] }).at(-1)).toBe(`ip route prepend ${dst} ${words}`)
  })

  test('a gateway outside of all subnets is reached on the link, unless a route leads to it or it is no gateway', () => {
    const ips = [{ address: '10.0.0.2/32', gateway: '10.0.0.1' }]
    const last = (more: object) => shown({ ips, routes: [{ dst: '0.0.0.0/0' }], ...more }).at(-1)
    const gatewayRoutes = configureInterface({ netns, ifName: 'x', ips: [], routes: [] }).slice(0, 1)
    expect(last({})).toBe('ip route prepend 0.0.0.0/0 via 10.0.0.1 dev eth0 onlink')
    expect(last({ gatewayRoutes })).toBe('ip route prepend 0.0.0.0/0 via 10.0.0.1 dev eth0')
    const foreign = [{ dst: '10.9.0.0/16', gw: '10.7.0.1' }]
    expect(last({ routes: foreign })).toBe('ip route prepend 10.9.0.0/16 via 10.7.0.1 dev eth0')
  })

  test('the gateway of a route is the first of its family', () => {
    const ips = [{ address: '10.0.0.2/24' }, { address: '10.1.0.2/24', gateway: '10.1.0.1' }]
    expect(effectiveGateway({ dst: '10.9.0.0/16' }, ips)).toBe('10.1.0.1')
    expect(effectiveGateway({ dst: 'fd00::/64' }, ips)).toBeUndefined()
  })
})

describe('what differs from prevResult', () => {
  const result: Result = {
    ...emptyResult,
    interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:0A', sandbox: netns }, { name: 'br0' }],
    ips: [{ address: '10.0.0.2/24', interface: 0 }],
    routes: [],
  }
  const link = {
    ifindex: 2,
    address: '02:00:00:00:00:0a',
    linkinfo: { info_kind: 'veth' },
    addr_info: [{ local: '10.0.0.2', prefixlen: 24 }],
  } as unknown as ObservedLink
  const found = (routes: Partial<NumberedRoute>[] = [], seen: ObservedLink | undefined = link) =>
    ({ observer: { link: () => seen, routing: () => ({ routes }) } }) as unknown as Pick<Machine, 'observer'>
  const differ = (host: Pick<Machine, 'observer'>, prevResult: Partial<Result> = {}, kind?: string) =>
    interfaceDifferences(host, {
      netns,
      ifName: 'eth0',
      prevResult: { ...result, ...prevResult },
      ...(kind ? { kind } : {}),
    }).problems.map(({ path, value, expected }) => [path, value, expected])

  test('is nothing where all is as it was, a MAC address in any case', () => {
    expect(differ(found())).toEqual([])
    expect(differ(found(), {}, 'veth')).toEqual([])
  })

  test('names an interface that prevResult does not have, with those it has', () => {
    const interfaces = [{ name: 'eth0', sandbox: '/other' }, { name: 'br0' }]
    expect(differ(found(), { interfaces })).toEqual([
      ['prevResult.interfaces', ['eth0 in /other', 'br0 in the host'], `eth0 with the sandbox ${netns}`],
    ])
  })

  test('names a link that is gone, of another kind or MAC address, or without its address', () => {
    const gone = { observer: { link: () => undefined } } as unknown as Pick<Machine, 'observer'>
    expect(differ(gone)).toEqual([['interface eth0', 'none', `a link of this name in ${netns}`]])
    expect(differ(found(), {}, 'macvlan')).toEqual([['interface eth0 kind', 'veth', 'macvlan']])
    const other = {
      ...link,
      address: '02:00:00:00:00:0b',
      linkinfo: undefined,
      addr_info: [],
    } as unknown as ObservedLink
    expect(differ(found([], other), {}, 'veth')).toEqual([
      ['interface eth0 kind', 'none', 'veth'],
      ['interface eth0 MAC', '02:00:00:00:00:0b', '02:00:00:00:00:0A'],
      ['interface eth0 addresses', [], '10.0.0.2/24'],
    ])
  })

  test.each<[string, Result['routes'][number], Partial<NumberedRoute>[], boolean]>([
    ['a default route', { dst: '0.0.0.0/0' }, [{ family: 4, dst: 'default' }], true],
    ['by any gateway', { dst: '::/0', gw: 'fd00::1' }, [{ family: 6, dst: 'default', gateway: 'fd00::2' }], true],
    ['of the other family', { dst: '::/0' }, [{ family: 4, dst: 'default' }], false],
    ['a host route', { dst: '10.9.0.1/32' }, [{ family: 4, dst: '10.9.0.1' }], true],
    ['a host route of IPv6', { dst: 'fd00::9/128' }, [{ family: 6, dst: 'fd00::9' }], true],
    ['a network', { dst: '10.9.0.0/16' }, [{ family: 4, dst: '10.9.0.0/16' }], true],
    [
      'by the gateway',
      { dst: '10.9.0.0/16', gw: '10.0.0.9' },
      [{ family: 4, dst: '10.9.0.0/16', gateway: '10.0.0.9' }],
      true,
    ],
    [
      'by another one',
      { dst: '10.9.0.0/16', gw: '10.0.0.9' },
      [{ family: 4, dst: '10.9.0.0/16', gateway: '10.0.0.8' }],
      false,
    ],
    ['on the link alone', { dst: '10.9.0.0/16', gw: '10.0.0.9' }, [{ family: 4, dst: '10.9.0.0/16' }], true],
    ['in its table', { dst: '10.9.0.0/16', table: 100 }, [{ family: 4, dst: '10.9.0.0/16', table: '100' }], true],
    ['in the main table', { dst: '10.9.0.0/16', table: 254 }, [{ family: 4, dst: '10.9.0.0/16' }], true],
    ['in another table', { dst: '10.9.0.0/16', table: 100 }, [{ family: 4, dst: '10.9.0.0/16' }], false],
    ['moved to a table', { dst: '10.9.0.0/16' }, [{ family: 4, dst: '10.9.0.0/16', table: '100' }], true],
    ['of the local table', { dst: '10.9.0.1/32' }, [{ family: 4, dst: '10.9.0.1', table: '255' }], false],
    ['elsewhere', { dst: '10.9.0.0/16' }, [{ family: 4, dst: '10.8.0.0/16' }], false],
  ])('a route %s', (_, route, routes, isThere) => {
    const expected = isThere ? [] : [['routes', 'no such route', JSON.stringify(route)]]
    expect(differ(found(routes), { routes: [route] })).toEqual(expected)
  })

  test('says of routes and addresses what the official library does, masks in hexadecimal', () => {
    const official = (prevResult: Partial<Result>) =>
      interfaceDifferences(found(), { netns, ifName: 'eth0', prevResult: { ...result, ...prevResult } }).problems.map(
        ({ official: words }) => words,
      )
    const rest = (gw: string) => `GW:${gw} MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>}`
    const none = 'not found in routing table'
    expect(official({ routes: [{ dst: '10.9.0.0/20' }, { dst: 'fd00:9::/33', gw: 'fd00::1' }] })).toEqual([
      `Expected Route {Dst:{IP:10.9.0.0 Mask:fffff000} ${rest('<nil>')} ${none}`,
      `Expected Route {Dst:{IP:fd00:9:: Mask:ffffffff800000000000000000000000} ${rest('fd00::1')} ${none}`,
    ])
    const all = { dst: '10.0.0.0/6', mtu: 1400, advmss: 1300, priority: 5, table: 7, scope: 253 }
    const one = 'MTU:1400 AdvMSS:1300 Priority:5 Table:7 Scope:253}'
    expect(official({ routes: [all] })).toEqual([
      `Expected Route {Dst:{IP:10.0.0.0 Mask:fc000000} GW:<nil> ${one} ${none}`,
    ])
    expect(official({ ips: [{ address: '10.0.0.9/9', interface: 0 }] })).toEqual([
      expect.stringContaining('{10.0.0.9 ff800000}'),
    ])
  })

  test('is one error, named by the first', () => {
    expect(() => throwDifferences([])).not.toThrow()
    const problems = ['a', 'b'].map((path) => ({ path, value: 1, expected: '2' }))
    expect(thrownBy(() => throwDifferences(problems))).toMatchObject({
      code: codes.checkFailed,
      message: 'a is not as ADD left it',
      details: expect.stringContaining('b'),
    })
  })
})

test('the addresses of an interface are those that name it', () => {
  const interfaces = [{ name: 'br0' }, { name: 'eth0', sandbox: netns }]
  const ips = [
    { address: '10.0.0.2/24', interface: 1 },
    { address: '10.0.0.1/24', interface: 0 },
    { address: '10.0.0.3/24' },
  ]
  expect(addressesOf({ ...emptyResult, interfaces, ips }, 'eth0')).toEqual(['10.0.0.2/24'])
})

test('DNS is the configuration’s where it says anything, else the lease’s', () => {
  const leased = { nameservers: ['10.0.0.1'], domain: 'lan' }
  for (const none of [undefined, {}]) expect(dnsOf(none, leased)).toEqual(leased)
  expect(dnsOf({ domain: 'own' }, leased)).toEqual({ domain: 'own' })
  expect(dnsOf({ nameservers: [] }, leased)).toEqual({ nameservers: [] })
})

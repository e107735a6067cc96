import { expect, test } from 'vitest'
import { render } from '../plan/render.js'
import type { NumberedRoute } from '../values/observe.schema.js'
import {
  addSourceRule,
  freeTables,
  hasGateway,
  isConnected,
  isLinkScoped,
  leavesBy,
  putRoute,
  tableOf,
  tablesInUse,
  takeRoute,
  wordsOf,
} from './routing.js'

const route = (more: object): NumberedRoute =>
  ({ family: 4, type: '1', dst: '10.9.0.0/16', dev: 'eth0', flags: [], ...more }) as NumberedRoute

/** What `ip -N -j -d route` printed (iproute2 6.1), and the words that make the same route. */
const rows: [what: string, observed: NumberedRoute, words: string][] = [
  [
    'of IPv4, with its sizes',
    route({ gateway: '10.1.0.1', protocol: '3', scope: '0', metric: 5, metrics: [{ mtu: 1300, advmss: 1200 }] }),
    '10.9.0.0/16 via 10.1.0.1 dev eth0 proto 3 scope 0 metric 5 mtu 1300 advmss 1200',
  ],
  [
    'over a gateway of IPv6',
    route({ via: { family: 'inet6', host: 'fe80::5' } }),
    '10.9.0.0/16 via inet6 fe80::5 dev eth0',
  ],
  [
    'on the link',
    route({ gateway: '10.9.9.9', flags: ['onlink', 'linkdown'] }),
    '10.9.0.0/16 via 10.9.9.9 dev eth0 onlink',
  ],
  [
    'of the kernel',
    route({ protocol: '2', scope: '253', prefsrc: '10.9.0.1' }),
    '10.9.0.0/16 dev eth0 proto 2 scope 253 src 10.9.0.1',
  ],
  ['by default', route({ dst: 'default', gateway: '10.1.0.1' }), '0.0.0.0/0 via 10.1.0.1 dev eth0'],
  [
    'by default, of IPv6',
    route({ family: 6, dst: 'default', gateway: 'fd01::1', scope: '0', metric: 1024, pref: 'high' }),
    '::/0 via fd01::1 dev eth0 metric 1024 pref high',
  ],
  [
    'over several gateways',
    route({
      dev: undefined,
      nexthops: [
        { gateway: '10.1.0.3', dev: 'eth0', weight: 1 },
        { dev: 'eth0', weight: 2 },
      ],
    }),
    '10.9.0.0/16 nexthop via 10.1.0.3 dev eth0 weight 1 nexthop dev eth0 weight 2',
  ],
]

test.each(rows)('a route %s', (_, observed, words) => {
  expect(wordsOf(observed).join(' ')).toBe(words)
})

test('which routes are whose', () => {
  expect(leavesBy(route({}), 'eth0')).toBe(true)
  expect(leavesBy(route({ type: '2' }), 'eth0')).toBe(false)
  expect(leavesBy(route({ dev: undefined, nexthops: [{ dev: 'eth0' }, { dev: 'eth1' }] }), 'eth0')).toBe(false)
  expect([isConnected(route({ protocol: '2' })), isConnected(route({ protocol: '3' }))]).toEqual([true, false])
  expect([hasGateway(route({})), hasGateway(route({ gateway: '10.1.0.1' }))]).toEqual([false, true])
  expect([tableOf(route({})), tableOf(route({ table: '5000' }))]).toEqual([254, 5000])
})

test('a route is over another machine, of the kernel, or of the link by all that it says', () => {
  const over = { via: { family: 'inet6', host: 'fe80::5' } }
  const several = { dev: undefined, nexthops: [{ dev: 'eth0' }, { dev: 'eth0' }] }
  expect([over, several].map((more) => hasGateway(route(more)))).toEqual([true, true])
  expect(leavesBy(route(several), 'eth0')).toBe(true)
  expect(leavesBy(route({ type: undefined }), 'eth0')).toBe(true)
  expect(leavesBy(route({ nexthops: [] }), 'eth1')).toBe(false)
  expect(isConnected(route({ protocol: '2', gateway: '10.1.0.1' }))).toBe(false)
  expect([isLinkScoped(route({ scope: '253' })), isLinkScoped(route({ scope: '0' }))]).toEqual([true, false])
  expect(isLinkScoped(route({ family: 6, scope: '253' }))).toBe(false)
})

test('tables in use are those of rules and of routes', () => {
  const rules = [{ table: '100' }, {}, { table: '254' }]
  const routes = [route({}), route({ table: '77' })]
  expect([...tablesInUse({ rules, routes })].toSorted((one, other) => one - other)).toEqual([0, 77, 100, 254])
})

test('what is there already, or gone already, is fine', () => {
  const words = ['10.9.0.0/16', 'dev', 'eth0']
  expect(putRoute({ netns: '/x', words })).toMatchObject({ tolerate: ['exists'], netns: '/x' })
  expect(takeRoute({ netns: '/x', words })).toMatchObject({ tolerate: ['absent'], netns: '/x' })
  const [undo] = addSourceRule('/x', { from: '10.1.0.5', table: 100 }).undo ?? []
  expect(undo).toMatchObject({ tolerate: ['absent'], netns: '/x' })
})

test('the table stands before next hops, and each step knows its undo', () => {
  const words = ['10.9.0.0/16', 'nexthop', 'via', '10.1.0.3', 'dev', 'eth0']
  const [put, take] = [putRoute({ netns: undefined, words, table: 100 }), takeRoute({ netns: undefined, words })]
  expect(render([put, take])).toBe(
    'ip route append 10.9.0.0/16 table 100 nexthop via 10.1.0.3 dev eth0\n' +
      'ip route del 10.9.0.0/16 table 254 nexthop via 10.1.0.3 dev eth0\n',
  )
  expect(render([...(put.undo ?? []), ...(take.undo ?? [])])).toBe(
    'ip route del 10.9.0.0/16 table 100 nexthop via 10.1.0.3 dev eth0\n' +
      'ip route append 10.9.0.0/16 table 254 nexthop via 10.1.0.3 dev eth0\n',
  )
})

test('rules say the family that their words hide', () => {
  const rules = ['10.1.0.5', 'fd01::5'].map((from) => addSourceRule('/run/netns/c', { from, table: 100 }))
  expect(render(rules)).toBe(
    'nsenter --net=/run/netns/c ip rule add from 10.1.0.5 table 100\n' +
      'nsenter --net=/run/netns/c ip -6 rule add from fd01::5 table 100\n',
  )
  expect(render(rules.flatMap(({ undo }) => undo ?? []))).toContain('ip -6 rule del from fd01::5 table 100\n')
})

test("free tables are neither in use nor the kernel's own", () => {
  expect(freeTables(new Set([100, 102]), { first: 100, count: 3 })).toEqual([101, 103, 104])
  expect(freeTables(new Set(), { first: 252, count: 2 })).toEqual([252, 256])
})

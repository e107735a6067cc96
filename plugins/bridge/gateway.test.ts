import { expect, test } from 'vitest'
import { renderOne } from '../../shared/plan/render.js'
import { thrownBy } from '../../shared/testing/thrown.js'
import { codes } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { emptyResult, type Route } from '../../shared/values/result.js'
import { gatewayOperations, isGateway, withGateways } from './gateway.js'

const no = { isGateway: false, isDefaultGateway: false, forceAddress: false }
const gatewayOnly = { ...no, isGateway: true }
const byDefault = { ...no, isDefaultGateway: true }
const [four, six] = [{ address: '10.1.0.5/24' }, { address: 'fd00::5/64' }]

test('a bridge is a gateway by either key', () => {
  expect([no, gatewayOnly, byDefault].map(isGateway)).toEqual([false, true, true])
})

test('addresses get the first of their subnet as gateway, unless IPAM names one or the bridge is none', () => {
  const of = (config: typeof no, ...ips: { address: string; gateway?: string }[]) =>
    withGateways(config, { ...emptyResult, ips }, 2).ips.map(({ gateway, interface: index }) => [gateway, index])
  expect(of(no, four, { ...four, gateway: '10.1.0.9' })).toEqual([
    [undefined, 2],
    ['10.1.0.9', 2],
  ])
  expect(of(gatewayOnly, four, six, { ...four, gateway: '10.1.0.9' })).toEqual([
    ['10.1.0.1', 2],
    ['fd00::1', 2],
    ['10.1.0.9', 2],
  ])
})

test('a default gateway is a default route of each family that has none', () => {
  const of = (config: typeof no, ips: { address: string; gateway?: string }[], routes: Route[] = []) =>
    withGateways(config, { ...emptyResult, ips, routes }, 2).routes
  expect(of(gatewayOnly, [four])).toEqual([])
  expect(of(byDefault, [four, six, { address: '10.2.0.5/24' }])).toEqual([
    { dst: '0.0.0.0/0', gw: '10.1.0.1' },
    { dst: '::/0', gw: 'fd00::1' },
  ])
  const routes = [{ dst: '0.0.0.0/0', gw: '10.1.0.7' }, { dst: '10.9.0.0/16' }]
  expect(of(byDefault, [four, six], routes)).toEqual([...routes, { dst: '::/0', gw: 'fd00::1' }])
  // A gateway of the other family serves no such route.
  expect(of(byDefault, [{ ...four, gateway: 'fd00::1' }])).toEqual([{ dst: '0.0.0.0/0' }])
  expect(of(byDefault, [{ ...four, gateway: '0.0.0.0' }])).toEqual([{ dst: '0.0.0.0/0', gw: '0.0.0.0' }])
})

const seen = (...addresses: string[]) =>
  ({
    addr_info: addresses.map((one) => ({ local: one.split('/')[0], prefixlen: Number(one.split('/')[1]) })),
  }) as unknown as ObservedLink
const withGateway = (address: string, gateway: string) => ({ address, gateway })

function planned(
  observed: ObservedLink | undefined,
  ips: { address: string; gateway?: string }[],
  forceAddress = false,
) {
  return gatewayOperations({ ...gatewayOnly, forceAddress }, { link: 'br0', observed, ips }).map(renderOne)
}

const [ours, ours6] = [withGateway('10.1.0.5/24', '10.1.0.1'), withGateway('fd00::5/64', 'fd00::1')]

test('the gateways are addresses of the link, each once it is missing', () => {
  const add = ['ip addr add 10.1.0.1/24 brd + dev br0', 'ip addr add fd00::1/64 dev br0 nodad']
  expect(planned(undefined, [ours, ours6])).toEqual(add)
  expect(planned(seen('10.1.0.1/24'), [ours, ours6])).toEqual(add.slice(1))
  expect(planned(seen('10.1.0.1/24', 'fd00::1/64', '192.0.2.1/24'), [ours, ours6])).toEqual([])
  expect(planned(seen(), [four, { ...four, gateway: 'fd00::1' }])).toEqual([])
})

test('another address is in the way: any of IPv4, of IPv6 one that overlaps', () => {
  const refused = (observed: ObservedLink, ...ips: { address: string; gateway?: string }[]) =>
    thrownBy(() => planned(observed, ips))
  const error = refused(seen('192.0.2.1/24', 'fd00:9::1/64'), ours)
  expect(error).toMatchObject({
    code: codes.addressConflict,
    message: expect.stringContaining('different from 10.1.0.1/24'),
  })
  expect(error.details).toContain('ip addr del 192.0.2.1/24 dev br0')
  expect(error.details).not.toContain('fd00:9')
  for (const overlapping of ['fd00::2/64', 'fd00::2/48', 'fd00::2/120']) {
    expect(refused(seen(overlapping), ours6).details).toContain(overlapping)
  }
  expect(planned(seen('fd00:9::1/64', '192.0.2.1/24'), [ours6])).toEqual(['ip addr add fd00::1/64 dev br0 nodad'])
  expect(planned(seen('192.0.2.1/24'), [ours], true)).toEqual([
    'ip addr del 192.0.2.1/24 dev br0',
    'ip addr add 10.1.0.1/24 brd + dev br0',
  ])
  const odd = { addr_info: [{ family: 'inet' }] } as unknown as ObservedLink
  expect(planned(odd, [ours])).toEqual(['ip addr add 10.1.0.1/24 brd + dev br0'])
})

import { expect, test } from 'vitest'
import { renderOne } from '../../shared/plan/render.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import {
  addGatewayLink,
  defaultVlanOf,
  filtersVlans,
  gatewayLinkProblems,
  portVlans,
  vlanGateway,
  vlanProblems,
} from './vlan.js'

const plain = {
  bridge: 'br0',
  vlan: 0,
  vlanTrunk: undefined,
  preserveDefaultVlan: false,
  isGateway: false,
  isDefaultGateway: false,
}
type Config = Parameters<typeof vlanProblems>[0] & typeof plain
const of = (more: object) => ({ ...plain, ...more }) as Config

test('the bridge looks at tags where a VLAN or a trunk is asked for', () => {
  expect([of({}), of({ vlan: 1 }), of({ vlanTrunk: [] })].map(filtersVlans)).toEqual([false, true, true])
})

test('mistakes among the keys of a trunk, in the official words', () => {
  const said = (...vlanTrunk: object[]) => vlanProblems(of({ vlanTrunk })).map(({ path, official }) => [path, official])
  const together = 'minID and maxID should be configured simultaneously'
  expect(said({ id: 5 }, { minID: 3, maxID: 3 }, { minID: 1, maxID: 2, id: 9 }, {})).toEqual([])
  expect(said({ id: 5 }, { minID: 3 })).toEqual([['vlanTrunk[1]', `${together}, maxID is missing`]])
  expect(said({ maxID: 3 })).toEqual([['vlanTrunk[0]', `${together}, minID is missing`]])
  expect(said({ minID: 4, maxID: 3 })).toEqual([['vlanTrunk[0]', 'minID is greater than maxID in trunk parameter']])
  expect(vlanProblems(of({}))).toEqual([])
})

test.each<[string, object, number, string[]]>([
  ['none', {}, 1, []],
  ['one, untagged, instead of the default one', { vlan: 5 }, 1, ['del v vid 1', 'add v vid 5 pvid untagged']],
  ['one beside the default one', { vlan: 5, preserveDefaultVlan: true }, 1, ['add v vid 5 pvid untagged']],
  ['one where the bridge gives none', { vlan: 5 }, 0, ['add v vid 5 pvid untagged']],
  ['the default one itself', { vlan: 7 }, 7, ['add v vid 7 pvid untagged']],
  [
    'a trunk, and VLAN 1 untagged',
    { vlanTrunk: [{ id: 9 }, { minID: 2, maxID: 3 }] },
    1,
    ['add v vid 2', 'add v vid 3', 'add v vid 9', 'add v vid 1 pvid untagged'],
  ],
  [
    'a trunk on a bridge with another default',
    { vlanTrunk: [{ id: 9 }] },
    4,
    ['del v vid 4', 'add v vid 9', 'add v vid 1 pvid untagged'],
  ],
  [
    'a trunk beside one of it',
    { vlan: 3, vlanTrunk: [{ minID: 2, maxID: 3 }, { id: 2 }] },
    1,
    ['del v vid 1', 'add v vid 2', 'add v vid 3 pvid untagged'],
  ],
  ['an empty trunk', { vlanTrunk: [] }, 4, []],
])('the VLANs of a port: %s', (_, config, defaultVlan, expected) => {
  const plan = portVlans('v', of(config), defaultVlan)
  expect(plan.map(({ argv: [, verb, , dev, ...rest] }) => [verb, dev, ...rest].join(' '))).toEqual(expected)
  for (const { argv, tolerate } of plan) expect(tolerate).toEqual(argv[1] === 'del' ? ['absent'] : undefined)
})

test('the default VLAN is what the bridge says, else 1', () => {
  const bridge = (info_data?: object) => ({ linkinfo: { info_kind: 'bridge', info_data } }) as unknown as ObservedLink
  expect(
    [bridge({ vlan_default_pvid: 0 }), bridge({ vlan_default_pvid: 7 }), bridge({}), bridge(), undefined].map(
      defaultVlanOf,
    ),
  ).toEqual([0, 7, 1, 1, 1])
})

test('a network in a VLAN has its gateway on a link of its own, whose name must have room', () => {
  for (const more of [{}, { vlan: 5 }, { isGateway: true }, { isDefaultGateway: true }]) {
    expect([vlanGateway(of(more)), gatewayLinkProblems(of(more))]).toEqual([undefined, []])
  }
  const gateway = vlanGateway(of({ vlan: 5, isGateway: true }))
  expect(gateway).toEqual({ link: 'br0.5', port: expect.stringMatching(/^veth[0-9a-f]{11}$/) })
  expect(vlanGateway(of({ vlan: 5, isDefaultGateway: true }))).toEqual(gateway)
  expect(vlanGateway(of({ vlan: 6, isGateway: true }))?.port).not.toBe(gateway?.port)
  const named = (bridge: string) =>
    gatewayLinkProblems(of({ bridge, vlan: 100, isGateway: true })).map(({ path, value }) => [path, value])
  expect([named('a'.repeat(11)), named('a'.repeat(12))]).toEqual([[], [['bridge', 'a'.repeat(12)]]])
})

test('the gateway link is a pair with an end in the VLAN, as large as the bridge, and nothing takes it back', () => {
  const plan = addGatewayLink(of({ vlan: 5, vlanTrunk: [{ id: 9 }] }), { link: 'br0.5', port: 'v' }, {
    mtu: 1400,
  } as ObservedLink)
  expect(plan.map(renderOne)).toEqual([
    'ip link add name v txqueuelen 0 mtu 1400 master br0 type veth peer name br0.5 mtu 1400',
    'bridge vlan del dev v vid 1',
    'bridge vlan add dev v vid 5 pvid untagged',
    'sysctl -w net/ipv6/conf/v/accept_ra=0',
    'sysctl -w net/ipv6/conf/br0.5/accept_ra=0',
    'ip link set dev v up',
    'ip link set dev br0.5 up',
  ])
  expect([plan[0]?.tolerate, plan[0]?.undo]).toEqual([['exists'], undefined])
  expect(renderOne(addGatewayLink(of({ vlan: 5 }), { link: 'br0.5', port: 'v' }, undefined)[0] as never)).toContain(
    'mtu 1500 master',
  )
})

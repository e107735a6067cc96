import { mkdirSync, symlinkSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { ping } from '../harness/traffic.js'
import { call as callOf, fixed, hostLocal, leased, linkNames, linkOf, state, versions } from './calls.js'

// With useInterfaceNetwork a device takes what it has of the host's network along, and brings it back.

const config = { device: 'hd0', useInterfaceNetwork: true }
const call = (verb: Verb, container: Container, change: object = {}, more: Partial<Call> = {}) =>
  callOf('host-device', verb, container, { ...config, ...change }, more)

const ways: Record<string, Partial<Call>> = { netlink: {}, tools: { env: { PODWIRE_NO_NETLINK: '1' } } }

const onLink = [
  'addr add 10.80.0.5/24 brd + dev hd0',
  'addr add 10.80.0.6/24 dev hd0',
  'addr add 10.81.0.5/32 dev hd0',
  'addr add fd00:80::5/64 dev hd0 nodad',
]
const routed = [
  'route add default via 10.80.0.99 dev hd0 metric 200',
  'route add 10.82.0.0/16 dev hd0 scope link src 10.80.0.5',
  'route add 10.83.0.0/16 via 10.80.0.99 dev hd0 table 100 mtu 1400',
  'route add 10.84.0.0/16 via 10.82.0.1 dev hd0 onlink',
  '-6 route add default via fd00:80::99 dev hd0 metric 300',
  '-6 route add fd00:83::/32 via fd00:80::99 dev hd0 table 100',
]
const ruled = [
  'rule add priority 150 from 10.80.0.0/24 table 100',
  'rule add priority 151 from 10.80.0.6 to 10.83.0.0/16 table 100',
  '-6 rule add priority 150 from fd00:80::5 table 100',
]
/** What stays with the host: neither of an address of the device, nor to a table of one of its routes. */
const unrelated = ['rule add priority 160 from 10.99.0.1 table 100', 'rule add priority 161 from 10.80.0.5 table 200']

async function withDevice(host: Host, flags = 'up') {
  const neighbour = await host.container('neighbour')
  const pair = ['link add hd0 address 02:00:00:00:aa:01 type veth peer name eth0 netns neighbour']
  const isUp = flags === 'up'
  const batch = [...pair, `link set hd0 ${flags}`, ...onLink, ...(isUp ? routed : []), ...ruled, ...unrelated]
  await neighbour.batch(['link set lo up'])
  for (const line of batch) await host.output(['ip', ...line.split(' ')])
  await neighbour.batch([
    'addr add 10.80.0.99/24 dev eth0',
    'addr add fd00:80::99/64 dev eth0 nodad',
    'link set eth0 up',
  ])
  return { neighbour, container: await host.container('c1') }
}

const addressesOf = ({ ips = [] }: Result) => ips.map(({ address }) => address)
const rulesIn = async (place: Pick<Host, 'output'>) =>
  [await place.output(['ip', '-4', 'rule']), await place.output(['ip', '-6', 'rule'])].join('\n')

describe.each(Object.entries(ways))('by %s, a device with a network', (_, way) => {
  test.for(versions)('goes with it and comes back with it, in version %s', async (cniVersion, { host }) => {
    const { neighbour, container } = await withDevice(host)
    const before = await state(host)
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, { cniVersion }, way)))
    expect(await linkNames(host)).toEqual(['lo'])
    const inside = (await linkOf(container, 'eth0'))?.addr_info.map(({ local }) => local)
    expect(inside).toEqual(expect.arrayContaining(['10.80.0.5', '10.80.0.6', '10.81.0.5', 'fd00:80::5']))
    const routes = await container.output(['ip', 'route', 'show', 'table', 'all'])
    for (const part of ['default via 10.80.0.99', '10.82.0.0/16 dev eth0', '10.84.0.0/16 via 10.82.0.1 dev eth0']) {
      expect(routes).toContain(part)
    }
    expect(routes).toMatch(/10\.83\.0\.0\/16 via 10\.80\.0\.99 dev eth0 table 100 .*mtu 1400/)
    expect(await container.output(['ip', '-6', 'route', 'show', 'table', '100'])).toContain(
      'fd00:83::/32 via fd00:80::99',
    )
    expect(await rulesIn(container)).toMatch(
      /150:\tfrom 10\.80\.0\.0\/24 lookup 100\n151:\tfrom 10\.80\.0\.6 to 10\.83\.0\.0\/16 lookup 100/,
    )
    expect(await rulesIn(container)).not.toMatch(/160:|161:/)
    expect([await ping(neighbour, '10.80.0.5'), await ping(neighbour, 'fd00:80::5')]).toEqual([true, true])
    if (!cniVersion.startsWith('0.1') && !cniVersion.startsWith('0.2')) {
      expect(addressesOf(prevResult)).toEqual(['10.80.0.5/24', '10.81.0.5/32', '10.80.0.6/24', 'fd00:80::5/64'])
      expect(prevResult.ips?.map((one) => one.interface)).toEqual([0, 0, 0, 0])
      expect(prevResult.routes).toContainEqual(expect.objectContaining({ dst: '10.83.0.0/16', gw: '10.80.0.99' }))
    }
    const checked = await runPlugin(host, call('CHECK', container, { cniVersion, prevResult }, way))
    if (cniVersion < '0.4') expect(errorOf(checked).code).toBe(1)
    else succeedSilently(checked)
    for (let times = 0; times < 2; times++) {
      succeedSilently(await runPlugin(host, call('DEL', container, { cniVersion }, way)))
    }
    expect(difference(before, await state(host))).toBe('')
  })

  test.for([
    ['both families by host-local', hostLocal, ['10.80.0.2/24', 'fd00:80::2/64']],
    ['nothing', fixed(), []],
    ['an address that it has', fixed('10.80.0.5/24'), ['10.80.0.5/24']],
  ] as const)('keeps it beside what IPAM gives: %s', async ([, ipam, first], { host }) => {
    const { container } = await withDevice(host)
    const before = await state(host)
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, { ipam }, way)))
    const addresses = addressesOf(prevResult)
    expect(addresses.slice(0, first.length)).toEqual(first)
    expect(new Set(addresses).size).toBe(addresses.length)
    expect(addresses).toEqual(expect.arrayContaining(['10.80.0.5/24', '10.80.0.6/24', 'fd00:80::5/64']))
    succeedSilently(await runPlugin(host, call('CHECK', container, { ipam, prevResult }, way)))
    succeedSilently(await runPlugin(host, call('DEL', container, { ipam }, way)))
    expect(leased(host)).toEqual([])
    expect(difference(before, await state(host))).toBe('')
  })

  test('that is down comes back down, with its addresses', async ({ host }) => {
    const { container } = await withDevice(host, 'down')
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container, {}, way)))
    succeedSilently(await runPlugin(host, call('DEL', container, {}, way)))
    expect(difference(before, await state(host))).toBe('')
  })

  test('has it again after an ADD that failed, and the container has nothing', async ({ host }) => {
    const { container } = await withDevice(host)
    await container.batch(['addr add 10.80.0.7/24 dev lo'])
    const before = await state(host)
    const routes = [{ dst: '10.9.0.0/16', gw: '10.99.0.1' }]
    const ipam = { ...fixed('10.80.0.7/24'), routes }
    expect(errorOf(await runPlugin(host, call('ADD', container, { ipam }, way))).code).not.toBe(199)
    expect(difference(before, await state(host))).toBe('')
  })

  test('has it again when the container is gone without a DEL', async ({ host }) => {
    const { container } = await withDevice(host)
    resultOf(await runPlugin(host, call('ADD', container, {}, way)))
    succeedSilently(
      await runPlugin(host, {
        ...call('GC', container, { 'cni.dev/valid-attachments': [] }, way),
        env: { ...way.env, CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' },
      }),
    )
    expect((await linkOf(host, 'hd0'))?.addr_info.map(({ local }) => local)).toEqual(
      expect.arrayContaining(['10.80.0.5', 'fd00:80::5']),
    )
    expect(await host.output(['ip', 'route'])).toContain('default via 10.80.0.99 dev hd0')
    expect(await rulesIn(container)).not.toContain('lookup 100')
  })
})

test('podwire takes what the official plugin takes, and tells the same', async ({ host }) => {
  const other = await Host.create()
  try {
    const places = { official: host, podwire: other }
    const told = async (suite: 'official' | 'podwire') => {
      const { container } = await withDevice(places[suite])
      const { ips = [], routes = [] } = resultOf(await runPlugin(places[suite], call('ADD', container, {}, { suite })))
      return { ips, routes: routes.map((route) => JSON.stringify(route)).sort() }
    }
    expect(await told('podwire')).toEqual(await told('official'))
  } finally {
    await other.dispose()
  }
})

test.for([
  ['dpdkMode', { dpdkMode: true }],
  ['its driver', { device: '', pciBusID: '0000:04:00.1' }],
  ['the driver of an allocated one', { device: '', runtimeConfig: { deviceID: '0000:04:00.1' } }],
] as const)('a device that a program drives, by %s, has none of it', async ([, change], { host }) => {
  const { container } = await withDevice(host)
  await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/sys/bus/pci'])
  mkdirSync(host.path('/sys/bus/pci/devices/0000:04:00.1'), { recursive: true })
  mkdirSync(host.path('/sys/bus/pci/drivers/vfio-pci'), { recursive: true })
  symlinkSync('../../drivers/vfio-pci', host.path('/sys/bus/pci/devices/0000:04:00.1/driver'))
  const before = await state(host)
  for (const suite of ['official', 'podwire'] as const) {
    const error = errorOf(await runPlugin(host, call('ADD', container, change, { suite })))
    expect(error.msg).toContain('useInterfaceNetwork is not supported for dpdk-bound devices')
  }
  expect(difference(before, await state(host))).toBe('')
})

import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Chain, Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin } from '../harness/plugin.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'
import { breakEverywhere } from './breaking.js'
import { call, fixedNetwork, join, lanNetwork, leased, linkNames, linksOf } from './network.js'

// A plugin call takes seconds in the machine: few calls, and much asked of each.

/** Every way of asking: tcp, udp and ICMP. */
async function talks(from: Container, to: Container, address: string): Promise<boolean[]> {
  const answers: boolean[] = []
  for (const protocol of ['tcp', 'udp'] as const) {
    const server = await serve(to, { protocol, port: 80, name: to.name })
    answers.push((await ask(from, { protocol, address, port: 80, deadline: 8_000 }))?.server === to.name)
    await server.stop()
  }
  return [...answers, await ping(from, address, 8)]
}

const yes = [true, true, true]

async function joinTwo(host: Host, network: Conflist): Promise<[Chain, Chain, Container, Container]> {
  const [one, two] = [await host.container(), await host.container()]
  return [await join(host, one, network), await join(host, two, network), one, two]
}

describe('ipvlan', () => {
  test('l2: neighbours and the LAN, both families; CHECK, DEL twice, no lease left', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [first, second, one, two] = await joinTwo(host, lanNetwork('ipvlan'))
    for (const family of [4, 6] as const) {
      expect(await talks(one, two, addressOf(second.result ?? {}, family))).toEqual(yes)
      expect(await talks(outside, one, addressOf(first.result ?? {}, family))).toEqual(yes)
    }
    const [, link] = await linksOf(one)
    expect(link).toMatchObject({ ifname: 'eth0', linkinfo: { info_kind: 'ipvlan', info_data: { mode: 'l2' } } })
    expect(first.result?.interfaces?.[0]?.mac).toBe(
      (await linksOf(host)).find(({ ifname }) => ifname === 'uplink')?.address,
    )
    await first.check()
    await first.del()
    await first.del(true)
    expect(await linkNames(one)).toEqual(['lo'])
    expect(leased(host)).toHaveLength(2)
  })

  test.for(['l3', 'l3s'])('%s: the LAN routes to the host, which needs no gateway', async (mode, { host }) => {
    const { container: outside } = await host.outside()
    await outside.batch(['route add 10.80.0.0/16 via 192.0.2.1', 'route add fd80::/32 via 2001:db8:f::1'])
    const addresses = (n: number) => [`10.80.${n}.1/32`, `fd80:0:${n}::1/128`]
    const [one, two] = [await host.container(), await host.container()]
    const first = await join(host, one, fixedNetwork('ipvlan', addresses(1), { mode }))
    await join(host, two, fixedNetwork('ipvlan', addresses(2), { mode }))
    await first.check()
    for (const address of ['10.80.2.1', 'fd80:0:2::1']) expect(await talks(one, two, address)).toEqual(yes)
    for (const address of ['10.80.1.1', 'fd80:0:1::1']) expect(await talks(outside, one, address)).toEqual(yes)
  })

  test('behind a plugin that makes its master', async ({ host }) => {
    const { container: outside } = await host.outside()
    const container = await host.container()
    const interfaces = [{ name: 'uplink' }]
    const ips = [{ address: '192.0.2.77/24', interface: 0 }]
    const network: Conflist = { cniVersion: '1.0.0', name: 'network', plugins: [{ type: 'ipvlan' }] }
    const { config, ...rest } = call('ADD', container, network)
    const chained = { ...(config as object), prevResult: { cniVersion: '1.0.0', interfaces, ips } }
    const result = resultOf(await runPlugin(host, { ...rest, config: chained }))
    expect(result.interfaces).toMatchObject([{ name: 'eth0', sandbox: container.netns }])
    expect(await ping(outside, '192.0.2.77', 8)).toBe(true)
    succeedSilently(
      await runPlugin(host, call('CHECK', container, network, { config: { ...chained, prevResult: result } })),
    )
    succeedSilently(await runPlugin(host, call('DEL', container, network)))
    expect(await linkNames(container)).toEqual(['lo'])
  })

  test('a master in the container, and gone before DEL', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    await host.output(['ip', 'link', 'set', 'uplink', 'netns', container.name])
    await container.output(['ip', 'link', 'set', 'uplink', 'up'])
    const chain = await join(host, container, lanNetwork('ipvlan', { linkInContainer: true }))
    await chain.check()
    await container.output(['ip', 'link', 'del', 'uplink'])
    await chain.del()
    expect(leased(host)).toEqual([])
  })
})

describe('vlan', () => {
  test('its frames carry the tag; no other VLAN and no untagged neighbour hears them', async ({ host }) => {
    const { container: outside } = await host.outside()
    await outside.batch([
      'link add link eth0 name same type vlan id 100',
      'addr add 10.80.0.1/24 dev same',
      'addr add fd80::1/64 dev same nodad',
      'link set same up',
      'link add link eth0 name other type vlan id 200',
      'addr add 10.80.0.3/24 dev other',
      'link set other up',
    ])
    const container = await host.container()
    const network = fixedNetwork('vlan', ['10.80.0.11/24', 'fd80::11/64'], { vlanId: 100, mtu: 1400 })
    const seen = outside.start(['tcpdump', '-nei', 'eth0', '-c', '1', 'vlan 100 and icmp'])
    const chain = await join(host, container, network)
    for (const address of ['10.80.0.1', 'fd80::1']) expect(await talks(container, outside, address)).toEqual(yes)
    expect((await seen.finished).stdout).toMatch(/vlan 100, .*10\.80\.0\.11 > 10\.80\.0\.1/)
    await outside.output(['ip', 'link', 'set', 'same', 'down'])
    expect(await ping(container, '10.80.0.3', 2)).toBe(false)
    expect(await outside.output(['ip', 'neigh', 'show', 'dev', 'eth0'])).not.toContain('10.80.0.11')
    const [, link] = await linksOf(container)
    expect(link).toMatchObject({ mtu: 1400, linkinfo: { info_kind: 'vlan', info_data: { id: 100 } } })
    await chain.check()

    const two = await host.container()
    const taken = errorOf(await runPlugin(host, call('ADD', two, network)))
    expect(taken).toMatchObject({ code: 103, details: expect.stringContaining('100 can be taken once on a master') })
    expect(await linkNames(two)).toEqual(['lo'])
    await host.output(['ip', 'link', 'del', 'uplink'])
    await chain.del()
    await chain.del(true)
    expect(await linkNames(container)).toEqual(['lo'])
  })

  test('a name of the host, by renaming on this kernel', async ({ host }) => {
    await host.outside()
    for (const words of ['down', 'name eth0', 'up'])
      await host.output(['ip', 'link', 'set', words === 'up' ? 'eth0' : 'uplink', ...words.split(' ')])
    const container = await host.container()
    const chain = await join(host, container, lanNetwork('vlan', { master: 'eth0', vlanId: 7 }))
    await chain.check()
    expect(await linkNames(container)).toEqual(['lo', 'eth0'])
  })
})

describe('dummy', () => {
  test('answers itself, survives CHECK, notices being down, goes', async ({ host }) => {
    const container = await host.container()
    const chain = await join(host, container, fixedNetwork('dummy', ['10.80.0.5/32', 'fd80::5/128']))
    for (const address of ['10.80.0.5', 'fd80::5']) expect(await ping(container, address, 8)).toBe(true)
    await chain.check()
    await container.output(['ip', 'link', 'set', 'eth0', 'down'])
    await expect(chain.check()).rejects.toThrow(/"code": 105/)
    await chain.del()
    await chain.del(true)
    expect(await linkNames(container)).toEqual(['lo'])
  })
})

describe.for<[string, Conflist]>([
  ['ipvlan', lanNetwork('ipvlan')],
  ['vlan', lanNetwork('vlan', { vlanId: 9 })],
  ['dummy', lanNetwork('dummy')],
])('%s', ([, network]) => {
  test('each operation of an ADD refused in turn leaves nothing', async ({ host }) => {
    expect(await breakEverywhere(host, network)).toBe(4)
  })

  test('an interface that is there stays; DEL without a namespace gives the lease back', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    resultOf(await runPlugin(host, call('ADD', container, network)))
    const again = errorOf(await runPlugin(host, call('ADD', container, network, { containerID: 'other' })))
    expect(again).toMatchObject({ code: 103 })
    expect(leased(host)).toHaveLength(2)
    succeedSilently(await runPlugin(host, call('DEL', container, network, { netns: '' })))
    expect(leased(host)).toEqual([])
    succeedSilently(await runPlugin(host, call('DEL', container, network)))
    expect(await linkNames(container)).toEqual(['lo'])
    succeedSilently(await runPlugin(host, call('STATUS', container, network)))
  })
})

import { describe, expect } from 'vitest'
import { diesAtAnyMoment } from '../devices/killing.js'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Chain, Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { ping } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'
import { breakEverywhere } from './breaking.js'
import { call, fixedNetwork, join, lanNetwork, leased, linkNames, linksOf, rename, state } from './network.js'
import { talkAcrossNodes } from './nodes.js'
import { onlyTheAskedListen } from './routers.js'
import { unanswered } from './talking.js'

// A plugin call takes seconds in the machine: few calls, and much asked of each.

async function joinTwo(host: Host, network: Conflist): Promise<[Chain, Chain, Container, Container]> {
  const [one, two] = [await host.container(), await host.container()]
  return [await join(host, one, network), await join(host, two, network), one, two]
}

describe('ipvlan', () => {
  test('l2: neighbours and the LAN, both families; CHECK, DEL twice, no lease left', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [first, second, one, two] = await joinTwo(host, lanNetwork('ipvlan'))
    const both = (chain: Chain) => ([4, 6] as const).map((family) => addressOf(chain.result ?? {}, family))
    expect(await unanswered(one, two, both(second))).toEqual([])
    expect(await unanswered(outside, one, both(first))).toEqual([])
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
    expect(await unanswered(one, two, ['10.80.2.1', 'fd80:0:2::1'])).toEqual([])
    expect(await unanswered(outside, one, ['10.80.1.1', 'fd80:0:1::1'])).toEqual([])
  })

  test('another mode than that of the present children is refused; the last of them frees the master', async ({
    host,
  }) => {
    const { container: outside } = await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const first = await join(host, one, lanNetwork('ipvlan'))
    const routed = lanNetwork('ipvlan', { mode: 'l3' })
    const before = await state(host)
    const wanted =
      'mode: found "l3", expected "l2", as container container0, interface eth0, network network has on uplink'
    expect(errorOf(await runPlugin(host, call('ADD', two, routed)))).toMatchObject({
      code: 7,
      details: expect.stringContaining(wanted),
    })
    expect(difference(before, await state(host))).toBe('')
    await first.check()
    expect(await ping(outside, addressOf(first.result ?? {}, 4), 8)).toBe(true)
    await first.del()
    resultOf(await runPlugin(host, call('ADD', two, routed)))
    // Its runtime is gone with it, and nobody will call DEL.
    await two.remove()
    await host.output(['ip', 'link', 'add', 'shim', 'link', 'uplink', 'type', 'ipvlan', 'mode', 'l3s'])
    expect(errorOf(await runPlugin(host, call('ADD', one, lanNetwork('ipvlan')))).details).toContain(
      'mode: found "l2", expected "l3s", as the link shim has on uplink',
    )
    await host.output(['ip', 'link', 'del', 'shim'])
    await join(host, one, lanNetwork('ipvlan'))
  })

  test.for(['l2', 'l3', 'l3s'])('%s: containers of two nodes talk', async (mode) => {
    await talkAcrossNodes({ type: 'ipvlan', mode }, mode === 'l2' ? 'switched' : 'routed')
  })

  test('a router is only listened to where asked for', async ({ host }) => {
    const { container: router } = await host.outside()
    const plugin = { type: 'ipvlan' }
    await onlyTheAskedListen(host, { plugins: [plugin, plugin], router })
  })

  test('six ADDs at once on one master', async ({ host }) => {
    const { container: outside } = await host.outside()
    const containers: Container[] = []
    for (let index = 0; index < 6; index++) containers.push(await host.container())
    const chains = await Promise.all(containers.map((one) => join(host, one, lanNetwork('ipvlan'))))
    const addresses = chains.map(({ result }) => addressOf(result ?? {}, 4))
    expect(new Set(addresses).size).toBe(6)
    for (const address of addresses) expect(await ping(outside, address, 8)).toBe(true)
    await Promise.all(chains.map((chain) => chain.del()))
    expect(leased(host)).toEqual([])
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
    expect(await unanswered(container, outside, ['10.80.0.1', 'fd80::1'])).toEqual([])
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

  test('without IPAM it is a link whose container gives itself an address', async ({ host }) => {
    const { container: outside } = await host.outside()
    await outside.batch([
      'link add link eth0 name same type vlan id 100',
      'addr add 10.80.0.1/24 dev same',
      'link set same up',
    ])
    const before = await state(host)
    for (const ipam of [{}, undefined]) {
      const container = await host.container()
      const plugin = { type: 'vlan', master: 'uplink', vlanId: 100, ...(ipam && { ipam }) }
      const network: Conflist = { cniVersion: '1.1.0', name: 'network', plugins: [plugin] }
      const chain = await join(host, container, network)
      expect(chain.result).toMatchObject({ interfaces: [{ name: 'eth0', sandbox: container.netns }] })
      expect(chain.result).not.toHaveProperty('ips')
      await chain.check()
      await chain.status()
      await container.batch(['addr add 10.80.0.11/24 dev eth0'])
      expect(await unanswered(container, outside, ['10.80.0.1'])).toEqual([])
      await chain.del()
      await chain.del(true)
      expect(await linkNames(container)).toEqual(['lo'])
    }
    expect(
      difference(
        before,
        (await state(host)).filter((line) => !/^container/.test(line)),
      ),
    ).toBe('')
  })

  test('containers of two nodes talk', async () => {
    await talkAcrossNodes({ type: 'vlan', vlanId: 100 }, 'switched')
  })

  test('a router is only listened to where asked for', async ({ host }) => {
    const { container: router } = await host.outside()
    for (const id of [100, 200]) {
      await router.batch([`link add link eth0 name lan${id} type vlan id ${id}`, `link set lan${id} up`])
    }
    await onlyTheAskedListen(host, {
      plugins: [
        { type: 'vlan', vlanId: 100 },
        { type: 'vlan', vlanId: 200 },
      ],
      router,
      links: ['lan100', 'lan200'],
    })
  })

  test('a master in the container, and gone before DEL', async ({ host }) => {
    const { container: outside } = await host.outside()
    const container = await host.container()
    await host.output(['ip', 'link', 'set', 'uplink', 'netns', container.name])
    await container.output(['ip', 'link', 'set', 'uplink', 'up'])
    await outside.batch(['link add link eth0 name lan100 type vlan id 100', 'link set lan100 up'])
    await outside.batch(['addr add 10.80.0.1/24 dev lan100', 'addr add fd80::1/64 dev lan100 nodad'])
    const network = fixedNetwork('vlan', ['10.80.0.11/24', 'fd80::11/64'], { vlanId: 100, linkInContainer: true })
    const chain = await join(host, container, network)
    const [, , link] = await linksOf(container)
    expect(link).toMatchObject({ ifname: 'eth0', linkinfo: { info_kind: 'vlan', info_data: { id: 100 } } })
    expect(await unanswered(container, outside, ['10.80.0.1', 'fd80::1'])).toEqual([])
    await chain.check()
    const other = call('ADD', container, network, { ifName: 'eth1' })
    expect(errorOf(await runPlugin(host, other)).details).toContain('100 can be taken once on a master')
    await container.output(['ip', 'link', 'del', 'uplink'])
    await chain.del()
    await chain.del(true)
    expect(await linkNames(container)).toEqual(['lo'])
  })

  test('a name of the host, by renaming on this kernel', async ({ host }) => {
    await host.outside()
    await rename(host, 'uplink', 'eth0')
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

  diesAtAnyMoment(
    'it, when',
    {
      shape: (verb, container) => call(verb, container, network),
      prepare: async (host) => {
        await host.outside()
        const container = await host.container()
        resultOf(await runPlugin(host, call('ADD', container, network)))
        succeedSilently(await runPlugin(host, call('DEL', container, network)))
        return container
      },
      look: state,
    },
    4,
  )
})

import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { readFiles } from '../harness/observe.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference } from '../harness/snapshot.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'
import { versions } from '../protocol/versions.js'
import { call as callFor, join, lanNetwork, leased, linkNames, linksOf, rename, state } from './network.js'

const call = (command: Verb, container: Container, plugin: object = {}, more: Partial<Call> = {}) =>
  callFor(command, container, lanNetwork('macvlan', plugin), more)

describe('traffic', () => {
  test('two containers and a machine of the LAN: tcp, udp, ICMP, both families', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const [first, second] = [await join(host, one, lanNetwork('macvlan')), await join(host, two, lanNetwork('macvlan'))]
    for (const protocol of ['tcp', 'udp'] as const) {
      await serve(outside, { protocol, port: 80, name: 'outside' })
      await serve(two, { protocol, port: 80, name: 'two' })
    }
    for (const [family, lan] of [
      [4, '192.0.2.2'],
      [6, '2001:db8:f::2'],
    ] as const) {
      const [own, other] = [addressOf(first.result ?? {}, family), addressOf(second.result ?? {}, family)]
      for (const protocol of ['tcp', 'udp'] as const) {
        expect(await ask(one, { protocol, address: lan, port: 80 })).toMatchObject({ server: 'outside', source: own })
        expect(await ask(one, { protocol, address: other, port: 80 })).toMatchObject({ server: 'two', source: own })
        expect(await ask(outside, { protocol, address: other, port: 80 })).toMatchObject({ server: 'two', source: lan })
      }
      expect(await ping(one, lan)).toBe(true)
      expect(await ping(outside, own)).toBe(true)
      expect(await ping(one, other)).toBe(true)
    }
  })

  // The outside machine is a switch here that does not send frames back to where they came from.
  test.for(['private', 'vepa'])('%s: the LAN yes, the neighbour on the same master no', async (mode, { host }) => {
    await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const network = lanNetwork('macvlan', { mode })
    const [first, second] = [await join(host, one, network), await join(host, two, network)]
    await Promise.all([first.check(), second.check()])
    for (const [family, lan] of [
      [4, '192.0.2.2'],
      [6, '2001:db8:f::2'],
    ] as const) {
      expect(await ping(one, lan)).toBe(true)
      expect(await ping(two, lan)).toBe(true)
      expect(await ping(one, addressOf(second.result ?? {}, family), 1)).toBe(false)
    }
  })

  test('passthru: the only child, with the MAC address of its master', async ({ host }) => {
    await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const network = lanNetwork('macvlan', { mode: 'passthru' })
    const chain = await join(host, one, network)
    await chain.check()
    const master = (await linksOf(host)).find(({ ifname }) => ifname === 'uplink')
    expect(chain.result?.interfaces?.[0]?.mac).toBe(master?.address)
    expect(await ping(one, '192.0.2.2')).toBe(true)
    expect(errorOf(await runPlugin(host, call('ADD', two, { mode: 'passthru' }))).msg).toMatch(/Invalid argument/)
    expect(leased(host)).toHaveLength(2)
  })

  test('a master in the container', async ({ host }) => {
    const { container: outside } = await host.outside()
    await host.output(['ip', 'link', 'set', 'uplink', 'netns', (await host.container()).name])
    const [container] = host.containers as [Container]
    await container.output(['ip', 'link', 'set', 'uplink', 'up'])
    const chain = await join(host, container, lanNetwork('macvlan', { linkInContainer: true }))
    await chain.check()
    expect(await ping(outside, addressOf(chain.result ?? {}, 4))).toBe(true)
    await chain.del()
    expect(await linkNames(container)).toEqual(['lo', 'uplink'])
  })
})

describe('the link', () => {
  test('has what the configuration and the caller ask for', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    const network = lanNetwork('macvlan', { mtu: 1400, bcqueuelen: 500, mac: '02:00:00:00:00:0b' })
    const { result } = await join(host, container, network, { args: 'IgnoreUnknown=1;MAC=02:00:00:00:00:0c' })
    const [, link] = await linksOf(container)
    expect(link).toMatchObject({ ifname: 'eth0', address: '02:00:00:00:00:0c', mtu: 1400 })
    expect(link?.linkinfo).toMatchObject({ info_kind: 'macvlan', info_data: { mode: 'bridge', bcqueuelen: 500 } })
    expect(result?.interfaces).toEqual([{ name: 'eth0', mac: '02:00:00:00:00:0c', sandbox: container.netns }])
  })

  test('the name may be one of the host, also that of the master', async ({ host }) => {
    await host.outside()
    await rename(host, 'uplink', 'eth0')
    const container = await host.container()
    const chain = await join(host, container, lanNetwork('macvlan', { master: 'eth0' }))
    await chain.check()
    expect(await linkNames(container)).toEqual(['lo', 'eth0'])
    const again = await runPlugin(host, call('ADD', container, { master: 'eth0' }, { containerID: 'other' }))
    expect(errorOf(again)).toMatchObject({ code: 103 })
    expect(await linkNames(container)).toEqual(['lo', 'eth0'])
    await chain.check()
  })

  test.for<[string, object]>([
    ['default route', { master: '' }],
    ['pattern', { master: 'up*' }],
    ['alternative name', { master: 'wired-connection-of-the-office' }],
    ['MAC address', { master: '', masterMAC: '02-00-00-00-00-AA' }],
    ['subnet', { master: '', masterSubnet: '192.0.2.0/24' }],
  ])('the master by %s', async ([, plugin], { host }) => {
    const { container: outside } = await host.outside()
    await host.output(['ip', 'link', 'property', 'add', 'dev', 'uplink', 'altname', 'wired-connection-of-the-office'])
    await host.output(['ip', 'link', 'set', 'uplink', 'address', '02:00:00:00:00:aa'])
    const chain = await join(host, await host.container(), lanNetwork('macvlan', plugin))
    await chain.check()
    expect(await ping(outside, addressOf(chain.result ?? {}, 4))).toBe(true)
  })

  test('router advertisements, autoconfiguration and IPv6 without an address are off, and on where asked for', async ({
    host,
  }) => {
    await host.outside()
    const conf = async (container: Container, keys: string[]) =>
      (await container.output(['sysctl', '-n', ...keys.map((key) => `net.ipv6.conf.eth0.${key}`)])).trim().split('\n')
    const keys = ['accept_ra', 'autoconf', 'disable_ipv6']
    const ipam = { type: 'static', addresses: [{ address: '192.0.2.9/24' }] }
    for (const [plugin, values] of [
      [{}, ['0', '0', '0']],
      [{ ipam }, ['0', '0', '1']],
      [{ ipam, keepIPv6: true }, ['0', '0', '0']],
      [{ ipam, acceptRA: true }, ['2', '1', '0']],
      [{ ipam: {} }, ['0', '0', '0']],
    ] as const) {
      const container = await host.container()
      const chain = await join(host, container, lanNetwork('macvlan', plugin))
      expect(await conf(container, keys)).toEqual(values)
      await chain.del()
    }
  })
})

describe('an IPv6 route beside an IPv4 address', () => {
  const link = ['ip', '-6', '-j', 'addr', 'show', 'dev', 'eth0', 'scope', 'link']
  const ipamWith = (routes: object[]) => ({ type: 'static', addresses: [{ address: '192.0.2.9/24' }], routes })

  test.for([{ dst: '::/0' }, { dst: 'fd12:3456::/32' }, { dst: '::/0', gw: 'fe80::1' }])(
    '%j is there',
    async (route, { host }) => {
      await host.outside()
      for (const env of [{}, { PODWIRE_NO_NETLINK: '1' }]) {
        const container = await host.container()
        await container.output(['sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1'])
        resultOf(await runPlugin(host, call('ADD', container, { ipam: ipamWith([route]) }, { env })))
        const routes = JSON.parse(await container.output(['ip', '-6', '-j', 'route', 'show', 'dev', 'eth0']))
        const dst = route.dst === '::/0' ? 'default' : route.dst
        expect(routes).toContainEqual(expect.objectContaining({ dst, ...('gw' in route ? { gateway: route.gw } : {}) }))
      }
    },
  )

  test('what tuning switches on later in the chain is on', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    const network = lanNetwork('macvlan', { ipam: ipamWith([]) })
    const sysctl = { 'net.ipv6.conf.IFNAME.disable_ipv6': '0', 'net.ipv6.conf.IFNAME.accept_ra': '2' }
    await join(host, container, { ...network, plugins: [...network.plugins, { type: 'tuning', sysctl }] })
    expect(JSON.parse(await container.output(link))).toHaveLength(1)
    expect((await container.output(['sysctl', '-n', 'net.ipv6.conf.eth0.accept_ra'])).trim()).toBe('2')
  })
})

describe.each(versions)('version %s', (cniVersion) => {
  test('ADD, CHECK, DEL and DEL again', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    const before = await state(host)
    const network = lanNetwork('macvlan', {}, { cniVersion })
    const chain = await join(host, container, network)
    expect(chain.result?.cniVersion).toBe(cniVersion)
    if (cniVersion >= '0.4') await chain.check()
    if (cniVersion === '1.1.0') await chain.status()
    await chain.del()
    await chain.del(true)
    expect(difference(before, await state(host))).toBe('')
  })
})

describe('DEL', () => {
  const ways: [string, (host: Host, container: Container) => Promise<Partial<Call>>][] = [
    ['an empty namespace', async () => ({ netns: '' })],
    ['a namespace that is gone', async (_, container) => container.remove().then(() => ({}))],
    ['the master gone', async (host) => host.output(['ip', 'link', 'del', 'uplink']).then(() => ({}))],
    ['a configuration with mistakes', async (_, container) => ({ ...call('DEL', container, { mode: 'x', mac: 'y' }) })],
  ]
  test.for(ways)('with %s gives the lease back', async ([, prepare], { host }) => {
    await host.outside()
    const container = await host.container()
    resultOf(await runPlugin(host, call('ADD', container)))
    expect(leased(host)).toHaveLength(2)
    const more = await prepare(host, container)
    for (let time = 0; time < 2; time++)
      succeedSilently(withoutWarnings(await runPlugin(host, { ...call('DEL', container), ...more })))
    expect(leased(host)).toEqual([])
  })

  test('of what was never made', async ({ host }) => {
    succeedSilently(await runPlugin(host, call('DEL', await host.container())))
  })

  test('removes what the official plugin made, and the official one what ours made', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    for (const [maker, remover] of [
      ['official', 'podwire'],
      ['podwire', 'official'],
    ] as const) {
      resultOf(await runPlugin(host, call('ADD', container, {}, { suite: maker })))
      succeedSilently(await runPlugin(host, call('DEL', container, {}, { suite: remover })))
      expect(await linkNames(container)).toEqual(['lo'])
      expect(leased(host)).toEqual([])
    }
  })

  test('GC gives back what no valid attachment owns', async ({ host }) => {
    await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    for (const container of [one, two]) resultOf(await runPlugin(host, call('ADD', container)))
    const valid = { 'cni.dev/valid-attachments': [{ containerID: two.name, ifname: 'eth0' }] }
    await one.remove()
    succeedSilently(await runPlugin(host, call('GC', one, valid)))
    expect(leased(host)).toHaveLength(2)
    expect(await ping(two, '192.0.2.2')).toBe(true)
  })
})

describe('an ADD that fails leaves nothing', () => {
  const broken = 'cat >/dev/null; [ "$CNI_COMMAND" = ADD ] || exit 0\necho '
  const ways: [string, object, RegExp][] = [
    ['no lease', { ipam: { type: 'refusing' } }, /no address for you/],
    ['no address in the lease', { ipam: { type: 'empty' } }, /missing IP config/],
    ['a route that cannot be', { ipam: { type: 'astray' } }, /cannot add the route/],
    ['no such master', { master: 'wan' }, /no such master/],
    ["an MTU above the master's", { mtu: 1501 }, /invalid MTU 1501/],
  ]
  test.for(ways)('%s', async ([, plugin, text], { host }) => {
    await host.outside()
    const container = await host.container()
    installScripts(host, {
      refusing: `${broken}'{"code": 11, "msg": "no address for you"}'; exit 1`,
      empty: `${broken}'{"cniVersion": "1.1.0"}'`,
      astray: `${broken}'{"cniVersion": "1.1.0", "ips": [{"address": "192.0.2.9/24"}], "routes": [{"dst": "10.0.0.0/8", "gw": "10.9.9.9"}]}'`,
    })
    const before = await state(host)
    const path = `${scriptDirectory}:${suites.podwire}`
    expect(errorOf(await runPlugin(host, call('ADD', container, plugin, { path }))).msg).toMatch(text)
    expect(difference(before, await state(host))).toBe('')
  })

  test('an interface that is there stays, and no lease is asked for', async ({ host }) => {
    await host.outside()
    const container = await host.container()
    await container.output(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1'])
    const before = await state(host)
    const error = errorOf(await runPlugin(host, call('ADD', container)))
    expect(error).toMatchObject({ code: 103, msg: expect.stringContaining('eth0') })
    expect(difference(before, await state(host))).toBe('')
    expect(readFiles(host, '/var/lib/cni/networks/network')).toEqual({})
  })
})

test('twenty ADDs at once on one master', async ({ host }) => {
  const { container: outside } = await host.outside()
  const containers: Container[] = []
  for (let index = 0; index < 20; index++) containers.push(await host.container())
  const results = await Promise.all(containers.map(async (one) => resultOf(await runPlugin(host, call('ADD', one)))))
  const addresses = results.map((result) => addressOf(result, 4))
  expect(new Set(addresses).size).toBe(20)
  expect(new Set(results.map(({ interfaces }) => interfaces?.[0]?.mac)).size).toBe(20)
  for (const address of addresses) expect(await ping(outside, address)).toBe(true)
  await Promise.all(containers.map(async (one) => succeedSilently(await runPlugin(host, call('DEL', one)))))
  expect(leased(host)).toEqual([])
  for (const container of containers) expect(await linkNames(container)).toEqual(['lo'])
})

/** What DEL says on stderr about a configuration with mistakes is not what is asked here. */
function withoutWarnings<T>(finished: T): T {
  return { ...finished, stderr: '' }
}

import { expect } from 'vitest'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'
import { join, lanNetwork, linkNames } from './network.js'

const network = lanNetwork('macvlan', { hostAccess: true })
const shims = async (host: Host) => (await linkNames(host)).filter((name) => name.startsWith('shim'))
const hosts = { 4: '192.0.2.1', 6: '2001:db8:f::1' } as const

/** The LAN neighbours a machine outside has learnt of. */
async function macsOf(outside: Container, address: string): Promise<string[]> {
  const entries = JSON.parse(await outside.output(['ip', '-j', 'neigh', 'show', 'to', address])) as {
    lladdr?: string
  }[]
  return entries.flatMap(({ lladdr }) => lladdr ?? [])
}

test('without it host and container do not hear each other', async ({ host }) => {
  await host.outside()
  const container = await host.container()
  const { result } = await join(host, container, lanNetwork('macvlan'))
  expect(await ping(host, addressOf(result ?? {}, 4), 1)).toBe(false)
  expect(await ping(container, hosts[4], 1)).toBe(false)
})

test('host and containers talk both ways, and the LAN notices nothing', async ({ host }) => {
  const { container: outside } = await host.outside()
  await host.output(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1'])
  const [one, two] = [await host.container(), await host.container()]
  const [first, second] = [await join(host, one, network), await join(host, two, network)]
  await first.check()
  await serve(host, { protocol: 'tcp', port: 80, name: 'host' })
  await serve(host, { protocol: 'udp', port: 80, name: 'host' })
  await serve(one, { protocol: 'tcp', port: 80, name: 'one' })
  for (const family of [4, 6] as const) {
    const [own, other] = [addressOf(first.result ?? {}, family), addressOf(second.result ?? {}, family)]
    for (const protocol of ['tcp', 'udp'] as const) {
      const answer = await ask(one, { protocol, address: hosts[family], port: 80 })
      expect(answer).toMatchObject({ server: 'host', source: own })
    }
    expect(await ask(host, { protocol: 'tcp', address: own, port: 80 })).toMatchObject({ source: hosts[family] })
    expect(await ping(host, own)).toBe(true)
    expect(await ping(one, other)).toBe(true)
    expect(await ping(outside, own)).toBe(true)
    expect(await ping(outside, hosts[family])).toBe(true)
    const master = JSON.parse(await host.output(['ip', '-j', 'link', 'show', 'uplink'])) as [{ address: string }]
    expect(await macsOf(outside, hosts[family])).toEqual([master[0].address])
  }
})

test('the shim is made once, and goes with the last container', async ({ host }) => {
  await host.outside()
  const [one, two, three] = [await host.container(), await host.container(), await host.container()]
  const state = async () =>
    (await takeSnapshot(host, { directories: ['/run/podwire/host-access'] })).filter((line) => !line.includes('.lock'))
  const before = await state()
  const chains = await Promise.all([one, two, three].map((container) => join(host, container, network)))
  expect(await shims(host)).toHaveLength(1)
  await chains[0]?.del()
  await chains[0]?.del(true)
  expect(await shims(host)).toHaveLength(1)
  expect(await ping(host, addressOf(chains[1]?.result ?? {}, 4))).toBe(true)
  await two.remove()
  await chains[1]?.gc([{ containerID: three.name, ifname: 'eth0' }])
  expect(await host.output(['ip', 'route'])).not.toContain(addressOf(chains[1]?.result ?? {}, 4))
  expect(await shims(host)).toHaveLength(1)
  await chains[2]?.del(true)
  expect(await shims(host)).toEqual([])
  expect(
    difference(before, await state())
      .split('\n')
      .filter((line) => !/container1/.test(line) && line !== ''),
  ).toEqual([])
})

test('CHECK misses a shim or a route; DEL and ADD mend it', async ({ host }) => {
  await host.outside()
  const container = await host.container()
  const chain = await join(host, container, network)
  const [shim = ''] = await shims(host)
  await host.output(['ip', 'route', 'del', addressOf(chain.result ?? {}, 4), 'dev', shim])
  await expect(chain.check()).rejects.toThrow(/routes on shim\S+: found ..none..?, expected a route to 192\.0\.2\./)
  await host.output(['ip', 'link', 'del', shim])
  await expect(chain.check()).rejects.toThrow(/hostAccess: found/)
  await chain.del()
  await chain.add()
  expect(await ping(host, addressOf(chain.result ?? {}, 4))).toBe(true)
})

test('an ADD that cannot grant it leaves nothing, and what is in the way', async ({ host }) => {
  await host.outside()
  const container = await host.container()
  const chain = await join(host, container, network)
  const [shim = ''] = await shims(host)
  await chain.del()
  await host.output(['ip', 'link', 'add', shim, 'type', 'veth', 'peer', 'name', 'other'])
  await expect(chain.add()).rejects.toThrow(/shim\S+ already exists and is no child of uplink/)
  expect(await shims(host)).toEqual([shim])
  expect(await linkNames(container)).toEqual(['lo'])
  expect(readFiles(host, '/run/podwire/host-access/network')).toEqual({})
  expect(Object.keys(readFiles(host, '/var/lib/cni/networks/network')).filter((name) => /^192/.test(name))).toEqual([])
})

import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'

const config = {
  cniVersion: '1.1.0',
  name: 'network',
  type: 'bridge',
  bridge: 'br0',
  isDefaultGateway: true,
  ipMasq: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]],
    routes: [{ dst: '10.9.0.0/16', gw: '10.1.2.9' }],
  },
}

const call = (command: Verb, container: Container, more: object = {}): Call => ({
  plugin: 'bridge',
  command,
  config: { ...config, ...more },
  containerID: container.name,
  netns: container.netns,
})

interface Scene {
  host: Host
  container: Container
  result: Result
}

async function attached(host: Host): Promise<Scene> {
  const container = await host.container()
  return { host, container, result: resultOf(await runPlugin(host, call('ADD', container))) }
}

// What somebody may do to an attachment, and what the complaint must name.
const damages: Record<string, { damage: (scene: Scene) => Promise<unknown>; names: string }> = {
  'an address was removed': {
    damage: ({ container }) => container.batch(['addr del 10.1.2.2/24 dev eth0']),
    names: '10.1.2.2/24',
  },
  'an IPv6 address was removed': {
    damage: ({ container }) => container.batch(['addr del fd00:1:2::2/64 dev eth0']),
    names: 'fd00:1:2::2/64',
  },
  'an address has another prefix length': {
    damage: ({ container }) => container.batch(['addr add 10.1.2.2/16 dev eth0', 'addr del 10.1.2.2/24 dev eth0']),
    names: '10.1.2.2/24',
  },
  'a route was removed': {
    damage: ({ container }) => container.batch(['route del 10.9.0.0/16']),
    names: '10.9.0.0/16',
  },
  'the default route was removed': {
    damage: ({ container }) => container.batch(['route del default']),
    names: '0.0.0.0/0',
  },
  'a route has another gateway': {
    damage: ({ container }) => container.batch(['route replace 10.9.0.0/16 via 10.1.2.8']),
    names: '10.9.0.0/16',
  },
  'the interface has another MAC': {
    damage: ({ container }) => container.batch(['link set eth0 address 02:00:00:00:00:99']),
    names: '02:00:00:00:00:99',
  },
  'the interface is gone': { damage: ({ container }) => container.batch(['link del eth0']), names: 'eth0' },
  'the interface has another name': {
    damage: ({ container }) => container.batch(['link set eth0 down', 'link set eth0 name eth1']),
    names: 'eth0',
  },
  'the port left the bridge': {
    damage: ({ host, result }) => host.output(['ip', 'link', 'set', result.interfaces?.[1]?.name ?? '', 'nomaster']),
    names: 'br0',
  },
  'the bridge is gone': { damage: ({ host }) => host.output(['ip', 'link', 'del', 'br0']), names: 'br0' },
  'masquerade is gone': { damage: ({ host }) => host.output(['nft', 'flush', 'ruleset']), names: '10.1.2.2' },
  'the lease is gone': {
    damage: ({ host }) =>
      host.output(['sh', '-c', 'rm /var/lib/cni/networks/network/10.* /var/lib/cni/networks/network/fd*']),
    names: 'container0',
  },
}

describe('CHECK of a bridge attachment', () => {
  for (const [name, { damage, names }] of Object.entries(damages)) {
    test(`finds it when ${name}`, async ({ host }) => {
      const scene = await attached(host)
      const check = call('CHECK', scene.container, { prevResult: scene.result })
      succeedSilently(await runPlugin(host, check))
      await damage(scene)
      const error = errorOf(await runPlugin(host, check))
      expect(error.code).toBe(105)
      expect(`${error.msg}\n${error.details}`).toContain(names)
    })
  }

  const harmless: Record<string, (scene: Scene) => Promise<unknown>> = {
    'another address was added': ({ container }) => container.batch(['addr add 10.77.0.1/24 dev eth0']),
    'another route was added': ({ container }) => container.batch(['route add 10.88.0.0/16 dev eth0']),
    'the mtu was changed by a later plugin': ({ container }) => container.batch(['link set eth0 mtu 1300']),
    'somebody captures on the bridge': ({ host }) => host.output(['ip', 'link', 'set', 'br0', 'promisc', 'on']),
    'another container came': async ({ host }) => resultOf(await runPlugin(host, call('ADD', await host.container()))),
    'the nft tables of others are there': ({ host }) => host.output(['nft', 'add', 'table', 'inet', 'other']),
  }
  for (const [name, change] of Object.entries(harmless)) {
    test(`is content although ${name}`, async ({ host }) => {
      const scene = await attached(host)
      await change(scene)
      succeedSilently(await runPlugin(host, call('CHECK', scene.container, { prevResult: scene.result })))
    })
  }

  test('names every mistake at once', async ({ host }) => {
    const { container, result } = await attached(host)
    await container.batch(['addr del 10.1.2.2/24 dev eth0', 'route del default via fd00:1:2::1'])
    const error = errorOf(await runPlugin(host, call('CHECK', container, { prevResult: result })))
    expect(error.details).toContain('10.1.2.2/24')
    expect(error.details).toContain('::/0')
  })

  test.for(['iptables', 'nftables'])('masquerade by %s: a removed rule is found', async (ipMasqBackend, { host }) => {
    const container = await host.container()
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, { ipMasqBackend })))
    const check = call('CHECK', container, { ipMasqBackend, prevResult })
    succeedSilently(await runPlugin(host, check))
    const remove = ipMasqBackend === 'iptables' ? ['iptables', '-t', 'nat', '-F'] : ['nft', 'flush', 'ruleset']
    await host.output(remove)
    expect(errorOf(await runPlugin(host, check)).code).toBe(105)
  })
})

import { describe, expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { versions } from '../protocol/versions.js'

// A bridge of layer 2 has its IPv6 link-local address when ADD returns, with which others speak to the host.

const ways: Record<string, Partial<Call>> = { netlink: {}, tools: { env: { PODWIRE_NO_NETLINK: '1' } } }
const layer2 = { cniVersion: '1.1.0', name: 'network', type: 'bridge', bridge: 'br0' }

async function add(host: Host, config: object, more: Partial<Call> = {}) {
  const { name, netns } = await host.container()
  return runPlugin(host, { plugin: 'bridge', command: 'ADD', config, containerID: name, netns, ...more })
}

/** The bridge's link-local addresses, at once. */
async function linkLocal(host: Host): Promise<string[]> {
  const [{ addr_info = [] } = {}] = JSON.parse(await host.output(['ip', '-j', '-6', 'address', 'show', 'dev', 'br0']))
  return addr_info.map(({ local }: { local: string }) => local).filter((local: string) => local.startsWith('fe80:'))
}

const configurations: Record<string, object> = {
  'its container up': {},
  'its container left down': { disableContainerInterface: true },
  'a VLAN': { vlan: 100 },
  'isolated ports': { portIsolation: true },
}
const bridges: Record<string, string[]> = {
  'is made by it': [],
  'is there': ['link add br0 type bridge'],
  'has a port already that is down': [
    'link add br0 type bridge',
    'link add port0 type veth peer name far0',
    'link set port0 master br0',
  ],
}

describe.each(Object.entries(ways))('by %s, a bridge that', (_, way) => {
  for (const [what, commands] of Object.entries(bridges)) {
    test.for(Object.entries(configurations))(`${what} has its address, with %s`, async ([, keys], { host, skip }) => {
      const tags = await host.exec(['ip', 'link', 'add', 'probe', 'type', 'bridge', 'vlan_filtering', '1'])
      skip('vlan' in keys && tags.status !== 0, 'this kernel has no vlan_filtering')
      // Without a carrier there is none to be had on a bridge of somebody else.
      const isMute = 'disableContainerInterface' in keys && what.includes('port')
      await host.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
      resultOf(await add(host, { ...layer2, ...keys }, way))
      expect(await linkLocal(host)).toHaveLength(isMute ? 0 : 1)
    })
  }

  test('was up before its ports had a carrier is waited for', async ({ host }) => {
    const commands = [...(bridges['has a port already that is down'] ?? []), 'link set br0 up']
    await host.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
    expect(await linkLocal(host)).toEqual([])
    resultOf(await add(host, layer2, way))
    expect(await linkLocal(host)).toHaveLength(1)
  })

  test('has IPv6 off is not waited for', async ({ host }) => {
    await host.output(['ip', '-batch', '-'], { stdin: 'link add br0 type bridge\n' })
    await host.output(['sysctl', '-qw', 'net.ipv6.conf.br0.disable_ipv6=1'])
    const { status, stderr } = await add(host, layer2, way)
    expect([status, stderr]).toEqual([0, ''])
    expect(await linkLocal(host)).toEqual([])
  })
})

test.for(versions.filter((version) => !/^0\.[12]\./.test(version)))(
  'it has it in version %s, as by the official plugin',
  async (cniVersion, { host }) => {
    for (const suite of ['official', 'podwire'] as const) {
      resultOf(await add(host, { ...layer2, cniVersion, disableContainerInterface: true }, { suite }))
      // The official plugin waits for the port, not for what the bridge gets of it a moment later.
      if (suite === 'official') await until('it has one', async () => (await linkLocal(host)).length > 0)
      expect(await linkLocal(host), suite).toHaveLength(1)
      await host.output(['ip', 'link', 'del', 'br0'])
    }
  },
)

test('twenty at once all find it', async ({ host }) => {
  const first = Array.from({ length: 20 }, async (_, index) => {
    const keys = index % 2 === 0 ? {} : { disableContainerInterface: true }
    resultOf(await add(host, { ...layer2, ...keys }))
    return linkLocal(host)
  })
  for (const found of await Promise.all(first)) expect(found).toHaveLength(1)
})

import { describe, expect } from 'vitest'
import { Chain, type PluginConfig } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { ping } from '../harness/traffic.js'

// The official plugins, on what only a full kernel has: it proves that kernel and machine can carry the tests of ours.

/** A chain whose first plugin gets the address from static IPAM. */
function chain(host: Host, container: Container, address: string, plugins: [PluginConfig, ...PluginConfig[]]): Chain {
  const [main, ...rest] = plugins
  const ipam = { type: 'static', addresses: [{ address }] }
  const list = { cniVersion: '1.0.0', name: 'lan', plugins: [{ ...main, ipam }, ...rest] }
  return new Chain(host, list, { suite: 'official', containerID: container.name, netns: container.netns })
}

/** Names of the links in a container, loopback first. */
async function links(container: Container): Promise<string[]> {
  const listed = JSON.parse(await container.output(['ip', '-j', 'link'])) as { ifname: string }[]
  return listed.map(({ ifname }) => ifname)
}

/** Two containers of a host, each attached by the same plugins and reachable at .11 and .12. */
async function attachTwo(host: Host, plugins: [PluginConfig, ...PluginConfig[]]) {
  const containers = [await host.container('c1'), await host.container('c2')] as const
  const chains = containers.map((container, index) => chain(host, container, `10.80.0.${11 + index}/24`, plugins))
  for (const attachment of chains) await attachment.add()
  return { containers, chains }
}

describe.for(['l2', 'l3', 'l3s'])('official ipvlan %s', (mode) => {
  test('joins two containers and leaves nothing', async ({ host }) => {
    await host.outside()
    const { containers, chains } = await attachTwo(host, [{ type: 'ipvlan', master: 'uplink', mode }])
    const [first, second] = containers
    const details = await first.output(['ip', '-d', 'link', 'show', 'eth0'])
    expect(details).toMatch(new RegExp(`ipvlan +mode ${mode} `))
    expect(await ping(first, '10.80.0.12')).toBe(true)
    for (const attachment of chains) await attachment.del()
    expect([await links(first), await links(second)]).toEqual([['lo'], ['lo']])
  })
})

describe('official vlan', () => {
  test('talks to the same VLAN behind the cable, and to no other', async ({ host }) => {
    const { container: outside } = await host.outside()
    await outside.batch([
      'link add link eth0 name same type vlan id 100',
      'addr add 10.80.0.1/24 dev same',
      'link set same up',
      'link add link eth0 name other type vlan id 200',
      'addr add 10.80.0.2/32 dev other',
      'link set other up',
    ])
    const container = await host.container()
    const attachment = chain(host, container, '10.80.0.11/24', [{ type: 'vlan', master: 'uplink', vlanId: 100 }])
    await attachment.add()
    expect(await ping(container, '10.80.0.1')).toBe(true)
    await outside.output(['ip', 'link', 'set', 'same', 'down'])
    expect(await ping(container, '10.80.0.2', 1)).toBe(false)
    await attachment.del()
    expect(await links(container)).toEqual(['lo'])
  })
})

describe('official dummy', () => {
  test('has its address and goes', async ({ host }) => {
    const container = await host.container()
    const attachment = chain(host, container, '10.80.0.11/24', [{ type: 'dummy' }])
    await attachment.add()
    expect(await container.output(['ip', '-d', 'addr', 'show', 'eth0'])).toMatch(/dummy.*inet 10\.80\.0\.11\/24/s)
    await attachment.del()
    expect(await links(container)).toEqual(['lo'])
  })
})

describe('official vrf', () => {
  test('encloses the interface and its routes', async ({ host }) => {
    const { containers, chains } = await attachTwo(host, [
      { type: 'bridge', bridge: 'lan0' },
      { type: 'vrf', vrfname: 'blue', table: 42 },
    ])
    const [first] = containers
    expect(await first.output(['ip', 'route', 'show', 'vrf', 'blue'])).toContain('10.80.0.0/24 dev eth0')
    expect(await first.output(['ip', 'route', 'show', 'table', '42'])).toContain('local 10.80.0.11 dev eth0')
    await first.output(['ping', '-n', '-c', '1', '-w', '5', '-I', 'blue', '10.80.0.12'])
    for (const attachment of chains) await attachment.del()
    expect(await links(first)).toEqual(['lo'])
  })
})

describe('official bridge with VLAN filtering', () => {
  test('keeps VLANs apart on one bridge', async ({ host }) => {
    const containers = [await host.container('c1'), await host.container('c2'), await host.container('c3')] as const
    const vlans = [100, 100, 200]
    for (const [index, container] of containers.entries()) {
      const bridge = { type: 'bridge', bridge: 'lan0', vlan: vlans[index] }
      await chain(host, container, `10.80.0.${11 + index}/24`, [bridge]).add()
    }
    const ports = JSON.parse(await host.output(['bridge', '-j', 'vlan', 'show'])) as {
      ifname: string
      vlans: { vlan: number; flags?: string[] }[]
    }[]
    const ofContainers = ports.filter(({ ifname }) => ifname.startsWith('veth')).map((port) => port.vlans)
    const untagged = (vlan: number) => [{ vlan, flags: ['PVID', 'Egress Untagged'] }]
    expect(ofContainers).toEqual(vlans.map(untagged))
    expect(await ping(containers[0], '10.80.0.12')).toBe(true)
    expect(await ping(containers[0], '10.80.0.13', 1)).toBe(false)
  })
})

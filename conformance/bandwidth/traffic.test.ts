import { describe, expect } from 'vitest'
import { Chain, type Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { addressOf } from '../main/networks.js'
import { quickest } from './transfer.js'

const megabyte = 1_000_000
/** 8 Mbit/s, which is a megabyte a second, with a burst of 20,000 bytes. */
const [rate, burst] = [8 * megabyte, 160_000]

function network(first: { type: string }, limits: object): Conflist {
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]] }
  const plugins = [
    { ...first, ipam },
    { type: 'bandwidth', ...limits },
  ]
  return { cniVersion: '1.1.0', name: 'network', plugins }
}

async function join(
  host: Host,
  container: Container,
  list: Conflist,
): Promise<{ chain: Chain; address: (family: 4 | 6) => string }> {
  const chain = new Chain(host, list, { containerID: container.name, netns: container.netns })
  const result = await chain.add()
  return { chain, address: (family) => addressOf(result, family) }
}

const bridge = { type: 'bridge', bridge: 'br0', isGateway: true }
const gateways = { 4: '10.1.2.1', 6: 'fd00:1:2::1' } as const

/**
 * What 1.5 megabytes need at least at a megabyte a second, the burst and headers aside; without limit it is
 * milliseconds.
 */
const size = 1.5 * megabyte
const leastSeconds = (size - 20_000) / megabyte

describe.each([
  ['bridge', bridge],
  ['ptp', { type: 'ptp' }],
])('behind %s', (_, first) => {
  for (const family of [4, 6] as const) {
    test(`ingress over IPv${family}: towards the container slow, from it fast`, async ({ host }) => {
      const container = await host.container()
      const { address } = await join(host, container, network(first, { ingressRate: rate, ingressBurst: burst }))
      const towards = await quickest(host, container, { address: address(family), bytes: size }, 4 * leastSeconds)
      expect(towards).toBeGreaterThan(leastSeconds)
      expect(towards).toBeLessThan(4 * leastSeconds)
      expect(
        await quickest(container, host, { address: gateways[family], bytes: size }, leastSeconds / 2),
      ).toBeLessThan(leastSeconds / 2)
    })

    test(`egress over IPv${family}: from the container slow, towards it fast`, async ({ host }) => {
      const container = await host.container()
      const { address } = await join(host, container, network(first, { egressRate: rate, egressBurst: burst }))
      const from = await quickest(container, host, { address: gateways[family], bytes: size }, 4 * leastSeconds)
      expect(from).toBeGreaterThan(leastSeconds)
      expect(from).toBeLessThan(4 * leastSeconds)
      expect(await quickest(host, container, { address: address(family), bytes: size }, leastSeconds / 2)).toBeLessThan(
        leastSeconds / 2,
      )
    })
  }
})

test('the two directions have limits of their own, and neighbours none', async ({ host }) => {
  const [limited, free] = [await host.container(), await host.container()]
  const limits = { ingressRate: rate, ingressBurst: burst, egressRate: 4 * rate, egressBurst: burst }
  const one = await join(host, limited, network(bridge, limits))
  const two = await join(host, free, network(bridge, {}))
  const towards = await quickest(free, limited, { address: one.address(4), bytes: size }, 4 * leastSeconds)
  const from = await quickest(limited, free, { address: two.address(4), bytes: size }, towards * 0.75)
  expect(towards).toBeGreaterThan(leastSeconds)
  expect(from).toBeGreaterThan(leastSeconds / 4)
  expect(from).toBeLessThan(towards * 0.75)
  expect(await quickest(host, free, { address: two.address(4), bytes: size }, leastSeconds / 4)).toBeLessThan(
    leastSeconds / 4,
  )
})

test('after DEL of bandwidth alone the container is free again', async ({ host }) => {
  const container = await host.container()
  const limits = { ingressRate: rate, ingressBurst: burst, egressRate: rate, egressBurst: burst }
  const list = network(bridge, limits)
  const { chain, address } = await join(host, container, list)
  const only = new Chain(
    host,
    { ...list, plugins: list.plugins.slice(1) },
    { containerID: container.name, netns: container.netns },
  )
  only.result = chain.result
  await only.del()
  expect(await quickest(host, container, { address: address(4), bytes: size }, leastSeconds / 2)).toBeLessThan(
    leastSeconds / 2,
  )
  expect(await quickest(container, host, { address: gateways[4], bytes: size }, leastSeconds / 2)).toBeLessThan(
    leastSeconds / 2,
  )
})

test('a burst that the official plugin lets wrap at 32 bits passes whole', async ({ host }) => {
  const container = await host.container()
  const limits = { ingressRate: megabyte, ingressBurst: 2 ** 31 - 1 }
  const { address, chain } = await join(host, container, network(bridge, limits))
  expect(await quickest(host, container, { address: address(4), bytes: 40 * megabyte }, 60)).toBeLessThan(60)
  await chain.check()
})

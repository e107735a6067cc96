import { describe, expect, vi } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

/** A plugin's configuration, without name and version. */
export interface Network {
  type: string
  [key: string]: unknown
}

/** Addresses and routes of all kinds. */
export const ipam = {
  type: 'static',
  addresses: [
    { address: '10.1.2.9/24', gateway: '10.1.2.1' },
    { address: 'fd00:1:2::9/64', gateway: 'fd00:1:2::1' },
  ],
  routes: [
    { dst: '0.0.0.0/0', mtu: 1300 },
    { dst: '::/0', advmss: 1200 },
    { dst: '10.7.0.0/16', gw: '10.1.2.7', priority: 77, table: 300 },
    { dst: '10.8.0.0/16', scope: 253 },
  ],
}

export function callOf(command: 'ADD' | 'DEL', network: Network, more: Partial<Call> = {}): Call {
  const config = { cniVersion: '1.1.0', name: 'network', ...network }
  return { plugin: network.type, command, config, netns: '/run/netns/container0', ...more }
}

/** All but the cookie by which records know a namespace: only the kernel itself tells it, no tool. */
export async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/run/podwire'] })
  return lines.map((line) => line.replace(/,\\"cookie\\":\\"[^"]*\\"/, ''))
}

/** A host with a neighbour, a link to give away, and a container. */
export async function prepare(host: Host) {
  await host.outside()
  await host.output(['ip', 'link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1'])
  return host.container()
}

/** Waits for a state: the kernel reports carriers a moment later, and bridge ports forward only then. */
export const becomes = (host: Host, wanted: string[]) =>
  vi.waitFor(async () => expect(difference(wanted, await state(host))).toBe(''), { timeout: 30_000 })

/** Tests that a network comes out the same whether the kernel is asked or tools are. */
export function holdBothWays(networks: Record<string, Network>): void {
  describe.each(Object.entries(networks))('%s', (_, network) => {
    test('leaves the same by netlink as by the tools', async ({ host }) => {
      await (await prepare(host)).output(['ip', 'link', 'set', 'lo', 'down'])
      const before = await state(host)
      const byNetlink = resultOf(await runPlugin(host, callOf('ADD', network)))
      const made = await state(host)
      expect(difference(before, made)).not.toBe('')
      succeedSilently(await runPlugin(host, callOf('DEL', network)))
      const env = { PODWIRE_NO_NETLINK: '1' }
      expect(resultOf(await runPlugin(host, callOf('ADD', network, { env })))).toEqual(byNetlink)
      await becomes(host, made)
      succeedSilently(await runPlugin(host, callOf('DEL', network, { env })))
    })
  })
}

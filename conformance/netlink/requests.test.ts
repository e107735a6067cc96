import { describe, expect, vi } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { breakable } from '../lan/breaking.js'

const ipam = {
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

const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'uplink' }, { name: 'eth0', sandbox: '/run/netns/container0' }],
  ips: [
    { address: '10.1.2.9/24', interface: 1 },
    { address: 'fd00:1:2::9/64', interface: 1 },
  ],
}
const portMappings = [
  { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
  { hostPort: 8081, containerPort: 81, protocol: 'udp', hostIP: '192.0.2.1' },
]

const networks: Record<string, { type: string; [key: string]: unknown }> = {
  bridge: { type: 'bridge', bridge: 'br0', isGateway: true, ipMasq: true, mtu: 1400, ipam },
  ptp: { type: 'ptp', ipMasq: true, ipam },
  macvlan: { type: 'macvlan', master: 'uplink', mode: 'private', mtu: 1300, ipam },
  'bridge with hairpin and isolation': { type: 'bridge', bridge: 'br0', hairpinMode: true, portIsolation: true, ipam },
  'promiscuous bridge': { type: 'bridge', bridge: 'br0', promiscMode: true, ipam },
  'bridge with a MAC guard': { type: 'bridge', bridge: 'br0', macspoofchk: true, ipMasq: true, ipam },
  portmap: { type: 'portmap', runtimeConfig: { portMappings }, prevResult },
  firewall: { type: 'firewall', ingressPolicy: 'isolated', prevResult },
  loopback: { type: 'loopback' },
  'host-device': { type: 'host-device', device: 'spare0', ipam },
}

const call = (command: 'ADD' | 'DEL', type: string, more: Partial<Call> = {}): Call => ({
  plugin: networks[type]?.type ?? type,
  command,
  config: { cniVersion: '1.1.0', name: 'network', ...networks[type] },
  netns: '/run/netns/container0',
  ...more,
})

const state = (host: Host) => takeSnapshot(host, { directories: ['/run/podwire'] })

/** A host with a neighbour, a link to give away, and a container. */
async function prepare(host: Host) {
  await host.outside()
  await host.output(['ip', 'link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1'])
  return host.container()
}

/** Waits for a state: the kernel reports carriers a moment later, and bridge ports forward only then. */
const becomes = (host: Host, wanted: string[]) =>
  vi.waitFor(async () => expect(difference(wanted, await state(host))).toBe(''), { timeout: 10_000 })

/** A call whose netlink requests are refused from the numbered one on; `refused` tells whether it got that far. */
async function refusedFrom(host: Host, place: number, made: Call): Promise<Finished & { refused: boolean }> {
  // The tools that take over are not refused.
  const finished = await runTraced(host, made, ['-e', 'trace=sendto', '-e', `inject=sendto:error=EPERM:when=${place}+`])
  return { ...finished, refused: finished.calls.includes('INJECTED') }
}

describe.each(Object.keys(networks))('%s', (type) => {
  test('leaves the same by netlink as by the tools', async ({ host }) => {
    await (await prepare(host)).output(['ip', 'link', 'set', 'lo', 'down'])
    const before = await state(host)
    const byNetlink = resultOf(await runPlugin(host, call('ADD', type)))
    const made = await state(host)
    expect(difference(before, made)).not.toBe('')
    succeedSilently(await runPlugin(host, call('DEL', type)))
    const env = { PODWIRE_NO_NETLINK: '1' }
    expect(resultOf(await runPlugin(host, call('ADD', type, { env })))).toEqual(byNetlink)
    await becomes(host, made)
    succeedSilently(await runPlugin(host, call('DEL', type, { env })))
  })

  test('what the kernel refuses from any request on, the tools do', { timeout: 120_000 }, async ({ host }) => {
    await prepare(host)
    const expected = resultOf(await runPlugin(host, call('ADD', type)))
    const made = await state(host)
    for (let place = 1; ; place++) {
      succeedSilently(await runPlugin(host, call('DEL', type)))
      const added = await refusedFrom(host, place, call('ADD', type))
      expect(resultOf(added)).toEqual(expected)
      await becomes(host, made)
      if (!added.refused) break
    }
  })
})

describe.each(['bridge', 'ptp', 'macvlan'])('%s', (type) => {
  test('refused by kernel and tools at any place, an ADD leaves nothing', { timeout: 120_000 }, async ({ host }) => {
    await prepare(host)
    resultOf(await runPlugin(host, call('ADD', type)))
    succeedSilently(await runPlugin(host, call('DEL', type)))
    const refuse = await breakable(host)
    const before = await state(host)
    let failed = 0
    for (let place = 1; ; place++) {
      refuse(1)
      const added = await refusedFrom(host, place, call('ADD', type))
      if (added.status === 0) break
      failed++
      expect(errorOf(added)).toMatchObject({ code: 100, details: expect.not.stringContaining('left behind') })
      expect(difference(before, await state(host)), `from request ${place} on`).toBe('')
    }
    expect(failed).toBeGreaterThan(5)
  })
})

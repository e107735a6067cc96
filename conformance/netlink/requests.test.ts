import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference } from '../harness/snapshot.js'
import { breakable } from '../lan/breaking.js'
import { becomes, callOf, holdBothWays, ipam, type Network, prepare, state } from './ways.js'

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

const networks: Record<string, Network> = {
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

/** A call whose netlink requests are refused from the numbered one on; `refused` tells whether it got that far. */
async function refusedFrom(host: Host, place: number, made: Call): Promise<Finished & { refused: boolean }> {
  // The tools that take over are not refused.
  const finished = await runTraced(host, made, ['-e', 'trace=sendto', '-e', `inject=sendto:error=EPERM:when=${place}+`])
  return { ...finished, refused: finished.calls.includes('INJECTED') }
}

holdBothWays(networks)

describe.each(Object.entries(networks))('%s', (_, network) => {
  test('what the kernel refuses from any request on, the tools do', { timeout: 240_000 }, async ({ host }) => {
    await prepare(host)
    const expected = resultOf(await runPlugin(host, callOf('ADD', network)))
    const made = await state(host)
    for (let place = 1; ; place++) {
      succeedSilently(await runPlugin(host, callOf('DEL', network)))
      const added = await refusedFrom(host, place, callOf('ADD', network))
      expect(resultOf(added)).toEqual(expected)
      await becomes(host, made)
      if (!added.refused) break
    }
  })
})

describe.each(['bridge', 'ptp', 'macvlan'])('%s', (name) => {
  const network = networks[name] as Network

  test('refused by kernel and tools at any place, an ADD leaves nothing', { timeout: 240_000 }, async ({ host }) => {
    await prepare(host)
    resultOf(await runPlugin(host, callOf('ADD', network)))
    succeedSilently(await runPlugin(host, callOf('DEL', network)))
    const refuse = await breakable(host)
    const before = await state(host)
    let failed = 0
    for (let place = 1; ; place++) {
      refuse(1)
      const added = await refusedFrom(host, place, callOf('ADD', network))
      if (added.status === 0) break
      failed++
      expect(errorOf(added)).toMatchObject({ code: 100, details: expect.not.stringContaining('left behind') })
      expect(difference(before, await state(host)), `from request ${place} on`).toBe('')
    }
    expect(failed).toBeGreaterThan(5)
  })
})

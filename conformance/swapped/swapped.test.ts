import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { holdsTheFirst, ipam, prepare, type Swapped, state, ways, whileFlapping } from './swapping.js'

const bridge = { type: 'bridge', bridge: 'br9', isGateway: true, ipMasq: true, ipam }

const plugins: Record<string, Swapped> = {
  bridge: { config: bridge },
  ptp: { config: { ipMasq: true, ipam } },
  macvlan: { config: { master: 'uplink', ipam } },
  'host-device': {
    config: { device: 'hd0', ipam },
    prepare: (host) => host.output(['ip', 'link', 'add', 'hd0', 'type', 'veth', 'peer', 'name', 'hd1']),
  },
  tap: { config: { ipam } },
  loopback: { config: {}, prepare: (_, container) => container.output(['ip', 'link', 'set', 'lo', 'down']) },
  tuning: { config: { mtu: 1300, sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' } }, chained: bridge },
  sbr: { config: {}, chained: bridge },
  bandwidth: { config: { ingressRate: 8_000_000, ingressBurst: 80_000 }, chained: bridge },
  portmap: {
    config: { runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] } },
    chained: bridge,
  },
  firewall: { config: {}, chained: bridge },
}

describe('a namespace that is swapped at every moment:', () => {
  for (const [type, swapped] of Object.entries(plugins)) holdsTheFirst(type, swapped)
})

describe.for(['bridge', 'macvlan', 'host-device', 'tuning'])('a namespace that never rests, %s', (type) => {
  test.for(Object.entries(ways))('by %s', { timeout: 120_000 }, async ([, env], { host }) => {
    const { call } = await prepare(host, type, plugins[type] as Swapped)
    resultOf(await runPlugin(host, call('ADD', env)))
    succeedSilently(await runPlugin(host, call('DEL', env)))
    const before = await state(host)
    const ends = { made: 0, refused: 0 }
    // Enough to see both ends, and no longer than a busy machine may take.
    const isEnough = () => ends.made + ends.refused > 11 && ends.made > 1 && ends.refused > 1
    const until = performance.now() + 60_000
    while (!isEnough() && performance.now() < until) {
      await whileFlapping(host, async () => {
        const finished = await runPlugin(host, call('ADD', env))
        if (finished.status === 0) ends.made++
        else ends.refused++
        if (finished.status === 0) resultOf(finished)
        else expect(errorOf(finished).code).toBe(8)
      })
      succeedSilently(await runPlugin(host, call('DEL', env)))
      expect(difference(before, await state(host))).toBe('')
    }
    expect(isEnough(), JSON.stringify(ends)).toBe(true)
  })
})

import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { dropping, firewalled, join, onlyFirewall } from './networks.js'

async function drop(host: Host, way: string): Promise<void> {
  for (const command of dropping[way] ?? []) await host.output(command)
}

const outside = { v4: '192.0.2.2', v6: '2001:db8:f::2' }

const ways = Object.keys(dropping).flatMap((way) => [
  { way, backend: '' },
  ...(way.startsWith('iptables-legacy') || way.startsWith('an nft') ? [] : [{ way, backend: 'iptables' }]),
])

describe('a host that drops what it forwards', () => {
  test.for(ways)(
    '$way: backend "$backend" lets the container through, and nobody else',
    async ({ way, backend }, { host }) => {
      const { container: machine } = await host.outside()
      await drop(host, way)
      const stranger = await join(host, { ...firewalled(), plugins: firewalled().plugins.slice(0, 1) })
      const network = firewalled({ backend })
      const member = await join(host, network)
      await serve(machine, { protocol: 'tcp', port: 80 })
      await serve(machine, { protocol: 'udp', port: 53 })
      await serve(member.container, { protocol: 'tcp', port: 80 })
      await machine.batch(['route add 10.1.2.0/24 via 192.0.2.1', 'route add fd00:1:2::/64 via 2001:db8:f::1'])
      for (const family of ['v4', 'v6'] as const) {
        const address = outside[family]
        expect(await ask(member.container, { protocol: 'tcp', address, port: 80 }), family).toBeDefined()
        expect(await ask(member.container, { protocol: 'udp', address, port: 53 }), family).toBeDefined()
        expect(await ping(stranger.container, address, 1), `${family}: not admitted`).toBe(false)
        const inward = { protocol: 'tcp', address: member[family], port: 80, deadline: 400 } as const
        expect(await ask(machine, inward), `${family}: new connections to the container`).toBeUndefined()
      }
      const alone = onlyFirewall(host, member, network)
      await alone.check()
      await alone.del()
      for (const family of ['v4', 'v6'] as const) {
        expect(await ping(member.container, outside[family], 1), `${family}: after DEL`).toBe(false)
      }
    },
  )

  test.for(['', 'iptables'])(
    'backend "%s": containers that are there when FORWARD of iptables begins to drop keep their traffic',
    async (backend, { host }) => {
      const { container: machine } = await host.outside()
      const { container, chain, v4 } = await join(host, firewalled({ backend }))
      const stranger = await join(host, { ...firewalled(), plugins: firewalled().plugins.slice(0, 1) })
      expect(await ping(stranger.container, outside.v4)).toBe(true)
      await drop(host, 'iptables-nft')
      await serve(machine, { protocol: 'tcp', port: 80 })
      await serve(container, { protocol: 'tcp', port: 80 })
      await machine.batch(['route add 10.1.2.0/24 via 192.0.2.1'])
      for (const family of ['v4', 'v6'] as const) {
        expect(await ask(container, { protocol: 'tcp', address: outside[family], port: 80 }), family).toBeDefined()
        expect(await ping(stranger.container, outside[family], 1), `${family}: not admitted`).toBe(false)
      }
      const inward = { protocol: 'tcp', address: v4, port: 80, deadline: 400 } as const
      expect(await ask(machine, inward), 'new connections to the container').toBeUndefined()
      await chain.check()
    },
  )

  test('where the official plugin was before, too, and beside its containers', async ({ host }) => {
    await host.outside()
    const theirs = await join(host, firewalled({ backend: 'iptables' }), { suite: 'official' })
    const ours = await join(host, firewalled({}, { number: 3 }))
    await drop(host, 'iptables-nft')
    for (const { container } of [theirs, ours]) {
      for (const family of ['v4', 'v6'] as const) expect(await ping(container, outside[family])).toBe(true)
    }
    await ours.chain.del()
    expect(await ping(theirs.container, outside.v4)).toBe(true)
  })

  test('what else begins to drop later lets all through again after the next ADD', async ({ host }) => {
    await host.outside()
    const first = await join(host, firewalled())
    await drop(host, 'an nftables ruleset')
    expect(await ping(first.container, outside.v4, 1)).toBe(false)
    await expect(first.chain.check()).rejects.toThrow(/inet site transit/)
    await join(host, firewalled())
    expect(await ping(first.container, outside.v4)).toBe(true)
    expect(await ping(first.container, outside.v6)).toBe(true)
    await first.chain.check()
  })

  test('a host whose iptables was flushed lets all through again after the next ADD', async ({ host }) => {
    await host.outside()
    const first = await join(host, firewalled())
    await drop(host, 'iptables-nft')
    for (const tool of ['iptables', 'ip6tables']) await host.output([tool, '-F'])
    expect(await ping(first.container, outside.v4, 1)).toBe(false)
    await expect(first.chain.check()).rejects.toThrow(/iptables FORWARD/)
    await join(host, firewalled())
    expect(await ping(first.container, outside.v4)).toBe(true)
    expect(await ping(first.container, outside.v6)).toBe(true)
    await first.chain.check()
  })

  test('a first ADD makes the rule of iptables once, the next look at it no more', async ({ host }) => {
    await Promise.all(Array.from({ length: 6 }, () => join(host, firewalled())))
    const saved = await host.output(['iptables-save', '-t', 'filter'])
    expect(saved.match(/-j CNI-FORWARD/g)).toHaveLength(1)
    expect(saved.match(/-j PODWIRE-ADMITTED/g)).toHaveLength(1)
    expect(saved.match(/-A PODWIRE-ADMITTED/g)).toHaveLength(1)
  })

  test.for(['', 'iptables'])(
    'backend "%s": the administrator has the last word in CNI-ADMIN',
    async (backend, { host }) => {
      await host.outside()
      await drop(host, 'iptables-nft')
      const { container } = await join(host, firewalled({ backend }))
      expect(await ping(container, outside.v4)).toBe(true)
      await host.output(['iptables', '-A', 'CNI-ADMIN', '-d', outside.v4, '-j', 'DROP'])
      expect(await ping(container, outside.v4, 1)).toBe(false)
    },
  )

  test('no mark of ours leaves the host with a packet, and marks of others stay', async ({ host }) => {
    await host.outside()
    await host.output(['nft', 'add', 'table', 'ip', 'watch'])
    const chain = (hook: string, priority: string) => `{ type filter hook ${hook} priority ${priority}; }`
    await host.output(['nft', 'add', 'chain', 'ip', 'watch', 'in', chain('prerouting', 'mangle')])
    await host.output(['nft', 'add', 'rule', 'ip', 'watch', 'in', 'meta', 'mark', 'set', '0x42'])
    await host.output(['nft', 'add', 'chain', 'ip', 'watch', 'out', chain('postrouting', 'filter')])
    await host.output([
      'nft',
      'add',
      'rule',
      'ip',
      'watch',
      'out',
      'ip',
      'protocol',
      'icmp',
      'meta',
      'mark',
      '!=',
      '0x42',
      'counter',
      'drop',
    ])
    const { container } = await join(host, firewalled({}, { ranges: 1 }))
    expect(await ping(container, outside.v4)).toBe(true)
    expect(await host.output(['nft', 'list', 'chain', 'ip', 'watch', 'out'])).toMatch(/counter packets 0 /)
  })
})

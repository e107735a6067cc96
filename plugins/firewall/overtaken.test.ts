import { describe, expect, test } from 'vitest'
import type { Row } from '../../shared/testing/golden.js'
import { overtaken } from '../../shared/testing/overtaking.js'

// The official plugins make the chains that all containers share without a lock of ours: one after another, also
// between our look and our change.

const result = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'br0' }, { name: 'vethc1' }, { name: 'eth0', sandbox: '/proc/self/ns/net' }],
  ips: [{ address: '10.1.2.3/24', interface: 2 }],
}
const row = (plugin: string, config: object, files: Row['files'] = {}): Row => ({
  plugin,
  verb: 'ADD',
  config: { prevResult: result, ...config },
  env: { CNI_CONTAINERID: 'c1', DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=127.0.0.1,port=9' },
  files,
})
const ports = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
const host = {
  ...Object.fromEntries(['tcp', 'tcp6', 'udp', 'udp6'].map((name) => [`/proc/net/${name}`, ''])),
  '/proc/net/route': 'Iface\n',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
  '/proc/net/fib_trie': '  |-- 192.0.2.1\n     /32 host LOCAL\n',
}

describe.each<[string, Row, number]>([
  ['FORWARD that firewall prepares', row('firewall', { backend: 'nftables' }), 2],
  ['firewall with iptables', row('firewall', { backend: 'iptables', ingressPolicy: 'isolated' }), 4],
  ['portmap with iptables', row('portmap', { backend: 'iptables', runtimeConfig: { portMappings: ports } }, host), 4],
])('%s', (_, add, count) => {
  const chainsOf = async () => {
    const { chains, said, status } = await overtaken(add, [])
    expect([status, said]).toEqual([0, ''])
    expect(chains.length).toBeGreaterThanOrEqual(count)
    // Our own are made under our lock.
    return chains.filter((chain) => !chain.startsWith('PODWIRE-'))
  }

  test('does not mind another program that makes one of its chains first, and has the same in the end', async () => {
    const { things } = await overtaken(add, [])
    for (const chain of await chainsOf()) {
      const raced = await overtaken(add, [chain])
      expect(raced, chain).toMatchObject({ status: 0, said: '', lost: 1 })
      expect(raced.things, chain).toEqual(things)
    }
  })

  test.each([
    ['iptables 1.8.9', 'iptables-restore: line 2 failed: Chain already exists.\n'],
    ['iptables 1.8.9, when it commits', 'iptables-restore: \nline 4: CHAIN_ADD failed (File exists): chain X\n'],
    ['iptables-legacy 1.8.9', 'iptables-restore: line 2 failed\n'],
  ])('nor one that makes all of them, in the words of %s', async (_, words) => {
    const { things } = await overtaken(add, [])
    const chains = await chainsOf()
    const raced = await overtaken(add, chains, words)
    expect(raced).toMatchObject({ status: 0, said: '', lost: chains.length })
    expect(raced.things).toEqual(things)
  })
})

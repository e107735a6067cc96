import { writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf } from '../harness/answer.js'
import { ChainError } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { until } from '../harness/process.js'
import { ask, type Protocol, serve } from '../harness/traffic.js'
import { addresses, elementCount, type Mapping, publish, publishing, tcp } from './setting.js'

/** A host with an uplink, and a container that answers on port 80 of both protocols. */
async function setting(host: Host): Promise<{ outside: Container; container: Container }> {
  const { container: outside } = await host.outside()
  const container = await host.container()
  for (const protocol of ['tcp', 'udp'] as const) await serve(container, { protocol, port: 80, name: 'container' })
  return { outside, container }
}

const mappingOf = (protocol: Protocol, hostPort = 8080): Mapping => ({ hostPort, containerPort: 80, protocol })

/** Who answers on an address; `from` the host itself unless told. */
async function answerer(from: Host | Container, address: string, protocol: Protocol = 'tcp', port = 8080) {
  return (await ask(from, { protocol, address, port, deadline: 8_000 }))?.server
}

/** What is left of portmap's when it is gone: nothing. */
async function expectNothingLeft(host: Host): Promise<void> {
  expect(await elementCount(host)).toBe(0)
  expect(await host.output(['iptables-save'])).not.toContain('CNI-DN-')
  expect(await host.output(['ip6tables-save'])).not.toContain('CNI-DN-')
}

describe.each(['nftables', 'iptables'])('a listener that is left alone, by %s', (backend) => {
  const portmap = { backend }

  const loopback: [Protocol, string][] = [
    ['tcp', '127.0.0.1'],
    ['udp', '127.0.0.53'],
    ['tcp', '::ffff:127.0.0.1'],
    ['tcp', '::1'],
    ['udp', '::1'],
  ]
  test.for(loopback)('%s on %s: both services answer, until DEL', async ([protocol, address], { host }) => {
    const { outside, container } = await setting(host)
    await serve(host, { protocol, port: 8080, name: 'listener', address })
    const chain = await publish(host, container, [mappingOf(protocol)], { portmap })
    const own = address.replace('::ffff:', '')
    expect(await answerer(host, own, protocol)).toBe('listener')
    for (const published of [addresses[4], addresses[6]]) {
      expect(await answerer(outside, published, protocol)).toBe('container')
      expect(await answerer(host, published, protocol)).toBe('container')
    }
    if (own !== '127.0.0.1') expect(await answerer(host, '127.0.0.1', protocol)).toBe('container')
    await chain.check()
    await chain.gc([{ containerID: container.name, ifname: 'eth0' }])
    await chain.check()
    expect(await answerer(host, own, protocol)).toBe('listener')
    await chain.del()
    await expectNothingLeft(host)
  })

  test('in a range, and beside others that want the same port for one address', async ({ host }) => {
    const { container } = await setting(host)
    await serve(host, { protocol: 'tcp', port: 8083, name: 'listener', address: '127.0.0.1' })
    const range = Array.from({ length: 8 }, (_, index) => tcp(8080 + index, 8080 + index))
    const chain = await publish(host, container, range, { portmap })
    for (const port of [8082, 8083]) await serve(container, { protocol: 'tcp', port, name: 'container' })
    expect(await answerer(host, '127.0.0.1', 'tcp', 8083)).toBe('listener')
    expect(await answerer(host, '127.0.0.1', 'tcp', 8082)).toBe('container')
    expect(await answerer(host, addresses[4], 'tcp', 8083)).toBe('container')
    const other = publishing(host, await host.container(), [tcp(8083, 80, '127.0.0.9')], { portmap })
    await expect(other.add()).rejects.toThrow(/host port .*8083\/tcp: it is published by container/)
    await other.del()
    await chain.del(true)
    await expectNothingLeft(host)
  })

  test('CHECK and GC know what is left to it', async ({ host }) => {
    const { container } = await setting(host)
    await serve(host, { protocol: 'tcp', port: 8080, name: 'listener', address: '127.0.0.1' })
    const chain = await publish(host, container, [tcp(8080)], { portmap })
    const chainName = async () => /CNI-DN-\w+/.exec(await host.output(['iptables-save', '-t', 'nat']))?.[0] ?? ''
    const remove =
      backend === 'nftables'
        ? ['nft', 'delete element ip podwire portmap_address_conditions { 127.0.0.1 . tcp . 8080 }']
        : ['iptables', '-t', 'nat', '-D', await chainName(), '1']
    await host.output(remove)
    await expect(chain.check()).rejects.toThrow(
      backend === 'nftables'
        ? /portmap_address_conditions: found ..no such element.*127\.0\.0\.1 \. tcp \. 8080/
        : /iptables table nat: found ..no such rule.*-d 127\.0\.0\.1 -j RETURN/,
    )
    await chain.del()
    await publish(host, container, [tcp(8080)], { portmap })
    await container.remove()
    await chain.gc([])
    await expectNothingLeft(host)
  })

  test('on an address that the host has not, also when it comes', async ({ host }) => {
    const { outside, container } = await setting(host)
    await host.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind'])
    await serve(host, { protocol: 'tcp', port: 8080, name: 'listener', address: '192.0.2.77' })
    const chain = await publish(host, container, [tcp(8080)], { portmap })
    await host.output(['ip', 'address', 'add', '192.0.2.77/24', 'dev', 'uplink'])
    expect(await answerer(outside, '192.0.2.77')).toBe('listener')
    expect(await answerer(outside, addresses[4])).toBe('container')
    await chain.del()
    await expectNothingLeft(host)
  })

  test('on IPv6 only, beside a mapping of IPv4', async ({ host }) => {
    const { outside, container } = await setting(host)
    writeFileSync(host.path('/run/answer'), '{"server":"listener"}')
    host.start(['socat', 'TCP6-LISTEN:8080,ipv6only=1,fork', 'EXEC:cat /run/answer'], { keepOpen: true })
    const isUp = async () => (await host.output(['cat', '/proc/net/tcp6'])).includes(':1F90 ')
    await until('socat listens', isUp)
    const chain = await publish(host, container, [tcp(8080, 80, '0.0.0.0')], { portmap })
    expect(await answerer(outside, addresses[4])).toBe('container')
    expect(await answerer(outside, addresses[6])).toBe('listener')
    await chain.del()
    const both = publishing(host, container, [tcp(8080)], { portmap })
    await expect(both.add()).rejects.toThrow(/host port 8080\/tcp: process \d+ \(socat/)
    await both.del()
  })
})

describe('an address that a condition excludes goes on to lead to its listener, as with the official plugin', () => {
  const agents = { 4: '169.254.170.23', 6: 'fd00:ec2::23' } as const
  const words = {
    iptables: { conditionsV4: ['!', '-d', agents[4]], conditionsV6: ['!', '-d', `${agents[6]}/128`] },
    nftables: { conditionsV4: ['ip', 'daddr', '!=', agents[4]], conditionsV6: [`ip6 daddr != ${agents[6]}`] },
  }
  const rows: [Suite, keyof typeof words][] = [
    ['podwire', 'iptables'],
    ['podwire', 'nftables'],
    ['official', 'iptables'],
    ['official', 'nftables'],
  ]
  test.for(rows)('%s, by %s', async ([suite, backend], { host }) => {
    const { outside, container } = await setting(host)
    for (const address of Object.values(agents)) {
      await host.output(['ip', 'address', 'add', address, 'dev', 'lo', ...(address.includes(':') ? ['nodad'] : [])])
      await serve(host, { protocol: 'tcp', port: 8080, name: 'agent', address })
    }
    const chain = await publish(host, container, [tcp(8080)], { suite, portmap: { backend, ...words[backend] } })
    for (const family of [4, 6] as const) {
      expect(await answerer(host, agents[family])).toBe('agent')
      expect(await answerer(outside, addresses[family])).toBe('container')
    }
    // What is excluded needs nothing of its own.
    if (suite === 'podwire' && backend === 'nftables') {
      expect(await host.output(['nft', 'list', 'ruleset'])).not.toContain(': accept')
    }
    await chain.del()
    await expectNothingLeft(host)
  })
})

describe.each(['nftables', 'iptables'])('a listener that would be cut off, by %s', (backend) => {
  const portmap = { backend }

  const refused: [string, Mapping, string, string][] = [
    ['on every address', tcp(8080), '0.0.0.0', 'let the process listen on one address and give another one as hostIP'],
    ['on every address, for a hostIP', tcp(8080, 80, '127.0.0.1'), '0.0.0.0', 'let the process listen on one address'],
    ['on an address of the host', tcp(8080), addresses[4], `give a hostIP that is not ${addresses[4]}, or conditions`],
    ['on an IPv6 address of the host', tcp(8080), addresses[6], `give a hostIP that is not ${addresses[6]}`],
    ['on a loopback address that is asked for', tcp(8080, 80, '127.0.0.1'), '127.0.0.1', 'give a hostIP that is not'],
  ]
  test.for(refused)('%s: its process, its address and the way out', async ([, mapping, address, fix], { host }) => {
    const { container } = await setting(host)
    await serve(host, { protocol: 'tcp', port: 8080, name: 'listener', address })
    const chain = publishing(host, container, [mapping], { portmap })
    const thrown = await chain.add().catch((error: unknown) => error)
    if (!(thrown instanceof ChainError)) throw new Error(`ADD was not refused: ${String(thrown)}`)
    const error = errorOf(thrown.finished)
    expect(error.code).toBe(106)
    expect(error.msg).toMatch(/cannot publish host port .*8080\/tcp: process \d+ \(.*node.*\) listens on it/)
    expect(error.details).toContain(`bound to ${address.includes(':') ? `[${address}]` : address}:8080/tcp`)
    expect(error.details).toContain(fix)
    expect(await answerer(host, address === '0.0.0.0' ? '127.0.0.1' : address)).toBe('listener')
    await chain.del()
    await expectNothingLeft(host)
  })

  test('a UDP socket on a port for clients warns, one elsewhere is refused', async ({ host }) => {
    const { outside, container } = await setting(host)
    await host.output(['sh', '-c', 'echo 40000 40009 >/proc/sys/net/ipv4/ip_local_port_range'])
    for (const port of [40_009, 40_010])
      await serve(host, { protocol: 'udp', port, name: 'socket', address: '0.0.0.0' })
    const chain = publishing(host, container, [mappingOf('udp', 40_010)], { portmap })
    await expect(chain.add()).rejects.toThrow(/host port 40010\/udp: process \d+ \(.*node/)
    await chain.del()
    await publish(host, container, [mappingOf('udp', 40_009)], { portmap })
    expect(await answerer(outside, addresses[4], 'udp', 40_009)).toBe('container')
  })
})

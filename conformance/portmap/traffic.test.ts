import { describe, expect } from 'vitest'
import { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { ask, type Protocol, serve } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'
import { addresses, publish, tcp, udp } from './setting.js'

const protocols: Protocol[] = ['tcp', 'udp']
const families = [4, 6] as const
const outsideAddress = { 4: '192.0.2.2', 6: '2001:db8:f::2' } as const
const backends = ['nftables', 'iptables']

/** A machine reached through the host, such as one of another site: 198.51.100.2. */
async function beyond(host: Host): Promise<Container> {
  await host.output(['ip', 'netns', 'add', 'beyond'])
  const script = [
    'link add far type veth peer name eth0 netns beyond',
    'addr add 198.51.100.1/24 dev far',
    'addr add 2001:db8:a::1/64 dev far nodad',
    'link set far up',
  ]
  await host.output(['ip', '-batch', '-'], { stdin: `${script.join('\n')}\n` })
  const container = new Container(host, 'beyond')
  await container.batch([
    'link set lo up',
    'addr add 198.51.100.2/24 dev eth0',
    'addr add 2001:db8:a::2/64 dev eth0 nodad',
    'link set eth0 up',
    'route add default via 198.51.100.1',
    'route add default via 2001:db8:a::1',
  ])
  return container
}

describe.each(backends)('ports published by %s', (backend) => {
  const portmap = { backend }

  test.for(protocols)('%s from everywhere, and whom the container sees', async (protocol, { host }) => {
    const { container: outside } = await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const mapping = protocol === 'tcp' ? tcp(8080) : udp(8080, 80)
    const { result = {} } = await publish(host, one, [mapping], { portmap })
    await publish(host, two, [], { portmap })
    await serve(one, { protocol, port: 80, name: 'published' })
    for (const family of families) {
      const target = { protocol, address: addresses[family], port: 8080 }
      expect(await ask(outside, target), 'the outside is seen as it is').toMatchObject({
        server: 'published',
        source: outsideAddress[family],
      })
      expect(await ask(host, target), 'the host').toMatchObject({ server: 'published' })
      expect(await ask(two, target), 'a neighbour').toMatchObject({ server: 'published' })
      expect(await ask(one, target), 'itself').toMatchObject({ server: 'published' })
      const gateway = family === 4 ? '10.1.2.1' : 'fd00:1:2::1'
      expect(await ask(host, { ...target, address: gateway })).toMatchObject({ server: 'published' })
      expect(await ask(outside, { ...target, address: addressOf(result, family), deadline: 300 })).toBeUndefined()
    }
    const local = { protocol, address: '127.0.0.1', port: 8080 }
    expect(await ask(host, local)).toMatchObject({ server: 'published', source: '10.1.2.1' })
    // The kernel cannot answer for a container on ::1: nobody does.
    expect(await ask(host, { ...local, address: '::1', deadline: 300 })).toBeUndefined()
  })

  test('nothing answers any more after DEL, whatever it is told', async ({ host }) => {
    const { container: outside } = await host.outside()
    const container = await host.container()
    const chain = await publish(host, container, [tcp(8080)], { portmap })
    await serve(container, { protocol: 'tcp', port: 80 })
    const target = { protocol: 'tcp', address: addresses[4], port: 8080 } as const
    expect(await ask(outside, target)).toBeDefined()
    await chain.del(true)
    expect(await ask(outside, { ...target, deadline: 300 })).toBeUndefined()
  })

  test('what the host forwards to the same port of others passes untouched', async ({ host }) => {
    const { container: outside } = await host.outside()
    const far = await beyond(host)
    await outside.batch(['route add 198.51.100.0/24 via 192.0.2.1', 'route add 2001:db8:a::/64 via 2001:db8:f::1'])
    const container = await host.container()
    await publish(host, container, [tcp(8080), udp(8080, 80)], { portmap })
    for (const protocol of protocols) {
      await serve(container, { protocol, port: 80, name: 'published' })
      await serve(far, { protocol, port: 8080, name: 'far' })
      for (const [address, source] of [
        ['198.51.100.2', '192.0.2.2'],
        ['2001:db8:a::2', '2001:db8:f::2'],
      ] as const) {
        expect(await ask(outside, { protocol, address, port: 8080 })).toMatchObject({ server: 'far', source })
      }
    }
  })

  test('127.0.0.0/8 stays closed to the outside although route_localnet is set', async ({ host }) => {
    const { container: outside } = await host.outside()
    const container = await host.container()
    await publish(host, container, [tcp(8080)], { portmap })
    expect((await host.output(['cat', '/proc/sys/net/ipv4/conf/br2/route_localnet'])).trim()).toBe('1')
    await serve(host, { protocol: 'tcp', port: 2222, address: '127.0.0.1', name: 'private' })
    await serve(container, { protocol: 'tcp', port: 80 })
    // A neighbour who routes 127.0.0.1 to the host instead of to itself, on the uplink and on the bridge.
    await host.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/conf/uplink/route_localnet'])
    for (const [place, via, link] of [
      [outside, '192.0.2.1', 'eth0'],
      [container, '10.1.2.1', 'eth0'],
    ] as const) {
      await place.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet'])
      await place.batch(['addr del 127.0.0.1/8 dev lo', `route add 127.0.0.1/32 via ${via} dev ${link}`])
      for (const port of [2222, 8080]) {
        expect(await ask(place, { protocol: 'tcp', address: '127.0.0.1', port, deadline: 400 })).toBeUndefined()
      }
    }
    const privately = { protocol: 'tcp', address: '127.0.0.1', port: 2222 } as const
    expect(await ask(host, privately)).toMatchObject({ server: 'private' })
    // It is the guard that keeps it closed.
    const guard = { nftables: ['nft', 'flush', 'chain', 'ip', 'podwire', 'portmap_guard'] }
    const flush = backend === 'iptables' ? ['iptables', '-t', 'raw', '-F', 'PODWIRE-GUARD'] : guard.nftables
    await host.output(flush)
    expect(await ask(outside, privately)).toMatchObject({ server: 'private' })
  })

  test('hostIP: that address answers, others do not', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    await publish(host, one, [tcp(8080, 80, '127.0.0.1'), tcp(9090, 80, addresses[6])], { portmap })
    await publish(host, two, [tcp(8080, 80, addresses[4])], { portmap })
    await serve(one, { protocol: 'tcp', port: 80, name: 'one' })
    await serve(two, { protocol: 'tcp', port: 80, name: 'two' })
    const target = { protocol: 'tcp', port: 8080 } as const
    expect(await ask(host, { ...target, address: '127.0.0.1' })).toMatchObject({ server: 'one' })
    expect(await ask(outside, { ...target, address: addresses[4] })).toMatchObject({ server: 'two' })
    expect(await ask(host, { ...target, address: '10.1.2.1', deadline: 300 })).toBeUndefined()
    expect(await ask(outside, { ...target, address: addresses[6], port: 9090 })).toMatchObject({ server: 'one' })
    expect(await ask(outside, { ...target, address: addresses[4], port: 9090, deadline: 300 })).toBeUndefined()
  })

  test('masqAll hides everybody, snat false nobody', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [hidden, seen] = [await host.container(), await host.container()]
    await publish(host, hidden, [tcp(8081)], { portmap: { ...portmap, masqAll: true } })
    await publish(host, seen, [tcp(8082)], { portmap: { ...portmap, snat: false }, network: 'other' })
    expect((await host.output(['cat', '/proc/sys/net/ipv4/conf/br3/route_localnet'])).trim()).toBe('0')
    for (const container of [hidden, seen]) await serve(container, { protocol: 'tcp', port: 80 })
    const target = { protocol: 'tcp', address: addresses[4] } as const
    expect(await ask(outside, { ...target, port: 8081 })).toMatchObject({ source: '10.1.2.1' })
    expect(await ask(outside, { ...target, port: 8082 })).toMatchObject({ source: '192.0.2.2' })
    expect(await ask(host, { ...target, address: '127.0.0.1', port: 8082, deadline: 300 })).toBeUndefined()
  })

  test('conditions of one network hold for that network only', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [closed, open] = [await host.container(), await host.container()]
    const conditionsV4 =
      backend === 'iptables'
        ? ['!', '-s', '192.0.2.0/24']
        : ['ip', 'saddr', '!=', '192.0.2.2', 'tcp', 'dport', '!=', '1']
    await publish(host, closed, [tcp(8081), tcp(8083, 80, addresses[4])], { portmap: { ...portmap, conditionsV4 } })
    await publish(host, open, [tcp(8082)], { portmap, network: 'other' })
    for (const container of [closed, open]) await serve(container, { protocol: 'tcp', port: 80 })
    const target = { protocol: 'tcp', address: addresses[4] } as const
    expect(await ask(outside, { ...target, port: 8081, deadline: 300 })).toBeUndefined()
    expect(await ask(outside, { ...target, port: 8083, deadline: 300 })).toBeUndefined()
    expect(await ask(outside, { ...target, port: 8082 })).toBeDefined()
    expect(await ask(outside, { ...target, address: addresses[6], port: 8081 })).toBeDefined()
    const inside = { ...target, address: '127.0.0.1', port: 8081 }
    expect(await ask(host, inside)).toBeDefined()
  })

  test('UDP clients that keep sending reach whoever has the port now', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [first, second] = [await host.container(), await host.container()]
    for (const one of [first, second]) await serve(one, { protocol: 'udp', port: 53, name: one.name })
    const target = { protocol: 'udp', address: addresses[4], port: 5353 } as const
    const flows = (port: number) => host.output(['conntrack', '-L', '-p', 'udp', '--orig-port-dst', String(port)])

    // Nobody has the port: the flow ends at the host, and would go on to do so.
    expect(await ask(outside, { ...target, deadline: 300 })).toBeUndefined()
    const chain = await publish(host, first, [udp(5353)], { portmap })
    expect(await ask(outside, target)).toMatchObject({ server: first.name })
    // Somebody else's flow with the same port number.
    await serve(outside, { protocol: 'udp', port: 5353, name: 'elsewhere' })
    expect(await ask(host, { ...target, address: '192.0.2.2' })).toMatchObject({ server: 'elsewhere' })
    await chain.del()
    expect(await flows(5353)).not.toContain('src=10.1.2.2')
    expect(await flows(5353)).toContain('dst=192.0.2.2')
    await publish(host, second, [udp(5353)], { portmap })
    expect(await ask(outside, target)).toMatchObject({ server: second.name })
    expect(await flows(5353)).toContain('dst=192.0.2.2')
  })
})

describe('nftables', () => {
  test('a range is one element, and every port of it answers', async ({ host }) => {
    const { container: outside } = await host.outside()
    const container = await host.container()
    const range = Array.from({ length: 100 }, (_, index) => tcp(7000 + index, 7000 + index))
    await publish(host, container, [...range, tcp(8080)])
    expect(await host.output(['nft', 'list', 'map', 'ip', 'podwire', 'portmap_ranges'])).toContain('tcp . 7000-7099')
    for (const port of [7000, 7042, 7099]) {
      await serve(container, { protocol: 'tcp', port, name: String(port) })
      for (const family of families) {
        const answer = await ask(outside, { protocol: 'tcp', address: addresses[family], port })
        expect(answer).toMatchObject({ server: String(port), source: outsideAddress[family] })
      }
    }
    expect(await ask(outside, { protocol: 'tcp', address: addresses[4], port: 7100, deadline: 300 })).toBeUndefined()
  })
})

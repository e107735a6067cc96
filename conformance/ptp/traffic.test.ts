import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'
import { add, fixed } from './network.js'

const targets = [
  [4, '10.1.2.1', '192.0.2.2', '192.0.2.1'],
  [6, 'fd00:1:2::1', '2001:db8:f::2', '2001:db8:f::1'],
] as const

describe('packets', () => {
  test('to the host, to each other and to the outside, which sees the host', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const [first, second] = [await add(host, one), await add(host, two)]
    for (const [family, gateway, out, seen] of targets) {
      expect(await ping(one, gateway)).toBe(true)
      expect(await ping(host, addressOf(first, family))).toBe(true)
      await serve(two, { protocol: 'tcp', port: 80, address: addressOf(second, family) })
      const neighbour = await ask(one, { protocol: 'tcp', address: addressOf(second, family), port: 80 })
      expect(neighbour?.source).toBe(addressOf(first, family))
      const { stop } = await serve(outside, { protocol: 'udp', port: 53, address: out })
      expect((await ask(one, { protocol: 'udp', address: out, port: 53 }))?.source).toBe(seen)
      await stop()
    }
  })

  test.for([{ ipMasq: false }, { ipMasq: true, ipMasqBackend: 'iptables' }])(
    'outside with %j',
    async (change, { host }) => {
      const { container: outside } = await host.outside()
      const container = await host.container()
      await add(host, container, change)
      for (const [, gateway, out, seen] of targets) {
        const { stop } = await serve(outside, { protocol: 'tcp', port: 80, address: out })
        const answer = await ask(container, {
          protocol: 'tcp',
          address: out,
          port: 80,
          deadline: change.ipMasq ? 15_000 : 400,
        })
        expect(answer?.source).toBe(change.ipMasq ? seen : undefined)
        expect(await ping(container, gateway)).toBe(true)
        await stop()
      }
    },
  )

  test('IPv6 answers at once: no address is tentative when ADD returns', async ({ host }) => {
    const container = await host.container()
    const result = await add(host, container)
    const shown = await container.output(['ip', '-6', 'addr', 'show', 'dev', 'eth0'])
    const atHost = await host.output(['ip', '-6', 'addr', 'show', 'dev', result.interfaces?.[0]?.name ?? ''])
    expect(`${shown}${atHost}`.split('\n').filter((line) => /fd00.*tentative/.test(line))).toEqual([])
    expect(await ping(host, addressOf(result, 6), 1)).toBe(true)
  })

  test('addresses without a subnet, several of them in one, and no gateway named', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [one, two] = [await host.container(), await host.container()]
    const routes = [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]
    const alone = [
      { address: '10.7.0.7/32', gateway: '169.254.1.1' },
      { address: 'fd00:7::7/128', gateway: 'fe80::1' },
    ]
    await add(host, one, fixed(alone, routes))
    await add(
      host,
      two,
      fixed([{ address: '10.8.0.8/24' }, { address: '10.8.0.9/24' }, { address: 'fd00:8::8/64' }], routes),
    )
    for (const address of ['10.8.0.8', '10.8.0.9', 'fd00:8::8']) expect(await ping(one, address)).toBe(true)
    for (const address of ['10.7.0.7', 'fd00:7::7', '10.8.0.1', 'fd00:8::1'])
      expect(await ping(two, address)).toBe(true)
    await serve(outside, { protocol: 'tcp', port: 80 })
    for (const [, , out, seen] of targets) {
      expect((await ask(one, { protocol: 'tcp', address: out, port: 80 }))?.source).toBe(seen)
    }
  })

  test('packets of the MTU pass whole, larger ones do not', async ({ host }) => {
    const container = await host.container()
    const result = await add(host, container, { mtu: 1400 })
    const send = (size: number) =>
      container.exec(['ping', '-n', '-c', '1', '-w', '2', '-M', 'do', '-s', String(size), '10.1.2.1'])
    expect((await send(1372)).status).toBe(0)
    expect((await send(1373)).status).not.toBe(0)
    expect(result.interfaces).toHaveLength(2)
  })
})

test('router advertisements are refused at both ends', async ({ host }) => {
  const container = await host.container()
  const result = await add(host, container)
  const read = (link: string) => ['cat', `/proc/sys/net/ipv6/conf/${link}/accept_ra`]
  expect(await container.output(read('eth0'))).toBe('0\n')
  expect(await host.output(read(result.interfaces?.[0]?.name ?? ''))).toBe('0\n')
})

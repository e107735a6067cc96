import { describe, expect } from 'vitest'
import { test } from './fixture.js'
import { ask, type Protocol, ping, serve } from './traffic.js'

const protocols: Protocol[] = ['tcp', 'udp']

describe('traffic between namespaces', () => {
  for (const protocol of protocols) {
    test(`${protocol} is answered and says whom the server sees`, async ({ host }) => {
      const { container } = await host.outside()
      await serve(container, { protocol, port: 8080, name: 'web' })
      expect(await ask(host, { protocol, address: '192.0.2.2', port: 8080 })).toMatchObject({
        server: 'web',
        source: '192.0.2.1',
      })
      expect(await ask(host, { protocol, address: '2001:db8:f::2', port: 8080 })).toMatchObject({
        source: '2001:db8:f::1',
      })
    })

    test(`${protocol} that must not pass is seen not to`, async ({ host }) => {
      const { container } = await host.outside()
      const { stop } = await serve(container, { protocol, port: 8080 })
      await container.output(['nft', 'add table inet t; add chain inet t i { type filter hook input priority 0; }'])
      await container.output(['nft', 'add rule inet t i meta l4proto { tcp, udp } drop'])
      expect(await ask(host, { protocol, address: '192.0.2.2', port: 8080, deadline: 300 })).toBeUndefined()
      await stop()
    })
  }

  test('an address that nobody has does not answer a ping', async ({ host }) => {
    await host.outside()
    expect(await ping(host, '192.0.2.2')).toBe(true)
    expect(await ping(host, '192.0.2.77', 1)).toBe(false)
  })
})

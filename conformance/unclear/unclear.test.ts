import { describe, expect } from 'vitest'
import { call as device, state as devicesState, hostLocal, linkOf } from '../devices/calls.js'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call as ptp } from '../ptp/network.js'
import { type Case, cases, look, settled } from './cases.js'
import { endable, endInTurn, type Moment } from './ending.js'

describe('an ADD whose tool ends without naming a line leaves nothing and names all it was given:', () => {
  for (const [name, { places, prepare }] of Object.entries(cases)) {
    test(`${name}, by tools alone`, { timeout: 240_000 }, async ({ host }) => {
      const add = await prepare(host)
      const end = await endable(host)
      const env = { PODWIRE_NO_NETLINK: '1' }
      expect(await endInTurn(host, { ...add, env }, { look, end })).toBeGreaterThanOrEqual(places)
    })
  }

  for (const name of ['bridge with iptables', 'tap', 'portmap with iptables', 'firewall with iptables', 'bandwidth']) {
    test(`${name}, where netlink does what it can`, { timeout: 240_000 }, async ({ host }) => {
      const add = await (cases[name] as Case).prepare(host)
      const end = await endable(host)
      expect(await endInTurn(host, add, { look, end })).toBeGreaterThanOrEqual(1)
    })
  }
})

describe('what was there before stays,', () => {
  const moments: Omit<Moment, 'place'>[] = [
    { ending: 'with 255', extent: 'none' },
    { ending: 'killed', extent: 'all' },
  ]
  for (const { ending, extent } of moments) {
    for (const plugin of ['tap', 'macvlan'] as const) {
      test(`an interface of the container: ${plugin}, ${extent} done, ${ending}`, async ({ host }) => {
        await host.outside()
        const container = await host.container('c1')
        const more = plugin === 'macvlan' ? { master: 'uplink' } : {}
        const add = device(plugin, 'ADD', container, { ...more, ipam: hostLocal })
        // As an earlier ADD of the same attachment left it, and is in use.
        resultOf(await runPlugin(host, add))
        const before = await look(host)
        const end = await endable(host)
        end({ place: 1, ending, extent })
        const { details } = errorOf(await runPlugin(host, { ...add, env: { PODWIRE_NO_NETLINK: '1' } }))
        expect(details).not.toContain('left behind')
        const links = (lines: string[]) => lines.filter((line) => / (link|address) eth0 /.test(line))
        expect(links(await look(host))).toEqual(links(before))
        expect(links(before).length).toBeGreaterThan(0)
      })
    }

    test(`the interface that host-device's device was to be called: ${extent} done, ${ending}`, async ({ host }) => {
      const add = await (cases['host-device'] as Case).prepare(host)
      const container = host.containers[0] as Container
      await container.batch(['link add eth0 type veth peer name eth1', 'link set eth0 up'])
      const before = await devicesState(host)
      const end = await endable(host)
      for (const place of [1, 2, 3]) {
        end({ place, ending, extent })
        errorOf(await runPlugin(host, { ...add, env: { PODWIRE_NO_NETLINK: '1' } }))
        expect(difference(before, await devicesState(host)), `place ${place}`).toBe('')
        expect((await linkOf(container, 'eth0'))?.linkinfo?.info_kind).toBe('veth')
      }
    })

    test(`the pair of the same attachment: ${extent} done, ${ending}`, async ({ host }) => {
      const add = ptp('ADD', await host.container())
      resultOf(await runPlugin(host, add))
      const links = async () => (await look(host)).filter((line) => / link /.test(line))
      const before = await links()
      const end = await endable(host)
      end({ place: 1, ending, extent })
      errorOf(await runPlugin(host, { ...add, env: { PODWIRE_NO_NETLINK: '1' } }))
      expect(await links()).toEqual(before)
    })
  }
})

describe('what cannot be taken back is said', () => {
  test('ip that always ends with 255, having done all, at an ADD', async ({ host }) => {
    const add = ptp('ADD', await host.container())
    await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
    const script =
      '#!/bin/sh\ncase "$*" in *-force*) exit 255 ;; *-batch*) /usr/sbin/ip "$@"; exit 255 ;; esac\nexec /usr/sbin/ip "$@"\n'
    await host.output(['tee', '/usr/local/sbin/ip'], { stdin: script })
    await host.output(['chmod', '+x', '/usr/local/sbin/ip'])
    const { details } = errorOf(await runPlugin(host, { ...add, env: { PODWIRE_NO_NETLINK: '1' } }))
    expect(details).toMatch(/left behind: cannot remove veth[0-9a-f]+: exit status 255/)
  })

  test('ip that does a removal and ends with 255: there is nothing to say', async ({ host }) => {
    const add = ptp('ADD', await host.container())
    resultOf(await runPlugin(host, add))
    await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
    const script = '#!/bin/sh\n/usr/sbin/ip "$@"\ncase "$*" in *-batch*) exit 255 ;; esac\n'
    await host.output(['tee', '/usr/local/sbin/ip'], { stdin: script })
    await host.output(['chmod', '+x', '/usr/local/sbin/ip'])
    succeedSilently(await runPlugin(host, { ...add, command: 'DEL', env: { PODWIRE_NO_NETLINK: '1' } }))
    expect((await look(host)).filter((line) => / link (veth|eth0)/.test(line))).toEqual([])
  })
})

describe('a tool without end is ended', () => {
  const scripts = {
    'that hangs': { ending: 'sleep 1000 & sleep 1000', says: 'ran for more than 30 s' },
    'that prints for ever': { ending: 'yes', says: 'printed more than 64 MiB' },
  }
  for (const [name, { ending, says }] of Object.entries(scripts)) {
    for (const [plugin, tool] of [
      ['ptp', 'ip'],
      ['ptp', 'nft'],
    ] as const) {
      test(`${tool} ${name}, all of it done: nothing is left, no process either`, { timeout: 240_000 }, async ({
        host,
      }) => {
        const add = await settled(host, ptp('ADD', await host.container()))
        const before = await look(host)
        await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
        const once = `[ -e /run/ended ] || { /usr/sbin/${tool} "$@"; : >/run/ended; ${ending}; }`
        const script = `#!/bin/sh\ncase "$*" in *-force*) ;; *-batch*|"-f -") ${once} ;; esac\nexec /usr/sbin/${tool} "$@"\n`
        await host.output(['tee', `/usr/local/sbin/${tool}`], { stdin: script })
        await host.output(['chmod', '+x', `/usr/local/sbin/${tool}`])
        const began = performance.now()
        const { msg } = errorOf(await runPlugin(host, { ...add, plugin, env: { PODWIRE_NO_NETLINK: '1' } }))
        expect(msg).toContain(says)
        expect(performance.now() - began).toBeLessThan(60_000)
        expect(difference(before, await look(host))).toBe('')
        expect(host.processes()).toEqual([])
      })
    }
  }
})

import { describe, expect } from 'vitest'
import { errorOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin } from '../harness/plugin.js'
import { ping } from '../harness/traffic.js'
import { type FakeFirewalld, fakeFirewalld } from './bus.js'
import { fakeTools, firewalled, join, onlyFirewall } from './networks.js'

/** A host with firewalld on its bus; `body` speaks to it. */
async function withFirewalld(
  host: Host,
  body: (firewalld: FakeFirewalld) => Promise<void>,
  isRunning = true,
): Promise<void> {
  await host.output(['mkdir', '/run/dbus'])
  const firewalld = await fakeFirewalld(host.path('/run/dbus/system_bus_socket'), { isRunning })
  try {
    await body(firewalld)
  } finally {
    await firewalld.close()
  }
}

const sourcesOf = ({ zones }: FakeFirewalld, zone = 'trusted') => [...(zones.get(zone) ?? [])].sort()

describe('firewalld', () => {
  test('is the default where it runs: sources are added, checked, removed', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled()
      const { chain } = await join(host, network)
      expect(sourcesOf(firewalld)).toEqual(['10.1.2.2/32', 'fd00:1:2::2/128'])
      expect(await host.output(['nft', 'list', 'ruleset'])).not.toContain('firewall_')
      await chain.check()
      await chain.del(true)
      expect(sourcesOf(firewalld)).toEqual([])
      await chain.del()
    })
  })

  test('is not asked for anything where it does not run', async ({ host }) => {
    await withFirewalld(
      host,
      async (firewalld) => {
        const { chain } = await join(host, firewalled())
        expect(firewalld.calls).toEqual(['GetNameOwner org.fedoraproject.FirewallD1'])
        expect(await host.output(['nft', 'list', 'ruleset'])).toContain('firewall_addresses')
        await chain.del()
      },
      false,
    )
  })

  test('takes the addresses in the zone that is named', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled({ backend: 'firewalld', firewalldZone: 'internal' }, { ranges: 1 })
      const { chain } = await join(host, network)
      expect(sourcesOf(firewalld, 'internal')).toEqual(['10.1.2.2/32'])
      await chain.del()
      expect(sourcesOf(firewalld, 'internal')).toEqual([])
    })
  })

  test('an address that is bound already is fine, a zone that does not exist is not', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled({ backend: 'firewalld' })
      const member = await join(host, network)
      await onlyFirewall(host, member, network).add()
      const nowhere = firewalled({ backend: 'firewalld', firewalldZone: 'nowhere' })
      await expect(onlyFirewall(host, member, nowhere, { ifName: 'net1' }).add()).rejects.toThrow(
        /failed to add the address 10\.1\.2\.2\/32 to nowhere zone: .*INVALID_ZONE/,
      )
      expect(sourcesOf(firewalld)).toEqual(['10.1.2.2/32', 'fd00:1:2::2/128'])
      await member.chain.del()
    })
  })

  test.for(['exit 255', 'kill -9 $$', 'exit 1'])(
    'a source that was added by a client that ended without an answer (%s) is taken back',
    async (ending, { host }) => {
      await withFirewalld(host, async (firewalld) => {
        const network = firewalled({ backend: 'firewalld' })
        const member = await join(host, network)
        await member.chain.del()
        const script = `/usr/bin/\${0##*/} "$@" || exit; case "$*" in *addSource*) ${ending} ;; esac`
        await fakeTools(host, { busctl: script, 'dbus-send': script })
        await expect(onlyFirewall(host, member, network).add()).rejects.toThrow(/failed to add the address/)
        expect(firewalld.calls.filter((call) => call.startsWith('addSource')).length).toBeGreaterThan(0)
        expect(sourcesOf(firewalld)).toEqual([])
      })
    },
  )

  test('CHECK believes a "no", which the official plugin does not', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled({ backend: 'firewalld' })
      const member = await join(host, network)
      firewalld.zones.clear()
      await onlyFirewall(host, member, network, { suite: 'official' }).check()
      await expect(onlyFirewall(host, member, network).check()).rejects.toThrow(
        /firewalld zone trusted: found .*no such source.*, expected 10\.1\.2\.2\/32/,
      )
    })
  })

  test('both plugins ask the same of it', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled({ backend: 'firewalld' })
      const member = await join(host, { ...network, plugins: network.plugins.slice(0, 1) })
      const asked: string[][] = []
      for (const suite of ['official', 'podwire'] as const) {
        const alone = onlyFirewall(host, member, network, { suite })
        for (const verb of [alone.add, alone.check, alone.del]) await verb()
        asked.push(firewalld.calls.splice(0).filter((call) => !call.startsWith('GetNameOwner')))
      }
      expect(asked[1]).toEqual(asked[0])
      expect(asked[0]).toHaveLength(6)
    })
  })

  test('a source the official plugin left goes with our DEL', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled()
      const member = await join(host, network, { suite: 'official' })
      expect(sourcesOf(firewalld)).toHaveLength(2)
      await onlyFirewall(host, member, network).del()
      expect(sourcesOf(firewalld)).toEqual([])
    })
  })

  test('that is stopped before DEL has forgotten them: DEL succeeds', async ({ host }) => {
    const network = firewalled()
    const member: { del?: () => Promise<void> } = {}
    await withFirewalld(host, async () => {
      const { chain } = await join(host, network)
      member.del = () => chain.del()
    })
    await member.del?.()
    expect(await host.output(['find', '/run/podwire/firewall', '-type', 'f'])).toBe('')
  })

  test('ingress policies are kept by nftables', async ({ host }) => {
    await withFirewalld(host, async () => {
      const policed = (number: number) => firewalled({ ingressPolicy: 'same-bridge' }, { number })
      const [foo, bar] = [await join(host, policed(2)), await join(host, policed(3))]
      expect(await ping(foo.container, bar.v4, 1)).toBe(false)
      await foo.chain.check()
      await foo.chain.del()
      await bar.chain.del()
    })
  })

  test('speaks through dbus-send where there is no busctl, and says so where there is neither', async ({ host }) => {
    await withFirewalld(host, async (firewalld) => {
      const network = firewalled({ backend: 'firewalld' })
      await hide(host, 'busctl')
      const { chain } = await join(host, network)
      expect(sourcesOf(firewalld)).toHaveLength(2)
      await chain.check()
      await chain.del()
      expect(sourcesOf(firewalld)).toEqual([])
      await hide(host, 'dbus-send')
      await expect(join(host, network)).rejects.toThrow(/neither .*busctl.* nor .*dbus-send.* is installed/)
    })
  })

  test('STATUS', async ({ host }) => {
    await withFirewalld(host, async () => {
      const config = { cniVersion: '1.1.0', name: 'net', type: 'firewall', backend: 'firewalld' }
      succeedSilently(await runPlugin(host, { plugin: 'firewall', command: 'STATUS', config }))
    })
    const config = { cniVersion: '1.1.0', name: 'net', type: 'firewall', backend: 'firewalld' }
    expect(errorOf(await runPlugin(host, { plugin: 'firewall', command: 'STATUS', config })).code).toBe(50)
  })
})

/** Hides a program: a device is none. */
async function hide(host: Host, tool: string): Promise<void> {
  await host.output(['mount', '--bind', '/dev/null', `/usr/bin/${tool}`])
}

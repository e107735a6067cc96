import { describe, expect } from 'vitest'
import { call as device, state as devicesState, hostLocal, linkOf } from '../devices/calls.js'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { call as lan, lanNetwork } from '../lan/network.js'
import { call as bridge, config as bridged } from '../main/bridge-setting.js'
import { call as port, tcp, udp } from '../portmap/setting.js'
import { dual, call as ptp } from '../ptp/network.js'
import { endable, endInTurn, type Moment } from './ending.js'

/** Everything that a call can leave behind, without the files that only say where the next search begins. */
async function look(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni', '/run/podwire', '/run/cni'] })
  return lines
    .filter((line) => !/^file \S*\/(\S*lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
    .map((line) => line.replace(/^(host: link veth.*) txqlen 1000/, '$1'))
    .sort()
}

interface Case {
  /** The least number of places that its ADD has. */
  readonly places: number
  /** Makes what the call needs, and returns it. */
  readonly prepare: (host: Host) => Promise<Call>
}

/** An ADD and DEL before, so that what belongs to the network or the host is there already. */
async function settled(host: Host, add: Call): Promise<Call> {
  resultOf(await runPlugin(host, add))
  succeedSilently(await runPlugin(host, { ...add, command: 'DEL' }))
  return add
}

async function withPtp(host: Host): Promise<{ container: Container; prevResult: Result }> {
  const container = await host.container('c1')
  const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }] }
  const config = { cniVersion: '1.1.0', name: 'network', type: 'ptp', ipam }
  return { container, prevResult: resultOf(await runPlugin(host, ptp('ADD', container, { config }))) }
}

/** A call of a plugin behind ptp in a chain. */
async function chained(host: Host, type: string, more: object): Promise<Call> {
  const { container, prevResult } = await withPtp(host)
  const config = { cniVersion: '1.1.0', name: 'network', type, prevResult, ...more }
  return settled(host, { plugin: type, command: 'ADD', config, containerID: container.name, netns: container.netns })
}

const rates = { ingressRate: 8_000_000, ingressBurst: 80_000, egressRate: 16_000_000, egressBurst: 160_000 }

const cases: Record<string, Case> = {
  'bridge with nftables': {
    places: 10,
    prepare: async (host) => settled(host, bridge('ADD', await host.container())),
  },
  'bridge with iptables': {
    places: 10,
    prepare: async (host) => {
      const config = { ...bridged, macspoofchk: false, ipMasqBackend: 'iptables', hairpinMode: true }
      return settled(host, bridge('ADD', await host.container(), { config }))
    },
  },
  'ptp with nftables': { places: 10, prepare: async (host) => settled(host, ptp('ADD', await host.container())) },
  'ptp with iptables': {
    places: 10,
    prepare: async (host) => {
      const config = { ...dual, ipMasqBackend: 'iptables' }
      return settled(host, ptp('ADD', await host.container(), { config }))
    },
  },
  'macvlan with hostAccess': {
    places: 8,
    prepare: async (host) => {
      await host.outside()
      return settled(host, lan('ADD', await host.container(), lanNetwork('macvlan', { hostAccess: true })))
    },
  },
  tap: {
    places: 4,
    prepare: async (host) => settled(host, device('tap', 'ADD', await host.container(), { ipam: hostLocal })),
  },
  'host-device': {
    places: 5,
    prepare: async (host) => {
      await host.output(['ip', 'link', 'add', 'hd0', 'alias', 'as before', 'type', 'veth', 'peer', 'name', 'hd1'])
      await host.output(['ip', 'link', 'set', 'hd0', 'up'])
      return device('host-device', 'ADD', await host.container('c1'), { device: 'hd0', ipam: hostLocal })
    },
  },
  'portmap with nftables': {
    places: 1,
    prepare: async (host) =>
      settled(host, port('ADD', await host.container(), [tcp(8080), udp(5353)], { portmap: { backend: 'nftables' } })),
  },
  'portmap with iptables': {
    places: 1,
    prepare: async (host) =>
      settled(host, port('ADD', await host.container(), [tcp(8080), udp(5353)], { portmap: { backend: 'iptables' } })),
  },
  'firewall with nftables': {
    places: 1,
    prepare: (host) => chained(host, 'firewall', { backend: 'nftables', ingressPolicy: 'same-bridge' }),
  },
  'firewall with iptables': { places: 1, prepare: (host) => chained(host, 'firewall', { backend: 'iptables' }) },
  bandwidth: { places: 4, prepare: (host) => chained(host, 'bandwidth', rates) },
  tuning: {
    places: 2,
    prepare: (host) =>
      chained(host, 'tuning', {
        mac: '02:00:5e:10:00:02',
        mtu: 1400,
        promisc: true,
        sysctl: { 'net.ipv4.ip_forward': '1' },
      }),
  },
  sbr: { places: 3, prepare: (host) => chained(host, 'sbr', {}) },
}

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
      test(`${tool} ${name}, all of it done: nothing is left, no process either`, { timeout: 120_000 }, async ({
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

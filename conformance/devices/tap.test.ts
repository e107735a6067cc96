import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { call as callOf, fixed, hostLocal, leased, linkNames, linkOf, state, versions } from './calls.js'

const call = (verb: Verb, container: Container, change: object = {}, more: Partial<Call> = {}) =>
  callOf('tap', verb, container, { ipam: hostLocal, ...change }, more)

const dataOf = async (container: Container) => (await linkOf(container, 'eth0'))?.linkinfo?.info_data

describe('a tap device', () => {
  test.for(versions)('comes and goes in version %s', async (cniVersion, { host }) => {
    const container = await host.container('c1')
    const before = await state(host)
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, { cniVersion })))
    const link = await linkOf(container, 'eth0')
    expect(link).toMatchObject({
      linkinfo: { info_kind: 'tun', info_data: { type: 'tap', pi: false, vnet_hdr: false } },
    })
    expect(link?.addr_info.map(({ local }) => local)).toEqual(expect.arrayContaining(['10.80.0.2', 'fd00:80::2']))
    const checked = await runPlugin(host, call('CHECK', container, { cniVersion, prevResult }))
    if (cniVersion < '0.4') expect(errorOf(checked).code).toBe(1)
    else {
      succeedSilently(checked)
      expect(prevResult.interfaces).toEqual([{ name: 'eth0', mac: link?.address, sandbox: container.netns }])
    }
    for (let times = 0; times < 2; times++)
      succeedSilently(await runPlugin(host, call('DEL', container, { cniVersion })))
    expect(difference(before, await state(host))).toBe('')
  })

  const mac = '02:00:5e:10:00:07'
  const owners: [what: string, config: object, data: object][] = [
    ['no owner', {}, { vnet_hdr: false, multi_queue: false }],
    ['a user', { owner: 7 }, { user: 'lp', vnet_hdr: false }],
    ['a group', { group: 7 }, { group: 'lp', vnet_hdr: false }],
    ['both', { owner: 0, group: 0 }, { user: 'root', group: 'root', vnet_hdr: true }],
    ['several queues', { owner: 7, group: 7, multiQueue: true }, { user: 'lp', vnet_hdr: true, multi_queue: true }],
  ]
  test.for(owners)('with %s has the size and MAC address that were asked for', async ([, config, data], { host }) => {
    const container = await host.container('c1')
    const { interfaces } = resultOf(
      await runPlugin(host, call('ADD', container, { ...config, mtu: 1400, mac, ipam: {} })),
    )
    expect(await linkOf(container, 'eth0')).toMatchObject({ address: mac, mtu: 1400 })
    expect(await dataOf(container)).toMatchObject({ pi: false, ...data })
    expect(interfaces?.[0]?.mac).toBe(mac)
  })

  test.for([true, false])('can be attached to by its owner and nobody else (%s)', async (isOwner, { host }) => {
    const container = await host.container('c1')
    resultOf(await runPlugin(host, call('ADD', container, { owner: 7, group: 7, ipam: fixed('10.80.0.7/24') })))
    // `tun` with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, as qemu attaches.
    const attach = `import fcntl, os, struct, sys
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"eth0", 0x0002 | 0x1000 | 0x4000))
print("attached", flush=True)
sys.stdin.read()`
    const python = container.start(['python3', '-c', attach, isOwner ? '7' : '9'], { keepOpen: true })
    const attached = await Promise.race([
      new Promise<boolean>((resolve) => python.child.stdout?.once('data', () => resolve(true))),
      python.finished.then(() => false),
    ])
    expect(attached).toBe(isOwner)
    if (isOwner) expect((await linkOf(container, 'eth0'))?.flags).toContain('LOWER_UP')
    python.child.stdin?.end()
    await python.finished
  })

  test('is a port of a bridge in the container', async ({ host }) => {
    const container = await host.container('c1')
    await container.batch(['link add br0 type bridge'])
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, { bridge: 'br0', ipam: {} })))
    expect(await linkOf(container, 'eth0')).toMatchObject({ master: 'br0' })
    const check = () => runPlugin(host, call('CHECK', container, { bridge: 'br0', ipam: {}, prevResult }))
    succeedSilently(await check())
    await container.batch(['link set eth0 nomaster'])
    expect(errorOf(await check())).toMatchObject({ code: 105, details: expect.stringContaining('master') })
  })

  test('with an IPv6 gateway is there at once: the official plugin waits five seconds', async ({ host }) => {
    const ipam = {
      type: 'static',
      addresses: [{ address: 'fd00:80::7/64', gateway: 'fd00:80::1' }],
      routes: [{ dst: '::/0' }],
    }
    // What waits does so each time; a busy machine may be late now and then.
    let quickest = Number.POSITIVE_INFINITY
    for (let tries = 0; tries < 5 && quickest > 4_000; tries++) {
      const container = await host.container()
      const began = performance.now()
      resultOf(await runPlugin(host, call('ADD', container, { ipam })))
      quickest = Math.min(quickest, performance.now() - began)
      expect(await container.output(['ip', '-6', 'route', 'show', 'default'])).toContain('via fd00:80::1 dev eth0')
    }
    expect(quickest).toBeLessThan(4_000)
  })
})

describe('an ADD that fails leaves nothing and gives the lease back:', () => {
  const failures: Record<string, { change: object; code?: number }> = {
    'no such bridge': { change: { bridge: 'nobr' } },
    'a bridge that is none': { change: { bridge: 'lo' } },
    'a MAC address of many': { change: { mac: '01:00:5e:00:00:01' }, code: 7 },
    'a size that no device can have': { change: { mtu: 2_000_000 } },
    'a context on a kernel without SELinux': { change: { selinuxContext: 'system_u:system_r:container_t:s0' } },
    'no such IPAM plugin': { change: { ipam: { type: 'none-such' } }, code: 107 },
    'a route that cannot be set': {
      change: { ipam: { ...hostLocal, routes: [{ dst: '10.9.0.0/16', gw: '172.16.0.1' }] } },
    },
  }
  for (const [name, { change, code = 100 }] of Object.entries(failures)) {
    test(name, async ({ host }) => {
      const container = await host.container('c1')
      const before = await state(host)
      expect(errorOf(await runPlugin(host, call('ADD', container, change))).code).toBe(code)
      expect(difference(before, await state(host))).toBe('')
    })
  }

  test.for(['veth', 'tap'])('an interface that is there already, a %s', async (kind, { host }) => {
    const container = await host.container('c1')
    if (kind === 'tap') await container.output(['ip', 'tuntap', 'add', 'mode', 'tap', 'name', 'eth0'])
    else await container.batch(['link add eth0 type veth peer name peer0'])
    const before = await state(host)
    expect(errorOf(await runPlugin(host, call('ADD', container))).code).toBe(103)
    expect(difference(before, await state(host))).toBe('')
  })
})

describe('DEL with little to go by gives the lease back:', () => {
  const ways: Record<string, (container: Container) => Promise<Partial<Call>>> = {
    'the namespace is gone': async (container) => {
      await container.remove()
      return {}
    },
    'CNI_NETNS is empty': async () => ({ env: { CNI_NETNS: '' } }),
    'bad CNI_ARGS': async () => ({ args: 'what=is=this' }),
  }
  for (const [name, spoil] of Object.entries(ways)) {
    test(name, async ({ host }) => {
      const container = await host.container('c1')
      resultOf(await runPlugin(host, call('ADD', container)))
      expect(leased(host)).toHaveLength(2)
      const deleting = call('DEL', container, {}, await spoil(container))
      for (let times = 0; times < 2; times++) succeedSilently(await runPlugin(host, deleting))
      expect(leased(host)).toEqual([])
    })
  }
})

describe('beside the official plugin', () => {
  const mac = '02:00:5e:10:00:07'
  const cases: [what: string, config: object][] = [
    ['plain', { mtu: 1400, mac }],
    ['with a user', { owner: 7, mac }],
    ['without addresses', { ipam: {}, mac }],
  ]
  test.for(cases)('%s: the same result and the same device', async ([, config], { host }) => {
    const seen: unknown[] = []
    for (const suite of ['official', 'podwire'] as const) {
      const container = await host.container('c1')
      const ipam = { ...fixed('10.80.0.7/24'), routes: [{ dst: '10.9.0.0/16', gw: '10.80.0.1' }] }
      const result = resultOf(await runPlugin(host, call('ADD', container, { ipam, ...config }, { suite })))
      const lines = (await takeSnapshot(host, { knownMacs: [mac] })).filter((line) => !/sysctl ipv6/.test(line))
      seen.push({ result, lines: lines.filter((line) => !/sysctl .*ndisc_notify|family inet6|local fe80/.test(line)) })
      await container.remove()
    }
    expect(seen[1]).toEqual(seen[0])
  })

  test('each removes what the other made', async ({ host }) => {
    const container = await host.container('c1')
    const ipam = fixed('10.80.0.7/24')
    for (const [makes, removes] of [
      ['official', 'podwire'],
      ['podwire', 'official'],
    ] as const) {
      resultOf(await runPlugin(host, call('ADD', container, { ipam }, { suite: makes })))
      succeedSilently(await runPlugin(host, call('DEL', container, { ipam }, { suite: removes })))
      expect(await linkNames(container)).toEqual(['lo'])
    }
  })
})

test('STATUS is content where ADD would be', async ({ host }) => {
  succeedSilently(await runPlugin(host, call('STATUS', await host.container('c1'))))
})

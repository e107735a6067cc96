import { describe, expect, vi } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { ping } from '../harness/traffic.js'
import { familyOf, versions } from '../protocol/versions.js'
import { add, call, dual, fixed, leases, state } from './network.js'

const leased = (host: Parameters<typeof readFiles>[0]) =>
  Object.keys(readFiles(host, leases)).filter((name) => /^(10|fd00)/.test(name))

describe.each(versions)('version %s', (cniVersion) => {
  test('ADD, CHECK, DEL, DEL again, STATUS and GC', async ({ host }) => {
    const container = await host.container()
    await add(host, await host.container())
    const before = await state(host)
    const config = { ...dual, cniVersion }

    const result = resultOf(await runPlugin(host, call('ADD', container, { config })))
    expect(result.cniVersion).toBe(cniVersion)
    if (familyOf(cniVersion) === 'A')
      expect([result.ip4?.ip, result.ip6?.ip]).toEqual(['10.1.2.3/24', 'fd00:1:2::3/64'])
    else expect(result.ips?.map((one) => one.interface)).toEqual([1, 1])

    const checked = await runPlugin(host, call('CHECK', container, { config: { ...config, prevResult: result } }))
    if (cniVersion < '0.4.0') expect(errorOf(checked)).toMatchObject({ code: 1 })
    else succeedSilently(checked)
    for (const verb of ['STATUS', 'GC'] as const) {
      const answer = await runPlugin(host, call(verb, container, { config }))
      if (cniVersion < '1.1.0') expect(errorOf(answer)).toMatchObject({ code: 1 })
      else succeedSilently(answer)
    }
    for (let round = 0; round < 2; round++) {
      succeedSilently(await runPlugin(host, call('DEL', container, { config })))
      expect(difference(before, await state(host))).toBe('')
    }
  })
})

describe('CHECK finds what somebody changed:', () => {
  const changes: Record<string, { argv: (end: string) => string[]; inside?: true; says: RegExp }> = {
    'the route to the container': {
      argv: () => ['ip', 'route', 'del', '10.1.2.2'],
      says: /routes on veth\w+: found "none", expected a route to 10\.1\.2\.2/,
    },
    "the gateway's address": {
      argv: (end) => ['ip', 'addr', 'del', 'fd00:1:2::1/128', 'dev', end],
      says: /interface veth\w+ addresses: .*expected fd00:1:2::1/,
    },
    "the container's address": {
      argv: () => ['ip', 'addr', 'del', '10.1.2.2/24', 'dev', 'eth0'],
      inside: true,
      says: /interface eth0 addresses: .*expected 10\.1\.2\.2\/24/,
    },
    'the default route': {
      argv: () => ['ip', '-6', 'route', 'del', 'default'],
      inside: true,
      says: /routes: found "no such route", expected .*::\/0/,
    },
    'the masquerade rules': {
      argv: () => ['nft', 'flush', 'ruleset'],
      says: /ipMasq: found "no rule", expected a rule that masquerades 10\.1\.2\.2/,
    },
  }
  for (const [name, { argv, inside, says }] of Object.entries(changes)) {
    test(name, async ({ host }) => {
      const container = await host.container()
      const prevResult = await add(host, container)
      const check = call('CHECK', container, { config: { ...dual, prevResult } })
      succeedSilently(await runPlugin(host, check))
      await (inside ? container : host).output(argv(prevResult.interfaces?.[0]?.name ?? ''))
      const error = errorOf(await runPlugin(host, check))
      expect(error.code).toBe(105)
      expect(error.details).toMatch(says)
    })
  }
})

describe('an ADD that fails leaves nothing and gives the lease back:', () => {
  const failures: Record<string, { change: object; code: number; says: RegExp }> = {
    'a route that cannot be set': {
      change: { ipam: { ...dual.ipam, routes: [{ dst: '10.9.0.0/16', gw: '172.16.0.1' }] } },
      code: 100,
      says: /cannot add the route to 10\.9\.0\.0\/16/,
    },
    "another container's address": {
      change: fixed([{ address: 'fd00:9::9/64' }, { address: '10.1.2.2/24' }]),
      code: 110,
      says: /route to 10\.1\.2\.2\/32.*\n.*ip route get 10\.1\.2\.2/s,
    },
    'an MTU that no link can have': { change: { mtu: 2_000_000 }, code: 100, says: /cannot create the veth pair/ },
    'no gateway': { change: fixed([{ address: '10.9.9.9/32' }]), code: 107, says: /no gateway for 10\.9\.9\.9\/32/ },
    'no IPAM plugin': { change: { ipam: {} }, code: 7, says: /ipam\.type/ },
  }
  for (const [name, { change, code, says }] of Object.entries(failures)) {
    test(name, async ({ host }) => {
      const [first, second] = [await host.container(), await host.container()]
      const result = await add(host, first)
      const before = await state(host)
      const error = errorOf(await runPlugin(host, call('ADD', second, { config: { ...dual, ...change } })))
      expect(error.code).toBe(code)
      expect(`${error.msg}\n${error.details}`).toMatch(says)
      expect(difference(before, await state(host))).toBe('')
      succeedSilently(await runPlugin(host, call('CHECK', first, { config: { ...dual, prevResult: result } })))
    })
  }

  test('a second ADD of the same attachment is refused and breaks nothing', async ({ host }) => {
    const container = await host.container()
    const config = { ...dual, ...fixed([{ address: '10.1.2.2/24' }]) }
    await add(host, container, config)
    const before = await state(host)
    expect(errorOf(await runPlugin(host, call('ADD', container, { config })))).toMatchObject({ code: 103 })
    expect(difference(before, await state(host))).toBe('')
  })
})

describe('DEL with little to go by:', () => {
  const ways: Record<string, Partial<Call> & { config: object; gone?: true }> = {
    'the namespace is gone': { config: dual, gone: true },
    'CNI_NETNS is empty': { config: dual, env: { CNI_NETNS: '' } },
    'ipMasq was taken out of the configuration': { config: { ...dual, ipMasq: false } },
    'keys that are wrong': { config: { ...dual, mtu: 'x', ipMasqBackend: 7, dns: [] } },
  }
  for (const [name, { gone, ...more }] of Object.entries(ways)) {
    test.for(['nftables', 'iptables'])(`${name}, masquerade by %s`, async (ipMasqBackend, { host }) => {
      const [bystander, container] = [await host.container(), await host.container()]
      await add(host, bystander, { ipMasqBackend })
      const before = await state(host)
      await add(host, container, { ipMasqBackend })
      if (gone) await container.remove()
      for (let round = 0; round < 2; round++) {
        succeedSilently(await runPlugin(host, call('DEL', container, more)))
        const left = difference(before, await state(host)).split('\n')
        expect(left.filter((line) => line !== '' && !line.startsWith('- container1:'))).toEqual([])
      }
    })
  }

  test.for(['nftables', 'iptables'])('what the official plugin made goes too: %s', async (ipMasqBackend, { host }) => {
    const container = await host.container()
    const config = { ...dual, ipMasqBackend }
    const add = call('ADD', container, { config, suite: 'official' })
    resultOf(await runPlugin(host, add))
    await container.remove()
    succeedSilently(await runPlugin(host, call('DEL', container, { config })))
    // The link and its routes go with the namespace, which the kernel takes down in its own time.
    await vi.waitFor(
      async () => {
        const left = await state(host)
        expect(left.filter((line) => /10\.1\.2\.2|fd00:1:2::2|CNI-/.test(line))).toEqual([])
      },
      { timeout: 30_000 },
    )
  })

  test.for(['nftables', 'iptables'])(
    'and the official plugin removes link and lease of ours: %s',
    async (ipMasqBackend, { host }) => {
      const container = await host.container()
      await add(host, container, { ipMasqBackend })
      const config = { ...dual, ipMasqBackend }
      succeedSilently(await runPlugin(host, call('DEL', container, { config, suite: 'official' })))
      expect(leased(host)).toEqual([])
      expect((await state(host)).filter((line) => /link veth|iptables.*CNI-/.test(line))).toEqual([])
    },
  )
})

describe('GC', () => {
  test('removes what no valid attachment owns, and nothing without a list', async ({ host }) => {
    const [kept, dead] = [await host.container(), await host.container()]
    const result = await add(host, kept)
    const before = await state(host)
    await add(host, dead)
    const gc = async (config: object) => succeedSilently(await runPlugin(host, call('GC', kept, { config })))
    await gc(dual)
    expect(leased(host)).toHaveLength(4)
    await gc({ ...dual, 'cni.dev/valid-attachments': [{ containerID: kept.name, ifname: 'eth0' }] })
    expect(difference(before, await state(host))).toBe('')
    succeedSilently(await runPlugin(host, call('CHECK', kept, { config: { ...dual, prevResult: result } })))
  })

  const valid = (...containers: Container[]) => ({
    ...dual,
    'cni.dev/valid-attachments': containers.map(({ name }) => ({ containerID: name, ifname: 'eth0' })),
  })
  const subnetChains = async (host: Host) =>
    (await host.output(['nft', 'list', 'chains'])).match(/masquerade_(10.1.2.0.24|fd00-1-2--.64)/g) ?? []

  test('takes the chains of a subnet when its last container has gone, and the next ADD makes them again', async ({
    host,
  }) => {
    const [first, second] = [await host.container(), await host.container()]
    await add(host, first)
    expect(await subnetChains(host)).toHaveLength(2)
    succeedSilently(await runPlugin(host, call('DEL', first)))
    expect(await subnetChains(host), 'a DEL leaves them for the next').toHaveLength(2)
    succeedSilently(await runPlugin(host, call('GC', first, { config: valid() })))
    expect(await subnetChains(host)).toEqual([])
    const { container: machine } = await host.outside()
    await add(host, second)
    expect(await subnetChains(host)).toHaveLength(2)
    expect(await ping(second, '192.0.2.2'), 'masqueraded: the machine has no way back').toBe(true)
    expect(await machine.output(['ip', 'route'])).not.toContain('10.1.2.0')
  })

  test('and ADDs that come at the same time lose no rule', { timeout: 240_000 }, async ({ host }) => {
    const containers = await Promise.all(Array.from({ length: 6 }, () => host.container()))
    await host.outside()
    for (let round = 0; round < 3; round++) {
      const config = valid(...containers)
      const gc = containers.map((one) => runPlugin(host, call('GC', one, { config })))
      const added = await Promise.all(containers.map((one) => add(host, one)))
      for (const finished of await Promise.all(gc)) succeedSilently(finished)
      for (const [index, prevResult] of added.entries()) {
        const container = containers[index] as Container
        succeedSilently(await runPlugin(host, call('CHECK', container, { config: { ...dual, prevResult } })))
        expect(await ping(container, '192.0.2.2')).toBe(true)
        succeedSilently(await runPlugin(host, call('DEL', container)))
      }
    }
  })
})

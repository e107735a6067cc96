import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { readFiles } from '../harness/observe.js'
import { type Call, runPlugin, startPlugin, type Verb } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { addressOf } from './networks.js'

const leases = '/var/lib/cni/networks/network'
const config = {
  cniVersion: '1.1.0',
  name: 'network',
  type: 'bridge',
  bridge: 'br0',
  isDefaultGateway: true,
  ipMasq: true,
  macspoofchk: true,
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]] },
}

const call = (command: Verb, container: Container, more: Partial<Call> = {}): Call => ({
  plugin: 'bridge',
  command,
  config,
  containerID: container.name,
  netns: container.netns,
  ...more,
})

/** Everything but the files that only remember where the next search begins or what is locked. */
async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: [leases] })
  return lines.filter((line) => !/^file \S*\/(lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
}

/** One attachment made and unmade, so that what belongs to the network (bridge, tables, forwarding) is there already. */
async function settled(host: Host): Promise<{ container: Container; before: string[] }> {
  const container = await host.container()
  resultOf(await runPlugin(host, call('ADD', container)))
  succeedSilently(await runPlugin(host, call('DEL', container)))
  return { container, before: await state(host) }
}

async function containers(host: Host, count: number): Promise<Container[]> {
  const made: Container[] = []
  for (let index = 0; index < count; index++) made.push(await host.container())
  return made
}

describe('killed at a random moment', () => {
  test('200 ADDs, each followed by DEL, leave nothing', { timeout: 240_000 }, async ({ host }) => {
    const { container, before } = await settled(host)
    const began = performance.now()
    resultOf(await runPlugin(host, call('ADD', container)))
    const duration = performance.now() - began
    succeedSilently(await runPlugin(host, call('DEL', container)))

    let killed = 0
    for (let round = 0; round < 200; round++) {
      const adding = startPlugin(host, call('ADD', container))
      // The moment is what is being tested: spread evenly over the whole run, and a little beyond its end.
      await delay((duration * 1.1 * round) / 200)
      adding.child.kill('SIGKILL')
      const { signal } = await adding.finished
      if (signal === 'SIGKILL') killed++
      await host.quiet()
      succeedSilently(await runPlugin(host, call('DEL', container)))
      if (round % 20 === 19) expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
    expect(killed).toBeGreaterThan(50)
    expect(difference(before, await state(host))).toBe('')
  })

  test('a killed ADD does not stand in the way of the next one, nor of CHECK', async ({ host }) => {
    const { container, before } = await settled(host)
    for (const milliseconds of [10, 20, 30, 40, 50, 60, 80]) {
      const adding = startPlugin(host, call('ADD', container))
      await delay(milliseconds)
      adding.child.kill('SIGKILL')
      await adding.finished
      await host.quiet()
      succeedSilently(await runPlugin(host, call('DEL', container)))
      const prevResult = resultOf(await runPlugin(host, call('ADD', container)))
      succeedSilently(await runPlugin(host, call('CHECK', container, { config: { ...config, prevResult } })))
      succeedSilently(await runPlugin(host, call('DEL', container)))
    }
    expect(difference(before, await state(host))).toBe('')
  })

  test('DELs, too, each repeated', async ({ host }) => {
    const { container, before } = await settled(host)
    for (let round = 0; round < 20; round++) {
      resultOf(await runPlugin(host, call('ADD', container)))
      const deleting = startPlugin(host, call('DEL', container))
      await delay(round * 4)
      deleting.child.kill('SIGKILL')
      await deleting.finished
      await host.quiet()
      succeedSilently(await runPlugin(host, call('DEL', container)))
    }
    expect(difference(before, await state(host))).toBe('')
  })
})

describe('many at once', () => {
  test.for([8, 50])('%i ADDs and DELs on one bridge and one range', { timeout: 120_000 }, async (count, { host }) => {
    const { before: _, container } = await settled(host)
    await container.remove()
    const all = await containers(host, count)
    const before = await state(host)

    const results = (await Promise.all(all.map((one) => runPlugin(host, call('ADD', one))))).map(resultOf)
    for (const family of [4, 6] as const) {
      expect(new Set(results.map((result) => addressOf(result, family))).size).toBe(count)
    }
    expect(new Set(results.map((result) => result.interfaces?.[1]?.name)).size).toBe(count)
    expect(Object.keys(readFiles(host, leases)).filter((name) => /^(10|fd00)/.test(name))).toHaveLength(2 * count)
    const checks = all.map((one, index) =>
      runPlugin(host, call('CHECK', one, { config: withPrevious(results[index]) })),
    )
    for (const checked of await Promise.all(checks)) succeedSilently(checked)

    const removed = await Promise.all(all.map((one) => runPlugin(host, call('DEL', one))))
    for (const finished of removed) succeedSilently(finished)
    expect(difference(before, await state(host))).toBe('')
  })

  test('ADDs and DELs mixed, the first of all made by all of them', { timeout: 120_000 }, async ({ host }) => {
    const all = await containers(host, 16)
    const rounds = all.map(async (one) => {
      for (let round = 0; round < 3; round++) {
        resultOf(await runPlugin(host, call('ADD', one)))
        succeedSilently(await runPlugin(host, call('DEL', one)))
      }
    })
    await Promise.all(rounds)
    const left = await state(host)
    expect(left.filter((line) => /veth#|10\.1\.2\.(?!0\b|1\b|255\b)\d+|^file /.test(line))).toEqual([])
    expect(left.some((line) => line.startsWith('host: address br0 local 10.1.2.1'))).toBe(true)
  })
})

const withPrevious = (prevResult: Result | undefined): object => ({ ...config, prevResult })

// Each breaks ADD at another depth: what came before must be taken back.
const failures: Record<string, { change: object; code?: number }> = {
  'an IPAM plugin that fails': { change: { ipam: { type: 'failing' } }, code: 11 },
  'an IPAM plugin that answers nonsense': { change: { ipam: { type: 'babbling' } } },
  'an IPAM plugin without an address': { change: { ipam: { type: 'poor' } } },
  'a route that cannot be set': {
    change: { ipam: { ...config.ipam, routes: [{ dst: '10.9.0.0/16', gw: '172.16.0.1' }] } },
  },
  'a gateway address that is in conflict': {
    change: { bridge: 'taken', forceAddress: false },
  },
  'a bridge name that is no bridge': { change: { bridge: 'uplink' } },
  'a MAC address that is a multicast one': { change: { args: { cni: { mac: '01:00:5e:00:00:01' } } } },
  'an mtu that no link can have': { change: { mtu: 2_000_000 } },
}

const scripts = {
  failing: `[ "$CNI_COMMAND" = DEL ] || { echo '{"code":11,"msg":"later"}'; exit 1; }`,
  babbling: '[ "$CNI_COMMAND" = DEL ] || echo nonsense',
  poor: `[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion":"1.1.0"}'`,
}

describe('an ADD that fails leaves nothing and gives the lease back:', () => {
  for (const [name, { change, code }] of Object.entries(failures)) {
    test(name, async ({ host }) => {
      installScripts(host, scripts)
      await host.outside()
      await host.output(['ip', 'link', 'add', 'taken', 'type', 'bridge'])
      await host.output(['ip', 'address', 'add', '10.5.0.1/16', 'dev', 'taken'])
      await host.output(['ip', 'link', 'set', 'taken', 'up'])
      // Every ADD sees to that on its bridge, also one that fails later.
      await host.output(['sh', '-c', 'echo 0 >/proc/sys/net/ipv6/conf/taken/accept_ra'])
      const { container, before } = await settled(host)
      const failing = { path: `${scriptDirectory}:${suites.podwire}`, config: { ...config, ...change } }

      const error = errorOf(await runPlugin(host, call('ADD', container, failing)))
      if (code !== undefined) expect(error.code).toBe(code)
      expect(difference(before, await state(host))).toBe('')
      succeedSilently(await runPlugin(host, call('DEL', container, failing)))
      expect(difference(before, await state(host))).toBe('')
    })
  }

  test('also on a host where nothing was there before', async ({ host }) => {
    const container = await host.container()
    const before = await state(host)
    const routes = [{ dst: '10.9.0.0/16', gw: '172.16.0.1' }]
    const broken = { config: { ...config, ipam: { ...config.ipam, routes } } }
    errorOf(await runPlugin(host, call('ADD', container, broken)))
    const links = (await state(host)).filter((line) => /link (?!lo)|address (?!lo)|10\.1\.2\.2|fd00/.test(line))
    expect(links.filter((line) => !before.includes(line) && !/ br0 /.test(line))).toEqual([])
  })
})

describe('DEL with little to go by', () => {
  const ways: Record<string, (container: Container) => Promise<Partial<Call>>> = {
    'the namespace is gone': async (container) => {
      await container.remove()
      return {}
    },
    'CNI_NETNS is empty': async (container) => {
      await container.remove()
      return { env: { CNI_NETNS: '' } }
    },
    'bad CNI_ARGS': async () => ({ args: 'what=is=this' }),
    'the interface was renamed': async (container) => {
      await container.batch(['link set eth0 down', 'link set eth0 name other0'])
      return {}
    },
    'the bridge was deleted': async ({ host }) => {
      await host.output(['ip', 'link', 'delete', 'br0'])
      return {}
    },
  }
  for (const [name, spoil] of Object.entries(ways)) {
    test(`${name}: links, rules and leases go all the same`, async ({ host }) => {
      const [container, bystander] = [await host.container(), await host.container()]
      resultOf(await runPlugin(host, call('ADD', bystander)))
      const { ips } = resultOf(await runPlugin(host, call('ADD', container)))
      const deleting = call('DEL', container, await spoil(container))
      succeedSilently(await runPlugin(host, deleting))
      succeedSilently(await runPlugin(host, deleting))

      const left = await state(host)
      const own = ips?.map(({ address }) => address.replace(/\/\d+$/, '')) ?? []
      expect(own).toHaveLength(2)
      const names = [...own.map((address) => `${address}(?![0-9a-f])`), container.name]
      const traces = left.filter(
        (line) => !line.startsWith(`${container.name}:`) && new RegExp(names.join('|')).test(line),
      )
      expect(traces).toEqual([])
      expect(left.some((line) => line.includes('10.1.2.2') && line.startsWith('host: nft'))).toBe(true)
    })
  }
})

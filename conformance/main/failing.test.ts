import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { suites } from '../harness/locations.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference } from '../harness/snapshot.js'
import { call, config, settled, state } from './bridge-setting.js'

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

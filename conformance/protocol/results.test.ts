import { afterAll, beforeAll, describe, expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { runPlugin, type Verb } from '../harness/plugin.js'
import { results } from './results.js'
import { type Family, families, familyOf, versions } from './versions.js'

let host: Host

beforeAll(async () => {
  host = await Host.create()
  await host.container('x')
})

afterAll(() => host.dispose())

/** What the plugin printed for an ADD that must succeed, byte for byte. */
async function printed(suite: Suite, plugin: string, config: object, command: Verb = 'ADD'): Promise<string> {
  const finished = await runPlugin(host, { suite, plugin, command, config, netns: '/run/netns/x' })
  expect(finished, `${finished.stdout}${finished.stderr}`).toMatchObject({ status: 0 })
  return finished.stdout
}

async function expectSamePrint(plugin: string, config: object): Promise<void> {
  expect(await printed('podwire', plugin, config)).toBe(await printed('official', plugin, config))
}

describe.each(['loopback', 'portmap'])(
  'a result passed on by %s is printed as the official plugin prints it',
  (plugin) => {
    for (const family of ['A', 'B', 'C'] as const) {
      for (const [name, prevResult] of Object.entries(results[family])) {
        test(`family ${family}: ${name}`, async () => {
          for (const version of families[family]) {
            await expectSamePrint(plugin, { cniVersion: version, name: 'n', type: plugin, prevResult })
            for (const own of families[family]) {
              const previous = { ...prevResult, cniVersion: own }
              await expectSamePrint(plugin, { cniVersion: version, name: 'n', type: plugin, prevResult: previous })
            }
          }
        })
      }
    }
  },
)

const addresses = [
  { address: '10.1.2.3/24', gateway: '10.1.2.1' },
  { address: 'fd00:0::3/64', gateway: 'fd00::1' },
]
const routes = [
  { dst: '0.0.0.0/0' },
  { dst: '10.9.8.7/16', gw: '10.1.2.254', mtu: 1400, advmss: 1360, priority: 5, table: 100, scope: 253 },
  { dst: '::/0', gw: 'fd00::1' },
]
const dns = { nameservers: ['10.1.2.1'], domain: 'd', search: ['s<'], options: ['o'] }
const ranges = [[{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.9' }], [{ subnet: 'fd00::/64', gateway: 'fd00::fe' }]]

describe.each([...versions, undefined])(
  'addresses are printed as the official plugins print them, version %s',
  (cniVersion) => {
    const config = (type: string, ipam: object) => ({ cniVersion, name: 'n', type, ipam: { type, ...ipam } })

    test('static', async () => {
      await expectSamePrint('static', config('static', { addresses, routes, dns }))
    })

    test('host-local', async () => {
      const of = (suite: Suite) =>
        config('host-local', { ranges, routes, dataDir: `/run/leases/${suite}/${cniVersion}` })
      const own = await printed('podwire', 'host-local', of('podwire'))
      expect(own).toBe(await printed('official', 'host-local', of('official')))
    })
  },
)

// The official loopback labels an object of the newest family with the version it was asked for.
const membersOfLoopback: Record<Family, string[]> = {
  A: ['cniVersion', 'ip4', 'ip6', 'dns'],
  B: ['cniVersion', 'interfaces', 'ips', 'dns'],
  C: ['cniVersion', 'interfaces', 'ips'],
}

describe('loopback prints the family that the version asks for', () => {
  for (const cniVersion of versions) {
    test(cniVersion, async () => {
      const config = { cniVersion, name: 'n', type: 'loopback' }
      const finished = await runPlugin(host, { plugin: 'loopback', command: 'ADD', config, netns: '/run/netns/x' })
      const result = resultOf(finished)
      expect(Object.keys(result)).toEqual(membersOfLoopback[familyOf(cniVersion)])
      expect(result.cniVersion).toBe(cniVersion)
      expect(finished.stdout).toContain('127.0.0.1/8')
      expect(finished.stdout).toContain('::1/128')
    })
  }

  test.each([undefined, '1.0.0', '1.1.0'])('version %s: as the official plugin does', async (cniVersion) => {
    await expectSamePrint('loopback', { cniVersion, name: 'n', type: 'loopback' })
  })
})

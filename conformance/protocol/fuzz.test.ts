import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { errorOf } from '../harness/answer.js'
import { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { damagedInput, oddEnvironment } from './fuzz.js'

const route = { dst: '10.9.0.0/16', gw: '10.1.2.9', mtu: 1400, priority: 5, table: 100, scope: 0 }
const ranges = [[{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.10', rangeEnd: '10.1.2.20', gateway: '10.1.2.1' }]]
const hostLocal = { type: 'host-local', ranges, routes: [route], dataDir: '/var/lib/fuzz' }
const dns = { nameservers: ['10.1.2.1'], domain: 'd', search: ['s'], options: ['o'] }
const common = { cniVersion: '1.1.0', name: 'n', capabilities: { mac: true, ips: true }, dns }
const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:02', sandbox: '/run/netns/x', mtu: 1500 }],
  ips: [{ interface: 0, address: '10.1.2.3/24', gateway: '10.1.2.1' }],
  routes: [route],
  dns,
}

// For each plugin a configuration that is as rich as it gets, so that every branch of the decoder is within reach.
const configurations: Record<string, object> = {
  bridge: {
    ...common,
    bridge: 'br0',
    isDefaultGateway: true,
    ipMasq: true,
    mtu: 1400,
    hairpinMode: true,
    args: { cni: { mac: '02:00:00:00:00:05', ips: ['10.1.2.11'] } },
    runtimeConfig: { mac: '02:00:00:00:00:06' },
    ipam: hostLocal,
  },
  'host-local': { ...common, ipam: hostLocal, runtimeConfig: { ips: ['10.1.2.12'], ipRanges: ranges } },
  loopback: { ...common, prevResult },
  static: {
    ...common,
    ipam: { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }], routes: [route], dns },
  },
  portmap: {
    ...common,
    prevResult,
    snat: true,
    conditionsV4: ['-s', '10.0.0.0/8'],
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '10.0.0.1' }] },
  },
  tuning: { ...common, prevResult, sysctl: { 'net.core.somaxconn': '500' }, mtu: 1400, promisc: true },
  firewall: { ...common, prevResult, ingressPolicy: 'same-bridge' },
}

let host: Host

beforeAll(async () => {
  host = await Host.create()
  const container = await host.container('x')
  await container.batch(['link add eth0 type veth peer name veth1', 'link set eth0 up'])
})

afterAll(() => host.dispose())

/**
 * Everything that must not change by a refused call, cheaply: links, addresses, rules, files. A bridge belongs to its
 * network and stays, also when the ADD that made it fails later: it is taken away before anything is compared.
 */
async function state(): Promise<string> {
  const [container] = host.containers
  const bridges = JSON.parse(await host.output(['ip', '-j', 'link', 'show', 'type', 'bridge'])) as { ifname: string }[]
  for (const { ifname } of bridges) await host.output(['ip', 'link', 'delete', ifname])
  const show = ['-o', 'address', 'show']
  const [own, inside, rules] = await Promise.all([
    host.output(['ip', ...show]),
    container?.output(['ip', ...show]),
    host.output(['nft', '-s', 'list', 'ruleset']),
  ])
  return JSON.stringify({ own, inside, rules, files: readFiles(host, '/var/lib') })
}

/**
 * The rules of answering: success or exactly one error object that says something, and no trace of a crash anywhere.
 */
function expectGoodManners(finished: Finished): void {
  expect([0, 1]).toContain(finished.status)
  if (finished.status === 1) expect(errorOf(finished).code, finished.stdout).not.toBe(199)
  expect(finished.stderr + finished.stdout).not.toMatch(/^\s+at .*[:(]\d+:\d+|node:internal|UnhandledPromise/m)
}

async function undo(call: Call): Promise<void> {
  // The plugin may have been content: then it must also be able to take it back, given the same.
  expect(await runPlugin(host, { ...call, command: 'DEL' })).toMatchObject({ status: 0, stdout: '' })
}

// The same nonsense every time, unless somebody goes hunting with other seeds and more runs.
const seed = Number(process.env['FUZZ_SEED'] ?? 1)
const runs = Number(process.env['FUZZ_RUNS'] ?? 60)

describe.each(Object.entries(configurations))('%s, given nonsense', (plugin, config) => {
  const base: Call = { plugin, command: 'ADD', netns: '/run/netns/x', ifName: 'eth7', config }

  test('on stdin: one error and no change', { timeout: 600_000 }, async () => {
    let before = await state()
    const property = fc.asyncProperty(damagedInput(config), async (input) => {
      const call = { ...base, config: input }
      const finished = await runPlugin(host, call)
      expectGoodManners(finished)
      if (finished.status === 0) {
        await undo(call)
        before = await state()
      } else expect(await state()).toBe(before)
    })
    await fc.assert(property, { numRuns: runs, seed })
  })

  test('in the environment: one error and no change', { timeout: 600_000 }, async () => {
    const verbs = fc.constantFrom('ADD', 'DEL', 'CHECK', 'STATUS', 'GC', 'VERSION', 'add', 'X' as const)
    const property = fc.asyncProperty(oddEnvironment, verbs, async (env, verb) => {
      const finished = await runPlugin(host, { ...base, env: { ...env, CNI_COMMAND: verb } })
      expectGoodManners(finished)
    })
    await fc.assert(property, { numRuns: Math.ceil(runs / 3), seed })
  })
})

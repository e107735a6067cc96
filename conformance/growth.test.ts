import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Result, resultOf } from './harness/answer.js'
import { Chain, type Conflist } from './harness/chain.js'
import type { Container } from './harness/container.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { suites } from './harness/locations.js'
import { type Call, environment } from './harness/plugin.js'
import { bridgeNetwork } from './main/networks.js'

// What attachments that are there already cost the next one: no timing, but what is read. 1,000 of them may slow an ADD
// by less than a tenth, so nothing may be read that has a line, an element or a name for each.

/** A chain on one network; the named keys take the place of a bridge's. */
function chainOf(plugin: object): Conflist {
  const ipam = { ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]] }
  const network = bridgeNetwork({ cniVersion: '1.1.0', name: 'network2', plugin, ipam })
  const portmap = { type: 'portmap', capabilities: { portMappings: true } }
  return { ...network, plugins: [...network.plugins, portmap, { type: 'firewall' }, { type: 'tuning' }] }
}

const network = chainOf({ bridge: 'br2', hairpinMode: true })
/** The host has a link, an address and a route for each container. */
const routed = chainOf({ type: 'ptp', bridge: undefined, isDefaultGateway: undefined })
/** The host's links are looked for by name, those of the other containers among them. */
const lan: Conflist = {
  cniVersion: '1.1.0',
  name: 'network2',
  plugins: [{ type: 'macvlan', master: 'uplink', ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/24' }]] } }],
}

const mappings = (hostPort: number) => [
  { hostPort, containerPort: 80, protocol: 'tcp' },
  { hostPort: hostPort + 100, containerPort: 90, protocol: 'tcp' },
]

async function attach(host: Host, network: Conflist, hostPort: number): Promise<void> {
  const { name: containerID, netns } = await host.container()
  const capabilityArgs = { portMappings: mappings(hostPort) }
  await new Chain(host, network, { containerID, netns, capabilityArgs }).add()
}

/** Bytes that a plugin and all it starts read from files, as the kernel counts them (proc(5), io). */
async function readBy(host: Host, call: Call): Promise<{ bytes: number; stdout: string }> {
  const script = '"$1"; status=$?; grep ^rchar: /proc/$$/io >/run/read; exit $status'
  const { status, stdout } = await host.exec(['sh', '-c', script, 'sh', join(suites.podwire, call.plugin)], {
    stdin: JSON.stringify(call.config),
    env: environment(call),
  })
  if (status !== 0) throw new Error(`${call.plugin} ${call.command}: ${stdout}`)
  return { bytes: Number(readFileSync(host.path('/run/read'), 'utf8').split(' ')[1]), stdout }
}

/** What each plugin of the chain reads at ADD and at DEL. */
async function costs(
  host: Host,
  network: Conflist,
  { name: containerID, netns }: Container,
): Promise<Record<string, number>> {
  const read: Record<string, number> = {}
  let prevResult: Result | undefined
  const steps = [
    ...network.plugins.map((plugin) => ({ command: 'ADD' as const, plugin })),
    ...network.plugins.toReversed().map((plugin) => ({ command: 'DEL' as const, plugin })),
  ]
  for (const { command, plugin } of steps) {
    const runtimeConfig = plugin.capabilities ? { runtimeConfig: { portMappings: mappings(9000) } } : {}
    const config = { cniVersion: '1.1.0', name: 'network2', ...plugin, ...runtimeConfig, prevResult }
    const env = { PODWIRE_TRACE: '/run/trace' }
    const { bytes, stdout } = await readBy(host, { plugin: plugin.type, command, config, containerID, netns, env })
    if (command === 'ADD') prevResult = resultOf({ status: 0, signal: null, stdout, stderr: '' })
    read[`${plugin.type} ${command}`] = bytes
  }
  return read
}

test.for([
  ['bridge', network, network],
  ['ptp', routed, routed],
  ['macvlan', lan, network],
] as const)(
  '%s: an ADD and a DEL read as much with 33 attachments present as with one',
  async ([, network, present], { host }) => {
    await host.outside()
    const probe = await host.container('probe')
    await attach(host, present, 8000)
    await costs(host, network, probe)
    const before = await costs(host, network, probe)
    const others = Array.from({ length: 32 }, (_, index) => 8001 + index)
    for (let at = 0; at < others.length; at += 8) {
      await Promise.all(others.slice(at, at + 8).map((port) => attach(host, present, port)))
    }
    await host.output(['rm', '/run/trace'])
    const after = await costs(host, network, probe)
    const grown = Object.entries(after).filter(([step, bytes]) => bytes - (before[step] ?? 0) > 32 * 16)
    expect(grown).toEqual([])
  },
)

test('nft is asked for no set, map or table, whose elements it would have to load', async ({ host }) => {
  const probe = await host.container('probe')
  await attach(host, network, 8000)
  await host.output(['touch', '/run/trace'])
  await costs(host, network, probe)
  const steps = readFileSync(host.path('/run/trace'), 'utf8').trim().split('\n')
  const asked = steps
    .map((line) => JSON.parse(line) as { argv: string[]; stdin: string })
    .filter(({ argv }) => argv[0] === 'nft')
  expect(asked.length).toBeGreaterThan(5)
  const lines = asked.flatMap(({ argv, stdin }) => {
    return argv[1] === '-f' ? stdin.trim().split('\n') : [argv.slice(1).join(' ')]
  })
  const verbs = new Set(lines.flatMap((line) => line.split(' ; ')).map((line) => line.split(' ').slice(0, 2).join(' ')))
  expect([...verbs].sort()).toEqual(['add element', 'create element', 'delete element'])
})

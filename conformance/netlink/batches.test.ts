import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { readTrace } from '../harness/trace.js'
import { callOf, type Network, prepare, state } from './ways.js'

// Operations that go to the kernel in one datagram, and what becomes of them where it refuses some.

const ranges = [[{ subnet: '10.31.0.0/24' }], [{ subnet: 'fd00:31::/64' }]]
const routes = [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]
const ipam = { type: 'host-local', ranges, routes }
const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
const bridge = { type: 'bridge', isGateway: true, hairpinMode: true, ipam }

const networks: Record<string, Network> = {
  bridge,
  ptp: { type: 'ptp', ipam },
  chain: {
    type: 'chain',
    plugins: [
      { ...bridge, ipMasq: true },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall' },
      { type: 'tuning', mtu: 1400, promisc: true, allmulti: true },
    ],
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings },
  },
}

/** How many messages each datagram to the kernel had, but for those of transactions of nftables. */
async function datagramsOf(host: Host, call: Call): Promise<readonly number[]> {
  const { calls, stdout, status } = await runTraced(host, call, ['-e', 'trace=sendto'])
  expect({ status, stdout: call.command === 'DEL' ? stdout : '' }).toEqual({ status: 0, stdout: '' })
  const datagrams = [...calls.matchAll(/^sendto\(.*$/gm)].map(([line]) => line)
  const isTransaction = (line: string) => /seq=0, /.test(line)
  return datagrams.filter((line) => !isTransaction(line)).map((line) => line.match(/\{nlmsg_len=\d+, /g)?.length ?? 0)
}

// Sent one by one they were 21, 34 and 35 datagrams at ADD, and 2, 2 and 7 at DEL. A row may shrink; that it grows
// needs a reason.
const sends: [string, { ADD: number; DEL: number; together: readonly number[] }][] = [
  ['bridge', { ADD: 14, DEL: 2, together: [5] }],
  ['ptp', { ADD: 12, DEL: 2, together: [5, 7] }],
  ['chain', { ADD: 26, DEL: 5, together: [2, 3, 5] }],
]

test.for(sends)('%s: what an ADD and a DEL send', { timeout: 240_000 }, async ([name, expected], { host }) => {
  const { netns: first } = await host.container()
  const network = networks[name] as Network
  const other = { ...network, ...('runtimeConfig' in network ? { runtimeConfig: {} } : {}) }
  resultOf(await runPlugin(host, callOf('ADD', other, { netns: first, containerID: 'first' })))
  const { netns } = await host.container()
  const [added, deleted] = [
    await datagramsOf(host, callOf('ADD', network, { netns })),
    await datagramsOf(host, callOf('DEL', network, { netns })),
  ]
  expect(added.length).toBeLessThanOrEqual(expected.ADD)
  expect(deleted.length).toBeLessThanOrEqual(expected.DEL)
  expect(added.filter((count) => count > 1).toSorted()).toEqual(expected.together)
})

test('each operation of a batch is in the trace, in the order of the plan', async ({ host }) => {
  const { netns } = await host.container()
  const env = { PODWIRE_TRACE: '/run/trace' }
  resultOf(await runPlugin(host, callOf('ADD', networks['bridge'] as Network, { netns, env })))
  const steps = readTrace(host, '/run/trace').filter(({ argv }) => argv.includes('eth0') && argv.includes('dev'))
  const words = steps.map(({ argv }) => argv.slice(argv.indexOf('ip') + 1).join(' '))
  expect(words.map((one) => one.split(' ').slice(0, 3).join(' '))).toEqual([
    'addr add 10.31.0.2/24',
    'addr add fd00:31::2/64',
    'link set dev',
    'route prepend 0.0.0.0/0',
    'route prepend ::/0',
  ])
  for (const { netlink, time } of steps) expect([netlink, Number.isNaN(Date.parse(time))]).toEqual([true, false])
})

/** Static addresses and routes that the kernel takes, but for one. */
const addresses = [{ address: '10.1.2.9/24' }, { address: '10.1.3.9/24' }, { address: 'fd00:1:2::9/64' }]
const good = [
  { dst: '10.7.0.0/16', gw: '10.1.2.7' },
  { dst: '10.8.0.0/16', gw: '10.1.3.7' },
  { dst: 'fd00:7::/64', gw: 'fd00:1:2::7' },
  { dst: '10.9.0.0/16', gw: '10.1.2.7', table: 300 },
]
const unreachable = { dst: '10.66.0.0/16', gw: '203.0.113.1' }
const places = [0, 1, 2, 3, 4]
const refusals: [string, object][] = [
  ...places.map((place): [string, object] => [
    `route ${place} of 5`,
    { type: 'static', addresses, routes: good.toSpliced(place, 0, unreachable) },
  ]),
  ['every route', { type: 'static', addresses, routes: [unreachable, { ...unreachable, dst: '10.67.0.0/16' }] }],
  [
    // Behind it stands what would be the way to it.
    'a route before that to its gateway',
    {
      type: 'static',
      addresses,
      routes: [
        { ...unreachable, gw: '10.8.0.1' },
        { dst: '10.8.0.0/16', scope: 253 },
      ],
    },
  ],
  ...[0, 1, 2].map((place): [string, object] => [
    `address ${place} of 3`,
    { type: 'static', addresses: addresses.toSpliced(place, 1, { address: 'ff02::5/64' }), routes: good.slice(0, 1) },
  ]),
]

/**
 * What an error has of the tool's words: what the kernel's own add to them and the number of a line in a batch are left
 * out.
 */
function toolsWords({ code, msg, details }: ReturnType<typeof errorOf>): object {
  const lines = String(details)
    .split('\n')
    .filter((line) => !/^(kernel: |Command failed -:)/.test(line))
  return { code, msg: msg.replace(/: (failed to add|failed to set) .*$/, ''), details: lines }
}

describe.each(['bridge', 'ptp', 'macvlan'])('%s, of which the kernel refuses one operation', (type) => {
  test.for(refusals)('%s: the error is that of the tools, and nothing is left', async ([, ipam], { host }) => {
    const network = { type, ...(type === 'macvlan' ? { master: 'uplink' } : {}), ipam }
    await prepare(host)
    // What is shared is left by an ADD that fails, too.
    await runPlugin(host, callOf('ADD', network))
    succeedSilently(await runPlugin(host, callOf('DEL', network)))
    const before = await state(host)
    const told = async (env: Record<string, string>) => {
      const error = errorOf(await runPlugin(host, callOf('ADD', network, { env })))
      expect(difference(before, await state(host))).toBe('')
      return toolsWords(error)
    }
    expect(await told({})).toEqual(await told({ PODWIRE_NO_NETLINK: '1' }))
  })
})

test('a new bridge, which stays, gets no address behind one that the kernel refuses', async ({ host }) => {
  await prepare(host)
  await host.output(['sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1'])
  const addresses = [
    { address: 'fd00:1:2::9/64', gateway: 'fd00:1:2::1' },
    { address: '10.1.2.9/24', gateway: '10.1.2.1' },
  ]
  const network = { type: 'bridge', bridge: 'br0', isGateway: true, ipam: { type: 'static', addresses } }
  for (const env of [{}, { PODWIRE_NO_NETLINK: '1' }]) {
    expect(errorOf(await runPlugin(host, callOf('ADD', network, { env }))).msg).toContain('IPv6 is disabled')
    const [bridge] = JSON.parse(await host.output(['ip', '-j', 'addr', 'show', 'dev', 'br0']))
    expect(bridge.addr_info).toEqual([])
    await host.output(['ip', 'link', 'del', 'br0'])
  }
})

test('a DEL of which the kernel refuses one operation does the others, and tells of it as the tools do', async ({
  host,
}) => {
  const container = await prepare(host)
  await host.output(['ip', 'link', 'add', 'name', 'eth0', 'link', 'uplink', 'netns', 'container0', 'type', 'macvlan'])
  const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'eth0', sandbox: container.netns }] }
  const wanted = { mtu: 1300, promisc: true, allmulti: true, txQLen: 7 }
  const network = { type: 'tuning', ...wanted, prevResult }
  const shown = async () => {
    const [link] = JSON.parse(await container.output(['ip', '-j', '-d', 'link', 'show', 'dev', 'eth0']))
    return [link.mtu, link.txqlen, link.promiscuity, link.flags.includes('ALLMULTI')]
  }
  const before = await shown()
  const told = async (env: Record<string, string>) => {
    await host.output(['ip', 'link', 'set', 'dev', 'uplink', 'mtu', '1500'])
    await container.output(['ip', 'link', 'set', 'dev', 'eth0', 'mtu', '1500'])
    resultOf(await runPlugin(host, callOf('ADD', network, { env })))
    // A macvlan takes no more than what is below it.
    await host.output(['ip', 'link', 'set', 'dev', 'uplink', 'mtu', '1400'])
    const { status, stderr } = await runPlugin(host, callOf('DEL', network, { env }))
    expect(await shown()).toEqual([1300, ...before.slice(1)])
    return { status, stderr: stderr.split('\n').filter((line) => !/^(kernel: |Command failed -:)/.test(line)) }
  }
  expect(await told({})).toEqual(await told({ PODWIRE_NO_NETLINK: '1' }))
})

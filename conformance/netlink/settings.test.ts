import { expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { readTrace } from '../harness/trace.js'

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }], [{ subnet: 'fd00:31::/64' }]] }
const bridge = { cniVersion: '1.1.0', name: 'network', type: 'bridge', bridge: 'br0', isGateway: true, ipam }
const portmap = { cniVersion: '1.1.0', name: 'network', type: 'portmap' }

/** What an ADD of both leaves on the host. */
const wanted: Record<string, string> = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/br0/accept_ra': '0',
  'net/ipv4/conf/br0/route_localnet': '1',
}
const opposite: Record<string, string> = { 0: '1', 1: '0' }

test.for([
  { by: 'netlink', env: {} },
  { by: 'the tools', env: { PODWIRE_NO_NETLINK: '1' } },
])('settings are as wanted, whatever they were: by $by', async ({ env }, { host }) => {
  const add = async (number: number) => {
    const { netns, name } = await host.container()
    const call: Call = { plugin: 'bridge', command: 'ADD', config: bridge, netns, containerID: name, env }
    const prevResult = resultOf(await runPlugin(host, call))
    const portMappings = [{ hostPort: 8080 + number, containerPort: 80, protocol: 'tcp' }]
    const config = { ...portmap, runtimeConfig: { portMappings }, prevResult }
    resultOf(await runPlugin(host, { ...call, plugin: 'portmap', config }))
    expect(await host.output(['nsenter', `--net=${netns}`, 'sysctl', '-n', 'net.ipv4.conf.eth0.arp_notify'])).toBe(
      '1\n',
    )
  }
  const now = async () => {
    const text = await host.output(['sysctl', '-n', ...Object.keys(wanted)])
    return Object.fromEntries(
      text
        .trim()
        .split('\n')
        .map((value, index) => [Object.keys(wanted)[index], value]),
    )
  }
  await add(0)
  expect(await now()).toEqual(wanted)
  let number = 1
  for (const [key, value] of Object.entries(wanted)) {
    await host.output(['sysctl', '-qw', `${key}=${opposite[value]}`])
    await add(number++)
    expect(await now(), key).toEqual(wanted)
  }
})

test('a setting that is as wanted is looked at by netlink', async ({ host }) => {
  const { netns } = await host.container()
  const call: Call = { plugin: 'bridge', command: 'ADD', config: bridge, netns, containerID: 'first' }
  resultOf(await runPlugin(host, call))
  const next = await host.container()
  const traced = { ...call, netns: next.netns, containerID: 'next', env: { PODWIRE_TRACE: '/run/trace' } }
  resultOf(await runPlugin(host, traced))
  const settings = readTrace(host, '/run/trace').flatMap(({ argv, netlink }) =>
    netlink && argv[0] === 'sysctl' ? [argv.at(-1)] : [],
  )
  expect(settings).toEqual(expect.arrayContaining(['net/ipv4/ip_forward=1', 'net/ipv6/conf/br0/accept_ra=0']))
})

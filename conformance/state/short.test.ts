import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites, systemCommand } from '../harness/locations.js'
import { type Call, environment, runPlugin, type Verb } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

// A file that may not be written whole (RLIMIT_FSIZE here; a quota and NFS answer alike) is no file: the ADD fails and
// leaves nothing.

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.41.0.0/24' }], [{ subnet: 'fd00:41::/64' }]] }
/** What a plugin before in the chain made: see `prepare`. */
const wired = {
  ips: [{ address: '10.41.0.9/24', interface: 1 }],
  interfaces: [{ name: 'host0' }, { name: 'eth0', sandbox: '/run/netns/c1' }],
}
const rates = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 }
const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]

const plugins: Record<string, object> = {
  'host-local': { ipam },
  bridge: { isGateway: true, ipMasq: true, ipam },
  ptp: { ipMasq: true, ipam },
  macvlan: { master: 'uplink', hostAccess: true, ipam },
  tap: { ipam: { ...ipam, dataDir: '/var/lib/cni/elsewhere' } },
  'host-device': { device: 'lent', ipam },
  portmap: { prevResult: wired, runtimeConfig: { portMappings } },
  firewall: { prevResult: wired },
  tuning: { prevResult: wired, sysctl: { 'net.ipv4.conf.lo.arp_filter': '1' } },
  bandwidth: { prevResult: wired, ...rates },
  sbr: { prevResult: wired },
  chain: {
    plugins: [
      { type: 'tap', ipam: { ...ipam, dataDir: '/var/lib/cni/elsewhere' } },
      { type: 'tuning', mtu: 1400 },
    ],
  },
}

const call = (plugin: string, command: Verb, container: Container): Call => ({
  plugin,
  command,
  containerID: 'a-container-with-a-long-name',
  netns: container.netns,
  config: { cniVersion: '1.1.0', name: 'network', type: plugin, ...plugins[plugin] },
})

async function prepare(host: Host, plugin: string): Promise<Container> {
  await host.outside()
  await host.output(['ip', 'link', 'add', 'lent', 'type', 'veth', 'peer', 'name', 'far'])
  const container = await host.container('c1')
  if ('prevResult' in (plugins[plugin] as object)) {
    await host.output(['ip', 'link', 'add', 'host0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'c1'])
    await host.output(['ip', 'link', 'set', 'host0', 'up'])
    await container.batch(['addr add 10.41.0.9/24 dev eth0', 'link set eth0 up'])
  }
  return container
}

function limited(host: Host, one: Call, bytes: number): Promise<Finished> {
  const argv = [systemCommand('prlimit'), `--fsize=${bytes}`, join(suites.podwire, one.plugin)]
  return host.exec(argv, { stdin: JSON.stringify(one.config), env: environment(one) })
}

/** Without the directories that an ADD makes for all, and the files that say where a next one goes on. */
async function looked(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni', '/run/podwire', '/run/cni'] })
  return lines.filter((line) => !/^file \S*(lock|last_reserved_ip\.\d+|=seal) /.test(line))
}

describe.each(Object.keys(plugins))('%s', (plugin) => {
  test.for([0, 1, 7, 20])('with files of at most %d bytes: one error, and nothing is left', async (bytes, { host }) => {
    const container = await prepare(host, plugin)
    // What an ADD leaves for all is there.
    resultOf(await runPlugin(host, call(plugin, 'ADD', container)))
    succeedSilently(await runPlugin(host, call(plugin, 'DEL', container)))
    const before = await looked(host)
    const error = errorOf(await limited(host, call(plugin, 'ADD', container), bytes))
    expect([error.code, error.details], error.msg).toEqual([5, expect.stringContaining('EFBIG')])
    expect(difference(before, await looked(host))).toBe('')
    resultOf(await runPlugin(host, call(plugin, 'ADD', container)))
    succeedSilently(await limited(host, call(plugin, 'DEL', container), bytes))
    expect(difference(before, await looked(host))).toBe('')
  })
})

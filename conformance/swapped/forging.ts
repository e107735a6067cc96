import { expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { prepare, type Swapped, state, ways } from './swapping.js'

interface Link {
  ifindex: number
  ifname: string
  address: string
}

/**
 * Takes the container's interface away and puts a veth in its place that has its number, name and address, and the
 * alias of a link of the host; loopback, settings, routes and rules are turned.
 */
async function forge(container: Container): Promise<void> {
  const links = JSON.parse(await container.output(['ip', '-j', 'link'])) as Link[]
  const eth0 = links.find(({ ifname }) => ifname === 'eth0')
  if (eth0) await container.output(['ip', 'link', 'set', 'eth0', 'netns', 'nested'])
  const own = eth0 ? ['index', String(eth0.ifindex), 'address', eth0.address] : []
  await container.output([
    'ip',
    'link',
    'add',
    'eth0',
    ...own,
    'type',
    'veth',
    'peer',
    'name',
    'far9',
    'netns',
    'nested',
  ])
  await container.batch([
    'link set eth0 alias uplink',
    'link set eth0 mtu 1234',
    'link set eth0 up',
    'addr add 192.0.2.77/24 dev eth0',
    'route add default via 192.0.2.1',
    'rule add from 10.80.0.2 table 100',
    'link set lo down',
  ])
  await container.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.eth0.arp_filter=1'])
}

/** Everything but what is in the container and the namespace that its root made. */
async function outside(host: Host): Promise<string[]> {
  return (await state(host)).filter((line) => !/^(c1|nested): /.test(line))
}

/**
 * Declares that whatever a container's root does inside, a DEL leaves host and other containers as if the attachment
 * had never been.
 */
export function staysInside(type: string, swapped: Swapped): void {
  for (const [way, env] of Object.entries(ways)) {
    test(`${type} by ${way} changes nothing beyond the container`, async ({ host }) => {
      const { container, call } = await prepare(host, type, swapped)
      await host.container('nested')
      resultOf(await runPlugin(host, call('ADD', env)))
      succeedSilently(await runPlugin(host, call('DEL', env)))
      const before = await outside(host)
      resultOf(await runPlugin(host, call('ADD', env)))
      await forge(container)
      // Whatever the plugin says of it, and twice, as runtimes do.
      for (let times = 0; times < 2; times++) expect((await runPlugin(host, call('DEL', env))).signal).toBeNull()
      expect(withoutDevice(difference(before, await outside(host)))).toBe('')
      await host.output(['ip', 'netns', 'del', 'nested'])
    })
  }
}

/** A device that its container's root has put away is not to be found. */
function withoutDevice(lines: string): string {
  return lines
    .split('\n')
    .filter((line) => !/^- host: \S+ (\S+ )?hd0\b|^- host: sysctl ipv[46]\/(conf|neigh)\/hd0/.test(line))
    .join('\n')
}

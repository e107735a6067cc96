import { expect } from 'vitest'
import type { PluginConfig } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { until } from '../harness/process.js'
import { fixedNetwork, join } from './network.js'

const icmpv6 = 58
const prefix = '2001:db8:aa:'

/**
 * RFC 4861, 4.2 and 4.6.2: a router for 1800 s, and a prefix to make addresses of for a day. The kernel adds the
 * checksum.
 */
const advertisement = Buffer.concat([
  Buffer.from([134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]),
  Buffer.from([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0]),
  Buffer.from([0x20, 0x01, 0x0d, 0xb8, 0, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
])

/** Sends one router advertisement to all nodes; receivers insist on the hop limit 255, which no router lets through. */
export async function advertise(router: Pick<Container, 'output'>, link: string): Promise<void> {
  const [ipv6, multicastHops] = [41, 18]
  const own = async () => router.output(['ip', '-6', '-o', 'addr', 'show', 'dev', link, 'scope', 'link', '-tentative'])
  await until(`the router has an address on ${link}`, async () => (await own()).includes('fe80::'))
  const target = `IP6-SENDTO:[ff02::1%${link}]:${icmpv6},setsockopt=${ipv6}:${multicastHops}:i255`
  await router.output(['socat', '-u', '-', target], { stdin: advertisement })
}

/**
 * A router advertises itself on links of the LAN. Both containers hear it, the first told to by "acceptRA" and the
 * second not; only the first makes an address of the router's prefix, and routes through it.
 */
export async function onlyTheAskedListen(
  host: Host,
  {
    plugins,
    router,
    links = ['eth0'],
  }: { plugins: readonly [PluginConfig, PluginConfig]; router: Container; links?: string[] },
): Promise<void> {
  const [asked, other] = [await host.container('asked'), await host.container('other')]
  const network = (n: number, plugin: PluginConfig) =>
    fixedNetwork(plugin.type, [`192.0.2.1${n}/24`, `2001:db8:f::1${n}/64`], plugin)
  const chain = await join(host, asked, network(1, { ...plugins[0], acceptRA: true }))
  await join(host, other, network(2, plugins[1]))
  for (const link of links) await advertise(router, link)
  for (const container of [asked, other]) {
    await until(`${container.name} has heard the router`, async () => (await heard(container)) > 0)
  }
  await until('the one that was told to has an address', async () => (await learnt(asked)).addresses.length > 0)
  const route = expect.stringMatching(/^default via fe80::\S+ dev eth0/)
  expect(await learnt(asked)).toEqual({ addresses: [expect.stringContaining(prefix)], routes: [route] })
  expect(await learnt(other)).toEqual({ addresses: [], routes: [] })
  await chain.check()
}

/** How many advertisements reached a container. */
export async function heard(container: Container): Promise<number> {
  const counters = await container.output(['cat', '/proc/net/snmp6'])
  return Number(/^Icmp6InRouterAdvertisements\s+(\d+)/m.exec(counters)?.[1])
}

/** What a container has of advertisements. */
export async function learnt(container: Container): Promise<{ addresses: string[]; routes: string[] }> {
  const lines = async (words: string[]) =>
    (await container.output(['ip', '-6', '-o', ...words])).split('\n').filter((line) => line !== '')
  return {
    addresses: (await lines(['addr', 'show', 'dev', 'eth0'])).filter((line) => line.includes(prefix)),
    routes: await lines(['route', 'show', 'proto', 'ra']),
  }
}

import { expect } from 'vitest'
import type { Conflist, PluginConfig } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { Host } from '../harness/host.js'
import { until } from '../harness/process.js'
import { fixedNetwork, join } from './network.js'
import { unanswered } from './talking.js'

/** One of two nodes on a LAN, with a container on it. */
interface Node {
  host: Host
  container: Container
  /** The node's own addresses on the LAN. */
  own: readonly [string, string]
  addresses: readonly [string, string]
}

const kinds = {
  /** Containers are neighbours on the LAN itself. */
  switched: (n: number) => [`192.0.2.${n}1/24`, `2001:db8:f::${n}1/64`] as const,
  /** Each node has networks of its own, to which the other one routes. */
  routed: (n: number) => [`10.80.${n}.1/32`, `fd80:0:${n}::1/128`] as const,
}

/**
 * Two nodes whose uplinks are plugged into one switch, each with a container of the plugin: the containers talk to each
 * other in both directions, by tcp, udp and ICMP in both families; every one of them survives CHECK.
 */
export async function talkAcrossNodes(plugin: PluginConfig, kind: keyof typeof kinds): Promise<void> {
  const hosts = [await Host.create(), await Host.create()] as const
  try {
    const [one, two] = await twoNodes(hosts, kind)
    if (kind === 'routed') await routeToEachOther(one, two)
    const chains = [
      await join(one.host, one.container, network(plugin, one)),
      await join(two.host, two.container, network(plugin, two)),
    ]
    for (const [from, to] of [[one, two] as const, [two, one] as const]) {
      expect(await unanswered(from.container, to.container, to.addresses.map(bare))).toEqual([])
    }
    for (const chain of chains) await chain.check()
  } finally {
    for (const host of hosts) await host.dispose()
  }
}

async function twoNodes(hosts: readonly [Host, Host], kind: keyof typeof kinds): Promise<[Node, Node]> {
  const wire = await hosts[0].container('switch')
  await wire.batch(['link add lan type bridge', 'link set lan up'])
  const nodes: Node[] = []
  for (const [index, host] of hosts.entries()) {
    const n = index + 1
    const own = [`192.0.2.${n}/24`, `2001:db8:f::${n}/64`] as const
    await wire.batch([
      `link add port${n} type veth peer name uplink netns ${host.pid}`,
      `link set port${n} master lan up`,
    ])
    await host.output(['ip', '-batch', '-'], {
      stdin: `addr add ${own[0]} dev uplink\naddr add ${own[1]} dev uplink nodad\nlink set uplink up\n`,
    })
    nodes.push({ host, own, container: await host.container(`pod${n}`), addresses: kinds[kind](n) })
  }
  const ports = async () => (await wire.output(['bridge', 'link', 'show'])).match(/state forwarding/g) ?? []
  await until('both nodes are on the LAN', async () => (await ports()).length === 2)
  return nodes as [Node, Node]
}

async function routeToEachOther(one: Node, two: Node): Promise<void> {
  for (const [from, to] of [[one, two] as const, [two, one] as const]) {
    const routes = to.addresses.map((address, family) => `route add ${address} via ${bare(to.own[family] as string)}`)
    await from.host.output(['ip', '-batch', '-'], { stdin: `${routes.join('\n')}\n` })
  }
}

function network(plugin: PluginConfig, { addresses }: Node): Conflist {
  return fixedNetwork(plugin.type, addresses, plugin)
}

function bare(address: string): string {
  return address.replace(/\/\d+$/, '')
}

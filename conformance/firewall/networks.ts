import type { Conflist } from '../harness/chain.js'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { addressOf, bridgeNetwork } from '../main/networks.js'

/** A bridge network whose containers go through the firewall plugin; `number` tells networks of one host apart. */
export function firewalled(
  firewall: object = {},
  { number = 2, cniVersion = '1.1.0', ranges = 2 }: { number?: number; cniVersion?: string; ranges?: number } = {},
): Conflist {
  const both = [[{ subnet: `10.1.${number}.0/24` }], [{ subnet: `fd00:1:${number}::/64` }]]
  const plugin = { bridge: `br${number}`, hairpinMode: true }
  const network = bridgeNetwork({
    cniVersion,
    name: `network${number}`,
    plugin,
    ipam: { ranges: both.slice(0, ranges) },
  })
  return { ...network, plugins: [...network.plugins, { type: 'firewall', ...firewall }] }
}

/** A container that joined a network. */
export interface Member {
  readonly container: Container
  readonly chain: Chain
  readonly v4: string
  readonly v6: string
}

/** Attaches a new container. */
export async function join(host: Host, network: Conflist, more: object = {}): Promise<Member> {
  const container = await host.container()
  const chain = new Chain(host, network, { containerID: container.name, netns: container.netns, ...more })
  const result = await chain.add()
  const v6 = result.ips?.some(({ address }) => address.includes(':')) ? addressOf(result, 6) : ''
  return { container, chain, v4: addressOf(result, 4), v6 }
}

/** Only the firewall plugin's part of a chain, given the result the whole chain had. */
export function onlyFirewall(host: Host, { chain, container }: Member, network: Conflist, more: object = {}) {
  const attachment = { containerID: container.name, netns: container.netns, ...more }
  const plugins = network.plugins.filter(({ type }) => type === 'firewall')
  const informed = plugins.map((plugin) => ({ ...plugin, prevResult: chain.result }))
  const [given, bare] = [informed, plugins].map(
    (list) => new Chain(host, { ...network, plugins: list }, attachment),
  ) as [Chain, Chain]
  return {
    add: () => given.add(),
    check: () => given.check(),
    del: (isBare = false) => (isBare ? bare : given).del(isBare),
    gc: (valid?: { containerID: string; ifname: string }[]) => bare.gc(valid),
  }
}

/** Puts scripts where every plugin looks for its tools first. */
export async function fakeTools(host: Host, tools: Record<string, string>): Promise<void> {
  await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
  for (const [tool, script] of Object.entries(tools)) {
    await host.output(['tee', `/usr/local/sbin/${tool}`], { stdin: `#!/bin/sh\n${script}\n` })
    await host.output(['chmod', '+x', `/usr/local/sbin/${tool}`])
  }
}

/** Ways in which hosts drop what nobody let through, with the commands that make one do so. */
export const dropping: Record<string, readonly (readonly string[])[]> = {
  'iptables-nft': [
    ['iptables-nft', '-P', 'FORWARD', 'DROP'],
    ['ip6tables-nft', '-P', 'FORWARD', 'DROP'],
  ],
  'iptables-legacy': [
    ['iptables-legacy', '-P', 'FORWARD', 'DROP'],
    ['ip6tables-legacy', '-P', 'FORWARD', 'DROP'],
  ],
  'a chain of rules that rejects': [
    ['iptables-nft', '-A', 'FORWARD', '-j', 'REJECT'],
    ['ip6tables-nft', '-A', 'FORWARD', '-j', 'REJECT'],
  ],
  'an nftables ruleset': [
    ['nft', 'add', 'table', 'inet', 'site'],
    ['nft', 'add', 'chain', 'inet', 'site', 'transit', '{ type filter hook forward priority 10; policy drop; }'],
  ],
}

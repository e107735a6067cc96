import type { Conflist, PluginConfig } from '../harness/chain.js'

/** A list whose plugins are one chain, with the capabilities of its members. */
export function asChain({ cniVersion, name, plugins }: Conflist, more: object = {}): Conflist {
  const capabilities = Object.assign({}, ...plugins.map((one) => one.capabilities ?? {})) as Record<string, boolean>
  return { cniVersion, name, plugins: [{ type: 'chain', plugins, capabilities, ...more }] }
}

/** What a container mostly gets: a bridge, published ports, a firewall, settings. */
export function fourMembers(...more: PluginConfig[]): Conflist {
  const ranges = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]]
  return {
    cniVersion: '1.1.0',
    name: 'network',
    plugins: [
      {
        type: 'bridge',
        bridge: 'br2',
        isDefaultGateway: true,
        hairpinMode: true,
        ipMasq: true,
        ipMasqBackend: 'nftables',
        ipam: { type: 'host-local', ranges },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall', backend: 'nftables' },
      { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' } },
      ...more,
    ],
  }
}

export const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]

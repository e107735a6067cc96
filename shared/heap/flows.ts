/** One call of a plugin. */
export interface Flow {
  readonly command: 'VERSION' | 'ADD' | 'DEL'
  readonly netns: string
  readonly config: object
}

/**
 * The calls a runtime makes of a plugin, a DEL that finds nothing among them, with the options that most networks have,
 * on the host that in-namespace makes: what is recorded together, one behind the other.
 */
export function flowsOf(plugin: string): readonly (readonly Flow[])[] {
  const config: object = { cniVersion: '1.0.0', name: 'network', type: plugin, ...configurations[plugin] }
  const netns = 'prevResult' in config ? attached : '/run/netns/container'
  const flow = (command: Flow['command']): Flow => ({ command, netns, config })
  return [
    [flow('VERSION'), flow('ADD')],
    [flow('DEL'), flow('DEL')],
  ]
}

// --- internal

const ipam = {
  type: 'host-local',
  ranges: [[{ subnet: '10.88.0.0/16' }], [{ subnet: 'fd00:88::/64' }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
}

const attached = '/run/netns/attached'
const prevResult = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'bridge' }, { name: 'port' }, { name: 'eth0', sandbox: attached }],
  ips: [
    { address: '10.88.0.9/16', gateway: '10.88.0.1', interface: 2 },
    { address: 'fd00:88::9/64', gateway: 'fd00:88::1', interface: 2 },
  ],
  routes: [{ dst: '0.0.0.0/0' }],
}

const configurations: Record<string, object> = {
  bandwidth: { ingressRate: 1_000_000, ingressBurst: 100_000, egressRate: 1_000_000, egressBurst: 100_000, prevResult },
  bridge: { bridge: 'bridge', isGateway: true, ipMasq: true, hairpinMode: true, ipam },
  chain: {
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: [{ hostPort: 8081, containerPort: 80, protocol: 'tcp' }] },
    plugins: [
      { type: 'bridge', bridge: 'bridge', isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall', backend: 'nftables' },
      { type: 'tuning' },
    ],
  },
  dummy: { ipam },
  firewall: { backend: 'nftables', prevResult },
  flannel: { delegate: { bridge: 'bridge', isDefaultGateway: true, hairpinMode: true } },
  'host-device': { device: 'outside' },
  'host-local': { ipam },
  ipvlan: { master: 'uplink', ipam },
  macvlan: { master: 'uplink', ipam },
  portmap: {
    prevResult,
    runtimeConfig: {
      portMappings: [
        { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
        { hostPort: 8443, containerPort: 443, protocol: 'tcp', hostIP: '' },
      ],
    },
  },
  ptp: { ipMasq: true, ipam },
  sbr: { prevResult },
  static: { ipam: { type: 'static', addresses: [{ address: '10.88.0.9/16' }] } },
  tap: { ipam },
  tuning: { prevResult },
  vlan: { master: 'uplink', vlanId: 5, ipam },
  vrf: { vrfname: 'blue', prevResult },
}

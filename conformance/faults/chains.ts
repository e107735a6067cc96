import type { Conflist, PluginConfig } from '../harness/chain.js'

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]] }
const lan = [
  [{ subnet: '192.0.2.0/24', rangeStart: '192.0.2.10', rangeEnd: '192.0.2.200' }],
  [{ subnet: '2001:db8:f::/64', rangeStart: '2001:db8:f::10', rangeEnd: '2001:db8:f::ff' }],
]
const bridge = { type: 'bridge', bridge: 'br0', isDefaultGateway: true, ipMasq: true, ipam }
const capabilities = { portMappings: true }
const tuning = { type: 'tuning', mac: '02:00:5e:10:00:07', mtu: 1400, sysctl: { 'net.ipv4.conf.all.arp_filter': '1' } }
const bandwidth = { type: 'bandwidth', ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 }

function list(...plugins: PluginConfig[]): Conflist {
  return { cniVersion: '1.1.0', name: 'network', plugins }
}

/**
 * Lists that runtimes use, with every backend: what a kill, a fault or a limit is tried on. All need an uplink on the
 * host.
 */
export const chains: Readonly<Record<string, Conflist>> = {
  'bridge, portmap, firewall, tuning, bandwidth': list(
    { ...bridge, macspoofchk: true },
    { type: 'portmap', capabilities },
    { type: 'firewall' },
    tuning,
    bandwidth,
  ),
  'the same by iptables': list(
    { ...bridge, ipMasqBackend: 'iptables' },
    { type: 'portmap', backend: 'iptables', capabilities },
    { type: 'firewall', backend: 'iptables' },
  ),
  'bridge, firewall of one bridge': list(bridge, { type: 'firewall', ingressPolicy: 'same-bridge' }),
  'ptp, portmap, sbr': list({ type: 'ptp', ipMasq: true, ipam }, { type: 'portmap', capabilities }, { type: 'sbr' }),
  'macvlan with the host, tuning': list(
    { type: 'macvlan', master: 'uplink', hostAccess: true, ipam: { type: 'host-local', ranges: lan } },
    { type: 'tuning', promisc: true },
  ),
  tap: list({ type: 'tap', ipam: { type: 'static', addresses: [{ address: '10.1.9.2/24' }] } }),
}

/** Two published ports, for the plugins that take them. */
export const capabilityArgs = {
  portMappings: [
    { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
    { hostPort: 8053, containerPort: 53, protocol: 'udp' },
  ],
}

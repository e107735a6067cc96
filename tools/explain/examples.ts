/** A configuration of each plugin as it stands in a list, the least that works where that is not nothing. */
export const examples: Readonly<Record<string, { readonly type: string; readonly [key: string]: unknown }>> = {
  bandwidth: { type: 'bandwidth', ingressRate: 100000000, ingressBurst: 1000000, capabilities: { bandwidth: true } },
  bridge: {
    type: 'bridge',
    bridge: 'cni0',
    isDefaultGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: { type: 'host-local', subnet: '10.90.0.0/24' },
  },
  chain: {
    type: 'chain',
    capabilities: { portMappings: true },
    plugins: [
      { type: 'ptp', ipMasq: true, ipam: { type: 'host-local', subnet: '10.90.0.0/24' } },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  },
  dummy: { type: 'dummy', ipam: { type: 'static', addresses: [{ address: '10.1.2.3/32' }] } },
  firewall: { type: 'firewall', ingressPolicy: 'same-bridge' },
  flannel: { type: 'flannel', delegate: { hairpinMode: true, isDefaultGateway: true } },
  'host-device': { type: 'host-device', device: 'eth1' },
  'host-local': {
    type: 'bridge',
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: '10.90.0.0/24', rangeStart: '10.90.0.10', gateway: '10.90.0.1' }], [{ subnet: 'fd90::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  },
  ipvlan: { type: 'ipvlan', master: 'eth0', mode: 'l2', ipam: { type: 'host-local', subnet: '192.168.7.0/24' } },
  loopback: { type: 'loopback' },
  macvlan: { type: 'macvlan', master: 'eth0', ipam: { type: 'host-local', subnet: '192.168.7.0/24' } },
  portmap: { type: 'portmap', capabilities: { portMappings: true } },
  ptp: { type: 'ptp', ipMasq: true, ipam: { type: 'host-local', subnet: '10.90.0.0/24' } },
  sbr: { type: 'sbr' },
  static: {
    type: 'macvlan',
    master: 'eth0',
    ipam: {
      type: 'static',
      addresses: [{ address: '192.168.7.20/24', gateway: '192.168.7.1' }],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  },
  tap: { type: 'tap', multiQueue: true, owner: 107, group: 107 },
  tuning: { type: 'tuning', sysctl: { 'net.ipv4.conf.IFNAME.rp_filter': '2' }, mtu: 1400 },
  vlan: { type: 'vlan', master: 'eth0', vlanId: 5, ipam: { type: 'host-local', subnet: '192.168.5.0/24' } },
  vrf: { type: 'vrf', vrfname: 'red' },
}

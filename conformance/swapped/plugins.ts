import { ipam, type Swapped } from './swapping.js'

const subnets = 'FLANNEL_NETWORK=10.80.0.0/16\nFLANNEL_SUBNET=10.80.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true'
const bridge = { type: 'bridge', bridge: 'br9', isGateway: true, ipMasq: true, ipam }

/** Every plugin that looks into a container and works on any kernel. */
export const plugins: Record<string, Swapped> = {
  bridge: { config: bridge },
  ptp: { config: { ipMasq: true, ipam } },
  macvlan: { config: { master: 'uplink', ipam } },
  'host-device': {
    config: { device: 'hd0', ipam },
    prepare: (host) => host.output(['ip', 'link', 'add', 'hd0', 'type', 'veth', 'peer', 'name', 'hd1']),
  },
  tap: { config: { ipam } },
  loopback: { config: {}, prepare: (_, container) => container.output(['ip', 'link', 'set', 'lo', 'down']) },
  tuning: { config: { mtu: 1300, sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' } }, chained: bridge },
  sbr: { config: {}, chained: bridge },
  bandwidth: { config: { ingressRate: 8_000_000, ingressBurst: 80_000 }, chained: bridge },
  portmap: {
    config: { runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] } },
    chained: bridge,
  },
  firewall: { config: {}, chained: bridge },
  flannel: {
    config: {},
    prepare: (host) => host.output(['sh', '-c', `mkdir -p /run/flannel; echo '${subnets}' >/run/flannel/subnet.env`]),
  },
  chain: {
    config: {
      plugins: [
        { type: 'tap', ipam },
        { type: 'tuning', mtu: 1300 },
      ],
    },
  },
}

/** Those that need a kernel with their kinds of links. */
export const pluginsOfFullKernels: Record<string, Swapped> = {
  ipvlan: { config: { master: 'uplink', ipam } },
  vlan: { config: { master: 'uplink', vlanId: 9, ipam } },
  dummy: { config: { ipam } },
  vrf: { config: { vrfname: 'red' }, chained: bridge },
}

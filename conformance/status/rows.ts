/** A configuration without version and network name, and what its plugin stands behind. */
export interface Row {
  readonly name: string
  readonly config: { readonly type: string; readonly [key: string]: unknown }
  readonly isChained?: true
  /** The programs its ADD starts. */
  readonly programs?: readonly string[]
  /** The programs that only its DEL cannot do without. */
  readonly later?: readonly string[]
  /** Where its ADD makes files. */
  readonly writes?: readonly string[]
}

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] }
const leases = '/var/lib/cni/networks'
const records = '/run/podwire'
const runtimeConfig = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] }
const limits = { ingressRate: 8e6, ingressBurst: 8e6 }
const iptables = { programs: ['iptables-restore'], later: ['iptables-save'] }

/** What every plugin needs for an ADD, configuration by configuration. */
export const rows: readonly Row[] = [
  { name: 'loopback', config: { type: 'loopback' } },
  { name: 'static', config: { type: 'static', ipam: { type: 'static', addresses: [{ address: '10.1.0.2/24' }] } } },
  { name: 'host-local', config: { type: 'host-local', ipam }, writes: [leases] },
  { name: 'bridge', config: { type: 'bridge', isGateway: true, ipam }, writes: [leases, records] },
  { name: 'bridge without IPAM', config: { type: 'bridge' }, writes: [records] },
  {
    name: 'bridge with masquerade',
    config: { type: 'bridge', ipMasq: true, ipam },
    programs: ['nft'],
    writes: [leases, records],
  },
  {
    name: 'bridge with masquerade by iptables',
    config: { type: 'bridge', ipMasq: true, ipMasqBackend: 'iptables', ipam },
    ...iptables,
    writes: [leases, records],
  },
  {
    name: 'bridge with macspoofchk',
    config: { type: 'bridge', macspoofchk: true },
    programs: ['nft', 'ip', 'nsenter'],
  },
  { name: 'ptp', config: { type: 'ptp', ipam }, writes: [leases, records] },
  { name: 'ptp with masquerade', config: { type: 'ptp', ipMasq: true, ipam }, programs: ['nft'] },
  {
    name: 'ptp with masquerade by iptables',
    config: { type: 'ptp', ipMasq: true, ipMasqBackend: 'iptables', ipam },
    ...iptables,
  },
  { name: 'macvlan', config: { type: 'macvlan', master: 'uplink', ipam }, writes: [leases] },
  {
    name: 'macvlan with leases elsewhere, which is on record',
    config: { type: 'macvlan', master: 'uplink', ipam: { ...ipam, dataDir: '/var/lib/leases' } },
    writes: ['/var/lib/leases', records],
  },
  {
    name: 'macvlan that looks for conflicts',
    config: { type: 'macvlan', master: 'uplink', addressConflictDetection: true, ipam },
    programs: ['arping', 'nsenter'],
  },
  {
    name: 'macvlan with hostAccess',
    config: { type: 'macvlan', master: 'uplink', hostAccess: true, ipam },
    programs: ['ip', 'nsenter'],
    writes: [leases, records],
  },
  { name: 'tap', config: { type: 'tap', ipam }, programs: ['ip', 'nsenter'], writes: [leases] },
  {
    name: 'host-device',
    config: { type: 'host-device', device: 'spare0', ipam },
    later: ['nsenter', 'ip'],
    writes: [leases, records],
  },
  {
    name: 'portmap',
    config: { type: 'portmap', runtimeConfig },
    isChained: true,
    programs: ['nft'],
    writes: [records],
  },
  {
    name: 'portmap by iptables',
    config: { type: 'portmap', backend: 'iptables', runtimeConfig },
    isChained: true,
    ...iptables,
    writes: [records],
  },
  { name: 'firewall', config: { type: 'firewall' }, isChained: true, programs: ['nft'], writes: [records] },
  {
    name: 'firewall by iptables',
    config: { type: 'firewall', backend: 'iptables' },
    isChained: true,
    ...iptables,
    writes: [records],
  },
  { name: 'tuning without work', config: { type: 'tuning' }, isChained: true },
  { name: 'tuning', config: { type: 'tuning', mtu: 1400 }, isChained: true, writes: ['/run/cni/tuning'] },
  {
    name: 'tuning in a directory of its own',
    config: { type: 'tuning', promisc: true, dataDir: '/run/originals' },
    isChained: true,
    writes: ['/run/originals'],
  },
  {
    name: 'bandwidth towards the container',
    config: { type: 'bandwidth', ...limits },
    isChained: true,
    programs: ['tc'],
  },
  {
    name: 'bandwidth',
    config: { type: 'bandwidth', ...limits, egressRate: 8e6, egressBurst: 8e6 },
    isChained: true,
    programs: ['tc'],
    writes: [records],
  },
  { name: 'sbr', config: { type: 'sbr' }, isChained: true, programs: ['ip', 'nsenter'], writes: [records] },
  {
    name: 'chain',
    config: {
      type: 'chain',
      plugins: [
        { type: 'ptp', ipam },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
      capabilities: { portMappings: true },
      runtimeConfig,
    },
    programs: ['nft'],
    writes: [records],
  },
]

/** Those whose kind of link this kernel may lack: in the virtual machine. */
export const nativeRows: readonly Row[] = [
  { name: 'bridge with a VLAN', config: { type: 'bridge', vlan: 5 }, programs: ['bridge', 'ip', 'nsenter'] },
  { name: 'dummy', config: { type: 'dummy', ipam }, writes: [leases] },
  { name: 'ipvlan', config: { type: 'ipvlan', master: 'uplink', ipam }, writes: [leases, records] },
  { name: 'vlan', config: { type: 'vlan', master: 'uplink', vlanId: 5, ipam }, writes: [leases] },
  {
    name: 'vrf',
    config: { type: 'vrf', vrfname: 'blue' },
    isChained: true,
    // Also its ADD starts them, where the interface has routes or IPv6 addresses to keep.
    later: ['ip', 'nsenter'],
    writes: [records],
  },
]

export function rowNamed(name: string): Row {
  const row = rows.find((one) => one.name === name)
  if (!row) throw new Error(`there is no row "${name}"`)
  return row
}

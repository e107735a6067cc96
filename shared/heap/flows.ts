/** One call of a plugin. */
export interface Flow {
  readonly command: 'VERSION' | 'ADD' | 'DEL'
  readonly netns: string
  readonly containerID: string
  readonly ifName: string
  readonly config: object
  /** What becomes of all records before it: the directory stands empty, or there is none. */
  readonly records?: 'empty' | 'absent'
}

/** A script of a plugin: for DEL, for a DEL that finds nothing, and for all else (start.ts). */
export type Part = 'ADD' | 'DEL' | 'NOTHING'

/**
 * The calls a runtime makes of a plugin, a DEL that finds nothing among them, on the host that in-namespace makes: what
 * is recorded together, one behind the other, for each of the plugin's scripts in turn. With the options that most
 * networks have, and with few of them.
 */
export function flowsOf(plugin: string): ReadonlyMap<Part, readonly Flow[]> {
  const flows = (command: Flow['command']) =>
    [configurations[plugin] ?? {}, simple[plugin]].flatMap((one, index): Flow[] => {
      if (!one) return []
      const config = { cniVersion: '1.0.0', name: `network${index}`, type: plugin, ...one }
      const [netns, ifName] = 'prevResult' in one ? [attached, 'eth0'] : ['/run/netns/container', `eth${index}`]
      return [{ command, netns, containerID: `container${index}`, ifName, config }]
    })
  const again = flows('DEL').map((flow, index) => ({ ...flow, netns: index === 0 ? '' : '/run/netns/gone' }))
  const add: [Part, Flow[]] = ['ADD', [...flows('VERSION'), ...flows('ADD')]]
  if (!keepRecords.includes(plugin)) return new Map([add, ['DEL', [...flows('DEL'), ...again]]])
  const lost = (['empty', 'absent'] as const).flatMap((records) =>
    again.map((flow, index) => (index === 0 ? { ...flow, records } : flow)),
  )
  return new Map([add, ['DEL', flows('DEL')], ['NOTHING', [...again, ...lost]]])
}

// --- internal

/** Those whose ADD leaves a record in their own name, whatever the configuration: without one a DEL finds nothing. */
const keepRecords = ['bandwidth', 'bridge', 'firewall', 'portmap', 'ptp', 'sbr']

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

/** The same with less: one address, no rules that were not asked for. */
const one = { type: 'host-local', ranges: [[{ subnet: '10.89.0.0/16' }]], routes: [{ dst: '0.0.0.0/0' }] }
const short = { cniVersion: '1.0.0', ips: [{ address: '10.89.0.9/16' }] }

const simple: Record<string, object> = {
  bridge: { bridge: 'plain', isGateway: true, ipam: one },
  chain: {
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: [{ hostPort: 8082, containerPort: 80, protocol: 'tcp' }] },
    plugins: [
      { type: 'bridge', bridge: 'plain', isGateway: true, ipam: one },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall' },
      { type: 'tuning' },
    ],
  },
  dummy: { ipam: one },
  firewall: { prevResult: short },
  'host-local': { ipam: one },
  ipvlan: { master: 'uplink', ipam: one },
  macvlan: { master: 'uplink', ipam: one },
  portmap: {
    prevResult: short,
    runtimeConfig: {
      portMappings: [
        { hostPort: 9080, containerPort: 80, protocol: 'tcp' },
        { hostPort: 9443, containerPort: 443, protocol: 'udp' },
      ],
    },
  },
  ptp: { ipam: one },
  tap: { ipam: one },
}

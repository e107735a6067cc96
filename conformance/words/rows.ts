import type { Verb } from '../harness/plugin.js'

/** One mistake, what the official plugin says of it (v1.9.1 and v1.10.0), and the code that podwire gives. */
export interface Row {
  readonly plugin: string
  readonly what: string
  readonly config: object
  readonly official: string
  readonly code: number
  readonly command?: Verb
  readonly args?: string
  readonly netns?: string
  readonly ifName?: string
}

/** The namespace of the container that has `eth0`, one end of a veth pair, and `dummy9`, which is none. */
export const netns = '/run/netns/x'

const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:02', sandbox: netns }],
  ips: [{ interface: 0, address: '10.1.2.3/24' }],
}
const addresses = { type: 'static', addresses: [{ address: '10.1.2.3/24' }] }
const row = (plugin: string, what: string, config: object, official: string, more: Partial<Row> = {}): Row => ({
  plugin,
  what,
  config,
  official,
  code: 7,
  ...more,
})

const bridge: Row[] = [
  ...[-100, 5000].map((vlan) =>
    row('bridge', `vlan ${vlan}`, { vlan }, `invalid VLAN ID ${vlan} (must be between 0 and 4094)`),
  ),
  ...(
    [
      [{ minID: 3 }, 'minID and maxID should be configured simultaneously, maxID is missing'],
      [{ maxID: 3 }, 'minID and maxID should be configured simultaneously, minID is missing'],
      [{ minID: 0, maxID: 3 }, 'incorrect trunk minID parameter'],
      [{ minID: 1, maxID: 4095 }, 'incorrect trunk maxID parameter'],
      [{ minID: 9, maxID: 3 }, 'minID is greater than maxID in trunk parameter'],
      [{ id: 4095 }, 'incorrect trunk id parameter'],
    ] as const
  ).map(([entry, official]) => row('bridge', JSON.stringify(entry), { vlanTrunk: [entry] }, official)),
  row(
    'bridge',
    'hairpin and promiscuous',
    { hairpinMode: true, promiscMode: true },
    'cannot set hairpin mode and promiscuous mode at the same time',
  ),
  row(
    'bridge',
    'IPAM without an interface',
    { disableContainerInterface: true, ipam: addresses },
    'cannot use IPAM when DisableContainerInterface flag is set',
  ),
  row('bridge', 'no name', { bridge: '' }, 'could not add "": LinkAttrs.Name cannot be empty'),
  row('bridge', 'a bad MAC', { args: { cni: { mac: 'zz' } } }, 'address zz: invalid MAC address'),
  row(
    'bridge',
    'a multicast MAC',
    { runtimeConfig: { mac: '01:00:5e:00:00:01' } },
    'failed to make veth pair: cannot assign requested address',
  ),
  row('bridge', 'no such plugin', { ipam: { type: 'nosuch' } }, 'failed to find plugin "nosuch" in path [', {
    code: 107,
  }),
  row('bridge', 'a plugin that is a path', { ipam: { type: 'a/b' } }, 'invalid plugin name: a/b'),
  row(
    'bridge',
    'no such namespace',
    {},
    'failed to open netns "/run/netns/no": failed to Statfs "/run/netns/no": no such file or directory',
    { netns: '/run/netns/no', code: 104 },
  ),
]

const ptp: Row[] = [
  row('ptp', 'no IPAM', {}, 'no plugin name provided'),
  row(
    'ptp',
    'no such namespace',
    { ipam: addresses },
    'failed to open netns "/run/netns/no": failed to Statfs "/run/netns/no": no such file or directory',
    { netns: '/run/netns/no', code: 104 },
  ),
]

const children: Row[] = [
  row('macvlan', 'no such mode', { master: 'top0', mode: 'x' }, 'unknown macvlan mode: "x"'),
  row('macvlan', 'no such master', { master: 'no0' }, 'Link not found'),
  row('macvlan', 'no master and no default route', {}, 'no default route interface found'),
  ...[-100, 1600].map((mtu) =>
    row('macvlan', `MTU ${mtu}`, { master: 'top0', mtu }, `invalid MTU ${mtu}, must be [0, master MTU(1500)]`),
  ),
  row(
    'macvlan',
    'a bad MAC',
    { master: 'top0', mac: 'zz' },
    'invalid args zz for MAC addr: address zz: invalid MAC address',
  ),
  row(
    'macvlan',
    'a multicast MAC',
    { master: 'top0', mac: '01:00:5e:00:00:01' },
    'failed to create macvlan: cannot assign requested address',
  ),
  row('ipvlan', 'no such mode', { master: 'top0', mode: 'x', ipam: addresses }, 'unknown ipvlan mode: "x"'),
  row('ipvlan', 'no such master', { master: 'no0', ipam: addresses }, 'failed to lookup master "no0": Link not found'),
  row(
    'vlan',
    'no master',
    { vlanId: 5, ipam: addresses },
    '"master" field is required. It specifies the host interface name to create the VLAN for',
  ),
  ...[-1, 5000].map((vlanId) =>
    row(
      'vlan',
      `vlanId ${vlanId}`,
      { master: 'top0', vlanId, ipam: addresses },
      `invalid VLAN ID ${vlanId} (must be between 0 and 4095 inclusive)`,
    ),
  ),
  ...[-100, 1600].map((mtu) =>
    row(
      'vlan',
      `MTU ${mtu}`,
      { master: 'top0', vlanId: 5, mtu, ipam: addresses },
      `invalid MTU ${mtu}, must be [0, master MTU(1500)]`,
    ),
  ),
  row('vlan', 'no such master', { master: 'no0', vlanId: 5, ipam: addresses }, 'Link not found'),
  row('dummy', 'no IPAM', {}, 'dummy interface requires an IPAM configuration'),
]

const devices: Row[] = [
  row('host-device', 'no device', {}, 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"'),
  row('host-device', 'no such device', { device: 'no0' }, 'failed to find host device: Link not found', { code: 100 }),
  row(
    'host-device',
    'no such address',
    { hwaddr: '02:00:00:00:99:99' },
    'failed to find host device: failed to find physical interface',
    { code: 100 },
  ),
  row(
    'host-device',
    'a bad address',
    { hwaddr: 'zz' },
    'failed to find host device: failed to parse MAC address "zz": address zz: invalid MAC address',
  ),
  row(
    'host-device',
    'a path elsewhere',
    { kernelpath: '/sys/class/net' },
    'failed to find host device: kernel device path "/sys/class/net" must be absolute and begin with /sys/devices/',
  ),
  row(
    'host-device',
    'a path that is not there',
    { kernelpath: '/sys/devices/none' },
    'failed to find host device: failed to read directory /sys/devices/none/net: "open /sys/devices/none/net: no such',
    { code: 100 },
  ),
  row(
    'host-device',
    'no such PCI device',
    { pciBusID: '0000:ff:1f.7' },
    'error with host device: lstat /sys/bus/pci/devices/0000:ff:1f.7: no such file or directory',
    { code: 100 },
  ),
  row(
    'host-device',
    'no such device ID',
    { runtimeConfig: { deviceID: '0000:99:00.9' } },
    'runtime config DeviceID 0000:99:00.9 not found or unsupported',
  ),
  row('tap', 'no such bridge', { bridge: 'no0' }, 'failed to get bridge no0: Link not found', { code: 100 }),
  row('tap', 'a bad MAC', { mac: 'zz' }, 'failed to run command "zz" is invalid lladdr.'),
]

const portmap: Row[] = [
  row('portmap', 'no chain', { runtimeConfig: { portMappings: [] } }, 'must be called as chained plugin'),
  row(
    'portmap',
    'both marks',
    { prevResult, markMasqBit: 3, externalSetMarkChain: 'X' },
    'failed to parse config: Cannot specify externalSetMarkChain and markMasqBit',
  ),
  ...[-1, 32].map((markMasqBit) =>
    row(
      'portmap',
      `bit ${markMasqBit}`,
      { markMasqBit },
      'failed to parse config: MasqMarkBit must be between 0 and 31',
    ),
  ),
  row('portmap', 'no such backend', { backend: 'x' }, 'failed to parse config: unrecognized backend "x"'),
  row(
    'portmap',
    "nftables with iptables' options",
    {
      prevResult,
      backend: 'nftables',
      externalSetMarkChain: 'X',
      conditionsV4: ['-s', '10.0.0.0/8'],
      conditionsV6: ['!', '-s', 'fd00::/8'],
    },
    'failed to parse config: nftables backend was requested but configuration contains iptables-specific options [externalSetMarkChain conditionsV4 conditionsV6]',
  ),
  row(
    'portmap',
    "iptables with nftables' options",
    {
      prevResult,
      backend: 'iptables',
      conditionsV4: ['ip', 'saddr', '10.0.0.0/8'],
      conditionsV6: ['ip6', 'saddr', 'fd00::/8'],
    },
    'failed to parse config: iptables backend was requested but configuration contains nftables-specific options [conditionsV4 conditionsV6]',
  ),
  ...(
    [
      [{ hostPort: 0, containerPort: 80 }, 'Invalid host port number: 0'],
      [{ hostPort: -5, containerPort: 80 }, 'Invalid host port number: -5'],
      [{ hostPort: 80, containerPort: 0 }, 'Invalid container port number: 0'],
      [{ hostPort: 80 }, 'Invalid container port number: 0'],
    ] as const
  ).map(([mapping, official]) =>
    row(
      'portmap',
      JSON.stringify(mapping),
      { prevResult, runtimeConfig: { portMappings: [{ ...mapping, protocol: 'tcp' }] } },
      `failed to parse config: ${official}`,
    ),
  ),
]

const meta: Row[] = [
  // Before any ADD, which makes the rule that all containers share.
  row(
    'firewall',
    'CHECK without rules',
    { prevResult, backend: 'iptables' },
    'expected FORWARD rule [-m comment --comment CNI firewall plugin rules -j CNI-FORWARD] not found',
    { command: 'CHECK', code: 105 },
  ),
  row('firewall', 'no chain', {}, 'missing prevResult from earlier plugin'),
  row('firewall', 'no such policy', { prevResult, ingressPolicy: 'x' }, 'unknown ingress policy: "x"'),
  row(
    'firewall',
    'a policy without a bridge',
    { prevResult: { ...prevResult, interfaces: [], ips: [] }, ingressPolicy: 'isolated' },
    'interface needs to be set for ingress policy "isolated", make sure to chain "firewall" plugin with "bridge"',
  ),
  ...(
    [
      [{ interfaces: [7] }, 'number into Go struct field Result.interfaces of type types100.Interface'],
      [{ interfaces: [{ mac: 7 }] }, 'number into Go struct field Interface.interfaces.mac of type string'],
      [{ ips: ['x'] }, 'string into Go struct field Result.ips of type types100.ipConfig'],
      [{ ips: [{ address: 7 }] }, 'number into Go struct field Result.ips.address of type string'],
      [{ ips: [{ address: '10.1.2.3/24', gateway: 7 }] }, 'Go struct field Result.ips.gateway of type net.IP'],
      [{ routes: {} }, 'object into Go struct field Result.routes of type []*types.Route'],
      [{ routes: [7] }, 'number into Go struct field Result.routes of type types.route'],
      [{ routes: [{ dst: 7 }] }, 'number into Go struct field Result.routes.dst of type string'],
      [{ cniVersion: '0.2.0', ip4: [] }, 'array into Go struct field Result.ip4 of type types020.ipConfig'],
      [{ cniVersion: '0.2.0', ip4: { ip: 7 } }, 'number into Go struct field Result.ip4.ip of type string'],
      [{ cniVersion: '0.4.0', ips: [7] }, 'number into Go struct field Result.ips of type types040.ipConfig'],
    ] as const
  ).map(([part, official]) => {
    const cniVersion = 'cniVersion' in part ? part.cniVersion : '1.1.0'
    return row('tuning', JSON.stringify(part), { cniVersion, prevResult: { cniVersion, ...part } }, official)
  }),
  row('tuning', 'no chain', { mtu: 1400 }, 'Required prevResult missing'),
  row(
    'tuning',
    'no net key',
    { prevResult, sysctl: { 'kernel.pid_max': '5' } },
    'invalid net sysctl key: "kernel/pid_max"',
  ),
  row(
    'tuning',
    'a bad MAC',
    { prevResult, mac: 'zz' },
    'invalid args zz for MAC addr: address zz: invalid MAC address',
  ),
  row('tuning', 'a multicast MAC', { prevResult, mac: '01:00:5e:00:00:01' }, 'cannot assign requested address'),
  row('tuning', 'no such link', { prevResult, mtu: 1400 }, 'failed to get "no0": Link not found', {
    ifName: 'no0',
    code: 3,
  }),
  row('tuning', 'CHECK, no such link', { prevResult, mtu: 1400 }, 'Cannot find container link no0', {
    command: 'CHECK',
    ifName: 'no0',
    code: 3,
  }),
  row(
    'tuning',
    'CHECK of the MTU',
    { prevResult, mtu: 1400 },
    'Error: Tuning configured MTU of eth0 is 1400, current value is 1500',
    { command: 'CHECK', code: 105 },
  ),
  row(
    'tuning',
    'CHECK of a setting',
    { prevResult, sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' } },
    'Error: Tuning configured value of /proc/sys/net/ipv4/conf/eth0/arp_filter is 1, current value is 0',
    { command: 'CHECK', code: 105 },
  ),
  row('bandwidth', 'no chain', { ingressRate: 8000, ingressBurst: 8000 }, 'must be called as chained plugin'),
  row('bandwidth', 'CHECK, no chain', { ingressRate: 8000, ingressBurst: 8000 }, 'must be called as a chained plugin', {
    command: 'CHECK',
  }),
  ...(['ADD', 'CHECK'] as const).flatMap((command) => [
    row(
      'bandwidth',
      `${command}, no burst`,
      { prevResult, ingressRate: 8000 },
      'if rate is set, burst must also be set',
      { command },
    ),
    row(
      'bandwidth',
      `${command}, no rate`,
      { prevResult, egressBurst: 8000 },
      'if burst is set, rate must also be set',
      { command },
    ),
    row(
      'bandwidth',
      `${command}, a burst too large`,
      { prevResult, runtimeConfig: { bandwidth: { egressRate: 8000, egressBurst: 8 * 4294967295 } } },
      'burst cannot be more than 4GB',
      { command },
    ),
  ]),
  row(
    'bandwidth',
    'no veth',
    {
      prevResult: { ...prevResult, interfaces: [{ name: 'lo', sandbox: netns }] },
      ingressRate: 8000,
      ingressBurst: 8000,
    },
    'container interface lo has no veth peer: ',
    { ifName: 'lo', code: 100 },
  ),
  row('sbr', 'no chain', {}, 'This plugin must be called as chained plugin'),
  row('sbr', 'no addresses', { prevResult: { ...prevResult, ips: [] } }, 'No IP addresses supplied on interface: eth0'),
  row(
    'sbr',
    'no such link',
    { prevResult: { ...prevResult, interfaces: [], ips: [{ address: '10.1.2.3/24' }] } },
    'Cannot find network interface no0: Link not found',
    { ifName: 'no0', code: 100 },
  ),
  row('vrf', 'no name', { prevResult }, 'configuration is expected to have a valid vrf name'),
  row('vrf', 'no chain', { vrfname: 'blue' }, 'missing prevResult from earlier plugin'),
  row('vrf', 'not a VRF', { prevResult, vrfname: 'lo' }, 'cmdAdd failed: Netlink lo is not a VRF', { code: 103 }),
  row(
    'loopback',
    'an old prevResult',
    { prevResult: { cniVersion: '0.4.0' } },
    'failed to parse prevResult: could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.4.0"',
  ),
]

const host: Partial<Record<string, object>> = { macvlan: { master: 'top0' }, 'host-device': { device: 'lent0' } }
const gateway = { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }] }
const routed = (address: string, dst: string, gw: string): object => ({
  type: 'static',
  addresses: [{ address }],
  routes: [{ dst, gw }],
})
const failed = { code: 100 }
const taken = { ifName: 'eth0', code: 103 }
const setting = (what: string, sysctl: object, official: string): Row =>
  row('tuning', what, { prevResult, sysctl }, official, failed)

/** What the kernel refuses in the middle of an ADD, or what is missing at a CHECK. */
const refusals: Row[] = [
  ...['bridge', 'ptp', 'macvlan', 'tap', 'host-device'].flatMap((plugin) => [
    row(
      plugin,
      'a route that leads nowhere',
      { ...host[plugin], ipam: routed('10.1.2.3/24', '10.7.0.0/16', '10.200.0.1') },
      "failed to add route '{10.7.0.0 ffff0000} via 10.200.0.1 dev eth9 metric 0 (Scope: universe, Table: 0)': network is unreachable",
      failed,
    ),
    row(
      plugin,
      'an IPv6 route that leads nowhere',
      { ...host[plugin], ipam: routed('fd00:1::3/64', 'fd00:7::/32', 'fd00:99::1') },
      "failed to add route '{fd00:7:: ffffffff000000000000000000000000} via fd00:99::1 dev eth9 metric 0 (Scope: universe, Table: 0)': no route to host",
      failed,
    ),
    row(
      plugin,
      'an address that is no interface’s',
      { ...host[plugin], ipam: { type: 'static', addresses: [{ address: 'ff02::5/64' }] } },
      plugin === 'ptp' ? '": cannot assign requested address' : 'to "eth9": cannot assign requested address',
      failed,
    ),
  ]),
  ...['bridge', 'ptp'].flatMap((plugin) => [
    row(plugin, 'a name that is taken', { ipam: gateway }, 'container veth name ("eth0") peer provided ("veth', taken),
    ...[20, 70000].map((mtu) =>
      row(plugin, `MTU ${mtu}`, { mtu, ipam: gateway }, 'failed to make veth pair: invalid argument', failed),
    ),
  ]),
  row(
    'macvlan',
    'a name that is taken',
    { master: 'top0', ipam: gateway },
    'failed to rename macvlan to "eth0": file exists',
    taken,
  ),
  row(
    'macvlan',
    'a master that cannot be one',
    { master: 'lo', ipam: gateway },
    'failed to create macvlan: invalid argument',
    failed,
  ),
  row(
    'host-device',
    'a name that is taken',
    { device: 'lent0', ipam: gateway },
    'failed to move link failed to move "eth0" (host: "lent0") to container NS: file exists',
    taken,
  ),
  row(
    'bridge',
    'a link that is no bridge',
    { bridge: 'top0', ipam: gateway },
    'failed to create bridge "top0": "top0" already exists but is not a bridge',
    { code: 103 },
  ),
  row(
    'bridge',
    "another network's address on it",
    { bridge: 'br9', isGateway: true, ipam: gateway },
    'failed to set bridge addr: "br9" already has an IP address different from 10.1.2.1/24',
    { code: 110 },
  ),
  row(
    'bridge',
    'a slash in its name',
    { bridge: 'a/b' },
    'failed to create bridge "a/b": could not add "a/b": invalid',
  ),
  row(
    'bridge',
    'a name of 16 letters',
    { bridge: 'abcdefghijklmnop' },
    'failed to create bridge "abcdefghijklmnop": could not add "abcdefghijklmnop": numerical result out of range',
  ),
  setting(
    'no such key',
    { 'net.ipv4.conf.nosuch0.rp_filter': '0' },
    'open /proc/sys/net/ipv4/conf/nosuch0/rp_filter: no such file or directory',
  ),
  setting(
    'no number',
    { 'net.ipv4.conf.eth0.rp_filter': 'x' },
    'write /proc/sys/net/ipv4/conf/eth0/rp_filter: invalid argument',
  ),
  setting(
    'a number too small',
    { 'net.ipv4.ip_default_ttl': '0' },
    'write /proc/sys/net/ipv4/ip_default_ttl: invalid argument',
  ),
  setting(
    'a key that is read-only',
    { 'net.ipv4.conf.all.mc_forwarding': '1' },
    'open /proc/sys/net/ipv4/conf/all/mc_forwarding: permission denied',
  ),
  setting('a directory', { 'net.ipv4.conf': '1' }, 'open /proc/sys/net/ipv4/conf: is a directory'),
  ...[20, 70000].map((mtu) => row('tuning', `MTU ${mtu}`, { prevResult, mtu }, 'invalid argument', failed)),
  row(
    'tuning',
    'CHECK of no such key',
    { prevResult, sysctl: { 'net.ipv4.conf.nosuch0.rp_filter': '0' } },
    'open /proc/sys/net/ipv4/conf/nosuch0/rp_filter: no such file or directory',
    { command: 'CHECK', code: 105 },
  ),
  row(
    'bandwidth',
    'no such link',
    { prevResult, ingressRate: 8000, ingressBurst: 8000 },
    'container interface no0 has no veth peer: could not look up "no0": Link not found',
    { ifName: 'no0', code: 100 },
  ),
  row(
    'vrf',
    'a name of 16 letters',
    { prevResult, vrfname: 'abcdefghijklmnop' },
    'cmdAdd failed: could not add VRF abcdefghijklmnop: numerical result out of range',
  ),
  ...[{}, { backend: 'iptables' }].map((backend) =>
    row(
      'portmap',
      `CHECK without rules ${JSON.stringify(backend)}`,
      {
        prevResult,
        ...backend,
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
      },
      'could not check ipv4 dnat: chain CNI-DN-9b00b9b7c2795a8a61a6e not found in iptables table nat',
      { command: 'CHECK', code: 105 },
    ),
  ),
]

const range = (text: object): object => ({ ipam: { type: 'host-local', ranges: [[text]] } })
const ranged = (ranges: object[][], more: object = {}): object => ({
  ipam: { type: 'host-local', dataDir: '/var/lib/words', ranges },
  ...more,
})
const dense = [[{ subnet: '10.1.2.0/29', rangeStart: '10.1.2.1', rangeEnd: '10.1.2.1' }]]

const hostLocal: Row[] = [
  row('host-local', 'no ipam', {}, "IPAM config missing 'ipam' key"),
  row('host-local', 'no ranges', { ipam: {} }, 'no IP ranges specified'),
  row('host-local', 'an empty set', ranged([[]]), 'invalid range set 0: empty range set'),
  row('host-local', 'no subnet', range({}), 'invalid range set 0: IP <nil> not v4 nor v6'),
  row('host-local', 'not a subnet', range({ subnet: 'x' }), 'invalid CIDR address: x'),
  row(
    'host-local',
    'too small',
    range({ subnet: '10.1.2.0/31' }),
    'invalid range set 0: Network 10.1.2.0/31 too small to allocate from',
  ),
  row(
    'host-local',
    'a mapped subnet',
    range({ subnet: '::ffff:10.1.2.0/120' }),
    'invalid range set 0: IPNet IP and Mask version mismatch',
  ),
  row(
    'host-local',
    'host bits',
    range({ subnet: '10.1.2.5/24' }),
    'invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 10.1.2.0',
  ),
  row('host-local', 'a start that is none', range({ subnet: '10.1.2.0/24', rangeStart: 'x' }), 'invalid IP address: x'),
  row(
    'host-local',
    'a start elsewhere',
    range({ subnet: '10.1.2.0/24', rangeStart: '10.1.3.1' }),
    'invalid range set 0: RangeStart 10.1.3.1 not in network 10.1.2.0/24',
  ),
  row(
    'host-local',
    'an end elsewhere',
    range({ subnet: '10.1.2.0/24', rangeEnd: '10.1.3.1' }),
    'invalid range set 0: RangeEnd 10.1.3.1 not in network 10.1.2.0/24',
  ),
  ...['10.1.3.1', 'fd00::1'].map((gateway) =>
    row(
      'host-local',
      `the gateway ${gateway}`,
      range({ subnet: '10.1.2.0/24', gateway }),
      `invalid range set 0: gateway ${gateway} not in network 10.1.2.0/24`,
    ),
  ),
  row(
    'host-local',
    'a start behind the end',
    range({ subnet: '10.1.2.0/24', rangeStart: '10.1.2.50', rangeEnd: '10.1.2.40' }),
    'invalid range set 0: RangeStart 10.1.2.50 not in network 10.1.2.0/24',
  ),
  row(
    'host-local',
    'families mixed',
    ranged([[{ subnet: '10.1.2.0/24' }, { subnet: 'fd00::/64' }]]),
    'invalid range set 0: mixed address families',
  ),
  row(
    'host-local',
    'ranges overlap',
    ranged([[{ subnet: '10.1.2.0/24' }, { subnet: '10.1.2.128/25' }]]),
    'invalid range set 0: subnets 10.1.2.1-10.1.2.254 and 10.1.2.129-10.1.2.254 overlap',
  ),
  row(
    'host-local',
    'sets overlap',
    ranged([[{ subnet: '10.1.2.0/24' }], [{ subnet: '10.1.2.0/25' }]]),
    'range set 0 overlaps with 1',
  ),
  row(
    'host-local',
    'two of a family in 0.2.0',
    { cniVersion: '0.2.0', ...ranged([[{ subnet: '10.1.2.0/24' }], [{ subnet: '10.1.3.0/24' }]]) },
    'CNI version 0.2.0 does not support more than 1 address per family',
  ),
  row(
    'host-local',
    'a requested address that is none',
    ranged([[{ subnet: '10.1.2.0/24' }]], { runtimeConfig: { ips: ['zz'] } }),
    'invalid IP address zz',
  ),
  row(
    'host-local',
    'one in CNI_ARGS that is none',
    ranged([[{ subnet: '10.1.2.0/24' }]]),
    'ARGS: error parsing value of pair "IP=zz": invalid IP address zz',
    { args: 'IP=zz' },
  ),
  row(
    'host-local',
    'a requested gateway',
    ranged([[{ subnet: '10.1.2.0/24' }]]),
    "failed to allocate for range 0: requested ip 10.1.2.1 is subnet's gateway",
    { args: 'IP=10.1.2.1', code: 108 },
  ),
  row(
    'host-local',
    'a requested address outside',
    ranged([[{ subnet: '10.1.2.0/24' }]]),
    'failed to allocate all requested IPs: 10.9.9.9',
    { args: 'IP=10.9.9.9', code: 108 },
  ),
  row(
    'host-local',
    'a range of only the gateway',
    ranged(dense),
    'failed to allocate for range 0: no IP addresses available in range set: 10.1.2.1-10.1.2.1',
    { code: 108 },
  ),
  row(
    'host-local',
    'no such resolvConf',
    { ipam: { ...(range({ subnet: '10.1.2.0/24' }) as { ipam: object }).ipam, resolvConf: '/nope' } },
    'open /nope: no such file or directory',
    { code: 5 },
  ),
  row(
    'host-local',
    'CHECK without a lease',
    ranged([[{ subnet: '10.1.2.0/24' }]]),
    'host-local: Failed to find address added by container c1',
    { command: 'CHECK', code: 105 },
  ),
]

const fixed = (address: unknown): object => ({ ipam: { type: 'static', addresses: [{ address }] } })

const fixedRows: Row[] = [
  row('static', 'no ipam', {}, "IPAM config missing 'ipam' key"),
  row(
    'static',
    'no prefix',
    fixed('10.1.2.3'),
    "the 'address' field is expected to be in CIDR notation, got: '10.1.2.3'",
  ),
  row('static', 'no address', fixed(''), "the 'address' field is expected to be in CIDR notation, got: ''"),
  row(
    'static',
    'CNI_ARGS without prefix',
    fixed('10.1.2.3/24'),
    "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.1'",
    { args: 'IP=10.10.0.1' },
  ),
  row('static', 'a gateway in CNI_ARGS that is none', fixed('10.1.2.3/24'), 'invalid gateway address: x', {
    args: 'IP=10.10.0.1/24;GATEWAY=x',
  }),
  row(
    'static',
    'a gateway that is none',
    { ipam: { addresses: [{ address: '10.1.2.3/24', gateway: 'x' }] } },
    'invalid IP address: x',
  ),
  row(
    'static',
    'args without prefix',
    { ...fixed('10.1.2.3/24'), args: { cni: { ips: ['10.10.0.1'] } } },
    "an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.1'",
  ),
  row(
    'static',
    'runtimeConfig without prefix',
    { ...fixed('10.1.2.3/24'), runtimeConfig: { ips: ['10.10.0.1'] } },
    "an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.1'",
  ),
  row(
    'static',
    'two of a family in 0.2.0',
    { cniVersion: '0.2.0', ipam: { addresses: [{ address: '10.1.2.3/24' }, { address: '10.1.2.4/24' }] } },
    'CNI version 0.2.0 does not support more than 1 address per family',
  ),
  row('static', 'a pair that is none', fixed('10.1.2.3/24'), 'ARGS: invalid pair "IP"', { args: 'IP', code: 4 }),
  row('static', 'CHECK without prevResult', fixed('10.1.2.3/24'), 'Required prevResult missing', { command: 'CHECK' }),
]

export const rows: readonly Row[] = [
  ...bridge,
  ...ptp,
  ...children,
  ...devices,
  ...portmap,
  ...meta,
  ...refusals,
  ...hostLocal,
  ...fixedRows,
]

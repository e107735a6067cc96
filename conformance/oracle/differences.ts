import type { OfficialSuite } from '../harness/locations.js'

/** A deliberate difference of podwire from the official suite, seen as lines of a snapshot. */
export interface Difference {
  /** What differs; the compatibility table of the README has the same rows. */
  what: string
  reason: string
  /** The test that holds it, below conformance/, where no configuration alone shows it. */
  test?: string
  /** The cases it may appear in; all, unless given. */
  cases?: RegExp
  /** The one version of the official suite that differs; both, unless given. */
  of?: OfficialSuite
  /** Lines that only the official suite leaves. */
  official?: RegExp
  /** Lines that only podwire leaves. */
  podwire?: RegExp
  /** How podwire's answer to a recorded call differs, as the replay says it, and of which plugins. */
  replay?: { plugins: RegExp; difference: RegExp }
}

/** Every deliberate difference in kernel state or on disk. A line that no row explains is a defect. */
export const differences: Difference[] = [
  {
    what: 'router advertisements are not accepted inside the container',
    reason: 'a neighbour on the bridge must not be able to give a container routes and addresses',
    official: /^container\d: sysctl ipv6\/conf\/eth0\/accept_ra 1$/,
    podwire: /^container\d: sysctl ipv6\/conf\/eth0\/accept_ra 0$/,
  },
  {
    what: 'the IPv6 address of the bridge is usable at once (no duplicate address detection)',
    reason: 'the network owns the subnet; the official suite answers a second or two before its gateway does',
    official: /^host: address br0(\.\d+)? local \S+ prefixlen \d+ scope global$/,
    podwire: /^host: address br0(\.\d+)? local [0-9a-f:]+ prefixlen \d+ scope global nodad true$/,
  },
  {
    what: 'ptp: IPv6 addresses of both ends are usable at once (no duplicate address detection)',
    reason: 'nobody else is on the link; the official plugin waits about two seconds for each ADD',
    cases: /^ptp-/,
    official:
      /^(container\d|host): (address (eth0|veth#\d) local fd\S+ prefixlen \d+ scope global|sysctl ipv6\/conf\/(eth0|veth#\d)\/accept_dad 1)$/,
    podwire:
      /^(container\d|host): (address (eth0|veth#\d) local fd\S+ prefixlen \d+ scope global nodad true|sysctl ipv6\/conf\/(eth0|veth#\d)\/accept_dad 0)$/,
  },
  {
    what: 'bandwidth: a burst at more than 4 GB/s reads back up to a thousandth smaller',
    reason: 'the kernel gets it in bytes, not in 32 bits of time, which wrap for long bursts; the reading is rounded',
    cases: /^bandwidth-huge$/,
    official: /^host: qdisc kind tbf .*"rate":(5|10)000000000,"burst":10+,"lat":25000}$/,
    podwire: /^host: qdisc kind tbf .*"rate":(5|10)000000000,"burst":999\d+,"lat":2500[01]}$/,
  },
  {
    what: 'mtu and advmss of a route are applied',
    reason: 'they are in the specification and in the result; the official plugin prints them and does not set them',
    cases: /^bridge-routes$/,
    official: /^container\d: route (family inet6 )?type unicast dst (10\.7\.0\.0\/16|fd07::\/32) [^{]*$/,
    podwire: /^container\d: route (family inet6 )?type unicast dst (10\.7\.0\.0\/16|fd07::\/32) .*"mtu":1300/,
  },
  {
    what: 'nftables is the masquerade backend unless the configuration names one',
    reason: 'one transaction, and iptables may not be installed',
    cases: /^bridge-masquerade-default$/,
    official: /^host: iptables (nat|filter) /,
  },
  {
    what: 'masquerade by nftables has tables of its own, "ip podwire" and "ip6 podwire", with one map element an address',
    reason:
      'a table has one owner, who may change its layout; a map keeps ADD and packets at one cost however many there are',
    cases: /^(bridge-masquerade-(default|nftables.*)|ptp-masquerade-nftables)$/,
    official: /^host: nft table inet cni_plugins_masquerade( |:|$)/,
    podwire: /^host: nft table ip6? podwire( |:|$)/,
  },
  {
    what: 'macspoofchk has a table of its own, "bridge podwire", with one set element a port',
    reason: 'ebtables-nft owns "bridge nat"; a set keeps ADD and packets at one cost however many ports there are',
    cases: /^bridge-macspoof$/,
    official: /^host: nft table bridge nat( |:|$)/,
    podwire: /^host: nft table bridge podwire( |:|$)/,
  },
  {
    what: 'nftables is the firewall backend unless the configuration names one or firewalld runs; in CNI-FORWARD of iptables one rule accepts all it admits',
    reason:
      'the cost of an ADD and the path of a packet do not grow with the containers; iptables may not be installed',
    cases: /^firewall-default$/,
    official: /^host: iptables filter -A CNI-FORWARD -[ds] /,
    podwire:
      /^host: (nft table ip6? podwire( set firewall_addresses| chain firewall_(first|last)|$)|iptables filter .*PODWIRE-ADMITTED)/,
  },
  {
    what: 'the rules of an ingress policy go with the last attachment that wants them',
    reason: 'the official plugin never removes them: a bridge of that name stays cut off until the next boot',
    cases: /^firewall-(same-bridge|isolated)$/,
    official: /^host: iptables filter -A CNI-ISOLATION-STAGE-[12] -[io] br0 /,
  },
  {
    what: 'nftables is the portmap backend unless the configuration names iptables or speaks its words',
    reason: 'one transaction, whose cost does not grow with the mappings; iptables may not be installed',
    cases: /^portmap-default$/,
    official: /^host: iptables nat /,
    podwire: /^host: nft table ip6? podwire( |:|$)/,
  },
  {
    what: 'published ports have tables of their own, "ip podwire" and "ip6 podwire", with one map element a port or range',
    reason: 'a map keeps ADD and packets at one cost however many ports there are',
    cases: /^portmap-nftables/,
    official: /^host: nft table ip6? cni_hostport( |:|$)/,
    podwire: /^host: nft table ip6? podwire( |:|$)/,
  },
  {
    what: "router advertisements are not accepted on the host's link into a VLAN of the bridge",
    reason: 'it is an end of a link we make: no container may configure the host',
    cases: /^bridge-vlan-gateway$/,
    official: /^host: sysctl ipv6\/conf\/br0\.100\/accept_ra 1$/,
    podwire: /^host: sysctl ipv6\/conf\/br0\.100\/accept_ra 0$/,
  },
  {
    what: 'IPv6 is off on a LAN interface that IPAM gives only IPv4 addresses and routes',
    reason: 'nobody watches an address that nobody asked for; "keepIPv6": true leaves it on',
    cases: /^(macvlan|ipvlan|vlan|dummy)/,
    official: /^container\d: sysctl ipv6\/conf\/eth0\/disable_ipv6 0$/,
    podwire: /^container\d: sysctl ipv6\/conf\/eth0\/disable_ipv6 1$/,
  },
  {
    what: 'vlan and tap announce their addresses of both families, as macvlan and ipvlan do',
    reason: 'a neighbour that remembers the last owner of an address would not reach the new one',
    cases: /^(vlan|tap)/,
    official: /^container\d: sysctl (ipv4\/conf\/eth0\/arp_notify|ipv6\/conf\/eth0\/ndisc_notify) 0$/,
    podwire: /^container\d: sysctl (ipv4\/conf\/eth0\/arp_notify|ipv6\/conf\/eth0\/ndisc_notify) 1$/,
  },
  {
    what: 'packets to and from 127.0.0.0/8 that come from outside are dropped where route_localnet is set',
    reason: 'route_localnet would let neighbours reach what listens on the loopback only (the class of CVE-2020-8558)',
    cases: /^portmap-iptables/,
    podwire: /^host: iptables raw /,
  },
  {
    what: 'a mapping for an address of one family is not in the chains of the other',
    reason: 'the official plugin leads its packets into a chain that has no rule for them',
    cases: /^portmap-iptables-hostip-both$/,
    official: /^host: iptables nat -A CNI-HOSTPORT-DNAT .* --dports 8080,8444 -j /,
    podwire: /^host: iptables nat -A CNI-HOSTPORT-DNAT .* --dports 8080 -j /,
  },
  {
    what: 'DEL of tuning restores sysctls, too',
    reason: 'a namespace outlives an attachment: what tuning set for it goes with it, as the attributes of the link do',
    cases: /^tuning-sysctl$/,
    official: /^container0: sysctl ipv4\/ip_forward 1$/,
    podwire: /^container0: sysctl ipv4\/ip_forward 0$/,
  },
  {
    what: 'the tables of sbr hold the routes of their own family',
    reason: 'the official plugin copies routes without source and gateway into the tables of both',
    cases: /^sbr/,
    official: /^container\d: route family inet6 type unicast dst fd00:80::\/64 dev eth0 table 100 /,
  },
  {
    what: 'the gateways of sbr win over default routes that IPAM gave',
    reason:
      'the key is there to name another gateway; the official plugin then replaces its route by the one it copies',
    cases: /^sbr-gateways-routes$/,
    official: /^container\d: route .*dst default gateway (10\.80\.0\.|fd00:80::)1 dev eth0 table 10[01] /,
    podwire: /^container\d: route .*dst default gateway (10\.80\.0\.|fd00:80::)77 dev eth0 table 10[01] /,
  },
  {
    what: 'gateways and addSourceHints of sbr work',
    reason: 'v1.9.1 does not know the keys',
    cases: /^sbr-(gateways|source-hints)/,
    of: 'official-1.9.1',
    official: /^container\d: route .*dst default gateway (10\.80\.0\.|fd00:80::)1 dev eth0 table 10[01] /,
    podwire: /^container\d: route .*( gateway (10\.80\.0\.|fd00:80::)77 dev eth0 table 10[01] | table main .*prefsrc )/,
  },
  {
    what: 'IPv6 addresses are usable at once in a VRF (no second duplicate address detection)',
    reason: 'they were found to be alone before; the kernel takes them away when the interface changes its VRF',
    cases: /^vrf$/,
    official: /^container\d: address eth0 local fd00:80::2 prefixlen 64 scope global$/,
    podwire: /^container\d: address eth0 local fd00:80::2 prefixlen 64 scope global nodad true$/,
  },
  {
    what: 'DEL gives back the very device: hardware by its bus and permanent address, other links by their number and other end. Without a record only what the container cannot have made: hardware, and what ends at a link of the host',
    reason:
      "the official plugin fetches whatever link has the interface's name, under the name its alias says: the container's root chooses both",
    test: 'devices/impostor.test.ts',
  },
  {
    what: 'DEL and GC give addresses back to where ADD got them, also when the configuration names another `ipam` by then, another `dataDir` or none; a warning on stderr says so. It is on record until a reboot',
    reason: 'the official plugins ask whom the configuration names, and the lease stays for ever',
    test: 'changed/leases.test.ts',
  },
  {
    what: '`useInterfaceNetwork`: DEL brings addresses, routes and rules back, also after a failed ADD and for a container that is gone; what the device has already IPAM may give again',
    reason:
      "the official plugin leaves the host's device bare, and fails where IPAM gives an address that it brought along",
    test: 'devices/interface-network.test.ts',
  },
  {
    what: 'a bridge of layer 2 that podwire made has its link-local address when ADD returns, usable at once',
    reason:
      "the kernel gives it with the first carrier, which may never come; the official plugin's is one that fits no MAC address",
    test: 'main/bridge-link-local.test.ts',
  },
  {
    what: "GC leaves files alone that are not named like addresses, and those whose text is no container's (a person's note); without a list it frees nothing",
    reason: 'v1.10.0 takes both, and a call without a list for one that lists nothing; v1.9.1 has no GC',
    test: 'ipam/collecting.test.ts',
  },
  {
    what: 'the result has the format of the asked version',
    reason: 'the official plugin prints 1.x for older versions',
    test: 'clients/replay.test.ts',
    replay: { plugins: /^loopback$/, difference: /^\$\.(ips\[\d\]\.version|dns): added$/ },
  },
  {
    what: "errors have codes of their own (see above) and say where and how to mend; the official text stands in `msg`; the protocol's own errors are the official ones",
    reason: '999 helps nobody; what people search for is found',
    test: 'clients/replay.test.ts',
    replay: { plugins: /./, difference: /^\$\.code: 1\d\d, not 999$/ },
  },
]

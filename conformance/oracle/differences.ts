import type { OfficialSuite } from '../harness/locations.js'

/** A deliberate difference of podwire from the official suite: a row of docs/compatibility.md. */
export interface Difference {
  /** Whom it concerns: plugins, `, ` between them, or one of the groups that tools/explain/differences.ts knows. */
  plugins: string
  /** What podwire does, as Markdown. */
  what: string
  /** Why, or what the official suite does instead. */
  reason: string
  /** Tests that hold it, from the top of the source tree. */
  tests?: readonly string[]
  /** What the comparison with the official suite sees of it. */
  shown?: readonly Shown[]
  /** How podwire's answer to a recorded call differs, as the replay says it, and of which plugins. */
  replay?: { plugins: RegExp; difference: RegExp }
}

/** Lines of a snapshot that a difference explains. */
export interface Shown {
  /** The cases it may appear in; all, unless given. */
  cases?: RegExp
  /** The one version of the official suite that differs; both, unless given. */
  of?: OfficialSuite
  /** Lines that only the official suite leaves. */
  official?: RegExp
  /** Lines that only podwire leaves. */
  podwire?: RegExp
}

/** Every deliberate difference. What the comparison sees and none of them shows is a defect. */
export const differences: Difference[] = [
  {
    plugins: 'all',
    what: 'an ADD whose result cannot be written to stdout has failed: it is taken back, with the reason on stderr; a stdout that is `/dev/null` opened for reading and writing counts as closed',
    reason:
      'the caller takes the container for not attached; the official plugins leave it all, and answer 0 where stdout was closed',
    tests: ['conformance/protocol/standard.test.ts'],
  },
  {
    plugins: 'all',
    what: 'a failed ADD leaves nothing and gives the lease back',
    reason: 'the official plugins leave links, rules and leases to a later DEL',
    tests: ['conformance/main/failing.test.ts', 'conformance/portmap/scale.test.ts', 'conformance/lan/faults.test.ts'],
  },
  {
    plugins: 'all',
    what: 'DEL works with an empty or vanished namespace, no prevResult, no runtimeConfig, bad CNI_ARGS or wrong optional keys',
    reason: "a container's things must not live on because a file is broken",
    tests: ['conformance/main/failing.test.ts', 'conformance/changed/changed.test.ts'],
  },
  {
    plugins: 'all',
    what: 'GC does what the specification says, and STATUS answers 50 where an ADD cannot work: the kernel, a program this configuration needs, the master, the IPAM plugin is missing, or a state directory is full or not writable',
    reason: 'the official plugins answer and do nothing',
    tests: ['conformance/main/upkeep.test.ts', 'conformance/status/status.test.ts'],
  },
  {
    plugins: 'host-local, and all that use it',
    what: 'STATUS of a full range answers 0 with a warning, against the letter of the specification; `"statusOnFullRange": true` in `ipam` makes it 50',
    reason:
      'kubelet and CRI-O take a plugin that is not available for a node that is not: pods of other networks would be stopped, too',
    tests: ['conformance/main/upkeep.test.ts'],
  },
  {
    plugins: 'all',
    what: "GC also removes chains that only a subnet's former containers shared",
    reason: 'a DEL leaves them for the next ADD',
    tests: ['conformance/ptp/lifecycle.test.ts', 'conformance/portmap/official.test.ts'],
  },
  {
    plugins: 'all',
    what: "errors have codes of their own and say where and how to mend; the official text stands in `msg`; the protocol's own errors are the official ones",
    reason: '999 helps nobody; what people search for is found',
    tests: ['conformance/words/words.test.ts', 'conformance/clients/replay.test.ts'],
    replay: { plugins: /./, difference: /^\$\.code: 1\d\d, not 999$/ },
  },
  {
    plugins: 'macvlan, tuning, bandwidth',
    what: "the hardware address of a group, and a result that has not the other end of the container's interface, are mistakes in what was given (code 7)",
    reason: 'the official plugins say 999, what the kernel answered, or what they did not find',
    tests: ['conformance/clients/replay.test.ts'],
    replay: { plugins: /^(macvlan|tuning|bandwidth)$/, difference: /^\$\.code: 7, not 999$/ },
  },
  {
    plugins: 'all',
    what: "the check for the host's own namespace comes before any work",
    reason: 'the official one comes after it, with a second JSON document on stdout',
    tests: ['conformance/protocol/malformed.test.ts'],
  },
  {
    plugins: 'all',
    what: 'a result that the asked version cannot express is refused before anything is touched',
    reason: 'the official plugins do the work, then fail',
    tests: ['conformance/protocol/malformed.test.ts'],
  },
  {
    plugins: 'all',
    what: '`null` entries and other mistakes are refused together, with their place; unknown keys warn',
    reason: 'the official plugins stop at the first, or crash',
    tests: ['conformance/protocol/malformed.test.ts', 'conformance/main/observing.test.ts'],
  },
  {
    plugins: 'all',
    what: 'whole numbers may be written `1500.0`; a negative mtu is refused',
    reason: 'one number has one meaning; a negative one has none',
    tests: ['conformance/protocol/keys.test.ts'],
  },
  {
    plugins: 'all',
    what: 'a failing ADD is taken back with IPAM DEL, also where the delegate itself failed',
    reason: 'the specification asks for it',
    tests: ['conformance/protocol/delegation.test.ts'],
  },
  {
    plugins: 'all that make links',
    what: "router advertisements are not accepted inside the container, nor on the host's end, before either is up",
    reason: 'a neighbour must not be able to give a container routes and addresses',
    tests: ['conformance/ptp/traffic.test.ts', 'conformance/surroundings/neighbours.test.ts'],
    shown: [
      {
        official: /^container\d: sysctl ipv6\/conf\/eth0\/accept_ra 1$/,
        podwire: /^container\d: sysctl ipv6\/conf\/eth0\/accept_ra 0$/,
      },
      {
        cases: /^bridge-vlan-gateway$/,
        official: /^host: sysctl ipv6\/conf\/br0\.100\/accept_ra 1$/,
        podwire: /^host: sysctl ipv6\/conf\/br0\.100\/accept_ra 0$/,
      },
    ],
  },
  {
    plugins: 'all that make links',
    what: 'MAC addresses are locally administered and chosen by podwire; host ends are named `veth` and 11 hex digits',
    reason: 'nothing changes them later, and DEL finds the link without being told',
    tests: ['conformance/main/bridge.test.ts'],
  },
  {
    plugins: 'all with addresses',
    what: "another program as IPAM plugin is asked when the link is up and has a carrier, if one can come (5 s at most); podwire's own are asked without waiting",
    reason:
      'a DHCP client on a link without carrier loses its first packets, and seconds; with ptp it finds no link at all',
    tests: ['conformance/main/foreign-ipam.test.ts'],
  },
  {
    plugins: 'all with addresses',
    what: 'mtu and advmss of a route are applied; a gateway outside the subnet (a /32 address) works',
    reason: 'the official plugins print them and do not set them, and fail',
    tests: ['conformance/ptp/traffic.test.ts'],
    shown: [
      {
        cases: /^bridge-routes$/,
        official: /^container\d: route (family inet6 )?type unicast dst (10\.7\.0\.0\/16|fd07::\/32) [^{]*$/,
        podwire: /^container\d: route (family inet6 )?type unicast dst (10\.7\.0\.0\/16|fd07::\/32) .*"mtu":1300/,
      },
    ],
  },
  {
    plugins: 'all',
    what: 'CHECK compares what the plugin owns, in every routing table, and lists all differences',
    reason: 'the official CHECK fails for routes in tables and passes without rules',
    tests: ['conformance/main/check.test.ts'],
  },
  {
    plugins: 'all',
    what: "a file of any name is a plugin: by the link it is called by, by a part of its name, by the configuration's `type`",
    reason: 'all plugins are one file, and others ship them under names of theirs',
    tests: ['conformance/protocol/names.test.ts'],
  },
  {
    plugins: 'all with addresses',
    what: 'an `ipam.type` that is known to be no IPAM plugin (`bridge`, also by another name) is refused (code 7), by DEL and GC after their own work; more than four delegations, one below the other, are, too',
    reason: 'the official plugins start each other without end',
    tests: ['conformance/protocol/delegation.test.ts'],
  },
  {
    plugins: 'bridge, ptp',
    what: 'nftables is the masquerade backend unless the configuration names one; tables `ip podwire` and `ip6 podwire`, one map element an address',
    reason:
      'one transaction, one cost however many containers; a table has one owner, who may change its layout; iptables may not be installed',
    tests: ['conformance/main/bridge.test.ts'],
    shown: [
      { cases: /^bridge-masquerade-default$/, official: /^host: iptables (nat|filter) / },
      {
        cases: /^(bridge-masquerade-(default|nftables.*)|ptp-masquerade-nftables)$/,
        official: /^host: nft table inet cni_plugins_masquerade( |:|$)/,
        podwire: /^host: nft table ip6? podwire( |:|$)/,
      },
    ],
  },
  {
    plugins: 'bridge',
    what: 'the bridge has a MAC address of its own from its creation, and its IPv6 address is usable at once',
    reason: "ports that come and go change the official bridge's address; its gateway answers a second or two late",
    tests: ['conformance/main/bridge.test.ts'],
    shown: [
      {
        official: /^host: address br0(\.\d+)? local \S+ prefixlen \d+ scope global$/,
        podwire: /^host: address br0(\.\d+)? local [0-9a-f:]+ prefixlen \d+ scope global nodad true$/,
      },
    ],
  },
  {
    plugins: 'bridge',
    what: "a bridge that was there before keeps the MAC address it has, also without isGateway, and where the gateway's address is on it already; one that lost its last port, and with it its address, gets one of podwire's",
    reason:
      "the official plugin fixes the address only together with the gateway's, v1.9.1 not where the gateway's address is there already, and fails where the bridge has none: with the lowest container goes everybody's gateway",
    tests: ['conformance/main/bridge-address.test.ts'],
  },
  {
    plugins: 'bridge',
    what: 'a bridge of layer 2 that podwire made has its link-local address when ADD returns, usable at once',
    reason:
      "the kernel gives it with the first carrier, which may never come; the official plugin's is one that fits no MAC address",
    tests: ['conformance/main/bridge-link-local.test.ts'],
  },
  {
    plugins: 'bridge',
    what: "the container's MAC address follows from its IP address where podwire's host-local gave it",
    reason: "a re-used address is reachable at once: neighbours' caches stay true",
    tests: ['plugins/bridge/bridge.test.ts'],
  },
  {
    plugins: 'bridge',
    what: 'an existing bridge begins to look at VLAN tags when a VLAN is configured',
    reason: 'the official plugin sets tags that nobody enforces',
    tests: ['plugins/bridge/bridge.test.ts'],
  },
  {
    plugins: 'bridge',
    what: 'several IPv4 addresses with isGateway work; isDefaultGateway with a default route from IPAM works; CHECK of a network without addresses works',
    reason: 'the official plugin fails',
    tests: ['plugins/bridge/bridge.test.ts'],
  },
  {
    plugins: 'bridge',
    what: 'macspoofchk has the table `bridge podwire`, one set element a port',
    reason: 'ebtables-nft owns `bridge nat`; a set keeps ADD and packets at one cost however many ports there are',
    tests: ['conformance/main/bridge.test.ts'],
    shown: [
      {
        cases: /^bridge-macspoof$/,
        official: /^host: nft table bridge nat( |:|$)/,
        podwire: /^host: nft table bridge podwire( |:|$)/,
      },
    ],
  },
  {
    plugins: 'ptp',
    what: 'IPv6 is usable at once (no duplicate address detection on a link of two)',
    reason: 'the official plugin waits about two seconds',
    tests: ['conformance/ptp/traffic.test.ts'],
    shown: [
      {
        cases: /^ptp-/,
        official:
          /^(container\d|host): (address (eth0|veth#\d) local fd\S+ prefixlen \d+ scope global|sysctl ipv6\/conf\/(eth0|veth#\d)\/accept_dad 1)$/,
        podwire:
          /^(container\d|host): (address (eth0|veth#\d) local fd\S+ prefixlen \d+ scope global nodad true|sysctl ipv6\/conf\/(eth0|veth#\d)\/accept_dad 0)$/,
      },
    ],
  },
  {
    plugins: 'all with addresses',
    what: 'a route whose gateway is of the other family works: IPv4 by way of an IPv6 next hop, else without one',
    reason: 'the official plugins fail',
    tests: ['conformance/words/gateways.test.ts'],
  },
  {
    plugins: 'ptp',
    what: "several addresses of one subnet work; without a gateway from IPAM it is the subnet's first address; an address another container has is an error",
    reason: "the official plugin fails half done, or leaves out the host's route",
    tests: ['conformance/ptp/traffic.test.ts', 'plugins/ptp/ptp.test.ts'],
  },
  {
    plugins: 'loopback',
    what: 'the result has the format of the asked version',
    reason: 'the official plugin prints 1.x for older versions',
    tests: ['conformance/clients/replay.test.ts'],
    replay: { plugins: /^loopback$/, difference: /^\$\.(ips\[\d\]\.version|dns): added$/ },
  },
  {
    plugins: 'host-local',
    what: 'the same container and interface asking again gets its own lease',
    reason: 'the official plugin fails',
    tests: ['ipam/host-local/host-local.test.ts'],
  },
  {
    plugins: 'host-local',
    what: 'a lease file is complete or absent; empty or garbled files count as free; a full range is freed of leases that provably belong to an earlier boot',
    reason: 'a crash or power loss costs the official plugin addresses for ever',
    tests: ['conformance/state/garbled.test.ts', 'ipam/host-local/store.test.ts'],
  },
  {
    plugins: 'host-local',
    what: "`DATADIR/.podwire` holds an index; the network directory's modification time is an old date; the lease files of one ADD may be one file with two names",
    reason: 'ADD and DEL do not read the other leases',
    tests: ['ipam/host-local/store.test.ts', 'conformance/growth.test.ts'],
  },
  {
    plugins: 'host-local',
    what: "GC leaves files alone that are not named like addresses, and those whose text is no container's (a person's note); without a list it frees nothing",
    reason: 'v1.10.0 takes both, and a call without a list for one that lists nothing; v1.9.1 has no GC',
    tests: ['conformance/ipam/collecting.test.ts'],
  },
  {
    plugins: 'host-local',
    what: 'a failed ADD frees only what it reserved; DEL frees only files named like addresses; CHECK compares with prevResult',
    reason: "the official plugin can free a live container's addresses",
    tests: ['ipam/host-local/host-local.test.ts'],
  },
  {
    plugins: 'static',
    what: 'GATEWAY of CNI_ARGS serves any address of the configuration it fits, too, but none that replaces those (`args`, `runtimeConfig`); the same address twice is refused; CHECK misses a configured address that is not in prevResult',
    reason: 'the official plugin ignores, accepts and passes these',
    tests: ['conformance/static/static.test.ts'],
  },
  {
    plugins: 'portmap',
    what: 'a host port that the official plugin published, by either backend, is refused, naming the container; DEL that attachment if it is dead',
    reason: 'its rules come first, ours would be in vain',
    tests: ['conformance/portmap/official.test.ts'],
  },
  {
    plugins: 'portmap',
    what: 'nftables is the backend unless the configuration names iptables or speaks its words; tables of our own, one map element a port or range',
    reason: 'one transaction, whose cost does not grow with the mappings',
    tests: ['conformance/portmap/scale.test.ts'],
    shown: [
      { cases: /^portmap-default$/, official: /^host: iptables nat /, podwire: /^host: nft table ip6? podwire( |:|$)/ },
      {
        cases: /^portmap-nftables/,
        official: /^host: nft table ip6? cni_hostport( |:|$)/,
        podwire: /^host: nft table ip6? podwire( |:|$)/,
      },
    ],
  },
  {
    plugins: 'portmap',
    what: "a host port that is mapped, or on which a process listens that would be cut off, is an error that names the holder; a dead holder's port is taken over; a UDP socket inside `ip_local_port_range` is a warning",
    reason: 'the official plugin succeeds, and the first one wins in silence',
    tests: ['conformance/portmap/conflicts.test.ts', 'conformance/portmap/listeners.test.ts'],
  },
  {
    plugins: 'portmap',
    what: "a process that listens on a loopback address, or on one that is not the host's, keeps it: the port is published on the others",
    reason: 'the official plugin cuts 127.0.0.53:53 and 127.0.0.1:25 off',
    tests: ['conformance/portmap/listeners.test.ts'],
  },
  {
    plugins: 'portmap',
    what: 'packets for 127.0.0.0/8 from outside are dropped where route_localnet is set (in iptables mode by `PODWIRE-GUARD` in the raw table)',
    reason: 'route_localnet alone opens the loopback to neighbours (the class of CVE-2020-8558)',
    tests: ['conformance/portmap/traffic.test.ts'],
    shown: [{ cases: /^portmap-iptables/, podwire: /^host: iptables raw / }],
  },
  {
    plugins: 'portmap',
    what: "exactly the mapping's UDP flows are forgotten, at ADD and DEL",
    reason: "the official plugin forgets others' flows, too; v1.9.1 none at DEL",
    tests: ['conformance/portmap/traffic.test.ts'],
  },
  {
    plugins: 'portmap',
    what: "conditions in nft's words are match expressions (headers, meta, ct, fib, interfaces, anonymous sets); statements, named sets and maps are refused (code 7)",
    reason: 'a condition must not act',
    tests: ['conformance/portmap/conditions.test.ts'],
  },
  {
    plugins: 'portmap',
    what: 'conditions apply to their own network; masqAll works in nftables, too; protocols in any case',
    reason: "the last network's conditions apply to all; v1.9.1 ignores masqAll; upper case fails",
    tests: ['conformance/portmap/traffic.test.ts'],
  },
  {
    plugins: 'portmap',
    what: 'in iptables mode a mapping for an address of one family is not in the chains of the other',
    reason: 'the official plugin leads its packets into a chain that has no rule for them',
    shown: [
      {
        cases: /^portmap-iptables-hostip-both$/,
        official: /^host: iptables nat -A CNI-HOSTPORT-DNAT .* --dports 8080,8444 -j /,
        podwire: /^host: iptables nat -A CNI-HOSTPORT-DNAT .* --dports 8080 -j /,
      },
    ],
  },
  {
    plugins: 'portmap',
    what: 'IPv6 loopback (`::1`) is not published, by either suite: the kernel has no IPv6 route_localnet',
    reason: 'clients are refused at once',
    tests: ['conformance/portmap/traffic.test.ts'],
  },
  {
    plugins: 'firewall',
    what: 'nftables is the backend unless the configuration names one or firewalld runs; an unknown backend or policy is refused',
    reason: 'the official plugin has no nftables, and takes any word',
    tests: ['conformance/firewall/lifecycle.test.ts', 'conformance/firewall/firewalld.test.ts'],
    shown: [
      {
        cases: /^firewall-default$/,
        official: /^host: iptables filter -A CNI-FORWARD -[ds] /,
        podwire:
          /^host: (nft table ip6? podwire( set firewall_addresses| chain firewall_(first|last)|$)|iptables filter .*PODWIRE-ADMITTED)/,
      },
    ],
  },
  {
    plugins: 'firewall',
    what: 'mark bit 0x20000000 is ours inside the forward hook; one shared rule in `PODWIRE-ADMITTED`, behind `CNI-ADMIN`, accepts it',
    reason: "an accept in one nftables chain does not bind another one's drop",
    tests: ['conformance/firewall/packets.test.ts'],
  },
  {
    plugins: 'firewall',
    what: 'rules, also those of an ingress policy, go with the last attachment that wants them; CHECK creates nothing',
    reason:
      'the official plugin leaves them until the next boot, so a bridge of that name stays cut off, and its CHECK makes chains',
    tests: ['conformance/firewall/ingress.test.ts'],
    shown: [
      {
        cases: /^firewall-(same-bridge|isolated)$/,
        official: /^host: iptables filter -A CNI-ISOLATION-STAGE-[12] -[io] br0 /,
      },
    ],
  },
  {
    plugins: 'firewall',
    what: "the first ADD on a host makes iptables' `FORWARD` → `CNI-FORWARD` → `PODWIRE-ADMITTED`, where iptables is installed; a policy that turns to DROP later (Docker starts) cuts nobody off; a flush, a ruleset that drops or iptables-legacy is mended by the next ADD",
    reason: 'one rule for all containers, no process in later ADDs',
    tests: ['conformance/surroundings/rules.test.ts', 'conformance/firewall/packets.test.ts'],
  },
  {
    plugins: 'tuning',
    what: 'DEL restores sysctls, too; a second ADD keeps the first originals; the MAC address in the result is in lower-case colon form',
    reason: 'the official plugin restores links alone, and what was tuned already',
    tests: ['conformance/tuning/tuning.test.ts'],
    shown: [
      {
        cases: /^tuning-sysctl$/,
        official: /^container0: sysctl ipv4\/ip_forward 1$/,
        podwire: /^container0: sysctl ipv4\/ip_forward 0$/,
      },
    ],
  },
  {
    plugins: 'tuning',
    what: "a dotted key's `/` is a literal dot, `IFNAME` must be a whole part, two spellings of one key are refused",
    reason: 'interface names may have dots',
    tests: ['conformance/tuning/tuning.test.ts'],
  },
  {
    plugins: 'bandwidth',
    what: "rates and bursts do not wrap at 32 bits; a second ADD works; an all-zero top level does not disable the runtime's limits; CHECK fails without its qdiscs",
    reason: 'the official plugin corrupts, fails, drops and passes these',
    tests: ['conformance/bandwidth/lifecycle.test.ts', 'conformance/bandwidth/traffic.test.ts'],
  },
  {
    plugins: 'bandwidth',
    what: 'a burst at more than 4 GB/s reads back up to a thousandth smaller',
    reason: 'the kernel gets it in bytes, not in 32 bits of time, which wrap for long bursts; the reading is rounded',
    shown: [
      {
        cases: /^bandwidth-huge$/,
        official: /^host: qdisc kind tbf .*"rate":(5|10)000000000,"burst":10+,"lat":25000}$/,
        podwire: /^host: qdisc kind tbf .*"rate":(5|10)000000000,"burst":999\d+,"lat":2500[01]}$/,
      },
    ],
  },
  {
    plugins: 'macvlan, ipvlan, vlan',
    what: '`autoconf` is off, too, unless `"acceptRA": true`',
    reason: 'what nobody asked for is a way in: routers give a container routes and addresses',
    tests: ['conformance/lan/macvlan.test.ts'],
  },
  {
    plugins: 'macvlan, ipvlan, vlan, dummy',
    what: 'IPv6 is off on an interface that got no IPv6 address, unless `"keepIPv6": true` or an IPv6 route is configured',
    reason: 'an address family nobody asked for is a way in (the class of CVE-2024-32473)',
    tests: ['conformance/lan/macvlan.test.ts'],
    shown: [
      {
        cases: /^(macvlan|ipvlan|vlan|dummy)/,
        official: /^container\d: sysctl ipv6\/conf\/eth0\/disable_ipv6 0$/,
        podwire: /^container\d: sysctl ipv6\/conf\/eth0\/disable_ipv6 1$/,
      },
    ],
  },
  {
    plugins: 'macvlan, ipvlan, vlan',
    what: 'IPv6 duplicate detection is waited for, about 0.3 s; a taken address fails the ADD',
    reason: 'the official plugins wait 1 to 2 s, with an IPv6 gateway only',
    tests: ['conformance/lan/addresses.test.ts'],
  },
  {
    plugins: 'macvlan, dummy',
    what: 'MAC addresses are the same for one attachment and boot',
    reason: 'the official ones are random',
    tests: ['plugins/macvlan/macvlan.test.ts'],
  },
  {
    plugins: 'macvlan, ipvlan, vlan',
    what: 'the link goes before the lease; DEL needs neither the master nor a default route; CHECK compares the parent, the mode and the MTU',
    reason: 'a freed address must not still answer',
    tests: ['conformance/lan/macvlan.test.ts', 'conformance/lan/children.vm.test.ts'],
  },
  {
    plugins: 'vlan, tap',
    what: 'addresses of both families are announced, as macvlan and ipvlan do',
    reason: 'a re-used address is reachable at once: a neighbour may remember the last owner',
    tests: ['conformance/lan/addresses.test.ts'],
    shown: [
      {
        cases: /^(vlan|tap)/,
        official: /^container\d: sysctl (ipv4\/conf\/eth0\/arp_notify|ipv6\/conf\/eth0\/ndisc_notify) 0$/,
        podwire: /^container\d: sysctl (ipv4\/conf\/eth0\/arp_notify|ipv6\/conf\/eth0\/ndisc_notify) 1$/,
      },
    ],
  },
  {
    plugins: 'ipvlan',
    what: 'l3 and l3s without gateway and routes get a default route on the link (metric 4096, in the result)',
    reason: 'without one nothing leaves the container',
    tests: ['plugins/ipvlan/ipvlan.test.ts'],
  },
  {
    plugins: 'host-device',
    what: 'DEL works a second time, with the device or the namespace gone, and releases the address then, too; the device gets back its name, its state and its alias; a failed ADD puts it back',
    reason: 'the official plugin fails, and keeps the address',
    tests: ['conformance/devices/host-device.test.ts'],
  },
  {
    plugins: 'host-device',
    what: 'DEL gives back the very device: hardware by its bus and permanent address, other links by their number and other end. Without a record only what the container cannot have made: hardware, and what ends at a link of the host',
    reason:
      "the official plugin fetches whatever link has the interface's name, under the name its alias says: the container's root chooses both",
    tests: ['conformance/devices/impostor.test.ts'],
  },
  {
    plugins: 'all with addresses',
    what: 'DEL and GC give addresses back to where ADD got them, also when the configuration names another `ipam` by then, another `dataDir` or none; a warning on stderr says so. It is on record until a reboot',
    reason: 'the official plugins ask whom the configuration names, and the lease stays for ever',
    tests: ['conformance/changed/leases.test.ts'],
  },
  {
    plugins: 'host-device',
    what: '`useInterfaceNetwork`: DEL brings addresses, routes and rules back, also after a failed ADD and for a container that is gone; what the device has already IPAM may give again',
    reason:
      "the official plugin leaves the host's device bare, and fails where IPAM gives an address that it brought along",
    tests: ['conformance/devices/interface-network.test.ts'],
  },
  {
    plugins: 'host-device',
    what: "while the host has another link of the device's name, DEL refuses, and nothing moves",
    reason: 'the official plugin does, too, but has released the address by then',
    tests: ['conformance/devices/host-device.test.ts'],
  },
  {
    plugins: 'flannel',
    what: 'CHECK, STATUS and GC ask the delegate; STATUS is 50 as long as flanneld has not written its file',
    reason: 'the official plugin (until v0.9.1, and that of flannel itself) answers and does nothing',
    tests: ['conformance/flannel/flannel.test.ts'],
  },
  {
    plugins: 'flannel',
    what: 'a second interface of a container has a file of its own in `dataDir`; a file that is garbled does not stop DEL; a failed ADD leaves none; networks with commas between are each routed',
    reason:
      'the official plugin writes over the first file, and its addresses are never given back; it refuses DEL for ever, and keeps files of what was never attached',
    tests: ['conformance/flannel/flannel.test.ts', 'plugins/flannel/flannel.test.ts'],
  },
  {
    plugins: 'tap',
    what: 'MAC address and MTU hold with owner and group, too; packet information is off; an existing interface name is an error; no wait for a carrier that cannot come',
    reason: 'the official plugin ignores, varies, reports success, and waits 5 s',
    tests: ['conformance/devices/tap.test.ts'],
  },
  {
    plugins: 'sbr',
    what: '`gateways` win over default routes that IPAM gave; families are kept apart; DEL puts routes back, and creates no file where the namespace is gone; a free table is one that no rule and no route uses',
    reason:
      'the official plugin replaces its route to the gateway by the copied one, copies routes across families, and its ADD after DEL fails; v1.9.1 knows neither `gateways` nor `addSourceHints`',
    tests: ['conformance/devices/sbr.test.ts'],
    shown: [
      {
        cases: /^sbr/,
        official: /^container\d: route family inet6 type unicast dst fd00:80::\/64 dev eth0 table 100 /,
      },
      {
        cases: /^sbr-gateways-routes$/,
        official: /^container\d: route .*dst default gateway (10\.80\.0\.|fd00:80::)1 dev eth0 table 10[01] /,
        podwire: /^container\d: route .*dst default gateway (10\.80\.0\.|fd00:80::)77 dev eth0 table 10[01] /,
      },
      {
        cases: /^sbr-(gateways|source-hints)/,
        of: 'official-1.9.1',
        official: /^container\d: route .*dst default gateway (10\.80\.0\.|fd00:80::)1 dev eth0 table 10[01] /,
        podwire:
          /^container\d: route .*( gateway (10\.80\.0\.|fd00:80::)77 dev eth0 table 10[01] | table main .*prefsrc )/,
      },
    ],
  },
  {
    plugins: 'ipvlan',
    what: 'an ADD with another mode than the children its master has is refused (code 7)',
    reason: 'the kernel has one mode for all of them: the official plugin changes it under running containers',
    tests: ['conformance/lan/children.vm.test.ts'],
  },
  {
    plugins: 'vrf',
    what: 'ADD can be repeated; link-scope routes and IPv6 addresses are kept, and given back by DEL; a DEL that was interrupted is finished by the next one',
    reason: 'the official plugin fails, and loses them',
    tests: ['conformance/devices/vrf.vm.test.ts'],
  },
  {
    plugins: 'vrf',
    what: 'IPv6 addresses are usable at once in a VRF (no second duplicate address detection)',
    reason: 'they were found to be alone before; the kernel takes them away when the interface changes its VRF',
    shown: [
      {
        cases: /^vrf$/,
        official: /^container\d: address eth0 local fd00:80::2 prefixlen 64 scope global$/,
        podwire: /^container\d: address eth0 local fd00:80::2 prefixlen 64 scope global nodad true$/,
      },
    ],
  },
]

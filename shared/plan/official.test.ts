import { expect, test } from 'vitest'
import { reasonOf } from '../exec/stderr.js'
import { officialRefusal } from './official.js'
import type { Operation } from './operation.js'

/** An operation as a person types it, the kernel's error, what its tool prints, and what the official suite says. */
const rows: readonly (readonly [string, number | undefined, string, string | undefined])[] = [
  [
    'ip link add name h type veth peer name eth0 netns x',
    -17,
    '',
    'container veth name ("eth0") peer provided ("h") already exists',
  ],
  ['ip link add name h type veth peer name eth0 netns x', -22, '', 'failed to make veth pair: invalid argument'],
  [
    'ip link add name h type veth peer name eth0',
    undefined,
    'RTNETLINK answers: File exists',
    'container veth name ("eth0") peer provided ("h") already exists',
  ],
  ['ip link add name eth0 link top type macvlan', -16, '', 'failed to create macvlan: device or resource busy'],
  ['ip link add name eth0 link top type ipvlan', -17, '', 'failed to rename ipvlan to "eth0": file exists'],
  [
    'ip link add name eth0 link top type ipvlan',
    undefined,
    'Error: Unknown device type.',
    'failed to create ipvlan: operation not supported',
  ],
  [
    'ip link add name eth0 link top type vlan id 5',
    -17,
    '',
    'failed to create vlan: file exists; failed to rename vlan to "eth0": file exists',
  ],
  ['ip link add name eth0 link top type vlan id 5', -100, '', 'failed to create vlan: network is down'],
  ['ip link add name eth0 type dummy', -17, '', 'failed to create dummy: file exists'],
  [
    'ip link add name br0 type bridge',
    -95,
    '',
    'failed to create bridge "br0": could not add "br0": operation not supported',
  ],
  ['ip link add name blue type vrf table 7', -95, '', 'cmdAdd failed: could not add VRF blue: operation not supported'],
  ['ip link add name bwp0 type ifb', -17, '', 'adding link: file exists'],
  ['ip link add name x type other', -17, '', undefined],
  ['ip link set dev eth0 mtu 70000', -22, '', 'invalid argument'],
  ['ip link set dev eth0 up', -99, '', 'failed to set "eth0" UP: cannot assign requested address'],
  ['ip link set dev eth0 name eth1', -17, '', undefined],
  ['ip link del dev eth0', -19, '', undefined],
  ['ip addr add 10.1.2.3/24 brd + dev eth0', -17, '', 'failed to add IP addr 10.1.2.3/24 to "eth0": file exists'],
  [
    'ip route prepend 10.0.0.0/9 via 10.1.2.1 dev eth0',
    -101,
    '',
    "failed to add route '{10.0.0.0 ff800000} via 10.1.2.1 dev eth0 metric 0 (Scope: universe, Table: 0)': network is unreachable",
  ],
  [
    'ip route prepend ::/0 dev eth0 metric 5 table 9 scope 253',
    -22,
    '',
    "failed to add route '{:: 00000000000000000000000000000000} via <nil> dev eth0 metric 5 (Scope: link, Table: 9)': invalid argument",
  ],
  [
    'ip route add 10.0.0.0/8 via inet6 fe80::1 dev eth0',
    undefined,
    'Error: Something new.',
    "failed to add route '{10.0.0.0 ff000000} via fe80::1 dev eth0 metric 0 (Scope: universe, Table: 0)': error: Something new.",
  ],
  ['ip route del 10.0.0.0/8 dev eth0', -3, '', undefined],
  ['ip -6 rule add from fd00::1 table 100', -22, '', 'Failed to add rule: invalid argument'],
  ['tc qdisc replace dev h root handle 1: tbf', -2, '', 'create qdisc: no such file or directory'],
  [
    'tc qdisc replace dev h handle ffff: ingress',
    undefined,
    'Error: Specified qdisc kind is unknown.',
    'create ingress qdisc: operation not supported',
  ],
  ['tc filter replace dev h parent ffff: u32', -2, '', 'add filter: no such file or directory'],
  [
    'sysctl -w net/a=1',
    undefined,
    'sh: 5: cannot create /proc/sys/net/a: Directory nonexistent',
    'open /proc/sys/net/a: no such file or directory',
  ],
  [
    'sysctl -w net/a=1',
    undefined,
    'sh: 5: cannot create /proc/sys/net/a: Permission denied',
    'open /proc/sys/net/a: permission denied',
  ],
  [
    'sysctl -w net/a=1',
    undefined,
    'sh: 5: cannot create /proc/sys/net/a: Read-only file system',
    'open /proc/sys/net/a: read-only file system',
  ],
  [
    'sysctl -w net/a=1',
    undefined,
    'sh: 5: cannot create /proc/sys/net/a: Is a directory',
    'open /proc/sys/net/a: is a directory',
  ],
  ['sysctl -w net/a=1', undefined, 'sh: 5: printf: I/O error', 'write /proc/sys/net/a: invalid argument'],
  ['nft add table ip x', undefined, 'Error: x', undefined],
]

test.each(rows)('%s (%s): %s', (text, kernelError, stderr, official) => {
  const [tool, ...argv] = text.split(' ') as [Operation['tool'], ...string[]]
  const operation = { tool, argv, why: 'do it' }
  expect(officialRefusal({ operation, reason: reasonOf(stderr), stderr, kernelError })).toBe(official)
})

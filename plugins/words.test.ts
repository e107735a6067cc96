import { expect, test } from 'vitest'
import { netns, type Row, show } from '../shared/testing/golden.js'

// What callers know of the official suite's refusals stands first in ours: who looks for these words finds them.

const chained = { prevResult: { cniVersion: '1.1.0', interfaces: [{ name: 'eth0', sandbox: netns }], ips: [] } }
const macs = { bad: 'zz', group: '01:00:5e:00:00:01' }
const portMappings = (one: object) => ({
  ...chained,
  runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, protocol: 'tcp', ...one }] },
})

const rows: [plugin: string, config: object, says: string, env?: Row['env']][] = [
  ['bridge', { vlan: 4095 }, 'invalid VLAN ID 4095 (must be between 0 and 4094)'],
  ['bridge', { vlanTrunk: [{ id: 5000 }] }, 'incorrect trunk id parameter'],
  ['bridge', { vlanTrunk: [{ minID: 5, maxID: 5000 }] }, 'incorrect trunk maxID parameter'],
  ['bridge', { runtimeConfig: { mac: macs.bad } }, 'failed to make veth pair: address zz: invalid MAC address'],
  ['bridge', {}, 'failed to make veth pair: address zz: invalid MAC address', { CNI_ARGS: `MAC=${macs.bad}` }],
  ['bridge', {}, 'failed to make veth pair: cannot assign requested address', { CNI_ARGS: `MAC=${macs.group}` }],
  ['bridge', { bridge: '' }, 'failed to create bridge "": could not add "": LinkAttrs.Name cannot be empty'],
  ['bridge', { ipMasq: true, ipMasqBackend: 'pf' }, 'unknown ipmasq backend "pf"'],
  ['bridge', { hairpinMode: true, promiscMode: true }, 'cannot set hairpin mode and promiscuous mode at the same time'],
  [
    'bridge',
    { disableContainerInterface: true, ipam: { type: 'static' } },
    'cannot use IPAM when DisableContainerInterface flag is set',
  ],
  ['ptp', { ipMasqBackend: 'pf', ipam: { type: 'static' } }, 'unknown ipmasq backend "pf"'],
  ['macvlan', { master: 'x', mode: 'vepa2' }, 'unknown macvlan mode: "vepa2"'],
  ['macvlan', { master: 'x', mac: macs.bad }, 'invalid args zz for MAC addr: address zz: invalid MAC address'],
  ['macvlan', { master: 'x', mac: macs.group }, 'failed to create macvlan: cannot assign requested address'],
  ['macvlan', { masterMAC: macs.bad }, ''],
  [
    'macvlan',
    { master: 'x' },
    'invalid args zz for MAC addr: address zz: invalid MAC address',
    { CNI_ARGS: `MAC=${macs.bad}` },
  ],
  ['ipvlan', { master: 'x', mode: 'l9' }, 'unknown ipvlan mode: "l9"'],
  ['vlan', { master: 'x', vlanId: 4096 }, 'invalid VLAN ID 4096 (must be between 0 and 4095 inclusive)'],
  ['vlan', { vlanId: 5 }, '"master" field is required. It specifies the host interface name to create the VLAN for'],
  ['tap', { mac: macs.bad }, 'failed to run command "zz" is invalid lladdr.'],
  ['tap', { mac: macs.group }, 'cannot assign requested address'],
  ['tuning', { ...chained, mac: macs.bad }, 'invalid args zz for MAC addr: address zz: invalid MAC address'],
  ['tuning', { ...chained, mac: macs.group }, 'cannot assign requested address'],
  [
    'tuning',
    { ...chained, sysctl: { a: 1 } },
    'json: cannot unmarshal number into Go struct field sysctlCheck.sysctl of type string',
  ],
  [
    'tuning',
    { ...chained, sysctl: 7 },
    'json: cannot unmarshal number into Go struct field sysctlCheck.sysctl of type map[main.sysctlKey]string',
  ],
  ['tuning', chained, 'invalid args zz for MAC addr: address zz: invalid MAC address', { CNI_ARGS: `MAC=${macs.bad}` }],
  ['vrf', { ...chained, vrfname: '' }, 'configuration is expected to have a valid vrf name'],
  [
    'vrf',
    { ...chained, vrfname: 'blue', table: -1 },
    'failed to load netconf: json: cannot unmarshal number -1 into Go struct field VRFNetConf.table of type uint32',
  ],
  ['firewall', { ...chained, ingressPolicy: 'no' }, 'unknown ingress policy: "no"'],
  [
    'firewall',
    { prevResult: { cniVersion: '1.1.0' }, ingressPolicy: 'isolated' },
    'interface needs to be set for ingress policy "isolated", make sure to chain "firewall" plugin with "bridge"',
  ],
  ['portmap', { ...chained, backend: 'ebpf' }, 'failed to parse config: unrecognized backend "ebpf"'],
  ['portmap', { ...chained, markMasqBit: 32 }, 'failed to parse config: MasqMarkBit must be between 0 and 31'],
  [
    'portmap',
    { ...chained, markMasqBit: 3, externalSetMarkChain: 'X' },
    'failed to parse config: Cannot specify externalSetMarkChain and markMasqBit',
  ],
  [
    'portmap',
    { ...chained, backend: 'nftables', externalSetMarkChain: 'X' },
    'failed to parse config: nftables backend was requested but configuration contains iptables-specific options [externalSetMarkChain]',
  ],
  [
    'portmap',
    { ...chained, backend: 'nftables', conditionsV4: ['-s', '10.0.0.0/8'] },
    'failed to parse config: nftables backend was requested but configuration contains iptables-specific options [conditionsV4]',
  ],
  [
    'portmap',
    { ...chained, backend: 'iptables', conditionsV6: ['ip6', 'saddr', 'fd00::/8'] },
    'failed to parse config: iptables backend was requested but configuration contains nftables-specific options [conditionsV6]',
  ],
  ['portmap', portMappings({ hostPort: 0 }), 'failed to parse config: Invalid host port number: 0'],
  ['portmap', portMappings({ containerPort: 0 }), 'failed to parse config: Invalid container port number: 0'],
  ['portmap', portMappings({ containerPort: 70_000 }), 'failed to parse config: Invalid container port number: 70000'],
  [
    'bandwidth',
    { ...chained, ingressRate: -1 },
    'failed to parse network configuration: json: cannot unmarshal number -1 into Go struct field PluginConf.BandwidthEntry.ingressRate of type uint64',
  ],
  ['bandwidth', { ...chained, ingressRate: 8e6 }, 'if rate is set, burst must also be set'],
  ['bandwidth', { ...chained, egressBurst: 8000 }, 'if burst is set, rate must also be set'],
  ['bandwidth', { runtimeConfig: {} }, 'Required prevResult missing: must be called as chained plugin'],
  ['portmap', {}, 'Required prevResult missing: must be called as chained plugin'],
  ['firewall', {}, 'Required prevResult missing: missing prevResult from earlier plugin'],
  ['tuning', {}, 'Required prevResult missing'],
]

test.each(rows)('%s refuses %j', async (plugin, config, says, env = {}) => {
  const { status, plan, json } = await show({ plugin, verb: 'ADD', config, env })
  expect({ status, plan, code: json.code }, JSON.stringify(json)).toEqual({ status: 1, plan: '', code: 7 })
  const [, text = ''] = /^\w+: network "net": (.*)$/.exec(json.msg) ?? []
  expect(text.replace(/^the configuration is not valid(: |$)/, '')).toBe(says)
})

/** What the decoder says of a wrong type inside the result before: the version decides whose types it names. */
const results: [version: string, part: object, says: string][] = [
  ['1.1.0', { interfaces: ['x'] }, 'string into Go struct field Result.interfaces of type types100.Interface'],
  [
    '1.1.0',
    { interfaces: [{ sandbox: 7 }] },
    'number into Go struct field Interface.interfaces.sandbox of type string',
  ],
  ['1.0.0', { interfaces: [{ mtu: 'x' }] }, 'string into Go struct field Interface.interfaces.mtu of type int'],
  ['1.0.0', { ips: [[]] }, 'array into Go struct field Result.ips of type types100.ipConfig'],
  ['1.1.0', { ips: [{ address: 7 }] }, 'number into Go struct field Result.ips.address of type string'],
  ['1.1.0', { routes: 'x' }, 'string into Go struct field Result.routes of type []*types.Route'],
  ['1.1.0', { routes: [7] }, 'number into Go struct field Result.routes of type types.route'],
  ['1.1.0', { routes: [{ dst: '10.0.0.0/8', gw: 7 }] }, 'number into Go struct field Result.routes.gw of type net.IP'],
  ['0.4.0', { ips: [7] }, 'number into Go struct field Result.ips of type types040.ipConfig'],
  ['0.3.1', { interfaces: [7] }, 'number into Go struct field Result.interfaces of type types040.Interface'],
  ['0.2.0', { ip6: [] }, 'array into Go struct field Result.ip6 of type types020.ipConfig'],
  ['0.2.0', { ip4: { ip: '10.0.0.1/8', gateway: 7 } }, 'number into Go struct field Result.ip4.gateway of type net.IP'],
  [
    '0.1.0',
    { ip4: { ip: '10.0.0.1/8', routes: 7 } },
    'number into Go struct field Result.ip4.routes of type []types.Route',
  ],
  [
    '0.1.0',
    { ip4: { ip: '10.0.0.1/8', routes: [7] } },
    'number into Go struct field Result.ip4.routes of type types.route',
  ],
]

test.each(results)('a prevResult of %s is refused that has %j', async (cniVersion, part, says) => {
  const config = { cniVersion, prevResult: { cniVersion, ...part } }
  const { plan, json } = await show({ plugin: 'tuning', verb: 'ADD', config })
  const msg = `tuning: network "net": prevResult cannot be read: could not parse prevResult: json: cannot unmarshal ${says}`
  expect({ plan, code: json.code, msg: json.msg }).toEqual({ plan: '', code: 7, msg })
})

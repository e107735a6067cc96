import type { Family } from './versions.js'

const dns = {
  nameservers: ['10.1.0.1', 'any text'],
  domain: 'd.example',
  search: ['s', 'a<b>&c'],
  options: ['ndots:5'],
}
const routes = [
  { dst: '0.0.0.0/0' },
  { dst: '10.9.8.7/16', gw: '10.1.0.254', mtu: 1400, advmss: 1360, priority: 5, table: 100, scope: 253 },
  { dst: '2001:DB8:0:0::/48', gw: '2001:db8::1', table: 0, scope: 0 },
]
const interfaces = [
  { name: 'br0', mac: '02:00:00:00:00:01' },
  {
    name: 'eth0',
    mac: '02:00:00:00:00:02',
    sandbox: '/run/netns/x',
    mtu: 1500,
    socketPath: '/run/s',
    pciID: '0000:04:00.5',
  },
  { name: '' },
]
const six = '2001:0DB8::0005/64'

/** Results as a previous plugin or a delegate may give them, by family: each is read and printed again. */
export const results: Record<Family, Record<string, object>> = {
  A: {
    'both families': { ip4: { ip: '10.1.0.5/16', gateway: '10.1.0.1', routes: [routes[0]] }, ip6: { ip: six }, dns },
    // Without the attributes that routes of these versions do not have: the official suite drops them when it converts
    // a newer result and passes them on when it copies an old one; podwire always drops them.
    'IPv6 only, empty DNS': {
      ip6: { ip: six, gateway: '2001:db8::1', routes: [{ dst: '2001:DB8:0:0::/48' }] },
      dns: {},
    },
  },
  B: {
    everything: {
      interfaces,
      ips: [
        { version: '4', interface: 1, address: '10.1.0.5/16', gateway: '10.1.0.1' },
        { version: '6', interface: 0, address: six },
      ],
      routes,
      dns,
    },
    nothing: {},
    'empty lists': { interfaces: [], ips: [], routes: [], dns: { nameservers: [], domain: '' } },
    'unknown members': { ips: [{ version: '4', address: '10.1.0.5/16', colour: 'red' }], shape: 'round' },
  },
  C: {
    everything: {
      interfaces,
      ips: [
        { interface: 1, address: '10.1.0.5/16', gateway: '10.1.0.1' },
        { interface: 0, address: six },
      ],
      routes,
      dns,
    },
    nothing: {},
    'empty lists': { interfaces: [], ips: [], routes: [], dns: { search: [] } },
    'null members': { interfaces: null, ips: null, routes: null, dns: null },
    'indexes out of range': {
      ips: [
        { interface: -1, address: '10.1.0.5/16' },
        { interface: 9, address: six },
      ],
    },
    'addresses of IPv6 that mean IPv4': { ips: [{ address: '::ffff:10.0.0.1/104' }, { address: '::1.2.3.4/96' }] },
    'text that JSON in Go escapes': { dns: { domain: 'a<b>&\u2028\u2029é"\\' } },
    'part of DNS': { dns: { domain: 'd.example' } },
    'zero numbers': { interfaces: [{ name: 'x', mtu: 0 }], routes: [{ dst: '10.0.0.0/8', mtu: 0, priority: 0 }] },
    'empty texts': { interfaces: [{ name: 'x', mac: '', sandbox: '' }], ips: [{ address: '10.0.0.1/8', gateway: '' }] },
  },
}

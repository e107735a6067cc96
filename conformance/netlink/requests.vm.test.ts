import { holdBothWays, ipam } from './ways.js'

// The links that only a full kernel has; the modes of an ipvlan are compared with the official plugin's (conformance/oracle).
holdBothWays({
  ipvlan: { type: 'ipvlan', master: 'uplink', mode: 'l3s', mtu: 1300, ipam },
  vlan: { type: 'vlan', master: 'uplink', vlanId: 4094, mtu: 1300, ipam },
})

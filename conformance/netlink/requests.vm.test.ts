import { holdBothWays, ipam } from './ways.js'

// The links that only a full kernel has.
holdBothWays({
  'ipvlan l2': { type: 'ipvlan', master: 'uplink', mtu: 1300, ipam },
  'ipvlan l3': { type: 'ipvlan', master: 'uplink', mode: 'l3', ipam },
  'ipvlan l3s': { type: 'ipvlan', master: 'uplink', mode: 'l3s', ipam },
  vlan: { type: 'vlan', master: 'uplink', vlanId: 4094, mtu: 1300, ipam },
})

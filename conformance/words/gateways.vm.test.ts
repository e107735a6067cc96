import { gatewaysOfAddresses, gatewaysOfRoutes, type Setting, top } from './gateways.js'

const settings: readonly Setting[] = [
  { plugin: 'ipvlan', keys: { master: 'top0' }, links: top },
  { plugin: 'vlan', keys: { master: 'top0', vlanId: 5 }, links: top },
  { plugin: 'dummy' },
]

gatewaysOfAddresses(settings)
gatewaysOfRoutes(settings)

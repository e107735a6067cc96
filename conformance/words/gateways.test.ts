import { gatewaysOfAddresses, gatewaysOfRoutes, type Setting, top } from './gateways.js'

const settings: readonly Setting[] = [
  { plugin: 'macvlan', keys: { master: 'top0' }, links: top },
  { plugin: 'bridge', keys: { bridge: 'br0' } },
  { plugin: 'tap' },
  { plugin: 'host-device', keys: { device: 'top0' }, links: top },
]

gatewaysOfAddresses(settings)
// The official ptp makes the gateway a neighbour, and fails where it is of the other family.
gatewaysOfRoutes([...settings, { plugin: 'ptp' }])

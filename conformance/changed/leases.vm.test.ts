import { describe } from 'vitest'
import { leasesAreFound } from './leases.js'

// What leases.test.ts asks of the plugins whose kind of link this kernel may lack.

describe.each([
  { type: 'ipvlan', master: 'uplink' },
  { type: 'vlan', master: 'uplink', vlanId: 100 },
  { type: 'dummy' },
])('$type:', leasesAreFound)

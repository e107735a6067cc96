import { describe } from 'vitest'
import { leasesAreFound } from './leases.js'

describe.each([
  { type: 'bridge', bridge: 'br2' },
  { type: 'ptp' },
  { type: 'macvlan', master: 'uplink' },
  { type: 'tap' },
  { type: 'host-device', device: 'lent' },
])('$type:', leasesAreFound)

import { describe } from 'vitest'
import { holdsTheFirst, ipam, type Swapped } from './swapping.js'

const plugins: Record<string, Swapped> = {
  ipvlan: { config: { master: 'uplink', ipam } },
  vlan: { config: { master: 'uplink', vlanId: 9, ipam } },
  dummy: { config: { ipam } },
  vrf: { config: { vrfname: 'red' }, chained: { type: 'bridge', bridge: 'br9', isGateway: true, ipam } },
}

describe('a namespace that is swapped at every moment:', () => {
  for (const [type, swapped] of Object.entries(plugins)) holdsTheFirst(type, swapped)
})

import { describe, expect } from 'vitest'
import { type Cost, type Costed, costOf } from '../harness/cost.js'
import { test } from '../harness/fixture.js'

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }]] }

describe('the processes of each verb', () => {
  const rows: [string, Costed, Cost][] = [
    ['ipvlan', { type: 'ipvlan', master: 'uplink', ipam }, {}],
    ['vlan', { type: 'vlan', master: 'uplink', vlanId: 5, ipam }, {}],
    ['dummy', { type: 'dummy', ipam }, {}],
  ]
  test.for(rows)('%s', async ([, config, expected], { host }) => {
    await host.outside()
    expect(await costOf(host, config)).toEqual(expected)
  })

  test('vrf', async ({ host }) => {
    const inside = (times: number) => Array.from({ length: times }, () => 'in ip')
    expect(await costOf(host, { type: 'vrf', vrfname: 'blue' }, { isChained: true })).toEqual({
      ADD: inside(3),
      DEL: inside(2),
    })
  })
})

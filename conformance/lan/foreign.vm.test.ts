import { expect } from 'vitest'
import { errorOf, resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { foreignCall, found, installRecorder } from '../main/foreign.js'
import { state } from './network.js'

// What main/foreign-ipam.test.ts asks of the other plugins.

const networks = [
  { type: 'ipvlan', master: 'uplink' },
  { type: 'ipvlan', master: 'uplink', mode: 'l3' },
  { type: 'vlan', master: 'uplink', vlanId: 100 },
  { type: 'dummy' },
]

test.for(networks)(
  '%j: another IPAM plugin finds the link up and carrying; its failure takes all back',
  async (config, { host }) => {
    await host.outside()
    const container = await host.container('c1')
    const before = await state(host)
    installRecorder(host, undefined)
    expect(errorOf(await runPlugin(host, foreignCall('ADD', container, config)))).toMatchObject({ code: 42 })
    expect(difference(before, await state(host))).toBe('')
    installRecorder(host, '10.80.0.7')
    resultOf(await runPlugin(host, foreignCall('ADD', container, config)))
    const flags = expect.arrayContaining(['UP', 'LOWER_UP'])
    expect(found(host)).toMatchObject([{ ifname: 'eth0', flags, operstate: expect.stringMatching(/^(UP|UNKNOWN)$/) }])
    const [link] = JSON.parse(await container.output(['ip', '-j', 'addr', 'show', 'dev', 'eth0']))
    expect(link.flags).toContain('UP')
    expect(link.addr_info).toContainEqual(expect.objectContaining({ local: '10.80.0.7', prefixlen: 24 }))
  },
)

test.for(networks)('%j: an IPv6 route beside an IPv4 address is there', async (config, { host }) => {
  await host.outside()
  const container = await host.container('c1')
  const routes = [{ dst: 'fd12:3456::/32' }, { dst: '::/0' }]
  const ipam = { type: 'static', addresses: [{ address: '192.0.2.9/24' }], routes }
  const call = foreignCall('ADD', container, { ...config, ipam })
  resultOf(await runPlugin(host, call))
  const made = JSON.parse(await container.output(['ip', '-6', '-j', 'route', 'show', 'dev', 'eth0']))
  for (const dst of ['fd12:3456::/32', 'default']) expect(made).toContainEqual(expect.objectContaining({ dst }))
})

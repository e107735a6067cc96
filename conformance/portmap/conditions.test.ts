import { expect } from 'vitest'
import { errorOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin } from '../harness/plugin.js'

/** Conditions of the right form, with a word that only nft can know, and what it marks. */
const conditions = [
  ['oif', 'nosuch0'],
  ['iifname', 'iif'],
  ['ip protocol banana'],
  ['ct', 'status', 'banana'],
  ['icmp type { echo-request, banana }'],
  ['fib daddr type banana'],
  ['ip daddr 10.0.0.1 meta mark banana'],
]

test('what nft refuses of a condition is a mistake in it, with its place, and leaves nothing', async ({ host }) => {
  const { netns } = await host.container('c1')
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0', sandbox: netns }],
    ips: [{ interface: 0, address: '10.1.2.3/24' }],
  }
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
  const base = { cniVersion: '1.1.0', name: 'network', type: 'portmap', prevResult, runtimeConfig: { portMappings } }
  for (const conditionsV4 of conditions) {
    const config = { ...base, backend: 'nftables', conditionsV4 }
    const call: Call = { plugin: 'portmap', command: 'ADD', netns, containerID: 'c1', config }
    const { code, msg, details } = errorOf(await runPlugin(host, call))
    expect({ code, msg }).toEqual({
      code: 7,
      msg: `portmap: network "network": the configuration is not valid: nft refuses the condition "${conditionsV4.join(' ').replace('{ echo-request, banana }', '{ echo-request , banana }')}"`,
    })
    expect(details).toMatch(/^command: nft '?add rule ip podwire portmap_if_.*\n(.*\n)* *\^+$/m)
    expect(await host.output(['nft', 'list', 'ruleset'])).not.toContain('8080')
    succeedSilently(await runPlugin(host, { ...call, command: 'DEL' }))
  }
})

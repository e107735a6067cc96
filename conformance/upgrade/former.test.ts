import { existsSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { Cluster, hostOf } from '../agent/cluster.js'
import { test } from '../harness/fixture.js'
import { everySuite } from '../harness/locations.js'
import { until } from '../harness/process.js'
import { ask, serve } from '../harness/traffic.js'
import { allOf, type Kind, kinds, leftovers, Member, networkOf, packets, prepare } from './swap.js'

// Neighbouring versions of podwire on one node: while it is upgraded or taken back, one version attaches and the other
// goes on, and this version's agent stands beside the former one's plugins. `make test-upgrade` builds the former one.

const former = 'podwire-0.1.0'
const isThere = existsSync(everySuite[former])
if (!isThere) console.warn(`SKIPPED ${former} beside this version: \`make test-upgrade\` builds it`)

const names = Object.keys(kinds) as Kind[]
const pairs = [
  [former, 'podwire'],
  ['podwire', former],
] as const

describe.skipIf(!isThere)('neighbouring versions', () => {
  test.for(names.flatMap((kind) => pairs.map(([before, after]) => [before, after, kind] as const)))(
    'containers that %s attached and %s goes on with, with %s',
    async ([before, after, kind], { host }) => {
      const outside = await prepare(host)
      const network = networkOf(kind, [before, after])
      const [first, second] = [
        new Member(host, network, await host.container('member1'), 8080),
        new Member(host, network, await host.container('member2'), 8180),
      ]
      await first.add(before)
      expect(await first.check(after)).toBeUndefined()
      await second.add(after)
      for (const one of [first, second]) expect(await packets(outside, one)).toEqual(allOf(one))
      await first.del(after)
      expect(await packets(outside, second)).toEqual(allOf(second))
      await second.del(before)
      expect(await leftovers(host)).toEqual([])
    },
  )

  test('pods of a node whose agent is of this version and whose plugins are of the former one', async ({ host }) => {
    const cluster = await Cluster.create(host)
    // The former version has no `chain`.
    await cluster.api.order('config', { text: 'list: true\n' })
    const node = await cluster.node(1)
    const hiding = [await node.show('/run/podwire'), await node.show('/var/lib/cni')]
    const agent = node.agent()
    await until('the agent is ready', async () => (await node.get('/readyz')).status === 0, 15_000)
    const pods = [await host.container('pod1'), await host.container('pod2')] as const
    const [formerOnes, these] = [{ bin: everySuite[former] }, { bin: everySuite.podwire }]
    const results = [await node.pod('add', pods[0], formerOnes), await node.pod('add', pods[1], these)]
    const [, to] = results.map((result) =>
      (JSON.parse(result).ips as { address: string }[]).map(({ address }) => hostOf(address)),
    )
    const server = await serve(pods[1], { protocol: 'tcp', port: 80 })
    for (const address of to ?? []) {
      expect(await ask(pods[0], { protocol: 'tcp', address, port: 80 }), address).toBeDefined()
    }
    await server.stop()
    const shown = async () => {
      const lines = (await node.get('/metrics')).stdout.split('\n')
      return lines.filter((line) => /^podwire_(attachments|leases_used)\{/.test(line)).map((line) => line.split(' ')[1])
    }
    expect(await shown()).toEqual(['2', '2', '2'])
    await node.pod('check', pods[0], these)
    await node.pod('del', pods[0], these)
    await node.pod('del', pods[1], formerOnes)
    expect(await shown()).toEqual(['0', '0'])
    expect(await leftovers(host)).toEqual([])
    agent.child.kill('SIGTERM')
    await agent.finished
    for (const hide of hiding) await hide()
  })
})

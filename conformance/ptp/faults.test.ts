import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { Killer } from '../harness/killer.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { add, call, dual, state } from './network.js'

const limits = { ingressRate: 8_000_000, ingressBurst: 80_000, egressRate: 8_000_000, egressBurst: 80_000 }

function shape(command: Verb, container: Container, prevResult?: object): Call {
  const config = { ...limits, cniVersion: '1.1.0', name: 'network', type: 'bandwidth', prevResult }
  return { ...call(command, container), plugin: 'bandwidth', config }
}

/** One attachment of another container, so that what belongs to the host (rule tables, forwarding) is there already. */
async function settled(host: Host): Promise<{ container: Container; before: string[] }> {
  await add(host, await host.container())
  return { container: await host.container(), before: await state(host) }
}

describe('killed at any moment', () => {
  test('ADDs of ptp, each followed by DEL, leave nothing', { timeout: 240_000 }, async ({ host }) => {
    const { container, before } = await settled(host)
    const killer = await Killer.timing(() => add(host, container))
    succeedSilently(await runPlugin(host, call('DEL', container)))
    for (let round = 0; round < 40; round++) {
      await killer.kill(host, call('ADD', container))
      succeedSilently(await runPlugin(host, call('DEL', container)))
      if (round % 10 === 9) expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
    killer.expectHits()
  })

  test('ADDs of bandwidth, each followed by another one, CHECK and DEL', { timeout: 240_000 }, async ({ host }) => {
    const { container } = await settled(host)
    const prevResult = await add(host, container)
    const limit = async () => resultOf(await runPlugin(host, shape('ADD', container, prevResult)))
    const killer = await Killer.timing(limit)
    succeedSilently(await runPlugin(host, shape('DEL', container)))
    for (let round = 0; round < 20; round++) {
      await killer.kill(host, shape('ADD', container, prevResult))
      const result = await limit()
      succeedSilently(await runPlugin(host, shape('CHECK', container, result)))
      succeedSilently(await runPlugin(host, shape('DEL', container)))
      expect((await state(host)).filter((line) => /bwp|tbf|bandwidth/.test(line))).toEqual([])
    }
    killer.expectHits()
  })
})

test('20 containers at once come, are checked, and go', { timeout: 240_000 }, async ({ host }) => {
  await settled(host)
  const containers: Container[] = []
  for (let index = 0; index < 20; index++) containers.push(await host.container())
  const before = await state(host)
  const all = <T>(one: (container: Container) => Promise<T>) => Promise.all(containers.map(one))
  await all(async (container) => {
    const prevResult = resultOf(await runPlugin(host, shape('ADD', container, await add(host, container))))
    succeedSilently(await runPlugin(host, shape('CHECK', container, prevResult)))
    succeedSilently(await runPlugin(host, call('CHECK', container, { config: { ...dual, prevResult } })))
  })
  expect((await state(host)).filter((line) => /^host: qdisc kind tbf/.test(line))).toHaveLength(40)
  await all(async (container) => {
    succeedSilently(await runPlugin(host, shape('DEL', container)))
    succeedSilently(await runPlugin(host, call('DEL', container)))
  })
  expect(difference(before, await state(host))).toBe('')
})

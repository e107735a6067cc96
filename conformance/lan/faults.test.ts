import { expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { Killer } from '../harness/killer.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { breakEverywhere } from './breaking.js'
import { call, lanNetwork, state } from './network.js'

const network = lanNetwork('macvlan', { hostAccess: true })

test('macvlan: each operation of an ADD refused in turn leaves nothing', { timeout: 180_000 }, async ({ host }) => {
  expect(await breakEverywhere(host, network)).toBeGreaterThan(8)
})

test('macvlan by renaming: the same', { timeout: 180_000 }, async ({ host }) => {
  expect(await breakEverywhere(host, lanNetwork('macvlan', { master: 'eth0' }), 'eth0')).toBeGreaterThan(4)
})

test('killed at any moment, an ADD leaves nothing behind DEL, nor stands in the way of the next', {
  timeout: 240_000,
}, async ({ host }) => {
  await host.outside()
  const container = await host.container()
  const add = call('ADD', container, network)
  resultOf(await runPlugin(host, add))
  succeedSilently(await runPlugin(host, call('DEL', container, network)))
  const before = await state(host)
  const killer = await Killer.timing(async () => resultOf(await runPlugin(host, add)))
  succeedSilently(await runPlugin(host, call('DEL', container, network)))
  for (let round = 0; round < 40; round++) {
    await killer.kill(host, add)
    succeedSilently(await runPlugin(host, call('DEL', container, network)))
    if (round % 10 === 9) expect(difference(before, await state(host)), `round ${round}`).toBe('')
  }
  killer.expectHits()
  resultOf(await runPlugin(host, add))
})

import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { runPlugin, startPlugin } from '../harness/plugin.js'
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
  const began = performance.now()
  resultOf(await runPlugin(host, add))
  const duration = performance.now() - began
  succeedSilently(await runPlugin(host, call('DEL', container, network)))
  let killed = 0
  for (let round = 0; round < 40; round++) {
    const adding = startPlugin(host, add)
    // The moment is what is being tested: spread evenly over the whole run.
    await delay((duration * round) / 40)
    adding.child.kill('SIGKILL')
    if ((await adding.finished).signal === 'SIGKILL') killed++
    await host.quiet()
    succeedSilently(await runPlugin(host, call('DEL', container, network)))
    if (round % 10 === 9) expect(difference(before, await state(host)), `round ${round}`).toBe('')
  }
  expect(killed).toBeGreaterThan(20)
  resultOf(await runPlugin(host, add))
})

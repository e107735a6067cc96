import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { Killer } from '../harness/killer.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call, config, settled, state } from './bridge-setting.js'

describe('killed at a random moment', () => {
  test('200 ADDs, each followed by DEL, leave nothing', { timeout: 240_000 }, async ({ host }) => {
    const { container, before } = await settled(host)
    const killer = await Killer.timing(async () => resultOf(await runPlugin(host, call('ADD', container))))
    succeedSilently(await runPlugin(host, call('DEL', container)))

    for (let round = 0; round < 200; round++) {
      await killer.kill(host, call('ADD', container))
      succeedSilently(await runPlugin(host, call('DEL', container)))
      if (round % 20 === 19) expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
    killer.expectHits()
    expect(difference(before, await state(host))).toBe('')
  })

  test('a killed ADD does not stand in the way of the next one, nor of CHECK', async ({ host }) => {
    const { container, before } = await settled(host)
    const killer = await Killer.timing(async () => resultOf(await runPlugin(host, call('ADD', container))))
    succeedSilently(await runPlugin(host, call('DEL', container)))
    for (let round = 0; round < 10; round++) {
      await killer.kill(host, call('ADD', container))
      succeedSilently(await runPlugin(host, call('DEL', container)))
      const prevResult = resultOf(await runPlugin(host, call('ADD', container)))
      succeedSilently(await runPlugin(host, call('CHECK', container, { config: { ...config, prevResult } })))
      succeedSilently(await runPlugin(host, call('DEL', container)))
    }
    killer.expectHits()
    expect(difference(before, await state(host))).toBe('')
  })

  test('DELs, too, each repeated', async ({ host }) => {
    const { container, before } = await settled(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    const killer = await Killer.timing(async () => succeedSilently(await runPlugin(host, call('DEL', container))))
    for (let round = 0; round < 20; round++) {
      resultOf(await runPlugin(host, call('ADD', container)))
      await killer.kill(host, call('DEL', container))
      succeedSilently(await runPlugin(host, call('DEL', container)))
    }
    killer.expectHits()
    expect(difference(before, await state(host))).toBe('')
  })
})

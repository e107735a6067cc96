import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { runPlugin, startPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call, config, settled, state } from './bridge-setting.js'

describe('killed at a random moment', () => {
  test('200 ADDs, each followed by DEL, leave nothing', { timeout: 240_000 }, async ({ host }) => {
    const { container, before } = await settled(host)
    const began = performance.now()
    resultOf(await runPlugin(host, call('ADD', container)))
    const duration = performance.now() - began
    succeedSilently(await runPlugin(host, call('DEL', container)))

    let killed = 0
    for (let round = 0; round < 200; round++) {
      const adding = startPlugin(host, call('ADD', container))
      // The moment is what is being tested: spread evenly over the whole run, and a little beyond its end.
      await delay((duration * 1.1 * round) / 200)
      adding.child.kill('SIGKILL')
      const { signal } = await adding.finished
      if (signal === 'SIGKILL') killed++
      await host.quiet()
      succeedSilently(await runPlugin(host, call('DEL', container)))
      if (round % 20 === 19) expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
    expect(killed).toBeGreaterThan(50)
    expect(difference(before, await state(host))).toBe('')
  })

  test('a killed ADD does not stand in the way of the next one, nor of CHECK', async ({ host }) => {
    const { container, before } = await settled(host)
    for (const milliseconds of [10, 20, 30, 40, 50, 60, 80]) {
      const adding = startPlugin(host, call('ADD', container))
      await delay(milliseconds)
      adding.child.kill('SIGKILL')
      await adding.finished
      await host.quiet()
      succeedSilently(await runPlugin(host, call('DEL', container)))
      const prevResult = resultOf(await runPlugin(host, call('ADD', container)))
      succeedSilently(await runPlugin(host, call('CHECK', container, { config: { ...config, prevResult } })))
      succeedSilently(await runPlugin(host, call('DEL', container)))
    }
    expect(difference(before, await state(host))).toBe('')
  })

  test('DELs, too, each repeated', async ({ host }) => {
    const { container, before } = await settled(host)
    for (let round = 0; round < 20; round++) {
      resultOf(await runPlugin(host, call('ADD', container)))
      const deleting = startPlugin(host, call('DEL', container))
      await delay(round * 4)
      deleting.child.kill('SIGKILL')
      await deleting.finished
      await host.quiet()
      succeedSilently(await runPlugin(host, call('DEL', container)))
    }
    expect(difference(before, await state(host))).toBe('')
  })
})

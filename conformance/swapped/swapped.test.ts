import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { plugins } from './plugins.js'
import { holdsTheFirst, prepare, type Swapped, state, ways, whileFlapping } from './swapping.js'

describe('a namespace that is swapped at every moment:', () => {
  for (const [type, swapped] of Object.entries(plugins)) holdsTheFirst(type, swapped)
})

describe.for(['bridge', 'macvlan', 'host-device', 'tuning'])('a namespace that never rests, %s', (type) => {
  test.for(Object.entries(ways))('by %s', { timeout: 240_000 }, async ([, env], { host }) => {
    const { call } = await prepare(host, type, plugins[type] as Swapped)
    resultOf(await runPlugin(host, call('ADD', env)))
    succeedSilently(await runPlugin(host, call('DEL', env)))
    const before = await state(host)
    const ends = { made: 0, refused: 0 }
    // Enough to see both ends, and no longer than a busy machine may take.
    const isEnough = () => ends.made + ends.refused > 11 && ends.made > 1 && ends.refused > 1
    const until = performance.now() + 60_000
    while (!isEnough() && performance.now() < until) {
      await whileFlapping(host, async () => {
        const finished = await runPlugin(host, call('ADD', env))
        if (finished.status === 0) ends.made++
        else ends.refused++
        if (finished.status === 0) resultOf(finished)
        else expect(errorOf(finished).code).toBe(8)
      })
      succeedSilently(await runPlugin(host, call('DEL', env)))
      expect(difference(before, await state(host))).toBe('')
    }
    expect(isEnough(), JSON.stringify(ends)).toBe(true)
  })
})

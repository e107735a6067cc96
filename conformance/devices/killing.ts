import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, startPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'

/** A plugin whose calls are killed. */
export interface Victim {
  shape: (verb: Verb, container: Container) => Call
  /** Makes the container, and what the calls need to be there. */
  prepare: (host: Host) => Promise<Container>
  /** Everything that a call can leave behind. */
  look: (host: Host) => Promise<string[]>
}

/** Declares the tests that kill ADDs and DELs at moments spread over their whole run; DEL must mend it all. */
export function diesAtAnyMoment(name: string, { shape, prepare, look }: Victim, rounds = 24): void {
  describe(`${name} killed at any moment`, () => {
    test('of an ADD: DEL leaves everything as it was', { timeout: 180_000 }, async ({ host }) => {
      const container = await prepare(host)
      const before = await look(host)
      const whole = await duration(host, shape('ADD', container))
      succeedSilently(await runPlugin(host, shape('DEL', container)))
      for (let round = 0; round < rounds; round++) {
        await killed(host, shape('ADD', container), (whole * round) / rounds)
        succeedSilently(await runPlugin(host, shape('DEL', container)))
        expect(difference(before, await look(host)), `round ${round}`).toBe('')
      }
    })

    test('of a DEL: the next one finishes it', { timeout: 180_000 }, async ({ host }) => {
      const container = await prepare(host)
      const before = await look(host)
      for (let round = 0; round < rounds; round++) {
        const whole = await duration(host, shape('ADD', container))
        await killed(host, shape('DEL', container), (whole * round) / rounds)
        succeedSilently(await runPlugin(host, shape('DEL', container)))
        expect(difference(before, await look(host)), `round ${round}`).toBe('')
      }
    })
  })
}

/** Starts a call and kills it after some milliseconds; what it had started may still end. */
async function killed(host: Host, one: Call, milliseconds: number): Promise<void> {
  const started = startPlugin(host, one)
  // The moment is what is being tested.
  await delay(milliseconds)
  started.child.kill('SIGKILL')
  await started.finished
  await host.quiet()
}

async function duration(host: Host, one: Call): Promise<number> {
  const began = performance.now()
  resultOf(await runPlugin(host, one))
  return performance.now() - began
}

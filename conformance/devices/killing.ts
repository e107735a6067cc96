import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { Killer } from '../harness/killer.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
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
      const killer = await Killer.timing(async () => resultOf(await runPlugin(host, shape('ADD', container))))
      succeedSilently(await runPlugin(host, shape('DEL', container)))
      for (let round = 0; round < rounds; round++) {
        await killer.kill(host, shape('ADD', container))
        succeedSilently(await runPlugin(host, shape('DEL', container)))
        expect(difference(before, await look(host)), `round ${round}`).toBe('')
      }
      killer.expectHits()
    })

    test('of a DEL: the next one finishes it', { timeout: 180_000 }, async ({ host }) => {
      const container = await prepare(host)
      const before = await look(host)
      resultOf(await runPlugin(host, shape('ADD', container)))
      const killer = await Killer.timing(async () => succeedSilently(await runPlugin(host, shape('DEL', container))))
      for (let round = 0; round < rounds; round++) {
        resultOf(await runPlugin(host, shape('ADD', container)))
        await killer.kill(host, shape('DEL', container))
        succeedSilently(await runPlugin(host, shape('DEL', container)))
        expect(difference(before, await look(host)), `round ${round}`).toBe('')
      }
      killer.expectHits()
    })
  })
}

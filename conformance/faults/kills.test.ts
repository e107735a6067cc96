import { describe } from 'vitest'
import { test } from '../harness/fixture.js'
import { expectHits } from '../harness/killer.js'
import { chains } from './chains.js'
import { killAgain } from './killed-chain.js'

// 200 calls are killed, or as many as PODWIRE_KILLS says (`make kills`), spread over the lists.
const total = Number(process.env['PODWIRE_KILLS'] ?? 200)
const rounds = Math.ceil(total / Object.keys(chains).length)
/** Generous: what bounds a run is the number of its rounds. */
const timeout = 60_000 + rounds * 15_000

describe.each(Object.entries(chains))('%s', (name, list) => {
  test(`${rounds} calls killed at any moment leave nothing behind the DEL`, { timeout }, async ({ host }) => {
    const share = await killAgain(host, list, { rounds })
    console.log(`${name}: ${share.hits} of ${share.rounds} kills came before the call's end`)
    expectHits(share)
  })
})

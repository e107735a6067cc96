import { describe } from 'vitest'
import { asChain } from '../chain/setting.js'
import type { Conflist } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import { expectHits } from '../harness/killer.js'
import { chains } from './chains.js'
import { killAgain } from './killed-chain.js'

// 200 calls are killed, or as many as PODWIRE_KILLS says (`make kills`), spread over the lists.
const total = Number(process.env['PODWIRE_KILLS'] ?? 200)
/** One of them is a chain of its plugins, too. */
const [first = ''] = Object.keys(chains)
const lists = { ...chains, [`chain of ${first}`]: asChain(chains[first] as Conflist) }
const rounds = Math.ceil(total / Object.keys(lists).length)
/** Generous: what bounds a run is the number of its rounds. */
const timeout = 60_000 + rounds * 15_000

describe.each(Object.entries(lists))('%s', (name, list) => {
  test(`${rounds} calls killed at any moment leave nothing behind the DEL`, { timeout }, async ({ host }) => {
    const share = await killAgain(host, list, { rounds })
    console.log(`${name}: ${share.hits} of ${share.rounds} kills came before the call's end`)
    expectHits(share)
  })
})

import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import type { AnySuite } from '../harness/locations.js'
import {
  allOf,
  isOfPolicy,
  type Kind,
  kinds,
  leftovers,
  Member,
  networkOf,
  packets,
  policyOf,
  prepare,
  reaches,
  suitesInUse,
} from './swap.js'

// A node is upgraded, or taken back, while containers run: one suite attaches, another one goes on. What the first made
// works as before, the second finds it complete, attaches beside it, and takes all of it away.

const names = Object.keys(kinds) as Kind[]
const [ownChoice] = names

/**
 * What `make test` does without: versions that are replaced by now, but for one kind; and what podwire has no part in.
 */
function isRare(kind: Kind, pair: readonly AnySuite[]): boolean {
  return !pair.includes('podwire') || (!pair.includes('official') && kind !== ownChoice)
}

const all = process.env['PODWIRE_ALL_PAIRS'] === '1'
const rows = names.flatMap((kind) =>
  suitesInUse.flatMap((before) =>
    suitesInUse
      .filter((after) => after !== before && (all || !isRare(kind, [before, after])))
      .map((after) => [before, after, kind] as const),
  ),
)

describe('containers that one suite attached and another one goes on with:', () => {
  test.for(rows)('%s, then %s, with %s', async ([before, after, kind], { host }) => {
    const outside = await prepare(host)
    const network = networkOf(kind, [before, after])
    const [first, second, later] = [
      new Member(host, network, await host.container('member1'), 8080),
      new Member(host, network, await host.container('member2'), 8180),
      new Member(host, network, await host.container('member3'), 8280),
    ]
    await first.add(before)
    await second.add(before)
    expect(await packets(outside, first)).toEqual(allOf(first))
    const isTogether = policyOf(kind, [before, after]) !== 'isolated'
    expect(await reaches(first, second, isTogether)).toBe(isTogether)

    // The official suite cannot see our tables: only where both use iptables it finds what we made.
    const isBlind = before === 'podwire' && kind !== 'iptables everywhere'
    // Nor do 1.6 and later versions of it find each other's rules of nftables.
    const isNft = network.plugins.some(({ backend }) => backend === 'nftables')
    const isEstranged = isNft && [before, after].includes('official-1.6.2') && after !== 'podwire'
    if (isEstranged) expect(await first.check(after)).toMatch(/^portmap: /)
    else if (isBlind) expect(await first.check(after)).toMatch(/^portmap: .*(not found|No such file)/s)
    else expect(await first.check(after)).toBeUndefined()

    await later.add(after)
    for (const one of [first, second, later]) expect(await packets(outside, one)).toEqual(allOf(one))
    expect(await reaches(first, second, isTogether)).toBe(isTogether)
    await first.del(after)
    expect(await packets(outside, second)).toEqual(allOf(second))
    await second.del(after)
    expect(await packets(outside, later)).toEqual(allOf(later))
    await later.del(after)

    const left = await leftovers(host)
    if (after === 'podwire') expect(left).toEqual([])
    else if (isBlind) expect(left.join('\n')).toContain('network/eth0/member1')
    else expect(left.filter((line) => !isOfPolicy(line) && !line.startsWith('/run/podwire/'))).toEqual([])
    expect(left.join('\n')).not.toContain('member3')
  })
})

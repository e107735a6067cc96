import { beforeEach, expect, test } from 'vitest'
import { nft } from '../../shared/net/nft.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import { type AnyPlugin, type Removes, removing } from '../../shared/program/plugin.js'
import type { ChainCall, Member } from './members.js'
import { createRemoval } from './removal.js'

const call = { environment: { containerID: 'c1', ifName: 'eth0' } } as ChainCall
const rule = (name: string): Operation => nft(['delete', name], `remove ${name}`)
const link: Operation = { tool: 'ip', argv: ['link', 'del', 'dev', 'veth0'], why: 'remove veth0' }
const names = (plan: readonly Operation[]) => plan.map(({ argv }) => argv[1])

/** A member that finds on record what it removes; without `look`, a program of another file. */
function member(name: string, look?: Removes<readonly Operation[]>['look'], more: Partial<AnyPlugin> = {}): Member {
  const plugin = look && ({ name, removes: removing({ look, plan: (_, seen) => seen }), ...more } as AnyPlugin)
  return { index: 0, type: name, path: '/x', plugin, config: { name: 'net' } }
}
const recorded = (...rules: readonly string[]) => member(rules[0] as string, () => rules.map(rule))

let transactions: (string | undefined)[][] = []
let byTool: (string | undefined)[][] = []
beforeEach(() => {
  transactions = []
  byTool = []
})

/** Removes what members have behind `first`; the kernel refuses what names one of `refused`. */
function removal({ refused = [] as string[], isDirect = true, tool = true, dryRun = false } = {}) {
  const take = (plan: readonly Operation[]) => names(plan).every((name) => !refused.includes(name ?? ''))
  const host = {
    dryRun,
    warn: () => expect.fail('warned'),
    executor: {
      isDirect: () => isDirect,
      request: (plan: readonly Operation[]) => {
        transactions.push(names(plan))
        return { left: isDirect && take(plan) ? [] : plan }
      },
    },
    apply: (plan: readonly Operation[]) => {
      byTool.push(names(plan))
      if (!tool || !take(plan)) throw new Error('refused')
    },
  } as unknown as Host
  return createRemoval(call, host)
}

test('what members have on record goes with the first rules, and they go on with the rest', () => {
  const { followedBy, leftOf } = removal()
  followedBy([recorded('b'), recorded('c', 'd')])
  expect(leftOf([rule('a')])).toEqual([])
  followedBy([recorded('c', 'd')])
  expect(leftOf([rule('b')])).toEqual([])
  followedBy([])
  expect(leftOf([link, rule('c'), rule('d'), rule('e')])).toEqual([link, rule('e')])
  expect(transactions).toEqual([['a', 'b', 'c', 'd']])
})

test('is asked for by the attachment, in silence, and once', () => {
  const asked: unknown[] = []
  const { followedBy, leftOf } = removal()
  const looking = member('b', (host, attachment) => {
    host.warn('is said at the DEL itself')
    asked.push(attachment)
    return [rule('b'), rule('b'), link]
  })
  followedBy([looking])
  leftOf([rule('a')])
  expect(asked).toEqual([{ network: 'net', containerID: 'c1', ifName: 'eth0' }])
  expect(transactions).toEqual([['a', 'b']])
})

test('not without rules, not in a dry run, and not where members have none', () => {
  for (const options of [{}, { dryRun: true }]) {
    const { followedBy, leftOf } = removal(options)
    followedBy([recorded('b')])
    expect(leftOf([link])).toEqual([link])
    if (!options.dryRun) followedBy([member('b', () => []), member('c', () => undefined)])
    expect(leftOf([link, rule('a')])).toEqual([link, rule('a')])
  }
  expect(transactions).toEqual([])
})

test.each<[string, Member]>([
  ['another program', member('foreign')],
  ['a plugin that may start one', member('loading', () => [rule('x')], { loads: () => [] })],
])('what stands behind %s waits for its turn', (_, between) => {
  const { followedBy, leftOf } = removal()
  followedBy([recorded('b'), between, recorded('c')])
  expect(leftOf([rule('a')])).toEqual([])
  followedBy([])
  expect(leftOf([rule('b'), rule('c')])).toEqual([rule('c')])
  expect(transactions).toEqual([['a', 'b']])
})

test('where it is refused each removes its own, from then on', () => {
  const { followedBy, leftOf } = removal({ refused: ['c'] })
  followedBy([recorded('b'), recorded('c')])
  expect(leftOf([rule('a'), link])).toEqual([rule('a'), link])
  followedBy([recorded('c')])
  expect(leftOf([rule('b')])).toEqual([rule('b')])
  expect([transactions, byTool]).toEqual([[['a', 'b', 'c']], []])
})

test('is one process where the kernel cannot be asked', () => {
  const { followedBy, leftOf } = removal({ isDirect: false })
  followedBy([recorded('b')])
  expect(leftOf([rule('a'), link])).toEqual([link])
  expect(leftOf([rule('b')])).toEqual([])
  expect(byTool).toEqual([['a', 'b']])
  const failing = removal({ isDirect: false, tool: false })
  failing.followedBy([recorded('b')])
  expect(failing.leftOf([rule('a')])).toEqual([rule('a')])
})

test('a member whose records cannot be looked at says so itself', () => {
  const { followedBy, leftOf } = removal()
  const broken = member('broken', () => {
    throw new Error('broken')
  })
  followedBy([broken, recorded('b')])
  expect(leftOf([rule('a')])).toEqual([])
  expect(transactions).toEqual([['a', 'b']])
})

test('what has gone once and is there again is removed again', () => {
  const { followedBy, leftOf } = removal()
  followedBy([recorded('b')])
  leftOf([rule('a')])
  followedBy([])
  expect(leftOf([rule('b')])).toEqual([])
  expect(leftOf([rule('b')])).toEqual([rule('b')])
})

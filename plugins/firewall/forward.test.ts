import { describe, expect, test } from 'vitest'
import type { ListedChain, Observer } from '../../shared/plan/observer.js'
import { renderOne } from '../../shared/plan/render.js'
import { acceptance, type Family, forwardDifferences, lookAtForward, lookAtUnused, unusedForward } from './forward.js'

// Which chains of the forward hook could drop what an attachment sends, and what each gets.

const chain = (text: string): ListedChain => {
  const [family = '', table = '', name = '', policy] = text.split(' ')
  return { family, table, name, ...(policy ? { hook: 'forward', policy } : {}) }
}
const forward = [[':FORWARD', 'DROP', '[0:0]']]
const comment = 'podwire: admitted by the firewall plugin'

interface There {
  readonly chains?: readonly string[]
  /** By tool. */
  readonly saved?: Readonly<Record<string, readonly (readonly string[])[]>>
  /** Families whose older interface has the table. */
  readonly legacy?: readonly string[]
  /** Comments of rules by "FAMILY TABLE CHAIN". */
  readonly comments?: Readonly<Record<string, readonly string[]>>
}

function observing({ chains = [], saved = {}, legacy = [], comments = {} }: There) {
  const asked: string[] = []
  const observer = {
    chains: () => chains.map(chain),
    savedRules: (tool: string, table: string) => {
      asked.push(`${tool} ${table}`)
      return saved[tool]
    },
    hasLegacyTable: (family: string, table: string) => table === 'filter' && legacy.includes(family),
    rules: ({ family, table, chain: name }: { family: string; table: string; chain: string }) =>
      (comments[`${family} ${table} ${name}`] ?? []).map((text) => ({
        chain: name,
        handle: 1,
        matches: [],
        comment: text,
      })),
  } as unknown as Observer
  return { asked, observer, chains: chains.map(chain) }
}

function added(there: There, families: readonly Family[] = ['ip']) {
  const { observer, chains, asked } = observing(there)
  const lines = acceptance(lookAtForward(observer, chains, families, 'CNI-ADMIN'), 'CNI-ADMIN').map(renderOne)
  return { asked, lines }
}

const inserted = (where: string) => expect.stringMatching(new RegExp(`^nft .*insert rule ${where} meta mark`))

describe('ADD', () => {
  test('gets past each chain of nftables whose policy is drop, once', () => {
    const chains = [
      'ip firewalld filter_FORWARD drop',
      'inet x y drop',
      'ip6 z f drop',
      'ip a b accept',
      'ip podwire firewall_first drop',
      'ip n n',
    ]
    expect(added({ chains }).lines).toEqual([inserted('ip firewalld filter_FORWARD'), inserted('inet x y')])
    expect(added({ chains }, ['ip', 'ip6']).lines).toHaveLength(3)
    expect(added({ chains, comments: { 'inet x y': ['other', comment] } }).lines).toEqual([
      inserted('ip firewalld filter_FORWARD'),
    ])
  })

  test('reads FORWARD of iptables where that drops, or has not our chains yet', () => {
    const own = ['ip filter PODWIRE-ADMITTED', 'ip filter CNI-ADMIN']
    expect(added({ chains: ['ip filter FORWARD accept', ...own], saved: { iptables: forward } })).toEqual({
      asked: [],
      lines: [],
    })
    for (const chains of [
      ['ip filter FORWARD drop', ...own],
      ['ip filter FORWARD accept'],
      ['ip filter FORWARD accept', own[0] as string],
      ['ip filter FORWARD accept', ...own.map((one) => one.replace('filter', 'other'))],
      ['ip filter FORWARD accept', own[1] as string],
      ['ip filter FORWARD accept', ...own.map((one) => one.replace('ip ', 'ip6 '))],
    ]) {
      const { asked, lines } = added({ chains, saved: { iptables: forward } })
      expect(asked).toContain('iptables filter')
      expect(lines.filter((line) => line.startsWith('iptables -t filter')).length).toBe(7)
    }
    expect(added({ chains: [], saved: { iptables: forward } })).toEqual({ asked: [], lines: [] })
  })

  test('sees no chain that has the rule: an ADD that adds nothing to what others share needs no lock', () => {
    const { observer, chains } = observing({
      chains: ['inet x y drop', 'ip a b drop'],
      comments: { 'inet x y': [comment] },
    })
    expect(lookAtForward(observer, chains, ['ip6'], 'CNI-ADMIN')).toEqual([])
    expect(lookAtForward(observer, chains, ['ip'], 'CNI-ADMIN')).toEqual([{ chain: chains[1], hasRule: false }])
  })

  test('takes it for a chain of nftables where iptables cannot read it', () => {
    expect(added({ chains: ['ip filter FORWARD drop'] }).lines).toEqual([inserted('ip filter FORWARD')])
    expect(added({ chains: ['ip filter FORWARD accept'] }).lines).toEqual([])
  })

  test('gets past the older interface, too', () => {
    const { asked, lines } = added({ legacy: ['ip'], saved: { 'iptables-legacy': forward } })
    expect(asked).toEqual(['iptables-legacy filter'])
    expect(lines.every((line) => line.startsWith('iptables-legacy -t filter '))).toBe(true)
    expect(added({ legacy: ['ip6'], saved: { 'iptables-legacy': forward } }).lines).toEqual([])
  })

  test('adds of its two rules only what is not there', () => {
    const saved = [
      ...forward,
      [':CNI-FORWARD', '-', '[0:0]'],
      [':CNI-ADMIN', '-', '[0:0]'],
      [':PODWIRE-ADMITTED', '-', '[0:0]'],
      ['-A', 'FORWARD', '-m', 'comment', '--comment', '"CNI firewall plugin rules"', '-j', 'CNI-FORWARD'],
      ['-A', 'CNI-FORWARD', '-m', 'comment', '--comment', '"CNI firewall plugin admin overrides"', '-j', 'CNI-ADMIN'],
    ]
    const jump = ['-A', 'CNI-FORWARD', '-m', 'comment', '--comment', `"${comment}"`, '-j', 'PODWIRE-ADMITTED']
    const bit = '0x20000000/0x20000000'
    const accept = [
      '-A',
      'PODWIRE-ADMITTED',
      '-m',
      'mark',
      '--mark',
      bit,
      '-m',
      'comment',
      '--comment',
      `"${comment}"`,
      '-j',
      'ACCEPT',
    ]
    const of = (...more: string[][]) =>
      added({ chains: ['ip filter FORWARD drop'], saved: { iptables: [...saved, ...more] } }).lines.map((line) =>
        line.split(' ').slice(3, 5).join(' '),
      )
    expect(of()).toEqual(['-A PODWIRE-ADMITTED', '-A CNI-FORWARD'])
    expect(of(jump)).toEqual(['-A PODWIRE-ADMITTED'])
    expect(of(accept)).toEqual(['-A CNI-FORWARD'])
    expect(of(jump, accept)).toEqual([])
  })
})

test('the families in which nobody uses FORWARD of iptables yet', () => {
  const unused = (there: There) => {
    const { observer, chains } = observing(there)
    return unusedForward(observer, chains, ['ip', 'ip6'])
  }
  expect(unused({})).toEqual(['ip', 'ip6'])
  expect(unused({ chains: ['ip filter FORWARD accept'] })).toEqual(['ip6'])
  expect(unused({ chains: ['ip filter OTHER', 'ip other FORWARD', 'ip6 filter FORWARD'] })).toEqual(['ip'])
  expect(unused({ legacy: ['ip6'] })).toEqual(['ip'])
  expect(lookAtUnused(observing({ saved: { iptables: forward } }).observer, 'ip')).toHaveLength(1)
  expect(lookAtUnused(observing({ saved: { iptables: [] } }).observer, 'ip')).toEqual([])
  expect(lookAtUnused(observing({}).observer, 'ip6')).toEqual([])
})

test('CHECK names each chain that drops, as people know it', () => {
  const there = {
    chains: ['ip filter FORWARD drop', 'inet x y drop', 'inet z z drop'],
    saved: { iptables: forward },
    comments: { 'inet z z': [comment] },
  }
  const found = forwardDifferences(observing(there).observer, ['ip'], 'CNI-ADMIN')
  expect(found.map(({ path }) => path)).toEqual(['iptables FORWARD', 'inet x y'])
  expect(found[0]).toMatchObject({ value: 'no rule of ours', fix: expect.stringContaining('flushed') })
  const settled = { chains: ['ip filter FORWARD accept', 'ip filter PODWIRE-ADMITTED', 'ip filter CNI-ADMIN'] }
  expect(
    forwardDifferences(observing({ ...settled, saved: { iptables: forward } }).observer, ['ip'], 'CNI-ADMIN'),
  ).toHaveLength(1)
  expect(forwardDifferences(observing(settled).observer, ['ip'], 'CNI-ADMIN')).toEqual([])
})

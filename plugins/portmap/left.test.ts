import { describe, expect, test } from 'vitest'
import { type Element, type NftObject, ownTable } from '../../shared/plan/element.js'
import type { Observer } from '../../shared/plan/observer.js'
import { officialName } from '../../shared/values/names.js'
import { anyOfOurs, isNothing, leftOf, staleTools, unusedAndEntries } from './left.js'

// What a DEL or GC looks for that no record tells of, by what the kernel holds.

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }

/** "FAMILY TABLE", "FAMILY TABLE NAME" of a chain or set, or "FAMILY COLLECTION" of our element. */
const nameOf = (one: Element | NftObject) =>
  'collection' in one
    ? `${one.family} ${one.collection}`
    : [one.family, one.table, one.chain ?? one.set].filter((word) => word !== undefined).join(' ')

/** A kernel that holds these; `texts` are the rules in every chain, undefined where it tells of none. */
function holding(
  things: readonly string[] | undefined,
  { texts = [] as readonly string[] | null, legacy = [] as readonly string[], unused = [] as readonly string[] } = {},
) {
  return {
    holdsDirectly: (wanted: readonly (Element | NftObject)[]) =>
      things && wanted.map((one) => things.includes(nameOf(one))),
    unusedChains: (isAsked: (name: string) => boolean, along: readonly NftObject[]) => ({
      unused: unused.filter(isAsked).map((name) => ({ family: 'ip', table: ownTable, name })),
      along: things && along.map((one) => things.includes(nameOf(one))),
    }),
    ruleTexts: () => texts ?? undefined,
    hasLegacyTable: (family: string, table: string) => legacy.includes(`${family} ${table}`),
  } as unknown as Observer
}

const chain = officialName('CNI-DN-', attachment, 28)
const nothing = { own: [], official: [], tools: [] }

describe('of an attachment there may be', () => {
  test('nothing where the kernel has nothing of its name', () => {
    const others = [`ip ${ownTable}`, 'ip nat', 'ip nat CNI-DN-ffffffffffffffffffff', 'ip6 nat OTHER']
    const left = leftOf(holding(others), attachment, false)
    expect([left, isNothing(left)]).toEqual([nothing, true])
  })

  test.each<[string, string[], object]>([
    ['our mark of ownership', ['ip portmap_owners'], { own: ['ip'] }],
    ['the one of IPv6', ['ip6 portmap_owners'], { own: ['ip6'] }],
    ['both', ['ip portmap_owners', 'ip6 portmap_owners'], { own: ['ip', 'ip6'] }],
    ['its chain', [`ip nat ${chain}`], { tools: ['iptables'] }],
    ['its chain of IPv6', [`ip6 nat ${chain}`], { tools: ['ip6tables'] }],
  ])('%s', (_, things, expected) => {
    const left = leftOf(holding(things), attachment, false)
    expect([left, isNothing(left)]).toEqual([{ ...nothing, ...expected }, false])
  })

  test('rules of the official table where one bears the container', () => {
    const table = ['ip cni_hostport', 'ip6 cni_hostport']
    const of = (texts: readonly string[] | null) => leftOf(holding(table, { texts }), attachment, false).official
    expect(of(['', 'xx c1 yy'])).toEqual(['ip', 'ip6'])
    expect(of(['c2'])).toEqual([])
    expect(of(null)).toEqual(['ip', 'ip6'])
    expect(leftOf(holding([], { texts: ['c1'] }), attachment, false).official).toEqual([])
  })

  test('chains where the older interface has the table', () => {
    expect(leftOf(holding([], { legacy: ['ip nat'] }), attachment, false).tools).toEqual(['iptables'])
    expect(leftOf(holding([], { legacy: ['ip6 nat', 'ip filter'] }), attachment, false).tools).toEqual(['ip6tables'])
  })

  test('anything of ours where somebody has taken records away', () => {
    const set = `ip ${ownTable} portmap_owners`
    expect(leftOf(holding([set]), attachment, true).own).toEqual(['ip'])
    expect(leftOf(holding([set]), attachment, false).own).toEqual([])
    expect(leftOf(holding(['ip portmap_owners']), attachment, true).own).toEqual([])
  })

  test('everything where the kernel does not tell', () => {
    expect(leftOf(holding(undefined, { texts: null }), attachment, false)).toEqual({
      own: ['ip', 'ip6'],
      official: ['ip', 'ip6'],
      tools: ['iptables', 'ip6tables'],
    })
  })
})

test('of ours whatever it is called there may be what the kernel has a table for', () => {
  const own = (things: readonly string[] | undefined) => anyOfOurs(holding(things)).own
  expect([own([]), own([`ip6 ${ownTable}`]), own(undefined)]).toEqual([[], ['ip6'], ['ip', 'ip6']])
  expect(anyOfOurs(holding([]))).toMatchObject({ official: [], tools: ['iptables', 'ip6tables'] })
  expect(isNothing({ ...nothing, official: ['ip'] })).toBe(false)
})

describe('a GC reads the chains of a tool', () => {
  const entry = ['ip nat CNI-HOSTPORT-DNAT']
  const comment = (network: string, id: string) => `\0\x08dnat name: "${network}" id: "${id}"\0`
  const stale = (
    texts: readonly string[] | null,
    things: readonly string[] | null = entry,
    legacy: readonly string[] = [],
  ) => {
    const observer = holding(things ?? undefined, { texts, legacy })
    const of = { network: 'net', valid: new Set(['c1', 'c2']) }
    return staleTools(observer, of, unusedAndEntries(observer).along)
  }

  test('where a rule is of a container of its network that is not valid', () => {
    expect(stale([comment('net', 'c1'), comment('net', 'c9')])).toEqual(['iptables'])
    expect(stale([comment('net', 'c1'), comment('net', 'c2'), comment('other', 'c9'), 'c9'])).toEqual([])
    expect(stale([])).toEqual([])
    expect(stale(['dnat name: "net" id: "c9'])).toEqual(['iptables'])
    expect(stale(['dnat name: "net" id: "c1'])).toEqual([])
  })

  test('where the kernel does not tell of rules, or of chains, or the older interface has the table', () => {
    expect(stale(null)).toEqual(['iptables'])
    expect(stale(null, [])).toEqual([])
    expect(stale([comment('net', 'c9')], null)).toEqual(['iptables', 'ip6tables'])
    expect(stale([], [], ['ip6 nat', 'ip raw'])).toEqual(['ip6tables'])
  })

  test('in one look with the chains of ours that attachments share and nobody uses', () => {
    const unused = ['portmap_hairpin_10.1.0.0/16', 'masquerade_10.1.0.0/16', 'portmap_dnat']
    const found = unusedAndEntries(holding(['ip6 nat CNI-HOSTPORT-DNAT'], { unused }))
    expect(found.unused.map(({ name }) => name)).toEqual(['portmap_hairpin_10.1.0.0/16'])
    expect(found.along).toEqual([false, true])
  })
})

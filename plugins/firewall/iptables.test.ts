import { describe, expect, test } from 'vitest'
import type { Host } from '../../shared/plan/host.js'
import type { SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import {
  installRules,
  lookToInstall,
  officialDifferences,
  officialPolicy,
  type RemovalSeen,
  removeRules,
  ruleDifferences,
  type Wanted,
} from './iptables.js'
import { admittedBy, inNewWords } from './rules.js'

// The official plugin's rules: what is added, what CHECK misses, what goes with whom.

type Tables = Readonly<Record<string, SavedRules | undefined>>

const hostOf = (tables: Tables) =>
  ({
    observer: { savedRules: (tool: string, table: string) => (table === 'filter' ? tables[tool] : undefined) },
  }) as unknown as Host
const lines = (operations: readonly Operation[]) => operations.map(({ tool, argv }) => [tool, ...argv].join(' '))

/** Rules as iptables-save has them once these operations are made. */
function after(operations: readonly Operation[], tool: string): SavedRules {
  return operations
    .filter((one) => one.tool === tool)
    .map(({ argv: [, , verb = '', ...words] }) => (verb === '-N' ? [`:${words[0]}`] : ['-A', ...words]))
}

const four = { addresses: ['10.1.2.3'] }
const both = { addresses: ['10.1.2.3', 'fd00::3'] }
const isolation = (policy: 'isolated' | 'same-bridge') => ({ bridge: 'br0', policy, port: 'vethabc' })
const none: Tables = { iptables: [], ip6tables: [] }
const installed = (wanted: Wanted): Tables => {
  const made = installRules(wanted, 'CNI-ADMIN', lookToInstall(hostOf(none), wanted))
  return { iptables: after(made, 'iptables'), ip6tables: after(made, 'ip6tables') }
}

describe('installed', () => {
  test('each family has the rules of its own addresses', () => {
    const made = lines(installRules(both, 'CNI-ADMIN', lookToInstall(hostOf(none), both)))
    expect(made.filter((line) => line.includes('-s '))).toEqual([
      'iptables -t filter -A CNI-FORWARD -s 10.1.2.3/32 -j ACCEPT',
      'ip6tables -t filter -A CNI-FORWARD -s fd00::3/128 -j ACCEPT',
    ])
    expect(made.filter((line) => line.includes('-d '))).toEqual([
      'iptables -t filter -A CNI-FORWARD -d 10.1.2.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      'ip6tables -t filter -A CNI-FORWARD -d fd00::3/128 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    ])
    expect(lookToInstall(hostOf(none), four).has('ip6tables')).toBe(false)
  })

  test.for(['same-bridge', 'isolated'] as const)('the policy %s of a bridge', (policy) => {
    const wanted = { ...four, isolation: isolation(policy) }
    const words = (policies: string) => `-m comment --comment "CNI firewall plugin rules (ingressPolicy: ${policies})"`
    const [one, two] = ['CNI-ISOLATION-STAGE-1', 'CNI-ISOLATION-STAGE-2']
    const shared = words('same-bridge|isolated')
    const made = lines(installRules(wanted, 'CNI-ADMIN', lookToInstall(hostOf(none), wanted)))
    expect(made.slice(made.indexOf(`iptables -t filter -N ${one}`))).toEqual(
      [
        `-N ${one}`,
        `-N ${two}`,
        `-I FORWARD ${shared} -j ${one}`,
        `-A ${one} ${shared} -j RETURN`,
        `-A ${two} ${shared} -j RETURN`,
        `-I ${one} -i br0 ! -o br0 ${words(policy)} -j ${two}`,
        ...(policy === 'isolated' ? [`-I ${one} -i br0 -o br0 ${words(policy)} -j DROP`] : []),
        `-I ${two} -o br0 ${shared} -j DROP`,
      ].map((line) => `iptables -t filter ${line}`),
    )
    expect(installRules(wanted, 'CNI-ADMIN', lookToInstall(hostOf(installed(wanted)), wanted))).toEqual([])
  })
})

describe('CHECK', () => {
  const wanted = { ...both, isolation: isolation('isolated') }
  const all = installed(wanted)

  test('of all rules in place misses none', () => {
    expect(ruleDifferences(hostOf(all), wanted, 'CNI-ADMIN')).toEqual([])
    expect(officialDifferences(hostOf(all), wanted, 'CNI-ADMIN')).toEqual([])
    expect(officialPolicy(hostOf(all), wanted)).toEqual([])
  })

  test('names each one that is missing, in the words of the official plugin, of a chain in its own', () => {
    const missing = ruleDifferences(hostOf(none), four, 'CNI-ADMIN')
    const fix = 'DEL and ADD the attachment: something flushed its rules'
    expect(missing[0]).toEqual({
      ...{ path: 'iptables filter', value: 'no rule', expected: '-N CNI-FORWARD', official: undefined, fix },
    })
    expect(missing.map(({ official }) => official)).toEqual([
      undefined,
      undefined,
      'expected FORWARD rule [-m comment --comment CNI firewall plugin rules -j CNI-FORWARD] not found',
      'expected CNI-FORWARD rule [-m comment --comment CNI firewall plugin admin overrides -j CNI-ADMIN] not found',
      'expected rule [-d 10.1.2.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT] not found',
      'expected rule [-s 10.1.2.3/32 -j ACCEPT] not found',
    ])
  })

  test('of rules that the official plugin made: those of the policy alone, and the older words', () => {
    const lost = (rule: readonly string[]) => rule.includes('CNI-ISOLATION-STAGE-2') && rule.includes('DROP')
    const tables = { ...all, ip6tables: all.ip6tables?.filter((rule) => !lost(rule)) }
    const expected =
      '-I CNI-ISOLATION-STAGE-2 -o br0 ' +
      '-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP'
    const one = [expect.objectContaining({ path: 'ip6tables filter', expected })]
    expect(officialPolicy(hostOf(tables), wanted)).toEqual(one)
    expect(officialDifferences(hostOf(tables), wanted, 'CNI-ADMIN')).toEqual(one)
    const flushed = { iptables: [], ip6tables: all.ip6tables }
    expect(officialPolicy(hostOf(flushed), wanted)).toHaveLength(8)
    expect(officialDifferences(hostOf(flushed), wanted, 'CNI-ADMIN')).toHaveLength(14)

    const aged = { ...four, isolation: isolation('same-bridge') }
    const old = installed(aged).iptables?.map((rule) =>
      rule.map((word) => word.replace('same-bridge|isolated', 'same-bridge')),
    )
    expect(officialDifferences(hostOf({ iptables: old }), aged, 'CNI-ADMIN')).toEqual([])
    expect(ruleDifferences(hostOf({ iptables: old }), aged, 'CNI-ADMIN')).not.toEqual([])
  })

  test('where iptables is not installed, the official plugin has made nothing', () => {
    expect(officialDifferences(hostOf({ iptables: [] }), wanted, 'CNI-ADMIN')).toBeUndefined()
    expect(officialPolicy(hostOf({ ip6tables: [] }), wanted)).toBeUndefined()
    expect(() => ruleDifferences(hostOf({ iptables: [] }), wanted, 'CNI-ADMIN')).toThrow('"ip6tables-save" is not')
  })
})

test("today's words are given to what all bridges share, and to nothing else", () => {
  const old = '"CNI firewall plugin rules (ingressPolicy: same-bridge)"'
  const now = '"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)"'
  const rules = (words: string) => [
    ['-A', 'FORWARD', '-m', 'comment', '--comment', words, '-j', 'CNI-ISOLATION-STAGE-1'],
    ['-A', 'CNI-ISOLATION-STAGE-2', '-o', 'br0', '-m', 'comment', '--comment', words, '-j', 'DROP'],
  ]
  const others = [
    [':FORWARD', 'DROP', '[0:0]'],
    ['-A', 'CNI-ISOLATION-STAGE-1', '-i', 'br0', '-m', 'comment', '--comment', old, '-j', 'RETURN'],
    ['-A', 'OTHER', '-m', 'comment', '--comment', old, '-j', 'RETURN'],
    ['-I', 'FORWARD', '-m', 'comment', '--comment', old],
  ]
  expect(inNewWords([...rules(old), ...others])).toEqual([...rules(now), ...others])
})

test('an address is admitted by a rule of CNI-FORWARD that accepts all of it', () => {
  expect(
    admittedBy([
      [':CNI-FORWARD', '-', '[0:0]'],
      ['-A', 'CNI-FORWARD', '-s', '10.1.2.3/32', '-j', 'ACCEPT'],
      ['-A', 'CNI-FORWARD', '-s', 'fd00::3/128', '-j', 'ACCEPT'],
      ['-A', 'CNI-FORWARD', '-d', '10.1.2.4/32', '-j', 'ACCEPT'],
      ['-A', 'CNI-FORWARD', '-s', '10.1.2.5/32', '-p', 'tcp', '-j', 'ACCEPT'],
      ['-A', 'FORWARD', '-s', '10.1.2.6/32', '-j', 'ACCEPT'],
      ['-P', 'CNI-FORWARD', '-s', '10.1.2.7/32', '-j', 'ACCEPT'],
    ]),
  ).toEqual(['10.1.2.3', 'fd00::3'])
})

describe('removed', () => {
  const wanted = { ...both, isolation: isolation('isolated') }
  const rules = new Map(
    (['iptables', 'ip6tables'] as const).map((tool) => [tool, installed(wanted)[tool] as SavedRules]),
  )
  const removed = (seen: Partial<RemovalSeen> = {}, of: Wanted = wanted) =>
    lines(removeRules(of, { rules, held: new Set(), admittingOthers: new Set(), wanted: [], ...seen }))
  const count = (found: readonly string[], text: string) => found.filter((line) => line.includes(text)).length

  test('the rules of the addresses in their families, and of the bridge with its last attachment', () => {
    const found = removed()
    expect(found.every((line) => line.includes(' -D '))).toBe(true)
    expect([count(found, '10.1.2.3/32'), count(found, 'fd00::3/128'), count(found, 'br0')]).toEqual([2, 2, 6])
    expect(count(found, 'ip6tables')).toBe(5)
    expect(removed({ rules: new Map([['iptables', []]]) })).toEqual([])
  })

  test('not those of an address that another was given since', () => {
    const found = removed({ held: new Set(['fd00::3']) })
    expect([count(found, '10.1.2.3/32'), count(found, 'fd00::3/128'), count(found, 'br0')]).toEqual([2, 0, 6])
  })

  test('not those of the bridge without a policy, nor where a table admits others, nor those that others want', () => {
    expect(count(removed({}, both), 'br0')).toBe(0)
    const found = removed({ admittingOthers: new Set(['ip6tables'] as const) })
    expect([count(found, 'br0'), count(found, 'ip6tables')]).toEqual([3, 2])
    expect(count(removed({ wanted: ['isolated'] }), 'br0')).toBe(0)
    expect(removed({ wanted: ['same-bridge'] }).filter((line) => line.includes('STAGE-2 -o'))).toEqual([])
    expect(count(removed({ wanted: ['same-bridge'] }), 'br0')).toBe(4)
  })

  test('the last rule of a bridge in its older words, too', () => {
    const old = installed(wanted).iptables?.map((rule) =>
      rule.map((word) => word.replace('same-bridge|isolated', 'same-bridge')),
    ) as SavedRules
    expect(count(removed({ rules: new Map([['iptables', old]]) }), 'STAGE-2 -o br0')).toBe(1)
  })
})

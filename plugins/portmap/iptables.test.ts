import { describe, expect, test } from 'vitest'
import type { Observer, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { renderOne } from '../../shared/plan/render.js'
import { officialName } from '../../shared/values/names.js'
import {
  absentText,
  chainProblems,
  officialChainProblems,
  publishChains,
  removeStaleChains,
  type Saved,
  withdrawChains,
} from './iptables.js'
import type { Port, Publication, Published } from './publication.js'

// The chains of the official plugin: what is made, taken back, withdrawn and missed.

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const chain = officialName('CNI-DN-', attachment, 28)
const tcp = (host: number, more: Partial<Port> = {}): Port => ({ protocol: 'tcp', host, container: 80, ...more })
const four = (...ports: Port[]): Publication => ({
  ...{ family: 'ip', address: '10.9.0.2', cidr: '10.9.0.2/24', ports, masquerade: 'hairpin', conditions: [] },
})
const six = (...ports: Port[]): Publication => ({
  ...four(...ports),
  ...{ family: 'ip6', address: 'fd00::2', cidr: 'fd00::2/64' },
})
const published = (...publications: Publication[]): Published => ({ backend: 'iptables', publications })
const saved = (iptables: SavedRules, ip6tables: SavedRules = []): Saved => ({
  nat: new Map([
    ['iptables', iptables],
    ['ip6tables', ip6tables],
  ]),
  raw: [[':PODWIRE-GUARD', '-', '[0:0]']],
})
const observing = ({ nat }: Saved) =>
  ({
    savedRules: (tool: string, table: string) => (table === 'nat' ? nat.get(tool as 'iptables') : undefined),
  }) as unknown as Observer

/** A line of a plan as iptables-save has it afterwards: subnets without host bits, and none that is everything. */
function asSaved({ argv: [, , verb = '', name = '', ...rest] }: Operation): readonly string[] {
  if (verb === '-N') return [`:${name}`, '-', '[0:0]']
  const words = (verb === '-I' ? rest.slice(1) : rest).flatMap((word, at, all) => {
    if (word === '--destination-ports') return ['--dports']
    if (all[at + 1] === '0.0.0.0/0' || word === '0.0.0.0/0') return []
    if (word.endsWith('/24')) return ['10.9.0.0/24']
    return [['-s', '-d'].includes(all[at - 1] ?? '') && !word.includes('/') ? `${word}/32` : word]
  })
  return ['-A', name, ...words]
}
const after = (plan: readonly Operation[], tool = 'iptables') => plan.filter((one) => one.tool === tool).map(asSaved)
const made = (...publications: Publication[]) => {
  const plan = publishChains(attachment, published(...publications), saved([]))
  return saved(after(plan), after(plan, 'ip6tables'))
}
const linesOf = (plan: readonly Operation[]) => plan.map(renderOne)

test('what is there already is not made again, whatever the ports of others', () => {
  const one = four(tcp(8080), tcp(8081))
  expect(publishChains(attachment, published(one), made(one))).toEqual([])
  const added = linesOf(publishChains(attachment, published(four(tcp(8080), tcp(9090))), made(one)))
  expect(added.filter((line) => line.includes('DNAT --to-destination'))).toEqual([
    `iptables -t nat -A ${chain} -p tcp --dport 9090 -j DNAT --to-destination 10.9.0.2:80`,
  ])
  expect(added.filter((line) => line.includes('POSTROUTING') || line.includes(' -N '))).toEqual([])
})

test('all of it is taken back by what takes back its first part, and the chain last', () => {
  const plan = publishChains(attachment, published(four(tcp(8080))), saved([]))
  expect(plan.map(({ undo = [] }) => undo.length)).toEqual([3, ...plan.slice(1).map(() => 0)])
  expect(linesOf(plan[0]?.undo ?? [])).toEqual([
    expect.stringMatching(new RegExp(`^iptables -t nat -D CNI-HOSTPORT-DNAT .* -j ${chain}$`)),
    `iptables -t nat -F ${chain}`,
    `iptables -t nat -X ${chain}`,
  ])
  for (const one of plan[0]?.undo ?? []) expect(one.tolerate).toEqual(['absent'])
})

describe('withdrawn', () => {
  const own = four(tcp(8080))
  const sibling: Publication = { ...four(tcp(8081)), address: '10.9.0.3', cidr: '10.9.0.3/24' }

  test('with the chain, where it leads to the own addresses alone', () => {
    const lines = linesOf(withdrawChains(attachment, published(own), made(own)))
    expect(lines.slice(-2)).toEqual([`iptables -t nat -F ${chain}`, `iptables -t nat -X ${chain}`])
    expect(lines).toHaveLength(3)
  })

  test('rule by rule, where another interface of the container is in the chain', () => {
    const both = saved([...(made(own).nat.get('iptables') ?? []), ...(made(sibling).nat.get('iptables') ?? [])])
    const lines = linesOf(withdrawChains(attachment, published(own), both))
    expect(lines.filter((line) => line.includes(' -F ') || line.includes(' -X '))).toEqual([])
    expect(lines).toHaveLength(4)
    expect(lines.every((line) => line.includes(' -D ') && line.includes('8080'))).toBe(true)
    const address = { ...own, address: '10.9.0.20' }
    expect(linesOf(withdrawChains(attachment, published(address), both)).join()).not.toContain(' -X ')
  })

  test('in each family by itself', () => {
    const lines = linesOf(withdrawChains(attachment, published(own, six(tcp(8080))), made(own, six(tcp(8080)))))
    expect(lines.filter((line) => line.includes(' -X '))).toEqual([
      `iptables -t nat -X ${chain}`,
      `ip6tables -t nat -X ${chain}`,
    ])
  })
})

describe('CHECK', () => {
  const one = four(tcp(8080), tcp(53, { protocol: 'udp', address: '192.0.2.1' }))
  const rules = made(one).nat.get('iptables') ?? []
  const without = (text: string) => saved(rules.filter((rule) => !rule.join(' ').includes(text)))

  test('misses nothing of what was made, also in the form of iptables-save', () => {
    expect(chainProblems(observing(saved(rules)), attachment, published(one))).toEqual([])
    const everybody: Publication = { ...one, masquerade: 'all' }
    expect(chainProblems(observing(made(everybody)), attachment, published(everybody))).toEqual([])
  })

  test.each<[string, string[]]>([
    ['--dport 8080 -j DNAT', [`${chain} -p tcp --dport 8080 -j DNAT --to-destination 10.9.0.2:80`]],
    [
      '--dport 53 -d 192.0.2.1/32 -j DNAT',
      [`${chain} -p udp --dport 53 -d 192.0.2.1 -j DNAT --to-destination 10.9.0.2:80`],
    ],
    ['OUTPUT', ['OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT']],
  ])('names what is missing: %s', (text, expected) => {
    const problems = chainProblems(observing(without(text)), attachment, published(one))
    expect(problems.map((problem) => problem.expected)).toEqual(expected)
    expect(problems[0]).toMatchObject({
      ...{ path: 'iptables table nat', value: 'no such rule', fix: expect.stringContaining('flushed or changed') },
    })
    expect(problems[0]?.official).toBeUndefined()
  })

  test('says what the official plugin says of a chain that is gone', () => {
    const problems = chainProblems(observing(saved([])), attachment, published(one))
    expect(problems.length).toBeGreaterThan(6)
    const text = `could not check ipv4 dnat: chain ${chain} not found in iptables table nat`
    expect([absentText(attachment, one), ...problems.map(({ official }) => official)]).toEqual(
      [text, ...problems].map(() => text),
    )
    expect(absentText(attachment, six())).toContain('ipv6')
  })
})

describe('CHECK of what the official plugin made', () => {
  const own = four(tcp(8080), tcp(8081))
  const problemsOf = (seen: SavedRules, publication: Publication = own) =>
    officialChainProblems(observing(saved(seen)), attachment, { publication })
  const rules = made(own).nat.get('iptables') ?? []
  const entry = (ports: string, ...more: string[]) => [
    ...['-A', 'CNI-HOSTPORT-DNAT', '-m', 'comment', '--comment', '"x"', '-p', 'tcp', '-m', 'multiport'],
    ...['--dports', ports, ...more, '-j', chain],
  ]
  const rest = rules.filter((rule) => rule[1] !== 'CNI-HOSTPORT-DNAT')

  test('is content, also where a rule leads in the ports of both families, or each by itself', () => {
    expect(problemsOf(rules)).toEqual([])
    expect(problemsOf([...rest, entry('8080,8081,9000')])).toEqual([])
    expect(problemsOf([...rest, entry('8080'), entry('8081')])).toEqual([])
  })

  test.each<[string, SavedRules]>([
    ['a port of two is not led in', [...rest, entry('8080')]],
    ['none is', rest],
    [
      'they are led in of another protocol',
      [...rest, entry('8080,8081').map((word) => (word === 'tcp' ? 'udp' : word))],
    ],
    ['they are led elsewhere', [...rest, [...entry('8080,8081').slice(0, -1), 'OTHER']]],
    [
      'they are led in from elsewhere',
      [...rest, entry('8080,8081').map((word) => (word === 'CNI-HOSTPORT-DNAT' ? 'X' : word))],
    ],
  ])('names the entry where %s', (_, seen) => {
    expect(problemsOf(seen)?.map(({ expected }) => expected)).toEqual([
      expect.stringMatching(/^CNI-HOSTPORT-DNAT .* --destination-ports 8080,8081 -j CNI-DN-/),
    ])
  })

  test('asks for the conditions of an entry', () => {
    const conditional = { ...own, conditions: ['-s', '10.0.0.0/8', '!', '-d', '10.1.0.0/16'] }
    const led = (...words: string[]) => problemsOf([...rest, entry('8080,8081', ...words)], conditional)?.length
    expect(led('-s', '10.0.0.0/8', '!', '-d', '10.1.0.0/16')).toBe(0)
    expect(led('-s', '10.0.0.0/8')).toBe(1)
    expect(led()).toBe(1)
  })

  test('names what is missing inside', () => {
    const seen = rules.filter((rule) => !rule.join(' ').includes('--dport 8081 -j DNAT'))
    expect(problemsOf(seen)?.map(({ expected }) => expected)).toEqual([
      `${chain} -p tcp --dport 8081 -j DNAT --to-destination 10.9.0.2:80`,
    ])
  })

  test('has nothing to say where there is no chain', () => {
    expect(problemsOf(rest.filter(([first]) => first !== `:${chain}`))).toBeUndefined()
    expect(problemsOf(rules, six(tcp(8080)))).toBeUndefined()
  })
})

test('stale are chains by the whole comment of the network, not by any word of a rule', () => {
  const other = (id: string) => officialName('CNI-DN-', { ...attachment, containerID: id }, 28)
  const rule = (id: string, network = 'net') => [
    ...['-A', 'CNI-HOSTPORT-DNAT', '-m', 'comment', '--comment', `"dnat name: \\"${network}\\" id: \\"${id}\\""`],
    ...['-j', other(id)],
  ]
  const chains = ['c1', 'c2', ''].map((id) => [`:${other(id)}`, '-', '[0:0]'])
  const stale = (...rules: string[][]) =>
    linesOf(removeStaleChains(saved([...chains, ...rules]), 'net', new Set(['c1']))).filter((line) =>
      line.includes(' -X '),
    )
  expect(stale(rule('c1'), rule('c2'), rule('c2'), rule('c3', 'other'))).toEqual([`iptables -t nat -X ${other('c2')}`])
  expect(stale(rule('c1'), rule(''))).toEqual([])
})

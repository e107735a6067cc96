import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type OfficialSuite, repository, suites } from '../harness/locations.js'
import { differences as table } from '../oracle/differences.js'
import { differences, explanation } from './replay/compare.js'
import { readSample } from './replay/samples.js'
import { Substitution } from './replay/substitution.js'
import { type Outcome, scenario } from './scenario.js'

const ending = '.jsonl.gz'
const samples = join(repository, 'conformance/clients/samples')
const names = readdirSync(samples).flatMap((file) => (file.endsWith(ending) ? [file.replace(ending, '')] : []))

const commands = ['unshare', 'ip', 'iptables']

function replay(suite: 'podwire' | OfficialSuite, name: string, whatElse?: (outcome: Outcome) => void): void {
  scenario('replay', commands, [suite, name], { plugins: suites[suite] }, whatElse)
}

/** The samples whose lists are given to a chain, too. */
const asChains = ['crio', 'ctr', 'cri21', 'podman-plugins', 'apptainer', 'calico', 'multus']

describe('recorded calls of real clients', () => {
  test('the samples hold every recorded call', () => {
    expect(names.flatMap((name) => readSample(join(samples, `${name}${ending}`)))).toHaveLength(1810)
  })

  const explained = new Set<string>()
  for (const name of names) {
    replay('podwire', name, (outcome) => {
      for (const line of outcome.explained) explained.add(line.replace(/^\d+: /, ''))
    })
  }

  test('show each difference that the table has for them', () => {
    expect([...explained].sort()).toEqual(table.flatMap(({ replay, what }) => (replay ? [what] : [])).sort())
  })

  // The other four are more of the same lists.
  for (const name of process.env['PODWIRE_ALL_REPLAYS'] === '1' ? names : asChains) {
    scenario('replay', commands, ['podwire', name, 'chained'])
  }
})

if (process.env['PODWIRE_ALL_ORACLES'] === '1') {
  describe('both official versions answer them as recorded', () => {
    for (const suite of ['official', 'official-1.9.1'] as const) for (const name of names) replay(suite, name)
  })
}

describe('comparison of results', () => {
  const given = { given: new Set(['02:00:00:00:00:01']) }
  test.for([
    ['alike', { ips: [{ address: '10.0.0.2/24' }] }, { ips: [{ address: '10.0.0.2/24' }] }, []],
    ['another value', { mtu: 1500 }, { mtu: '1500' }, ['$.mtu: "1500", not 1500']],
    ['a key too few', { dns: {} }, {}, ['$.dns: missing']],
    ['a key too many', {}, { dns: {} }, ['$.dns: added']],
    ['another count', { ips: [1] }, { ips: [] }, ['$.ips: 0 elements, not 1']],
    ['a made-up address', { mac: '02:00:00:00:00:09' }, { mac: '02:00:00:00:00:02' }, []],
    ['a made-up name', { name: 'veth00000001' }, { name: 'vethabcdef12' }, []],
    ['no address', { mac: '02:00:00:00:00:09' }, { mac: '' }, ['$.mac: "", not "02:00:00:00:00:09"']],
    [
      'a given address lost',
      '02:00:00:00:00:01',
      '02:00:00:00:00:02',
      ['$: "02:00:00:00:00:02", not "02:00:00:00:00:01"'],
    ],
    ['the same error with more words', { code: 7, msg: 'a' }, { cniVersion: '1.0.0', code: 7, msg: 'x: a; b' }, []],
    ['the same error in other words', { code: 7, msg: 'a' }, { code: 7, msg: 'b' }, ['$.msg: "b" has not "a"']],
    ['another error', { code: 7, msg: 'a' }, { code: 999, msg: 'a' }, ['$.code: 999, not 7']],
    ['an own code where there was none', { code: 999, msg: 'a' }, { code: 108, msg: 'a' }, ['$.code: 108, not 999']],
    ['an error without words', { code: 7, msg: 'a' }, { code: 7 }, ['$.msg: null has not "a"']],
  ] as const)('%s', ([, expected, actual, found]) => {
    expect(differences(structuredClone(expected) as never, structuredClone(actual) as never, given)).toEqual(found)
  })
})

test.for([
  ['loopback', '$.ips[0].version: added', true],
  ['bridge', '$.ips[0].version: added', false],
  ['bridge', '$.code: 108, not 999', true],
  ['bridge', '$.code: 7, not 999', false],
  ['bridge', '$.msg: "b" has not "a"', false],
] as const)('the table explains for %s %s: %s', ([plugin, difference, isKnown]) => {
  expect(explanation(plugin, difference) !== undefined).toBe(isKnown)
})

test('recorded names are replaced by those of this run, whole strings only', () => {
  const substitution = new Substitution()
  substitution.learnInterfaces(
    { interfaces: [{ name: 'veth1', mac: 'a' }, { name: 'eth0' }] },
    { interfaces: [{ name: 'veth2', mac: 'b' }, { name: 'eth0' }] },
  )
  expect(substitution.apply({ prevResult: ['veth1', 'veth11', 'a', 3, null] })).toEqual({
    prevResult: ['veth2', 'veth11', 'b', 3, null],
  })
})

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { repository } from '../harness/locations.js'
import { differences } from './replay/compare.js'
import { readSample } from './replay/samples.js'
import { Substitution } from './replay/substitution.js'
import { scenario } from './scenario.js'

const samples = join(repository, 'conformance/clients/samples')
const files = readdirSync(samples).filter((name) => name.endsWith('.jsonl.gz'))

describe('recorded calls of real clients', () => {
  test('the samples hold every recorded call', () => {
    expect(files.flatMap((file) => readSample(join(samples, file)))).toHaveLength(1679)
  })

  for (const file of files) scenario('replay', ['unshare', 'ip', 'iptables'], [file.replace('.jsonl.gz', '')])
})

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
    ['the same error in other words', { code: 7, msg: 'a' }, { cniVersion: '1.0.0', code: 7, msg: 'b' }, []],
    ['another error', { code: 7, msg: 'a' }, { code: 999, msg: 'a' }, ['$.code: 999, not 7']],
    ['an own code where there was none', { code: 999, msg: 'a' }, { code: 108, msg: 'a' }, []],
    ['a specified code where there was none', { code: 999, msg: 'a' }, { code: 7, msg: 'a' }, ['$.code: 7, not 999']],
    ['an error without words', { code: 7, msg: 'a' }, { code: 7 }, ['$.msg: missing']],
  ] as const)('%s', ([, expected, actual, found]) => {
    expect(differences(structuredClone(expected) as never, structuredClone(actual) as never, given)).toEqual(found)
  })
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

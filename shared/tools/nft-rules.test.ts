import { expect, test } from 'vitest'
import type { Run } from '../exec/command.js'
import { listElements, listRules } from './nft-rules.js'

/** Answers one command with objects as `nft -j` prints them, and fails for any other. */
function answering(command: string, ...objects: object[]): Run {
  return ({ argv }) => {
    expect(argv.join(' ')).toBe(`nft -j ${command}`)
    const nftables = [{ metainfo: { json_schema_version: 1 } }, ...objects]
    return { status: 0, signal: null, stdout: JSON.stringify({ nftables }), stderr: '' }
  }
}

test('rules: what they compare, where they lead, whose they are', () => {
  const payload = (protocol: string, field: string, right: unknown) => ({
    match: { op: '==', left: { payload: { protocol, field } }, right },
  })
  const run = answering(
    'list table ip cni_hostport',
    { chain: { family: 'ip', table: 'cni_hostport', name: 'hostports' } },
    {
      rule: {
        family: 'ip',
        table: 'cni_hostport',
        chain: 'hostports',
        handle: 7,
        comment: 'c1',
        expr: [
          payload('ip', 'daddr', '192.0.2.1'),
          payload('tcp', 'dport', 8080),
          { match: { op: '==', left: { meta: { key: 'mark' } }, right: { range: [1, 2] } } },
          { dnat: { addr: '10.1.0.2', port: 80 } },
        ],
      },
    },
    { rule: { chain: 'hostports_all', handle: 8, expr: [{ jump: { target: 'hostports' } }] } },
  )
  expect(listRules(run, { family: 'ip', table: 'cni_hostport' })).toEqual([
    {
      chain: 'hostports',
      handle: 7,
      comment: 'c1',
      target: '10.1.0.2',
      targetPort: 80,
      matches: [
        { protocol: 'ip', field: 'daddr', value: '192.0.2.1' },
        { protocol: 'tcp', field: 'dport', value: '8080' },
        { value: '[object Object]' },
      ],
    },
    { chain: 'hostports_all', handle: 8, matches: [], jump: 'hostports' },
  ])
})

test('rules of a chain alone', () => {
  const run = answering('list chain inet filter forward', { rule: { chain: 'forward', handle: 1 } })
  expect(listRules(run, { family: 'inet', table: 'filter', chain: 'forward' })).toHaveLength(1)
})

test('elements: of sets and maps, with comments and without, of several parts and of ranges', () => {
  const run = answering(
    'list table ip podwire',
    { set: { name: 'owners', elem: ['a', { elem: { val: 'b', comment: 'x' } }] } },
    { map: { name: 'ports', elem: [[{ elem: { val: { concat: ['tcp', 80] }, comment: 'y' } }, 'accept']] } },
    { map: { name: 'ranges', elem: [[{ concat: ['udp', { range: [80, 90] }] }, '10.1.0.2']] } },
    { set: { name: 'empty' } },
  )
  expect(listElements(run, 'ip')).toEqual([
    { collection: 'owners', key: ['a'] },
    { collection: 'owners', key: ['b'], comment: 'x' },
    { collection: 'ports', key: ['tcp', '80'], comment: 'y' },
    { collection: 'ranges', key: ['udp', '80-90'] },
  ])
})

test('elements of one set; an answer of other forms is nothing that is known', () => {
  const run = answering('list set bridge podwire macs', { set: { name: 'macs', elem: [null, 5] } })
  expect(listElements(run, 'bridge', { kind: 'set', name: 'macs' }).map(({ key }) => key)).toEqual([['null'], ['5']])
})

test('nothing is there where nft says so', () => {
  const run: Run = () => ({ status: 1, signal: null, stdout: '', stderr: 'Error: No such file or directory' })
  expect([listRules(run, { family: 'ip', table: 't' }), listElements(run, 'ip')]).toEqual([[], []])
})

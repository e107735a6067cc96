import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { keepStateIn, leaseRoot, stateRoot } from '../exec/state.js'
import { isLeaseDirectory, isSame, isUsual, named, parsed, type Source, sourceOf, usable } from './leases.js'
import type { AnyPlugin, Call } from './plugin.js'

const plugin = 'bridge'
const usual: Source = { plugin, type: 'host-local', dataDir: leaseRoot }

test('a source is a directory of host-local, the default one for other plugins of ours, or a program with its input', () => {
  const source = (ipam: object | undefined, own?: string) => {
    const host = { files: { readLink: (path: string) => `${path} of the call` } }
    const call = { plugin, config: { name: 'net', ipam }, stdin: '{}', environment: { args: 'A=B' }, host }
    return sourceOf(call as unknown as Call, own === undefined ? undefined : ({ name: own } as AnyPlugin))
  }
  const ofHostLocal = (dataDir: unknown) => source({ type: 'my-host-local', dataDir }, 'host-local')
  expect([undefined, '', 7, leaseRoot, `${leaseRoot}//`].map(ofHostLocal)).toEqual(Array(5).fill(usual))
  expect(ofHostLocal('/srv/leases/').dataDir).toBe('/srv/leases')
  expect(ofHostLocal('//').dataDir).toBe('/')
  expect(ofHostLocal('leases').dataDir).toBe('/proc/self/cwd of the call/leases')
  expect(source({ type: 'x', DATADIR: '/srv' }, 'host-local').dataDir).toBe('/srv')
  expect(source({ type: 'static', dataDir: '/srv' }, 'static')).toEqual({ ...usual, type: 'static' })
  expect(source({ type: 'dhcp' })).toEqual({ plugin, type: 'dhcp', config: '{}', args: 'A=B' })
  expect(source(undefined).type).toBe('')
  expect([isUsual(usual), isUsual({ ...usual, dataDir: '/srv' }), isUsual({ plugin, type: 'dhcp' })]).toEqual([
    true,
    false,
    false,
  ])
  expect([named(usual), named(source({ type: 'dhcp' }))]).toEqual([`host-local in ${leaseRoot}`, 'dhcp'])
})

test('of a record only what an ADD can have noted is used, and not more than there can be', () => {
  const of = (type: string, dataDir?: string): Source => ({
    plugin,
    type,
    ...(dataDir === undefined ? {} : { dataDir }),
  })
  const good = [usual, of('dhcp'), of('static'), of('host-local', '/srv')]
  const planted = [of('host-local', 'srv'), of('host-local', ''), of('../dhcp'), of('bridge')]
  expect(usable([...planted, ...good])).toEqual(good)
  const many = Array.from({ length: 17 }, (_, at) => of('host-local', `/srv/${at}`))
  expect(usable(many)).toEqual(many.slice(1))
})

test('two sources are the same when they give the same addresses, however the configuration is written', () => {
  const of = (config: string): Source => ({ plugin, type: 'dhcp', config })
  const one = of('{"ipam": {"type": "dhcp", "list": [{"b": 1, "a": [2, 3]}]}, "mtu": 1}')
  const same = of('{"IPAM": {"list": [{"a": [2, 3], "b": 1}], "type": "dhcp"}, "mtu": 2}')
  expect(isSame(one, same)).toBe(true)
  for (const other of ['{"ipam": {"type": "dhcp", "list": [{"b": 1, "a": [3, 2]}]}}', '{"ipam": null}', 'text', '7']) {
    expect([other, isSame(one, of(other))]).toEqual([other, false])
  }
  expect(isSame(usual, { ...usual, plugin: 'ptp' })).toBe(true)
  expect(isSame(usual, { ...usual, dataDir: '/srv' })).toBe(false)
  expect(isSame(one, { ...one, type: 'other' })).toBe(false)
  expect(isSame({ plugin, type: 'dhcp' }, of('{}'))).toBe(true)
})

test('a text that is no object stands for an empty one', () => {
  expect(['{"a": 1}', '[1]', 'null', '7', '"a"', '{'].map(parsed)).toEqual([{ a: 1 }, { 0: 1 }, {}, {}, {}, {}])
})

let directory: string
const before = stateRoot
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'leases-'))
  keepStateIn(join(directory, 'state'))
  mkdirSync(stateRoot)
  mkdirSync(join(directory, 'net'), { mode: 0o755 })
  writeFileSync(join(directory, 'net', 'lock'), '')
})
afterEach(() => {
  keepStateIn(before)
  rmSync(directory, { recursive: true })
})

test('leases are only freed in a directory that nobody else writes in', () => {
  const net = join(directory, 'net')
  expect(isLeaseDirectory(net)).toBe(true)
  for (const [mode, expected] of [
    [0o775, false],
    [0o757, false],
    [0o700, true],
  ] as const) {
    chmodSync(net, mode)
    expect(isLeaseDirectory(net)).toBe(expected)
  }
  rmSync(join(net, 'lock'))
  expect(isLeaseDirectory(net)).toBe(false)
  symlinkSync('/etc/passwd', join(net, 'lock'))
  expect(isLeaseDirectory(net)).toBe(false)
  symlinkSync(net, join(directory, 'link'))
  expect([isLeaseDirectory(join(directory, 'link')), isLeaseDirectory(join(directory, 'none'))]).toEqual([false, false])
  rmSync(stateRoot, { recursive: true })
  expect(isLeaseDirectory(net)).toBe(false)
})

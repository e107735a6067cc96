import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Command, Outcome } from '../exec/command.js'
import { delegations } from '../exec/delegate.js'
import { recordWritings } from '../exec/records.js'
import { createJournal } from '../plan/journal.js'
import type { Machine } from '../plan/machine.js'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import { checkLease, collectLeases, hasIpam, ipamNeeds, lease, release, requireIpam } from './ipam.js'
import type { AnyPlugin, Call } from './plugin.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ipam-'))
  writeFileSync(join(directory, 'dhcp'), '')
})
afterEach(() => rmSync(directory, { recursive: true }))

const given = JSON.stringify({ cniVersion: '1.1.0', ips: [{ address: '10.0.0.2/24' }] })

/** A call of a plugin with this `ipam.type`; its programs answer by their verb, and say what they were asked. */
function calling(type: string | undefined, answers: Record<string, Partial<Outcome>> = {}, { dryRun = false } = {}) {
  const asked: string[] = []
  const run = ({ argv, env }: Command): Outcome => {
    const verb = env?.['CNI_COMMAND'] ?? ''
    asked.push(`${verb} ${argv[0].slice(directory.length + 1)} below ${env?.[delegations]}`)
    return { status: 0, signal: null, stdout: '', stderr: '', ...answers[verb] }
  }
  const journal = createJournal()
  const warn = (text: string) => asked.push(text)
  // Nothing is put on record: that would be the machine's.
  const change = () => undefined
  const host = { run, journal, warn, change, dryRun, env: {}, files: { readLink: () => '' } }
  const call = {
    plugin: 'macvlan',
    version: '1.1.0',
    config: { name: 'net', ...(type === undefined ? {} : { ipam: { type } }) },
    attachment: { network: 'net', containerID: 'c1', ifName: 'eth0' },
    environment: { path: directory, args: '' },
    stdin: '{}',
    host,
  } as unknown as Call
  return { call, asked, rollback: () => journal.rollback({} as Machine) }
}

const status = (call: Call) => ipamNeeds(call).ipam?.()

test('no IPAM plugin is asked where none is named', () => {
  for (const type of [undefined, '']) {
    const { call, asked } = calling(type)
    expect([hasIpam(call), requireIpam(call)]).toEqual([false, false])
    for (const verb of [release, checkLease, status, collectLeases]) verb(call)
    expect(asked).toEqual([])
  }
})

describe('one of others', () => {
  test('is asked verb by verb, and may need the link', () => {
    const { call, asked } = calling('dhcp', { ADD: { stdout: given } })
    expect(requireIpam(call)).toBe(true)
    expect(lease(call).ips).toMatchObject([{ address: '10.0.0.2/24' }])
    for (const verb of [checkLease, status, collectLeases, release]) verb(call)
    expect(asked).toEqual(['ADD', 'CHECK', 'STATUS', 'GC', 'DEL'].map((verb) => `${verb} dhcp below dhcp`))
  })

  test('gives its addresses back when the ADD fails later, also when its own ADD failed', () => {
    const whole = calling('dhcp', { ADD: { stdout: given } })
    lease(whole.call)
    expect(whole.rollback()).toEqual([])
    expect(whole.asked).toEqual(['ADD dhcp below dhcp', 'DEL dhcp below dhcp'])
    const failed = calling('dhcp', { ADD: { status: 1 }, DEL: { status: 2 } })
    expect(thrownBy(() => lease(failed.call)).code).toBe(codes.delegateFailed)
    expect(failed.rollback()).toMatchObject([{ code: codes.delegateFailed, message: expect.stringContaining('DEL') }])
  })

  test('that gives no address is named', () => {
    const { call } = calling('dhcp', { ADD: { stdout: '{"cniVersion": "1.1.0"}' } })
    expect(thrownBy(() => lease(call)).message).toBe('IPAM plugin returned missing IP config')
  })

  test('is only said to be asked in a dry run, where it would change something', () => {
    const { call, asked } = calling('dhcp', {}, { dryRun: true })
    expect(lease(call).ips).toHaveLength(1)
    release(call)
    checkLease(call)
    expect(asked).toEqual([
      `# CNI_COMMAND=ADD ${join(directory, 'dhcp')}`,
      `# CNI_COMMAND=DEL ${join(directory, 'dhcp')}`,
      'CHECK dhcp below dhcp',
    ])
  })
})

test.each([
  [50, 50],
  [51, 51],
  [codes.invalidConfiguration, codes.invalidConfiguration],
  [100, 50],
])('what it answers to STATUS, %i, is answered as %i', (answered, told) => {
  const stdout = JSON.stringify({ code: answered, msg: 'full', details: 'why' })
  const error = thrownBy(() => status(calling('dhcp', { STATUS: { status: 1, stdout } }).call))
  expect(error).toMatchObject({
    code: told,
    message: expect.stringContaining('full'),
    details: expect.stringContaining('why'),
  })
})

test.each([
  [undefined, []],
  ['static', []],
  ['dhcp', recordWritings('net', 'ipam')],
])('of %s a status looks whether it can be noted that it gave the addresses', (type, writes) => {
  const { call } = calling(type)
  const own = type === 'static' ? { ownDelegate: { name: 'static' } as AnyPlugin } : {}
  expect(ipamNeeds({ ...call, ...own }).writes).toEqual(writes)
})

test('a plugin of ours that hands out no addresses is refused by its name, before it is looked for', () => {
  const { call, asked } = calling('bridge')
  const error = thrownBy(() => requireIpam(call))
  expect(error).toMatchObject({ code: codes.invalidConfiguration, message: '"bridge" is not an IPAM plugin' })
  expect(asked).toEqual([])
})

test('and by a name that leads to it', () => {
  symlinkSync(process.execPath, join(directory, 'my-bridge'))
  const { call } = calling('my-bridge')
  const { message } = thrownBy(() => requireIpam(call))
  expect(message).toBe('"my-bridge", which is bridge, is not an IPAM plugin')
})

test('a copy of ours that is another file is a program of others', () => {
  copyFileSync('/bin/true', join(directory, 'host-local'))
  expect(requireIpam(calling('host-local').call)).toBe(true)
})

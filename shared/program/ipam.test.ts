import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Command, Outcome } from '../exec/command.js'
import { delegations } from '../exec/delegate.js'
import { recordWritings, writeRecord } from '../exec/records.js'
import { keepStateIn, stateRoot } from '../exec/state.js'
import { createJournal } from '../plan/journal.js'
import type { Machine } from '../plan/machine.js'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import { checkLease, collectLeases, hasIpam, ipamNeeds, lease, release, requireIpam } from './ipam.js'
import type { AnyPlugin, Call } from './plugin.js'

let directory: string
const usual = stateRoot
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ipam-'))
  keepStateIn(join(directory, 'state'))
  writeFileSync(join(directory, 'dhcp'), '')
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(directory, { recursive: true })
})

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
  const change = (_: string, body: () => void) => body()
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
    collectLeases(call)
    expect(asked).toEqual([
      `# CNI_COMMAND=ADD ${join(directory, 'dhcp')}`,
      `# CNI_COMMAND=DEL ${join(directory, 'dhcp')}`,
      'CHECK dhcp below dhcp',
      `# CNI_COMMAND=GC ${join(directory, 'dhcp')}`,
    ])
  })
})

test('what it answers to GC comes as it is', () => {
  const stdout = JSON.stringify({ code: 11, msg: 'later', details: 'why' })
  const error = thrownBy(() => collectLeases(calling('dhcp', { GC: { status: 1, stdout } }).call))
  expect(error).toMatchObject({ code: 11, message: 'later', details: 'why' })
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
  [undefined, false],
  ['static', false],
  ['dhcp', true],
])('of %s a status looks whether it can be noted that it gave the addresses: %s', (type, isNoted) => {
  const { call } = calling(type)
  const own = type === 'static' ? { ownDelegate: { name: 'static' } as AnyPlugin } : {}
  expect(ipamNeeds({ ...call, ...own }).writes).toEqual(isNoted ? recordWritings('net', 'ipam') : [])
})

describe('a configuration that is another one than that of ADD:', () => {
  /** The files of state. */
  const state = () =>
    existsSync(stateRoot)
      ? readdirSync(stateRoot, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length
      : 0
  const added = () => {
    const adding = calling('dhcp', { ADD: { stdout: given } })
    const { call } = adding
    const stdin = '{"name": "net", "ipam": {"type": "dhcp"}}'
    lease({ ...call, stdin, environment: { ...call.environment, args: 'A=B' } })
    return adding
  }
  /** What programs get: verb, name, standard input and CNI_ARGS. */
  function listening(type: string | undefined, more: object = {}) {
    const { call, asked } = calling(type)
    const host = {
      ...call.host,
      run: ({ argv, env, stdin }: Command): Outcome => {
        const [verb, args] = [env?.['CNI_COMMAND'], env?.['CNI_ARGS']]
        asked.push(`${verb} ${env?.['CNI_CONTAINERID'] ?? ''} ${argv[0].split('/').at(-1)} ${stdin} ${args}`)
        return { status: 0, signal: null, stdout: '', stderr: '' }
      },
    }
    return { call: { ...call, host, ...more } as Call, asked }
  }

  test('DEL gives back to where ADD got them, with what ADD had, and says so; then nothing is on record', () => {
    added()
    expect(state()).toBe(1)
    const environment = { path: directory, args: '', command: 'DEL' }
    const { call, asked } = listening(undefined, { environment, stdin: '{"prevResult": {"ips": []}}' })
    release(call)
    expect(asked).toEqual([
      'macvlan: addresses are given back to where ADD got them, which the configuration does not name: dhcp',
      'DEL  dhcp {"name":"net","ipam":{"type":"dhcp"},"prevResult":{"ips":[]}} A=B',
    ])
    expect(state()).toBe(0)
    release(call)
    expect(asked).toHaveLength(2)
  })

  test('DEL also asks the one it names where that can have given none, but for ours', () => {
    writeFileSync(join(directory, 'other'), '')
    added()
    const { call, asked } = listening('other', { environment: { path: directory, args: 'C=D', command: 'DEL' } })
    release(call)
    expect(asked.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual(['macvlan: addresses are', 'DEL  dhcp'])
    added()
    const wrong = listening('bridge', { environment: { path: directory, args: '', command: 'DEL' } })
    expect(thrownBy(() => release(wrong.call)).message).toContain('"bridge" is not an IPAM plugin')
    expect(wrong.asked.at(-1)).toContain('DEL  dhcp')
  })

  test('the same source, however it is written, is asked once, and as the configuration has it', () => {
    added()
    const stdin = '{"name": "net", "mtu": 1400, "ipam": {"type": "dhcp"}}'
    const { call, asked } = listening('dhcp', { stdin })
    release(call)
    expect(asked).toEqual([`DEL  dhcp ${stdin} undefined`])
    expect(state()).toBe(0)
  })

  test('what another plugin of the chain noted stays', () => {
    added()
    const { call, asked } = listening(undefined, { plugin: 'ptp' })
    release(call)
    expect([asked, state()]).toEqual([[], 1])
  })

  test('GC frees what stale attachments have, as a DEL of each would, and keeps the records of valid ones', () => {
    added()
    const environment = { path: directory, args: '', command: 'GC' }
    const valid = listening(undefined, { environment, validAttachments: [{ containerID: 'c1', ifname: 'eth0' }] })
    collectLeases(valid.call)
    expect([valid.asked, state()]).toEqual([[], 1])
    const unknown = listening(undefined, { environment })
    collectLeases(unknown.call)
    expect([unknown.asked, state()]).toEqual([[], 1])
    const stale = listening(undefined, { environment, validAttachments: [] })
    collectLeases(stale.call)
    expect(stale.asked).toEqual([
      expect.stringContaining('does not name: dhcp'),
      'DEL c1 dhcp {"name":"net","ipam":{"type":"dhcp"}} A=B',
    ])
    expect(state()).toBe(0)
  })

  test('a directory of host-local that is none of its own is skipped, and said', () => {
    const sources = [{ plugin: 'macvlan', type: 'host-local', dataDir: join(directory, 'leases') }]
    mkdirSync(join(directory, 'leases/net'), { recursive: true })
    const { call, asked } = listening(undefined, { hostLocal: { name: 'host-local' } as AnyPlugin })
    const host = { ...call.host, dryRun: false }
    writeRecord(host, 'ipam', call.attachment, { sources })
    const environment = { ...call.environment, command: 'DEL', containerID: 'c1', ifName: 'eth0', netns: '' }
    const holding = {
      ...call,
      environment,
      hostLocal: { name: 'host-local', holds: () => false } as unknown as AnyPlugin,
    }
    release({ ...holding, config: { ...call.config, name: 'net', cniVersion: '1.1.0' } } as Call)
    expect(asked).toEqual([
      expect.stringContaining(`does not name: host-local in ${directory}/leases`),
      `macvlan: ${directory}/leases/net is on record, and is no directory of leases: it is skipped`,
    ])
    expect(state()).toBe(0)
  })

  test('what waits for the end of a chain is given back then', () => {
    added()
    const later: (() => void)[] = []
    const stdin = '{"ipam": {"type": "dhcp"}}'
    const { call, asked } = listening('dhcp', { stdin, leaseLater: (body: () => void) => later.push(body) })
    release(call)
    expect(asked).toEqual([])
    for (const body of later) body()
    expect(asked).toHaveLength(1)
  })
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

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Command } from '../exec/command.js'
import { delegations } from '../exec/delegate.js'
import { keepStateIn, stateRoot } from '../exec/state.js'
import { answering, holding, link } from '../testing/golden.js'
import { main, type World } from './main.js'

/** What one start says on its streams, and how it ends. */
async function started(more: Partial<World> & { env?: World['env'] }, config: object = {}) {
  let [stdout, stderr] = ['', '']
  const status = await main({
    plugin: 'static',
    stdin: () => JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'static', ...config }),
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      stderr += text
    },
    run: answering({}),
    files: holding({}),
    ...more,
    env: { PODWIRE_DRY_RUN: '1', CNI_PATH: '/cni', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', ...more.env },
  })
  return { status, stdout, stderr, json: stdout === '' ? undefined : JSON.parse(stdout) }
}

test('without a verb a plugin says who it is, on stderr alone', async () => {
  for (const CNI_COMMAND of [undefined, '']) {
    const { status, stdout, stderr } = await started({ env: { CNI_COMMAND } })
    expect([status, stdout]).toEqual([0, ''])
    expect(stderr).toMatch(/^CNI static plugin v\d+\.\d+\.\d+\nCNI protocol versions supported: .*1\.1\.0\n$/)
  }
})

test('VERSION asks for nothing, not even input', async () => {
  const stdin = () => expect.fail('read')
  const { status, json } = await started({ env: { CNI_COMMAND: 'VERSION' }, stdin })
  expect([status, json.supportedVersions.at(-1)]).toEqual([0, '1.1.0'])
})

test('a mistake is an error object and status 1', async () => {
  const { status, json } = await started({ env: { CNI_COMMAND: 'ADD', CNI_IFNAME: 'a/b' } })
  expect([status, json.code]).toEqual([1, 4])
  expect((await started({ plugin: 'none', env: { CNI_COMMAND: 'DEL' } })).json.msg).toContain('none')
  const inherited = await started({ plugin: 'constructor', env: { CNI_COMMAND: 'DEL' } })
  expect(inherited.json.msg).toContain('the plugin constructor is not in its own script')
})

test('an answer that cannot be written is said on stderr, once', async () => {
  let tries = 0
  const stdout = () => {
    tries += 1
    throw new Error('EPIPE')
  }
  const { status, stderr } = await started({ env: { CNI_COMMAND: 'VERSION' }, stdout })
  expect([status, tries]).toEqual([1, 1])
  expect(stderr).toContain('cannot write to stdout: EPIPE')
  expect(stderr).toContain('let whoever starts the plugin read its standard output to the end')
})

test('an ADD whose result cannot be written is one that failed', async () => {
  const ipam = { type: 'static', addresses: [{ address: '10.1.0.2/24' }] }
  const env = { CNI_COMMAND: 'ADD', CNI_NETNS: '/proc/self/ns/net', CNI_NETNS_OVERRIDE: '1' }
  expect((await started({ env }, { ipam })).json.ips).toEqual([{ address: '10.1.0.2/24' }])
  const stdout = () => {
    throw new Error('EPIPE')
  }
  const { status, stderr } = await started({ env, stdout }, { ipam })
  expect([status, stderr.includes('EPIPE')]).toEqual([1, true])
})

test('a plugin below itself is refused, but an IPAM plugin asks nobody', async () => {
  const env = { CNI_COMMAND: 'DEL', [delegations]: 'my-dhcp' }
  const ipam = { type: 'my-dhcp' }
  const { json } = await started({ plugin: 'ptp', env }, { type: 'ptp', ipam })
  expect(json).toMatchObject({ code: 7, msg: expect.stringContaining('ptp: network "net"') })
  expect(json.msg).toContain('"my-dhcp", which starts ptp, is not an IPAM plugin')
  expect((await started({ env }, { ipam })).status).toBe(0)
})

test('our own IPAM plugin runs in the process, also by another name that leads to it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'main-'))
  copyFileSync('/bin/true', join(directory, 'static'))
  const env = { CNI_COMMAND: 'STATUS', CNI_PATH: directory }
  const ran: string[] = []
  const run: World['run'] = ({ argv }) => {
    ran.push(argv.join(' '))
    return { status: 0, signal: null, stdout: '', stderr: '' }
  }
  // A program of another file, though it has our name, is executed.
  await started({ plugin: 'tap', env, run }, { type: 'tap', ipam: { type: 'static' } })
  expect(ran).toContain(join(directory, 'static'))
  rmSync(directory, { recursive: true })
})

test.each<[string, Record<string, string>, boolean]>([
  ['of an ADD', { CNI_COMMAND: 'ADD' }, true],
  ['of a DEL', { CNI_COMMAND: 'DEL' }, true],
  ['of a CHECK', { CNI_COMMAND: 'CHECK' }, false],
  ['of an ADD that is only shown', { CNI_COMMAND: 'ADD', PODWIRE_DRY_RUN: '1' }, false],
  ['of a delegate of ours', { CNI_COMMAND: 'ADD', [delegations]: 'other' }, false],
])('the tools %s hold a lock, for whoever comes after a kill: %s', async (_, env, hold) => {
  const usual = stateRoot
  const folder = mkdtempSync(join(tmpdir(), 'main-'))
  keepStateIn(join(folder, 'state'))
  const locks: boolean[] = []
  const look = answering({ '*': link('lo', { flags: ['UP', 'LOOPBACK'] }) })
  const run: World['run'] = (command: Command) => {
    if (command.argv[0] !== 'flock') locks.push(command.lock !== undefined)
    return look(command)
  }
  const netns = { CNI_NETNS: '/proc/self/ns/net', CNI_NETNS_OVERRIDE: '1', CNI_IFNAME: 'lo' }
  const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'lo', sandbox: '/proc/self/ns/net' }] }
  try {
    await started(
      { plugin: 'loopback', env: { PODWIRE_DRY_RUN: '', ...netns, ...env }, run },
      { type: 'loopback', prevResult },
    )
  } finally {
    keepStateIn(usual)
    rmSync(folder, { recursive: true })
  }
  expect(locks.length).toBeGreaterThan(0)
  expect(new Set(locks)).toEqual(new Set([hold]))
})

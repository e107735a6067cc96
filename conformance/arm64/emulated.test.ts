import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { listPlugins } from '../../shared/bundling/plugins.js'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test as base } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { repository } from '../harness/locations.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference } from '../harness/snapshot.js'
import { programsOf, readTrace } from '../harness/trace.js'
import { expectAnswer, type Row } from '../protocol/row.js'
import { environmentRows } from '../protocol/rows.environment.js'
import { inputRows } from '../protocol/rows.input.js'
import { plugins, pluginsOfFullKernels } from '../swapped/plugins.js'
import { ipam, prepare, type Swapped, state } from '../swapped/swapping.js'
import { demandEmulated, runEmulated } from './emulated.js'

// The plugins for arm64, emulated: that they start from their heap, answer as those for amd64 do, and make the same on
// this kernel by the requests that the emulator knows (rtnetlink; netfilter is left to nft). Only on amd64: on arm64
// all tests are of them.

const isHere = process.arch === 'arm64'
if (isHere) console.warn('SKIPPED the emulated plugins: this machine runs them itself, in all other tests')
else demandEmulated()
const test = base.skipIf(isHere)

const names = listPlugins(repository).map(({ name }) => name)
const addresses = { type: 'static', addresses: [{ address: '10.80.0.9/24' }] }
const standard: Call = {
  plugin: 'static',
  command: 'ADD',
  containerID: 'c1',
  netns: '/run/netns/x',
  config: { cniVersion: '1.1.0', name: 'n', type: 'static', ipam: addresses },
}

test('each name answers VERSION, with nothing on stderr', { timeout: 180_000 }, async ({ host }) => {
  for (const plugin of [...names, 'x-bridge']) {
    const call: Call = { plugin, command: 'VERSION' }
    expect(await runEmulated(host, call), plugin).toEqual(
      await runPlugin(host, { ...call, plugin: plugin.replace('x-', '') }),
    )
  }
})

describe('each error of the protocol', () => {
  test.for([...oneOfEachError([...environmentRows, ...inputRows])])('%s', async ([, row], { host }) => {
    await host.container('x')
    const call = { ...standard, ...row.call }
    expectAnswer(await runEmulated(host, call), row.podwire, call.plugin, 'n')
  })
})

describe('the life of an address', () => {
  const subnets = { type: 'host-local', ranges: [[{ subnet: '10.80.0.0/29' }], [{ subnet: 'fd00:80::/64' }]] }
  const config = { cniVersion: '1.1.0', name: 'network', type: 'host-local', ipam: subnets }
  const call = (command: Verb, more: object = {}): Call => ({
    ...standard,
    plugin: 'host-local',
    command,
    config: { ...config, ...more },
  })
  const leases = (host: Host) =>
    readdirSync(host.path('/var/lib/cni/networks/network')).filter((name) => !/^(lock|last_)/.test(name))

  test('of host-local', async ({ host }) => {
    succeedSilently(await runEmulated(host, call('STATUS')))
    const prevResult = resultOf(await runEmulated(host, call('ADD')))
    expect(prevResult.ips).toMatchObject([{ address: '10.80.0.2/29' }, { address: 'fd00:80::2/64' }])
    expect(leases(host).sort()).toEqual(['10.80.0.2', 'fd00:80::2'])
    expect(readFileSync(host.path('/var/lib/cni/networks/network/10.80.0.2'), 'utf8')).toBe('c1\r\neth0')
    succeedSilently(await runEmulated(host, call('CHECK', { prevResult })))
    succeedSilently(await runPlugin(host, call('CHECK', { prevResult })))
    succeedSilently(await runEmulated(host, call('DEL', { prevResult })))
    expect(leases(host)).toEqual([])
    resultOf(await runPlugin(host, call('ADD')))
    succeedSilently(await runEmulated(host, call('GC', { 'cni.dev/valid-attachments': [] })))
    expect(leases(host)).toEqual([])
  })

  test('of static', async ({ host }) => {
    const prevResult = resultOf(await runEmulated(host, standard))
    expect(prevResult.ips).toMatchObject([{ address: '10.80.0.9/24' }])
    const config = { ...(standard.config as object), prevResult }
    for (const command of ['CHECK', 'DEL'] as const) {
      succeedSilently(await runEmulated(host, { ...standard, command, config }))
    }
  })
})

const rows: Record<string, Swapped> = {
  ...plugins,
  ...pluginsOfFullKernels,
  chain: { config: { plugins: [{ type: 'bridge', bridge: 'br8', ipam }, { type: 'tuning' }] } },
  'host-local': { config: { ipam } },
  static: { config: { ipam: addresses } },
}

describe('a dry run says what that for amd64 says, and changes nothing', () => {
  test('of every plugin', () => expect(Object.keys(rows).sort()).toEqual(names))

  test.for(Object.entries(rows))('%s', async ([type, row], { host }) => {
    const { call } = await prepare(host, type, row)
    const before = await state(host)
    const dry = call('ADD', { PODWIRE_DRY_RUN: '1' })
    const told = await runEmulated(host, dry)
    expect(withoutTimes(told)).toEqual(withoutTimes(await runPlugin(host, dry)))
    expect(told.status).toBe(0)
    expect(difference(before, await state(host))).toBe('')
  })
})

describe('ADD, CHECK and DEL by requests to this kernel do what those for amd64 do', () => {
  // The programs that are started besides: what nftables is asked, the emulator does not carry, nor the number that a
  // socket has of its namespace.
  const started: Record<string, readonly string[]> = {
    bridge: [],
    ptp: [],
    macvlan: [],
    tap: ['in ip'],
    portmap: ['nft'],
  }
  const plain = { bridge: { config: { bridge: 'br9', isGateway: true, ipam } }, ptp: { config: { ipam } } }

  test.for(Object.entries(started))('%s', async ([type, tools], { host }) => {
    const { call } = await prepare(host, type, { ...rows, ...plain }[type] as Swapped)
    const result = resultOf(await runPlugin(host, call('ADD')))
    const made = withoutCookie(await state(host))
    succeedSilently(await runPlugin(host, call('DEL')))
    await host.output(['sh', '-c', 'rm -f /var/lib/cni/networks/network/last_reserved_ip.*'])
    const before = await state(host)
    const trace = '/run/trace'
    expect(resultOf(await runEmulated(host, call('ADD', { PODWIRE_TRACE: trace })))).toEqual(result)
    expect(difference(made, withoutCookie(await state(host)))).toBe('')
    expect([...new Set(programsOf(readTrace(host, trace)))]).toEqual(tools)
    const withResult = (command: Verb) => ({
      ...call(command),
      config: { ...(call(command).config as object), prevResult: result },
    })
    succeedSilently(await runEmulated(host, withResult('CHECK')))
    succeedSilently(await runPlugin(host, withResult('CHECK')))
    succeedSilently(await runEmulated(host, withResult('DEL')))
    expect(difference(before, await state(host))).toBe('')
  })
})

// --- internal

/** Without how long members of a chain took. */
function withoutTimes({ stderr, ...answer }: Finished): Finished {
  return { ...answer, stderr: stderr.replaceAll(/ took [\d.]+ ms$/gm, '') }
}

function withoutCookie(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/,\\"cookie\\":\\"\w+\\"/, ''))
}

/** The first row of each message, whatever it quotes. */
function oneOfEachError(rows: readonly Row[]): Map<string, Row> {
  const found = new Map<string, Row>()
  for (const row of rows) {
    const { podwire } = row
    if (podwire.is !== 'error') continue
    const message = podwire.msg.replaceAll(/"[^"]*"|'[^']*'|: json: .*|CNI_COMMAND: .*|\[[^\]]*\]/g, '…')
    const key = `${podwire.code} ${message}`
    if (!found.has(key)) found.set(key, row)
  }
  return found
}

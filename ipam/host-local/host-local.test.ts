import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createFiles } from '../../shared/exec/files.js'
import { createRunner } from '../../shared/exec/run.js'
import { createHost } from '../../shared/plan/host.js'
import { invoke, readRequest } from '../../shared/program/invoke.js'
import { main } from '../../shared/program/main.js'
import { createMachine } from '../../shared/tools/machine.js'
import type { Environment } from '../../shared/values/environment.js'
import plugin from './host-local.js'

const run = createRunner()
let dataDir: string

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'host-local-'))
})
afterEach(() => rmSync(dataDir, { recursive: true }))

interface Call {
  verb?: string
  id?: string
  ifName?: string
  args?: string
  dryRun?: boolean
  version?: string
  /** Members of `ipam` beside type and dataDir. */
  ipam?: object
  /** Other top-level members. */
  config?: object
}

interface Answer {
  status: number
  stdout: string
  stderr: string
  // biome-ignore lint/suspicious/noExplicitAny: results and errors of every kind are looked into
  json: any
}

/** One call as a runtime makes it, in this process. */
async function call({ verb = 'ADD', id = 'c1', ifName = 'eth0', args = '', ...rest }: Call = {}): Promise<Answer> {
  const { version = '1.1.0', ipam = { subnet: '10.1.2.0/24' }, config = {}, dryRun = false } = rest
  const stdin = JSON.stringify({
    cniVersion: version,
    name: 'net',
    ipam: { type: 'host-local', dataDir, ...ipam },
    ...config,
  })
  const CNI = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: id,
    CNI_IFNAME: ifName,
    CNI_NETNS: '/none',
    CNI_PATH: '/',
    CNI_ARGS: args,
  }
  let [stdout, stderr] = ['', '']
  const status = await main({
    plugin: 'host-local',
    env: { ...CNI, PODWIRE_DRY_RUN: dryRun ? '1' : '' },
    stdin: () => stdin,
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      stderr += text
    },
    run,
    files: createFiles(),
  })
  return { status, stdout, stderr, json: stdout === '' ? undefined : JSON.parse(stdout) }
}

/** The addresses of an ADD that must succeed. */
async function added(options: Call = {}): Promise<string[]> {
  const { status, stdout, json } = await call(options)
  expect(status, stdout).toBe(0)
  return json.ips.map(({ address }: { address: string }) => address)
}

async function refused(options: Call): Promise<{ code: number; msg: string; details: string }> {
  const { status, stdout, json } = await call(options)
  expect(status, stdout).toBe(1)
  return { details: '', ...json }
}

async function quiet(options: Call): Promise<void> {
  const { status, stdout } = await call(options)
  expect([status, stdout]).toEqual([0, ''])
}

function leases(): string[] {
  const directory = join(dataDir, 'net')
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => !name.startsWith('l')) : []
  return names.map((name) => `${name} ${readFileSync(join(directory, name), 'latin1').replace('\r\n', ' ')}`).sort()
}

function foreign(file: string, text: string): void {
  mkdirSync(join(dataDir, 'net'), { recursive: true })
  writeFileSync(join(dataDir, 'net', file), text)
}

describe('the result', () => {
  const ipam = {
    subnet: '10.1.2.0/24',
    rangeStart: '10.1.2.9',
    rangeEnd: '10.1.2.20',
    gateway: '10.1.2.8',
    routes: [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.10.5.1', mtu: 1400 }],
  }
  const routes = [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.10.5.1', mtu: 1400 }]
  const routesOfA = [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.10.5.1' }]
  const ip4 = { ip: '10.1.2.9/24', gateway: '10.1.2.8', routes: routesOfA }

  test.each([
    ['0.1.0', { cniVersion: '0.1.0', ip4, dns: {} }],
    ['0.2.0', { cniVersion: '0.2.0', ip4, dns: {} }],
    [
      '0.3.1',
      { cniVersion: '0.3.1', ips: [{ version: '4', address: '10.1.2.9/24', gateway: '10.1.2.8' }], routes, dns: {} },
    ],
    [
      '0.4.0',
      { cniVersion: '0.4.0', ips: [{ version: '4', address: '10.1.2.9/24', gateway: '10.1.2.8' }], routes, dns: {} },
    ],
    ['1.0.0', { cniVersion: '1.0.0', ips: [{ address: '10.1.2.9/24', gateway: '10.1.2.8' }], routes }],
    ['1.1.0', { cniVersion: '1.1.0', ips: [{ address: '10.1.2.9/24', gateway: '10.1.2.8' }], routes }],
  ])('in version %s, as text', async (version, result) => {
    const { stdout, stderr } = await call({ version, ipam })
    expect(stdout).toBe(JSON.stringify(result, null, 4))
    expect(stderr).toBe('')
  })

  test('routes are printed canonical, host bits and order kept', async () => {
    const { json } = await call({
      ipam: {
        subnet: 'FD00::/64',
        routes: [
          { dst: '10.1.2.3/8', priority: 0, scope: 0 },
          { dst: 'FD01::0/16', gw: 'FD00::A' },
        ],
      },
    })
    expect(json.routes).toEqual([
      { dst: '10.1.2.3/8', scope: 0 },
      { dst: 'fd01::/16', gw: 'fd00::a' },
    ])
  })

  test('dns comes from resolvConf; without the file nothing is reserved', async () => {
    const resolvConf = join(dataDir, 'resolv.conf')
    const ask = { ipam: { subnet: '10.1.2.0/24', resolvConf } }
    const error = await refused(ask)
    expect([error.code, error.msg]).toEqual([
      5,
      `host-local: network "net": cannot read ipam.resolvConf ${resolvConf}: open ${resolvConf}: no such file or directory`,
    ])
    expect(leases()).toEqual([])
    writeFileSync(resolvConf, 'nameserver 192.0.2.1\nsearch a.b c.d\n')
    expect((await call(ask)).json.dns).toEqual({ nameservers: ['192.0.2.1'], search: ['a.b', 'c.d'] })
  })
})

describe('which addresses', () => {
  const dual = { ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00::/64' }]] }

  test('runtime ranges, the single range and configured ones all count, in this order', async () => {
    const ipam = { subnet: '10.2.0.0/24', ranges: [[{ subnet: '10.3.0.0/24' }]] }
    const config = { runtimeConfig: { ipRanges: [[{ subnet: '10.1.0.0/24' }]] } }
    expect(await added({ ipam, config })).toEqual(['10.1.0.2/24', '10.2.0.2/24', '10.3.0.2/24'])
  })

  test.each<[string, Call, string[]]>([
    ['CNI_ARGS', { args: 'IP=10.1.2.77' }, ['10.1.2.77/24', 'fd00::2/64']],
    ['CNI_ARGS with a prefix length', { args: 'IgnoreUnknown=1;K8S=x;IP=10.1.2.77/8' }, ['10.1.2.77/24', 'fd00::2/64']],
    ['an empty CNI_ARGS value', { args: 'IP=' }, ['10.1.2.2/24', 'fd00::2/64']],
    ['args.cni.ips', { config: { args: { cni: { ips: ['fd00::7/64'] } } } }, ['10.1.2.2/24', 'fd00::7/64']],
    [
      'runtimeConfig.ips',
      { config: { runtimeConfig: { ips: ['10.1.2.9', 'fd00::9'] } } },
      ['10.1.2.9/24', 'fd00::9/64'],
    ],
    [
      'all of them together',
      { args: 'IP=10.1.2.9', config: { args: { cni: { ips: ['10.1.2.9/24'] } }, runtimeConfig: { ips: ['fd00::9'] } } },
      ['10.1.2.9/24', 'fd00::9/64'],
    ],
  ])('requested by %s', async (_, options, addresses) => {
    expect(await added({ ipam: dual, ...options })).toEqual(addresses)
  })

  test('a key spelt in another case is the same key', async () => {
    expect(await added({ ipam: { SUBNET: '10.1.2.0/24', RangeStart: '10.1.2.50' } })).toEqual(['10.1.2.50/24'])
  })

  test('repeated: the same; another interface: another', async () => {
    expect(await added({ ipam: dual })).toEqual(['10.1.2.2/24', 'fd00::2/64'])
    expect(await added({ ipam: dual })).toEqual(['10.1.2.2/24', 'fd00::2/64'])
    expect(await added({ ipam: dual, ifName: 'eth1' })).toEqual(['10.1.2.3/24', 'fd00::3/64'])
    expect(leases()).toHaveLength(4)
  })
})

describe('refusals touch nothing', () => {
  test.each<[string, Call, number, string]>([
    ['no ipam', { config: { ipam: null } }, 7, 'IPAM config missing'],
    ['no ranges', { ipam: {} }, 7, 'ipam.ranges: found nothing, expected at least one range set'],
    ['rangeStart alone', { ipam: { rangeStart: '10.1.2.3' } }, 7, 'at least one range set'],
    ['a bad range', { ipam: { subnet: '10.1.2.1/24' } }, 7, 'ipam.subnet: found "10.1.2.1/24"'],
    [
      'a bad runtime range',
      { config: { runtimeConfig: { ipRanges: [[{ subnet: 'x' }]] } } },
      7,
      'runtimeConfig.ipRanges[0][0].subnet',
    ],
    ['a range that is null', { ipam: { ranges: [null] } }, 7, 'ipam.ranges[0]'],
    ['a bad request', { args: 'IP=zz' }, 7, 'CNI_ARGS IP: found "zz"'],
    ['an empty request', { config: { runtimeConfig: { ips: [''] } } }, 7, 'runtimeConfig.ips[0]: found ""'],
    ['unknown CNI_ARGS', { args: 'FOO=1' }, 4, 'IgnoreUnknown'],
    [
      'two of a family in 0.2.0',
      { version: '0.2.0', ipam: { ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]] } },
      7,
      'cniVersion: found "0.2.0"',
    ],
    ['a request nobody can meet', { args: 'IP=10.9.9.9' }, 108, 'range sets: 10.1.2.1-10.1.2.254'],
  ])('%s', async (_, options, code, details) => {
    const error = await refused(options)
    expect(error.code).toBe(code)
    expect(error.details).toContain(details)
    expect(leases()).toEqual([])
  })

  test('a failed request for more never costs what is held', async () => {
    const ipam = { ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00::/64' }]] }
    await added({ ipam })
    await added({ ipam, id: 'c2' })
    const error = await refused({ ipam, config: { runtimeConfig: { ips: ['10.1.2.50', 'fd00::3'] } } })
    expect(error.code).toBe(108)
    expect(error.msg).toContain('requested IP address fd00::3 is not available in range set')
    expect(leases()).toEqual(['10.1.2.2 c1 eth0', '10.1.2.3 c2 eth0', 'fd00::2 c1 eth0', 'fd00::3 c2 eth0'])
  })

  test('a full range says how many, since when, who, and what helps', async () => {
    const ipam = { subnet: '10.1.2.0/29' }
    for (const id of ['c1', 'c2', 'c3', 'c4', 'c5']) await added({ ipam, id })
    const error = await refused({ ipam, id: 'c6' })
    expect(error.code).toBe(11)
    expect(error.msg).toBe(
      'host-local: network "net": failed to allocate for range 0: no IP addresses available in range set: 10.1.2.1-10.1.2.6',
    )
    expect(error.details).toContain(`5 leases in ${dataDir}/net, 0 of them older than this boot`)
    expect(error.details).toMatch(/10\.1\.2\.2 held by c1 eth0 since 20\d\d-\d\d-\d\dT/)
    expect(error.details).toContain(`rm ${dataDir}/net/ADDRESS`)
    await quiet({ verb: 'DEL', ipam, id: 'c3' })
    expect(await added({ ipam, id: 'c6' })).toEqual(['10.1.2.4/29'])
  })
})

describe('an asking plugin that fails later', () => {
  function environment(containerID: string): Environment {
    return { command: 'ADD', containerID, netns: '', ifName: 'eth0', args: '', path: '/', netnsOverride: false }
  }

  test('gives back what this call reserved, and nothing that was held before', () => {
    const stdin = JSON.stringify({ cniVersion: '1.0.0', name: 'net', ipam: { dataDir, subnet: '10.1.2.0/24' } })
    const files = createFiles()
    const machine = createMachine({ run, files })
    const host = () => createHost({ machine, run, files, env: {}, dryRun: false, stderr: () => undefined })
    const first = host()
    invoke(plugin, readRequest(environment('c1'), stdin), first)
    const again = host()
    invoke(plugin, readRequest(environment('c1'), stdin), again)
    expect(again.journal.rollback(again)).toEqual([])
    expect(leases()).toEqual(['10.1.2.2 c1 eth0'])
    expect(first.journal.rollback(first)).toEqual([])
    expect(leases()).toEqual([])
  })
})

test('a dry run shows the address and writes nothing', async () => {
  await added({ id: 'c0' })
  const before = leases()
  const { stdout, stderr, json } = await call({ dryRun: true })
  expect(json.ips, stdout).toEqual([{ address: '10.1.2.3/24', gateway: '10.1.2.1' }])
  expect(stderr).toBe(`# reserve 10.1.2.3/24 for c1 eth0 in ${dataDir}/net\n`)
  const { stderr: released } = await call({ dryRun: true, verb: 'DEL', id: 'c0' })
  expect(released).toBe(`# release the addresses of c0 eth0 in ${dataDir}/net\n`)
  expect(leases()).toEqual(before)
  rmSync(join(dataDir, 'net'), { recursive: true })
  expect((await call({ dryRun: true })).json.ips[0].address).toBe('10.1.2.2/24')
  expect(existsSync(join(dataDir, 'net'))).toBe(false)
})

describe('DEL', () => {
  test.each<[string, Call]>([
    ['as it was added', {}],
    ['with ranges that are wrong', { ipam: { subnet: 'nonsense' } }],
    ['with other ranges', { ipam: { subnet: '192.168.0.0/24' } }],
    ['with no ranges', { ipam: {} }],
    ['with routes that are wrong', { ipam: { routes: [{ dst: 'nonsense' }] } }],
    ['with CNI_ARGS that are wrong', { args: 'a;b' }],
    ['in an old version', { version: '0.1.0' }],
  ])('frees %s, twice', async (_, options) => {
    await added()
    await added({ id: 'c2' })
    await quiet({ ...options, verb: 'DEL' })
    expect(leases()).toEqual(['10.1.2.3 c2 eth0'])
    await quiet({ ...options, verb: 'DEL' })
    expect(leases()).toEqual(['10.1.2.3 c2 eth0'])
  })

  test('of an unknown network makes no directory', async () => {
    await quiet({ verb: 'DEL' })
    expect(readdirSync(dataDir)).toEqual([])
  })
})

describe('CHECK', () => {
  const prevResult = (address: string) => ({ config: { prevResult: { cniVersion: '1.1.0', ips: [{ address }] } } })

  test('passes for a lease, with or without the same address in prevResult, and for addresses of others', async () => {
    await added()
    await quiet({ verb: 'CHECK' })
    await quiet({ verb: 'CHECK', ...prevResult('10.1.2.2/24') })
    await quiet({ verb: 'CHECK', ...prevResult('192.168.9.9/24') })
  })

  test('fails without a lease, and for another address', async () => {
    const none = await refused({ verb: 'CHECK' })
    expect([none.code, none.msg]).toEqual([
      105,
      'host-local: network "net": host-local: Failed to find address added by container c1',
    ])
    expect(readdirSync(dataDir)).toEqual([])
    await added()
    const other = await refused({ verb: 'CHECK', ...prevResult('10.1.2.9/24') })
    expect(other.details).toContain('it holds 10.1.2.2, but prevResult lists 10.1.2.9/24')
  })
})

describe('STATUS', () => {
  test('is fine before the first ADD and with room left', async () => {
    await quiet({ verb: 'STATUS' })
    await added()
    await quiet({ verb: 'STATUS' })
  })

  test('a warning when a set is full, or 50 where it is asked for; 50 when leases cannot be written; 7 when the configuration is wrong', async () => {
    const ipam = { subnet: '10.1.2.0/30' }
    await added({ ipam })
    const warned = await call({ verb: 'STATUS', ipam })
    expect(warned).toMatchObject({ status: 0, stdout: '' })
    expect(warned.stderr).toContain('no IP addresses available in range set: 10.1.2.1-10.1.2.2')
    const full = await refused({ verb: 'STATUS', ipam: { ...ipam, statusOnFullRange: true } })
    expect(full.code).toBe(50)
    expect(full.msg).toContain('no IP addresses available in range set: 10.1.2.1-10.1.2.2')
    expect(full.details).toContain('10.1.2.2 held by c1 eth0')
    writeFileSync(join(dataDir, 'file'), '')
    const unwritable = await refused({ verb: 'STATUS', ipam: { ...ipam, dataDir: join(dataDir, 'file') } })
    expect(unwritable.code).toBe(50)
    expect(unwritable.msg).toContain('ENOTDIR')
    expect((await refused({ verb: 'STATUS', ipam: {} })).code).toBe(7)
  })
})

describe('GC', () => {
  const valid = (...attachments: [string, string][]) => ({
    config: { 'cni.dev/valid-attachments': attachments.map(([containerID, ifname]) => ({ containerID, ifname })) },
  })

  test("frees what no valid attachment holds; persons' notes stay", async () => {
    for (const id of ['c1', 'c2', 'c3']) await added({ id })
    await added({ id: 'c1', ifName: 'eth1' })
    foreign('10.1.2.100', 'c2')
    foreign('10.1.2.101', 'c9')
    foreign('10.1.2.102', 'for the printer')
    await quiet({ verb: 'GC', ...valid(['c1', 'eth0'], ['c2', 'eth0']) })
    expect(leases()).toEqual(['10.1.2.100 c2', '10.1.2.102 for the printer', '10.1.2.2 c1 eth0', '10.1.2.3 c2 eth0'])
    await quiet({ verb: 'GC', ...valid() })
    expect(leases()).toEqual(['10.1.2.102 for the printer'])
  })

  test('without a list, or with null, nothing is stale', async () => {
    await added()
    await quiet({ verb: 'GC' })
    await quiet({ verb: 'GC', config: { 'cni.dev/valid-attachments': null } })
    expect(leases()).toEqual(['10.1.2.2 c1 eth0'])
  })
})

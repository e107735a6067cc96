import { closeSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ipams, names } from 'podwire:plugins'
import { shapes } from 'podwire:shapes'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { link, netns, type Row, run } from '../../shared/testing/golden.js'
import type { Shape } from '../../shared/values/shape.js'

// No input may be taken for a defect of ours (code 199): every key of every plugin, with what nobody expects in it.

const CNI_PATH = mkdtempSync(join(tmpdir(), 'fuzz-'))
for (const name of names) symlinkSync(process.execPath, join(CNI_PATH, name))
const dataDir = mkdtempSync(join(tmpdir(), 'fuzz-data-'))
afterAll(() => {
  for (const folder of [CNI_PATH, dataDir]) rmSync(folder, { recursive: true })
})

const verbs = ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC'] as const
const route = { dst: '10.9.0.0/16', gw: '10.1.2.9', mtu: 1400, advmss: 1300, priority: 5, table: 100, scope: 0 }
const fixed = { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }], routes: [route] }
const ranged = {
  type: 'host-local',
  dataDir,
  ranges: [[{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.10', rangeEnd: '10.1.2.20', gateway: '10.1.2.1' }]],
}
const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [
    { name: 'br0', mac: '02:00:00:00:00:01' },
    { name: 'vethx', mac: '02:00:00:00:00:09' },
    { name: 'eth0', mac: '02:00:00:00:00:02', sandbox: netns },
  ],
  ips: [{ interface: 2, address: '10.1.2.3/24', gateway: '10.1.2.1' }],
  routes: [route],
  dns: { nameservers: ['10.1.2.53'] },
}
const mapping = { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '192.0.2.1' }

/** A configuration of each plugin that works on the host below, as rich as it gets. */
const good: Readonly<Record<string, object>> = {
  bridge: { bridge: 'br0', ipam: fixed, isDefaultGateway: true, ipMasq: true, macspoofchk: true, vlan: 5, prevResult },
  ptp: { ipam: fixed, ipMasq: true, prevResult },
  macvlan: { master: 'top0', ipam: fixed, prevResult },
  ipvlan: { master: 'top0', ipam: fixed, prevResult },
  vlan: { master: 'top0', vlanId: 5, ipam: fixed, prevResult },
  'host-device': { device: 'top0', ipam: fixed, prevResult },
  dummy: { ipam: fixed, prevResult },
  tap: { ipam: ranged, prevResult },
  loopback: { prevResult },
  portmap: { prevResult, conditionsV4: ['ip saddr 10.0.0.0/8'], runtimeConfig: { portMappings: [mapping] } },
  firewall: { prevResult, ingressPolicy: 'same-bridge', backend: 'nftables' },
  tuning: { prevResult, dataDir, sysctl: { 'net.core.somaxconn': '500' }, mtu: 1400, mac: '02:00:00:00:00:05' },
  bandwidth: { prevResult, ingressRate: 80000, ingressBurst: 80000, egressRate: 80000, egressBurst: 80000 },
  sbr: { prevResult },
  vrf: { prevResult, vrfname: 'blue' },
  chain: { plugins: [{ type: 'dummy', ipam: fixed }] },
  flannel: { dataDir, delegate: { type: 'dummy' }, ipam: ranged },
  'host-local': { ipam: ranged },
  static: { ipam: fixed },
}

const kinds: Readonly<Record<string, string>> = { bridge: 'bridge' }
const eth0 = link('eth0', { link_index: 9, ifindex: 2, linkinfo: { info_kind: 'veth' } })
const absent = { status: 1, stderr: 'Device "eth0" does not exist.' }
const answersFor = (plugin: string): NonNullable<Row['answers']> => ({
  'container# ip -j -d addr show dev*': plugin === 'host-device' ? absent : eth0,
  'container# ip -j -d addr show': eth0,
  'ip -j -d addr show dev vethx': link('vethx', { ifindex: 9, link_index: 2, linkinfo: { info_kind: 'veth' } }),
  'ip -j -d addr show dev*': link('top0', {
    address: '02:00:00:00:00:0a',
    linkinfo: { info_kind: kinds[plugin] ?? 'veth' },
  }),
  'ip -j*': '[]',
  'container# ip -j*': '[]',
  '*': '',
})

const files = {
  '/proc/net/route': 'head\nbr0\t0002010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n',
  '/run/flannel/subnet.env':
    'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
  '/proc/net/tcp': '',
  '/proc/net/udp': '',
  '/proc/net/fib_trie': '',
  '/proc/uptime': '1000.0 1000.0\n',
  '/proc/self/cwd': '/nowhere',
  '/proc/sys/net/ipv4/ip_forward': '1\n',
  '/proc/sys/net/ipv6/conf/all/forwarding': '1\n',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
}

interface Place {
  readonly path: readonly (string | number)[]
  readonly shape: Shape
}

/** Every place of a configuration, down to the items of arrays and one entry of each record. */
function placesOf(shape: Shape, path: Place['path'] = []): readonly Place[] {
  const own = [{ path, shape }]
  if (shape.is === 'array') return [...own, ...placesOf(shape.of, [...path, 0])]
  if (shape.is === 'record') return [...own, ...placesOf(shape.of, [...path, 'net.core.somaxconn'])]
  if (shape.is !== 'object') return own
  return [...own, ...Object.entries(shape.keys).flatMap(([key, one]) => placesOf(one, [...path, key]))]
}

/** The value with another one at a place, made where it is not. */
function withAt(value: unknown, [key, ...rest]: Place['path'], given: unknown): unknown {
  if (key === undefined) return given
  if (typeof key === 'number') return [withAt(Array.isArray(value) ? value[0] : undefined, rest, given)]
  const object = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
  return { ...object, [key]: withAt((object as Record<string, unknown>)[key], rest, given) }
}

const nested = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`)

/** What is no word of a batch file, looks like an option, or is what a tool takes for something else. */
const texts = [
  ...[
    '',
    ' ',
    '-x',
    '--help',
    '-',
    '.',
    '..',
    '/',
    '*',
    '%d',
    '@x',
    '!',
    'a b',
    'a\tb',
    'a\nb',
    '\0',
    '\x7f',
    '\u0085',
  ],
  ...['"', '"a"', 'a"b', "a'b", 'a\\b', '\\', '#', 'a#b', ';', 'a;b', '{', '}', 'a{b', '{a,b}', 'a}', '`id`', '$(id)'],
  ...['é', '\u2028', '\ud800', '💥', 'x'.repeat(300), 'constructor', '__proto__', 'toString', 'null', 'true', '0x10'],
  ...[
    '0.0.0.0',
    '::',
    '::1',
    'fe80::1',
    'fe80::1%eth0',
    '255.255.255.255',
    '10.0.0.1',
    '10.0.0.1/33',
    '0.0.0.0/0',
    '::/0',
  ],
  ...[
    '::ffff:10.0.0.1/120',
    '01:00:5e:00:00:01',
    '00:00:00:00:00:00',
    '02:00:00:00:00:01',
    '/etc/passwd',
    '/proc/self/mem',
  ],
]
const others = [
  null,
  true,
  false,
  0,
  -1,
  1,
  1.5,
  4294967295,
  4294967296,
  2 ** 53,
  -(2 ** 31),
  1e308,
  [],
  {},
  [null],
  [[]],
  [{}],
]
const values: readonly unknown[] = [
  ...texts,
  ...others,
  ['a;b', '"'],
  ['-m', '"x'],
  { a: null },
  { '': '"' },
  nested(2000),
]

/** What an ADD keeps open until its process ends, which here goes on. */
function closeReserved(): void {
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === '/') closeSync(Number(fd))
    } catch {
      // It was the directory that was read.
    }
  }
}

async function expectNoDefect(plugin: string, verb: Row['verb'], config: unknown, env: Record<string, string> = {}) {
  const row = {
    plugin,
    verb,
    config: config as object,
    answers: answersFor(plugin),
    files,
    links: ['br0', 'vethx', 'top0'],
  }
  const { json, status } = await run({ ...row, env: { CNI_PATH, ...env } })
  if (verb === 'ADD' && status === 0) closeReserved()
  expect(json?.code, JSON.stringify({ plugin, verb, config, env, json })).not.toBe(199)
  return { status, json }
}

const typed = Object.keys(good).filter((plugin) => names.includes(plugin) || ipams.includes(plugin))

describe('what is fuzzed works unfuzzed', () => {
  test.each(typed)('%s', async (plugin) => {
    const { status, json } = await expectNoDefect(plugin, 'ADD', good[plugin])
    expect(status, JSON.stringify(json)).toBe(0)
  })

  test('and is every plugin', () => expect([...typed].sort()).toEqual([...names].sort()))
})

describe('each key with each odd value', () => {
  test.each(typed)('%s', { timeout: 240_000 }, async (plugin) => {
    let turn = 0
    for (const { path } of placesOf(shapes[plugin] as Shape)) {
      for (const value of values) {
        const config = withAt(good[plugin], path, value)
        if (typeof config !== 'object') continue
        await expectNoDefect(plugin, 'ADD', config)
        // The others read it alike: each value is for one of them, at another place for the next.
        if (turn++ % 3 === 0) await expectNoDefect(plugin, verbs[1 + (turn % 4)] as Row['verb'], config)
      }
    }
  })
})

describe('each place of prevResult with odd values', () => {
  const places = placesOf(shapes['result.C'] as Shape)
  test.each(typed)('%s', { timeout: 240_000 }, async (plugin) => {
    let turn = typed.indexOf(plugin)
    for (const { path } of places) {
      for (const value of values) {
        if (turn++ % 8 !== 0) continue
        await expectNoDefect(plugin, 'ADD', { ...good[plugin], prevResult: withAt(prevResult, path, value) })
      }
    }
  })
})

test('the environment', { timeout: 240_000 }, async () => {
  for (const plugin of typed) {
    for (const text of texts.filter((one) => !one.includes('\0') && one.isWellFormed())) {
      const env = [
        ...['CNI_IFNAME', 'CNI_CONTAINERID', 'CNI_ARGS', 'CNI_PATH'].map((key) => ({ [key]: text })),
        ...['IP', 'GATEWAY', 'MAC'].map((key) => ({ CNI_ARGS: `IgnoreUnknown=1;${key}=${text}` })),
      ]
      for (const one of env) {
        for (const verb of ['ADD', 'DEL', 'CHECK'] as const) await expectNoDefect(plugin, verb, good[plugin], one)
      }
    }
  }
})

test('several keys at once', { timeout: 240_000 }, async () => {
  const one = fc.constantFrom(...typed).chain((plugin) => {
    const place = fc.constantFrom(...placesOf(shapes[plugin] as Shape).map(({ path }) => path))
    const change = fc.tuple(place, fc.oneof(fc.constantFrom(...values), fc.string({ unit: 'binary' }), fc.jsonValue()))
    return fc.tuple(fc.constant(plugin), fc.constantFrom(...verbs), fc.array(change, { minLength: 2, maxLength: 5 }))
  })
  await fc.assert(
    fc.asyncProperty(one, async ([plugin, verb, changes]) => {
      const config = changes.reduce((whole: unknown, [path, value]) => withAt(whole, path, value), good[plugin])
      if (typeof config === 'object') await expectNoDefect(plugin, verb, config)
    }),
    { seed: 1, numRuns: 1000 },
  )
})

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { type Cost, type Costed, costOf } from './harness/cost.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { repository, suites } from './harness/locations.js'
import { runPlugin, runTraced } from './harness/plugin.js'
import { run } from './harness/process.js'

// A guard of the cost that is no timing: what a call starts, and what a start loads. A row may shrink; that it grows
// needs a reason.

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] }
const portMappings = Array.from({ length: 100 }, (_, index) => ({
  hostPort: 8000 + index * 2,
  containerPort: 80,
  protocol: 'tcp',
}))
const limits = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 }

const rewrite = ['iptables-save', 'iptables-restore']

const policed = { CHECK: ['iptables-save'], STATUS: ['nft'] }

const rows: [string, Costed, Cost][] = [
  ['loopback', { type: 'loopback' }, {}],
  ['host-local', { type: 'host-local', ipam }, {}],
  ['static', { type: 'static', ipam: { type: 'static', addresses: [{ address: '10.1.0.2/24' }] } }, {}],
  ['bridge', { type: 'bridge', isGateway: true, ipam }, {}],
  ['bridge with masquerade', { type: 'bridge', isGateway: true, ipMasq: true, ipam }, { STATUS: ['nft'] }],
  [
    'bridge as most networks have it',
    { type: 'bridge', isGateway: true, hairpinMode: true, portIsolation: true, ipam },
    {},
  ],
  ['promiscuous bridge', { type: 'bridge', isGateway: true, promiscMode: true, ipam }, {}],
  ['ptp with masquerade', { type: 'ptp', ipMasq: true, ipam }, { STATUS: ['nft'] }],
  ['macvlan', { type: 'macvlan', master: 'uplink', ipam }, {}],
  ['tap', { type: 'tap', ipam }, { ADD: ['in ip'], STATUS: ['ip'] }],
  ['host-device', { type: 'host-device', device: 'spare0' }, {}],
]

const chained: [string, Costed, Cost][] = [
  ['portmap, 100 ports', { type: 'portmap', runtimeConfig: { portMappings } }, { STATUS: ['nft'] }],
  [
    'portmap, 100 ports, by iptables',
    { type: 'portmap', backend: 'iptables', runtimeConfig: { portMappings } },
    {
      ADD: ['iptables-save', 'iptables-save', 'iptables-restore'],
      CHECK: ['iptables-save'],
      DEL: ['iptables-save', 'ip6tables-save', 'iptables-restore'],
      STATUS: ['iptables-restore'],
    },
  ],
  ['firewall', { type: 'firewall' }, policed],
  ['firewall that keeps bridges apart', { type: 'firewall', ingressPolicy: 'same-bridge' }, policed],
  ['firewall that keeps containers apart', { type: 'firewall', ingressPolicy: 'isolated' }, policed],
  [
    'firewall, by iptables',
    { type: 'firewall', backend: 'iptables' },
    { ADD: rewrite, CHECK: ['iptables-save'], DEL: rewrite, STATUS: ['iptables-restore'] },
  ],
  ['tuning without work', { type: 'tuning' }, {}],
  [
    'tuning',
    { type: 'tuning', mtu: 1400, promisc: true, allmulti: true, sysctl: { 'net.ipv4.conf.IFNAME.rp_filter': '2' } },
    {},
  ],
  ['bandwidth without limits', { type: 'bandwidth' }, { STATUS: ['tc', 'tc'] }],
  [
    'bandwidth',
    { type: 'bandwidth', ...limits },
    { ADD: ['tc'], CHECK: ['tc', 'tc', 'tc'], DEL: ['tc + ip'], STATUS: ['tc', 'tc'] },
  ],
  ['sbr', { type: 'sbr' }, { ADD: ['in ip'], DEL: ['in ip', 'in ip'], STATUS: ['ip'] }],
]

describe('the processes of each verb', () => {
  test.for(rows)('%s', async ([, config, expected], { host }) => {
    await host.outside()
    await host.output(['ip', 'link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1'])
    expect(await costOf(host, config)).toEqual(expected)
  })

  test.for(chained)('%s', async ([, config, expected], { host }) => {
    expect(await costOf(host, config, { isChained: true })).toEqual(expected)
  })

  test.for(['same-bridge', 'isolated'])(
    'firewall beside another that wants the bridge %s, too',
    async (ingressPolicy, { host }) => {
      const config = { type: 'firewall', ingressPolicy }
      expect(await costOf(host, config, { isChained: true, isBeside: true })).toEqual(policed)
    },
  )
})

/** A script of shared/bundling/bundle.ts. */
const scriptOf = (plugin: string, verb = 'ADD') => `${repository}/dist/scripts/${plugin}.${verb}.js`

/**
 * Bytes of the heap that the pinned Node saves of an empty program, with the code of all its modules: what sizes are
 * held against.
 */
async function emptyHeap(host: Host): Promise<number> {
  const [program, heap] = ['/run/empty.js', '/run/empty.heap']
  writeFileSync(host.path(program), '')
  const { status, stderr } = await host.exec([process.execPath, '--snapshot-blob', heap, '--build-snapshot', program])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return statSync(host.path(heap)).size
}

const cacheBounds = { ADD: { all: 0.105, one: 0.058 }, DEL: { all: 0.08, one: 0.038 } }

test('a start stays small: JavaScript, the saved heap and the binary, against those of the pinned Node', async ({
  host,
}) => {
  const empty = await emptyHeap(host)
  const share = (file: string) => statSync(file).size / empty
  // bridge's and portmap's are the longest, by what they say in the official plugins' words when something is wrong;
  // chain's and flannel's have all plugins. Plain data is JSON, longer than a literal and parsed faster. What is taken
  // out of the cache is what counts: the rest is only copied.
  for (const { name } of listPlugins(repository)) {
    for (const verb of ['ADD', 'DEL'] as const) {
      const hasAll = name === 'chain' || name === 'flannel'
      expect(share(scriptOf(name, verb)), name).toBeLessThan(hasAll ? 0.067 : 0.0335)
      const cache = share(scriptOf(name, verb).replace(/js$/, 'cache'))
      expect(cache, `${name} ${verb}`).toBeLessThan(cacheBounds[verb][hasAll ? 'all' : 'one'])
    }
  }
  // For a DEL that finds nothing, of plugins that keep records.
  for (const name of ['bandwidth', 'bridge', 'firewall', 'portmap', 'ptp', 'sbr'])
    expect(share(scriptOf(name, 'NOTHING').replace(/js$/, 'cache')), name).toBeLessThan(0.032)
  // The hash that names a record is in it, since that chooses the script.
  expect(share(`${repository}/dist/podwire.heap`)).toBeLessThan(0.252)
  // The base is stripped; heap, scripts, a cache for each of them and libraries' path come into it.
  expect(statSync(`${repository}/dist/podwire`).size).toBeLessThan(0.93 * statSync(process.execPath).size)
})

test('a start reads no zod, no ipaddr.js, and no module of Node that is slow to load', () => {
  const requiredBy = (file: string) =>
    [...readFileSync(file, 'utf8').matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name)
  for (const { name } of listPlugins(repository)) {
    for (const verb of ['ADD', 'DEL']) expect(new Set(requiredBy(scriptOf(name, verb)))).toEqual(new Set(['node:fs']))
  }
  expect(new Set(requiredBy(`${repository}/dist/podwire.cjs`))).toEqual(new Set(['node:fs']))
})

test.runIf(process.arch === 'x64')(
  'a call makes no thread and, where the kernel does it all, no process',
  async ({ host }) => {
    const { netns } = await host.container()
    const config = { cniVersion: '1.1.0', name: 'network', type: 'bridge', isGateway: true, ipMasq: true, ipam }
    const call = (command: 'ADD' | 'DEL', containerID: string) => ({
      plugin: 'bridge',
      command,
      config,
      netns,
      containerID,
    })
    for (const command of ['ADD', 'DEL'] as const)
      expect((await runPlugin(host, call(command, 'first'))).status).toBe(0)
    for (const command of ['ADD', 'DEL'] as const) {
      const options = ['-f', '-e', 'trace=clone,clone3,fork,vfork,exit_group']
      const { status, calls } = await runTraced(host, call(command, 'next'), options)
      expect({ status, calls: calls.split('\n') }).toEqual({
        status: 0,
        calls: [expect.stringContaining('exit_group(0)'), expect.stringContaining('exited with 0'), ''],
      })
    }
  },
)

test('nothing is taken apart at the end: after the answer a call only makes itself a way out', async ({ host }) => {
  const config = { cniVersion: '1.1.0' }
  const { status, calls } = await runTraced(host, { plugin: 'bridge', command: 'VERSION', config })
  expect(status).toBe(0)
  const lines = calls.split('\n')
  const behind = lines.slice(lines.findIndex((line) => line.startsWith('write(1, ')) + 1)
  const ofMemory = /^(mmap|munmap|mprotect|madvise|brk|futex)\(/
  expect(behind.filter((line) => /^[a-z_0-9]+\(/.test(line) && !ofMemory.test(line))).toEqual([
    expect.stringMatching(/^exit_group\(0\)/),
  ])
})

test('C is called by the function that ends a call and one that sends, whatever is asked', async ({ host }) => {
  const { netns } = await host.container()
  const config = { cniVersion: '1.1.0', name: 'one', type: 'bridge', isGateway: true, ipMasq: true, ipam }
  const made: Record<string, number> = {}
  for (const command of ['VERSION', 'ADD', 'DEL', 'GC'] as const) {
    const call = { plugin: 'bridge', command, netns, config: { ...config, 'cni.dev/valid-attachments': [] } }
    const { status, stdout, calls } = await runTraced(host, call, ['-e', 'trace=mprotect'])
    expect(status, stdout).toBe(0)
    made[command] = calls.split('\n').filter((line) => /PROT_READ\|PROT_EXEC\) = 0$/.test(line)).length
  }
  // One to see whether code can be made at all, and the functions.
  expect(made).toEqual({ VERSION: 2, ADD: 3, DEL: 3, GC: 3 })
})

test('a start reads the libraries, random numbers and nothing else, and has few names of them looked up', async ({
  host,
}) => {
  const call = { plugin: 'bridge', command: 'VERSION', config: { cniVersion: '1.1.0' } } as const
  const { status, calls } = await runTraced(host, call, ['-e', 'trace=open,openat'])
  expect(status).toBe(0)
  const opened = [...calls.matchAll(/"([^"]+)", [^\n]* = \d+$/gm)].map(([, file = '']) => file)
  const isNeeded = (file: string) => /\/lib[a-z_+]+\.so\.\d$|^\/etc\/ld\.so\.cache$|^\/dev\/urandom$/.test(file)
  expect(opened.filter((file) => !isNeeded(file))).toEqual([])
  expect(opened.length).toBeGreaterThan(5)

  // What executable and libstdc++ have themselves, the build has found (packing/prelink.ts): 1,020 of 3,560 are left.
  const env = { CNI_COMMAND: 'VERSION', LD_DEBUG: 'statistics' }
  const { stderr } = await run([`${suites.podwire}/bridge`], { env })
  expect(Number(/number of relocations: (\d+)/.exec(stderr)?.[1])).toBeLessThan(1100)
})

test('a start loads no module of Node beyond those of an empty program', async () => {
  const report = 'process.reallyExit = () => require("node:fs").writeSync(2, JSON.stringify(process.moduleLoadList))'
  const loadedBy = async (...argv: string[]) => {
    const hook = [
      '--import',
      `data:text/javascript,${encodeURIComponent(`import { createRequire } from 'node:module'; const require = createRequire('/'); ${report}`)}`,
    ]
    const command = ['bash', '--norc', '-c', 'exec -a bridge "$@"', 'bash', process.execPath, ...hook, ...argv]
    const { stderr } = await run(command, { env: { CNI_COMMAND: 'VERSION' } })
    return JSON.parse(stderr) as string[]
  }
  const empty = await loadedBy('-e', 'process.reallyExit(0)')
  const ours = await loadedBy(
    '-e',
    `eval(require('node:fs').readFileSync('${scriptOf('bridge')}', 'latin1'))(require, { plugin: 'bridge' })`,
  )
  const ofRunningAFile = /CJSLoader|run_main|main\/|modules\/|eval|vm|source_map|diagnostics/
  expect(ours.filter((one) => !empty.includes(one) && !ofRunningAFile.test(one))).toEqual([])
})

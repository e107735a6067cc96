import { readFileSync, statSync } from 'node:fs'
import { expect } from 'vitest'
import { listPlugins } from '../shared/build/plugins.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { repository } from './harness/locations.js'
import { type Call, runPlugin } from './harness/plugin.js'
import { run } from './harness/process.js'
import { programsOf, readTrace } from './harness/trace.js'

// A guard of the cost that is no timing: what a call starts, and what a start loads. A row may shrink; that it grows needs a reason.

/** The commands a call runs: those of one process of ours joined by " + ", in the order of the processes. */
async function commandsOf(host: Host, call: Call): Promise<string[]> {
  const trace = '/run/cost-trace'
  await host.output(['rm', '-f', trace])
  await succeed(host, { ...call, env: { PODWIRE_TRACE: trace } })
  const started = readTrace(host, trace).filter(({ netlink }) => !netlink)
  const processes = Map.groupBy(started, ({ time, ms }) => `${time} ${ms}`)
  return [...processes.values()].map((group) => programsOf(group).join(' + '))
}

async function succeed(host: Host, call: Call): Promise<void> {
  const { status, stdout } = await runPlugin(host, call)
  if (status !== 0) throw new Error(`${call.plugin} ${call.command}: ${stdout}`)
}

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] }
const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'eth0', sandbox: '/run/netns/container0' }],
  ips: [{ address: '10.31.0.9/24', interface: 0 }],
}
const portMappings = Array.from({ length: 100 }, (_, index) => ({
  hostPort: 8000 + index * 2,
  containerPort: 80,
  protocol: 'tcp',
}))

/** What an ADD and a DEL start once the host has seen one of their kind. */
const rows: [string, { type: string; [key: string]: unknown }, string[], string[]][] = [
  ['loopback', { type: 'loopback' }, [], []],
  ['host-local', { type: 'host-local', ipam }, [], []],
  ['static', { type: 'static', ipam: { type: 'static', addresses: [{ address: '10.1.0.2/24' }] } }, [], []],
  ['bridge', { type: 'bridge', isGateway: true, ipam }, [], []],
  ['bridge with masquerade', { type: 'bridge', isGateway: true, ipMasq: true, ipam }, [], []],
  ['portmap, 100 ports', { type: 'portmap', runtimeConfig: { portMappings }, prevResult }, [], []],
  ['firewall', { type: 'firewall', prevResult }, [], []],
  ['tuning without work', { type: 'tuning', prevResult }, [], []],
  ['bandwidth without limits', { type: 'bandwidth', prevResult }, [], []],
]

test.for(rows)('%s', async ([, config, add, del], { host }) => {
  const container = await host.container()
  const call = (command: 'ADD' | 'DEL', containerID: string): Call => ({
    plugin: config.type,
    command,
    containerID,
    netns: container.netns,
    config: { cniVersion: '1.1.0', name: 'cost', ...config },
  })
  for (const command of ['ADD', 'DEL'] as const) await succeed(host, call(command, 'first'))
  const commands = {
    add: await commandsOf(host, call('ADD', 'next')),
    del: await commandsOf(host, call('DEL', 'next')),
  }
  expect(commands).toEqual({ add, del })
})

/** A script of shared/build/bundle.ts. */
const scriptOf = (plugin: string) => `${repository}/dist/scripts/${plugin}.js`

test('a start stays small: bytes of JavaScript, and none of zod, ipaddr.js or a module of Node that is slow to load', () => {
  const requiredBy = (file: string) =>
    [...readFileSync(file, 'utf8').matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name)
  for (const { name } of listPlugins(repository)) {
    expect(statSync(scriptOf(name)).size).toBeLessThan(140_000)
    expect(new Set(requiredBy(scriptOf(name)))).toEqual(new Set(['node:fs']))
  }
  expect(requiredBy(`${repository}/dist/podwire.cjs`)).toEqual(['node:fs'])
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
  const ours = await loadedBy('-e', `eval(require('node:fs').readFileSync('${scriptOf('bridge')}', 'latin1'))(require)`)
  const ofRunningAFile = /CJSLoader|run_main|main\/|modules\/|eval|vm|source_map|diagnostics/
  expect(ours.filter((one) => !empty.includes(one) && !ofRunningAFile.test(one))).toEqual([])
})

import { mkdirSync, symlinkSync } from 'node:fs'
import { expect } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { repository, suites } from './harness/locations.js'
import { environment, type Verb } from './harness/plugin.js'
import { run } from './harness/process.js'

// A guard of the cost that is no timing: the instructions of a call, counted by valgrind (callgrind), against those of
// a program on the same Node that prints a constant. Both counts differ by less than 1 % from run to run. A bound may
// shrink; that it grows needs a reason. Under valgrind /proc/self/exe is valgrind's own program, so that is what
// plugins find on CNI_PATH here: IPAM and the members of a chain run inside the call, as they do without it.

const deadline = 300_000
const valgrind = ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null']

type Counted = { instructions: number } | { failure: string }

/** Instructions that a program executes itself; those of the processes it starts are not counted. */
async function count(host: Host, argv: readonly string[], env: Record<string, string>, stdin = ''): Promise<Counted> {
  const { status, stdout, stderr } = await host.exec([...valgrind, ...argv], {
    env: { ...env, TMPDIR: '/run' },
    stdin,
    deadline,
  })
  const collected = /Collected : (\d+)/.exec(stderr)?.[1]
  if (status !== 0 || collected === undefined) return { failure: `exit ${status}: ${stdout}${stderr}` }
  return { instructions: Number(collected) }
}

async function countBare(host: Host): Promise<Counted> {
  const { status, stderr } = await run([`${repository}/bench/make-bare`], { deadline })
  if (status !== 0) throw new Error(`cannot make the bare program: ${stderr}`)
  return count(host, [`${repository}/dist/bench/bare`], environment({ plugin: '', command: 'VERSION' }))
}

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] }
const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.31.0.9/24' }] }
const portMappings = [8080, 8081].map((port) => ({ hostPort: port, containerPort: port, protocol: 'tcp' }))

/** Calls, and how many times the instructions of the bare program they may take. */
const rows: [Verb, { type: string; [key: string]: unknown }, number][] = [
  ['VERSION', { type: 'bridge' }, 0.455],
  ['ADD', { type: 'host-local', ipam }, 0.645],
  // The first on a host: it compiles what declares the tables, which later ones do not need (heap/split.ts).
  ['ADD', { type: 'portmap', runtimeConfig: { portMappings }, prevResult }, 1.08],
  ['ADD', { type: 'bridge', isGateway: true, ipam }, 0.94],
]

const members = [
  { type: 'bridge', isGateway: true, ipMasq: true, ipam },
  { type: 'portmap', capabilities: { portMappings: true } },
  { type: 'firewall' },
  { type: 'tuning' },
]

/** DELs that find nothing, on the host that the calls above leave. */
const nothing: typeof rows = [
  ['DEL', { type: 'loopback' }, 0.55],
  ['DEL', { type: 'host-local', ipam }, 0.57],
  ['DEL', { type: 'static', ipam: { type: 'static', addresses: [{ address: '10.1.0.2/24' }] } }, 0.545],
  ['DEL', { type: 'tuning' }, 0.55],
  ['DEL', { type: 'macvlan', master: 'uplink', ipam }, 0.625],
  ['DEL', { type: 'bridge', isGateway: true, ipMasq: true, ipam }, 0.67],
  ['DEL', { type: 'ptp', ipMasq: true, ipam }, 0.66],
  ['DEL', { type: 'portmap', runtimeConfig: { portMappings } }, 0.645],
  ['DEL', { type: 'firewall' }, 0.615],
  [
    'DEL',
    { type: 'chain', plugins: members, capabilities: { portMappings: true }, runtimeConfig: { portMappings } },
    0.925,
  ],
]

/** A folder in which every plugin that a call may run is what /proc/self/exe is under valgrind. */
async function pluginsInside(host: Host): Promise<string> {
  // The child is no longer valgrind's, which would tell its parent's own program.
  const env = { ...environment({ plugin: '', command: 'VERSION' }), TMPDIR: '/run' }
  const program = await host.output([...valgrind, 'sh', '-c', 'readlink /proc/$$/exe; :'], { env })
  const folder = host.path('/run/inside')
  mkdirSync(folder)
  for (const { name } of listPlugins(repository)) symlinkSync(program.trim(), `${folder}/${name}`)
  return '/run/inside'
}

test('instructions of a call, against a bare start', { timeout: 10 * deadline }, async ({ host, skip }) => {
  const bare = await countBare(host)
  if ('failure' in bare) return skip(`valgrind cannot run a Node program here: ${bare.failure}`)
  const container = await host.container()
  const path = await pluginsInside(host)
  const seen: string[] = []
  for (const [index, [command, config, bound]] of [...rows, ...nothing].entries()) {
    const argv = [`${suites.podwire}/${config.type}`]
    const of = index < rows.length ? { netns: container.netns } : { netns: '', containerID: 'nothing' }
    const env = environment({ plugin: config.type, command, path, ...of })
    const counted = await count(host, argv, env, JSON.stringify({ cniVersion: '1.1.0', name: 'count', ...config }))
    if ('failure' in counted) throw new Error(`${config.type} ${command}: ${counted.failure}`)
    const ratio = counted.instructions / bare.instructions
    const line = `${config.type} ${command}: ${ratio.toFixed(3)} of a bare start, at most ${bound}`
    console.log(line)
    if (ratio > bound) seen.push(line)
  }
  expect(seen).toEqual([])
})

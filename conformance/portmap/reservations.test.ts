import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import { describe, expect } from 'vitest'
import { errorOf, resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { nodeCommand, suites } from '../harness/locations.js'
import { environment } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { call, elementCount } from './setting.js'

const hook = transformSync(readFileSync(fileURLToPath(new URL('hook.ts', import.meta.url)), 'utf8'), {
  loader: 'ts',
  format: 'esm',
}).code

/** The script is process 1 of a pid namespace, with all that comes after it below it; "$@" is the hook. */
const inPidNamespace = (script = '"$@"; exit $?') =>
  ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', script, 'sh'] as const
const asProcessOne = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'] as const
const unprivileged = ['setpriv', '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace'] as const
const hiding = 'mount -t proc -o hidepid=2 proc /proc && "$@"; exit $?'

interface Held {
  way: string
  protocol?: 'tcp' | 'udp'
  address?: string
  port?: number
  containerID?: string
  /** Where nerdctl's hook writes its log. */
  log?: string
  /** What starts the hook, and what starts the plugin. */
  wrap?: readonly string[]
  wrapPlugin?: readonly string[]
}

/** ADD of a port that a hook holds in some way. */
async function added(host: Host, held: Held): Promise<Finished> {
  const { way, protocol = 'tcp', address = '0.0.0.0', port = 8080, log = '', containerID = 'container0' } = held
  const container = await host.container()
  const one = { ...call('ADD', container, [{ hostPort: port, containerPort: 80, protocol }]), containerID }
  const argv = [...nodeCommand, '--input-type=module', '--eval', hook, '--', way, protocol, address, String(port), log]
  const plugin = [...(held.wrapPlugin ?? []), `${suites.podwire}/portmap`]
  const stdin = JSON.stringify(one.config)
  return host.exec([...(held.wrap ?? inPidNamespace()), ...argv, ...plugin], { env: environment(one), stdin })
}

async function expectPublished(host: Host, held: Held): Promise<void> {
  const finished = await added(host, held)
  expect(resultOf(finished)).toBeDefined()
  expect(finished.stderr).toBe('')
  expect(await elementCount(host)).toBe(3)
}

async function expectRefused(host: Host, held: Held, who: RegExp): Promise<void> {
  const finished = await added(host, held)
  const error = errorOf(finished)
  expect(error.code).toBe(106)
  expect(error.msg).toMatch(who)
  expect(await elementCount(host)).toBe(0)
}

const id = 'b0a7'.repeat(16)
const ofNerdctl = `default-${id}`
const aNode = /: process \d+ \(.*node.*\) listens on it/
const aSleep = /: process \d+ \(sleep infinity\) listens on it/

/** nerdctl's state of the container. */
function known(host: Host, root = '/var/lib/nerdctl/1935db59', namespace = 'default'): string {
  const path = `${root}/containers/${namespace}/${id}`
  mkdirSync(host.path(path), { recursive: true })
  return path
}

describe("a runtime's own socket is no obstacle", () => {
  const rows: [string, Held][] = [
    ['held by the hook and its child, TCP', { way: 'reserved' }],
    ['held by the hook and its child, UDP', { way: 'reserved', protocol: 'udp', port: 40_000 }],
    ['on a loopback address', { way: 'reserved', address: '127.0.0.1' }],
    ['the child is another program', { way: 'by another program' }],
    ['the child has it alone', { way: 'handed over' }],
    ['without a pid namespace', { way: 'reserved', wrap: [] }],
    [
      'in a pid namespace that /proc is not of',
      { way: 'reserved', wrap: ['unshare', '--pid', '--fork', '--kill-child'] },
    ],
    ['where processes of others are hidden', { way: 'reserved', wrap: [...inPidNamespace(hiding), ...unprivileged] }],
  ]
  test.for(rows)('%s', ([, held], { host }) => expectPublished(host, held))

  test('and the loopback leads to the container, too', async ({ host }) => {
    resultOf(await added(host, { way: 'reserved', address: '127.0.0.1' }))
    expect(await host.output(['nft', 'list', 'map', 'ip', 'podwire', 'portmap_address_conditions'])).not.toContain(
      'accept',
    )
  })

  test('left by the hook that ran before containerd went down', async ({ host }) => {
    known(host)
    await expectPublished(host, { way: 'orphaned', containerID: ofNerdctl })
  })

  test('of a namespace with dashes, in another data root', async ({ host }) => {
    const path = known(host, '/run/elsewhere/1935db59', 'my-name-space')
    const log = `${path}/oci-hook.createRuntime.log`
    await expectPublished(host, { way: 'orphaned', containerID: `my-name-space-${id}`, log })
  })
})

describe("what is somebody else's is refused", () => {
  const rows: [string, Held, RegExp][] = [
    ['a supervisor that owns 6443 and executes the plugin', { way: 'alone', port: 6443 }, aNode],
    ['and leaks it to the plugin', { way: 'leaked', port: 6443 }, aNode],
    ['sshd above the caller', { way: 'above the caller', port: 22 }, aNode],
    ['above the caller, with a child of its own', { way: 'above the caller, with a child' }, /process \d+ \(/],
    ["a stranger's child of the same name", { way: "by a stranger's child" }, aSleep],
    ['one that a grandchild has, too', { way: 'with a grandchild' }, aSleep],
    [
      'a socket unit of process 1, with its service',
      { way: 'above the caller, with a child', wrap: asProcessOne },
      /process 1 /,
    ],
    ['process 1, which executes the plugin, and a service', { way: 'reserved', wrap: asProcessOne }, /process 1 /],
    ['a child of process 1, which executes the plugin', { way: 'handed over', wrap: asProcessOne }, aSleep],
    [
      'outside of the pid namespace of the plugin',
      { way: 'reserved', wrapPlugin: inPidNamespace() },
      /: a process of the host listens/,
    ],
    [
      'of a process that hides',
      { way: 'alone', wrap: inPidNamespace(hiding), wrapPlugin: unprivileged },
      /: a process of the host listens/,
    ],
  ]
  test.for(rows)('%s', ([, held, who], { host }) => expectRefused(host, held, who))

  const orphans: [string, string, string][] = [
    ['an orphan, but not of a container of nerdctl', 'orphaned', 'container0'],
    ['an orphan, but no state of that ID', 'orphaned', `other-${id}`],
    ['an orphan, but an ID that leads elsewhere', 'orphaned', 'default-..'],
    ['an orphan in another cgroup', 'orphaned, in another cgroup', ofNerdctl],
  ]
  test.for(orphans)('%s', async ([, way, containerID], { host }) => {
    known(host)
    writeFileSync(host.path('/run/other-cgroup'), '0::/system.slice/stranger.service\n')
    await expectRefused(host, { way, containerID }, aSleep)
  })

  test('an orphan that is another program', async ({ host }) => {
    known(host)
    const held = { way: 'orphaned, by another program', containerID: ofNerdctl }
    await expectRefused(host, held, /: process \d+ \(tail -f/)
  })
})

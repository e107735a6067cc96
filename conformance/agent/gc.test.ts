import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { until } from '../harness/process.js'
import { Cluster, type ClusterMember, Runtime } from './cluster.js'

// `gc: true` of the agent: what dead pods left, beside a simulated runtime. The two looks are a second apart.

const whole = 40_000
const socket = '/run/containerd/containerd.sock'
const options = ['--gc-every', '1', '--runtime-root', '/']

test('takes what is gone and what the runtime does not know, and no more', { timeout: 240_000 }, async ({ host }) => {
  const { cluster, one } = await nodeThatCollects(host, 41)
  const agent = one.agent(options)
  await told(cluster, 'CollectionFailed', /no runtime listens where they do.*deploy\/gc\.yaml.*gcSocket/)
  const pods = await attached(host, one, ['forgotten', 'known', 'other'])
  const [forgotten = '', known = ''] = pods.map(({ id }) => id)
  await remove(pods.slice(0, 2))
  await grow(host)
  mkdirSync(host.path('/run/containerd'))

  // One that is not of this node's network proves nothing.
  const elsewhere = await Runtime.start(await host.container('elsewhere'), socket)
  await told(cluster, 'CollectionFailed', /the runtime is in another network namespace/)
  expect(leases(host)).toEqual(pods.map(({ id }) => id))
  await elsewhere.kill()
  await host.output(['rm', socket])

  const runtime = await Runtime.start(one.place, socket, [known])
  await told(
    cluster,
    'Collected',
    new RegExp(`gc removed what was left of 1 dead on node node1: podwire/${forgotten}$`),
  )
  expect(leases(host)).toEqual(pods.slice(1).map(({ id }) => id))
  expect(filesOf(host, forgotten)).toEqual([])
  expect((await one.get('/metrics')).stdout).toMatch(/podwire_agent_collected_total 1\n/)

  // What the runtime forgets is taken; what it never knew and lives is not.
  await runtime.has([])
  await told(cluster, 'Collected', new RegExp(known))
  expect(leases(host)).toEqual(pods.slice(2).map(({ id }) => id))
  expect(filesOf(host, pods[2]?.id ?? '').length).toBeGreaterThan(2)
  await runtime.kill()
  await told(cluster, 'CollectionFailed', /does not tell its sandboxes at .*containerd\.sock/)
  agent.child.kill()
  await agent.finished
})

test('takes nothing where it does not see what the runtime sees', { timeout: 240_000 }, async ({ host }) => {
  const { cluster, one } = await nodeThatCollects(host, 42)
  const pods = await attached(host, one, ['gone', 'lives'])
  await remove(pods.slice(0, 1))
  await grow(host)
  mkdirSync(host.path('/run/containerd'))
  mkdirSync(host.path('/run/elsewhere'))
  const elsewhere = { type: 'ptp', ipam: { type: 'host-local', dataDir: '/run/elsewhere', subnet: '10.9.9.0/24' } }
  const list = { cniVersion: '1.0.0', name: 'elsewhere', plugins: [{ type: 'chain', plugins: [elsewhere] }] }
  writeFileSync(host.path(`${one.root}/etc/cni/net.d/20-elsewhere.conflist`), JSON.stringify(list))
  const runtime = await Runtime.start(one.place, socket, ['somebody'])
  for (const [around, words] of [
    // A PID namespace of its own, as a pod without hostPID has it.
    [['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'], /processes of the node are not seen.*deploy\/gc/],
    [['setpriv', '--bounding-set=-sys_ptrace,-sys_admin'], /not seen from here \(CAP_SYS_PTRACE\).*deploy\/gc/],
    // A folder that is the pod's, and one that it may not write.
    [['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /var/lib/cni && exec "$@"', 'sh'], /cni here is not/],
    [['unshare', '--mount', 'sh', '-c', `${readOnly} /run/podwire && exec "$@"`, 'sh'], /podwire cannot be written/],
    // Leases elsewhere than in what the manifest mounts.
    [
      ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /run/elsewhere && exec "$@"', 'sh'],
      /mount it .*elsewhere/,
    ],
  ] as const) {
    const agent = one.agent(options, around)
    await told(cluster, 'CollectionFailed', words)
    expect((await one.get('/metrics')).stdout).toMatch(/podwire_agent_gc_age_seconds \+Inf\n/i)
    agent.child.kill('SIGKILL')
    await agent.finished
    expect(leases(host)).toEqual(pods.map(({ id }) => id))
  }
  // Without the setting nobody is asked, and nothing is taken.
  await cluster.api.order('config', { text: 'logLevel: info' })
  const agent = one.agent(options)
  await until('it is ready', async () => (await one.get('/readyz')).status === 0, whole)
  await cluster.api.order('config', { text: 'gc: true' })
  await told(cluster, 'Collected', /removed what was left of 1/)
  agent.child.kill()
  await agent.finished
  await runtime.kill()
})

// --- internal

const readOnly = 'mount --bind /run/podwire /run/podwire && mount -o remount,bind,ro'

interface Pod {
  readonly place: Container
  readonly id: string
}

/** With ranges that no other test has: an address that is in some namespace of the machine is not proven dead. */
async function nodeThatCollects(host: Host, number: number): Promise<{ cluster: Cluster; one: ClusterMember }> {
  const cluster = await Cluster.create(host)
  await cluster.api.order('config', { text: 'gc: true' })
  const one = await cluster.node(1, [`10.232.${number}.0/24`, `fd44:e8:0:${number}::/64`])
  return { cluster, one }
}

/** Pods of the node's own network, in the order of their addresses. */
async function attached(host: Host, one: ClusterMember, names: readonly string[]): Promise<readonly Pod[]> {
  if (one.conflist === undefined) {
    const agent = one.agent()
    await until('there is a configuration', () => one.conflist !== undefined, whole)
    agent.child.kill()
    await agent.finished
  }
  const pods: Pod[] = []
  for (const name of names) {
    const place = await host.container(name)
    await one.pod('add', place)
    pods.push({ place, id: leases(host).at(-1) ?? '' })
  }
  return pods
}

async function remove(pods: readonly Pod[]): Promise<void> {
  for (const { place } of pods) await place.remove()
}

/** The IDs of the containers that have leases of IPv4, in the order of the addresses. */
function leases(host: Host): readonly string[] {
  const folder = host.path('/var/lib/cni/networks/podwire')
  if (!existsSync(folder)) return []
  const addresses = readdirSync(folder).filter((name) => name.startsWith('10.'))
  const last = (address: string) => Number(address.split('.')[3])
  return addresses
    .sort((one, other) => last(one) - last(other))
    .map((name) => readFileSync(`${folder}/${name}`, 'utf8').split(/\s/)[0] ?? '')
}

/** All files of state that name a container. */
function filesOf(host: Host, id: string): readonly string[] {
  return ['/run/podwire', '/var/lib/cni'].flatMap((folder) => {
    const files = readdirSync(host.path(folder), { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
    return files
      .map(({ parentPath, name }) => `${parentPath}/${name}`)
      .filter((file) => file.includes(id) || readFileSync(file, 'utf8').includes(id))
  })
}

/** Makes all of it eleven minutes old. */
async function grow(host: Host): Promise<void> {
  const files = ['find', '/run/podwire', '/var/lib/cni', '-type', 'f']
  await host.output([...files, '-exec', 'touch', '-h', '-d', '11 minutes ago', '{}', '+'])
}

async function told(cluster: Cluster, reason: string, words: RegExp): Promise<void> {
  let shown: unknown
  const isTold = async () => {
    const { events } = await cluster.api.show()
    shown = events.map((one) => `${one.reason}: ${one.message}`)
    return events.some((one) => one.reason === reason && words.test(one.message))
  }
  await until(reason, isTold, whole).catch(() => expect(shown, JSON.stringify(shown)).toContain(`${reason}: ${words}`))
}

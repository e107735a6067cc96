import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from './harness/answer.js'
import { Cgroup, type Controller } from './harness/cgroup.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { suites, systemCommand } from './harness/locations.js'
import { type Call, environment, runPlugin, type Verb } from './harness/plugin.js'
import { type Finished, run } from './harness/process.js'
import { takeSnapshot } from './harness/snapshot.js'

// Every plugin with less and less of what a process needs. Each call ends by itself: with its result, with one error
// and nothing left, or, where Node does not start at all, by a signal before it changed anything.

interface Row {
  type: string
  isChained?: boolean
  [key: string]: unknown
}

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] }
const portMappings = [8080, 8081].map((port) => ({ hostPort: port, containerPort: 80, protocol: 'tcp' }))
const rates = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 }
const bridge = { type: 'bridge', isGateway: true, ipMasq: true, ipam }

const rows: Record<string, Row> = {
  loopback: { type: 'loopback' },
  'host-local': { type: 'host-local', ipam },
  static: { type: 'static', ipam: { type: 'static', addresses: [{ address: '10.1.0.2/24' }] } },
  bridge: { ...bridge, macspoofchk: true },
  'bridge by iptables': { ...bridge, ipMasqBackend: 'iptables' },
  ptp: { type: 'ptp', ipMasq: true, ipam },
  macvlan: { type: 'macvlan', master: 'uplink', ipam },
  ipvlan: { type: 'ipvlan', master: 'uplink', ipam },
  vlan: { type: 'vlan', master: 'uplink', vlanId: 5, ipam },
  dummy: { type: 'dummy', ipam },
  tap: { type: 'tap', ipam },
  'host-device': { type: 'host-device', device: 'spare0', ipam },
  portmap: { type: 'portmap', isChained: true, runtimeConfig: { portMappings } },
  'portmap by iptables': { type: 'portmap', isChained: true, backend: 'iptables', runtimeConfig: { portMappings } },
  firewall: { type: 'firewall', isChained: true },
  'firewall by iptables': { type: 'firewall', isChained: true, backend: 'iptables' },
  tuning: {
    type: 'tuning',
    isChained: true,
    mtu: 1400,
    promisc: true,
    sysctl: { 'net.ipv4.conf.IFNAME.rp_filter': '2' },
  },
  bandwidth: { type: 'bandwidth', isChained: true, ...rates },
  sbr: { type: 'sbr', isChained: true },
  vrf: { type: 'vrf', isChained: true, vrfname: 'blue' },
  flannel: { type: 'flannel', ipam: { type: 'host-local', routes: [{ dst: '0.0.0.0/0' }] } },
  chain: {
    type: 'chain',
    capabilities: { portMappings: true },
    plugins: [
      { ...bridge, ipam: { ...ipam, dataDir: '/run/leases' } },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall', backend: 'iptables' },
      { type: 'bandwidth', ...rates },
    ],
    runtimeConfig: { portMappings },
  },
}

/** What flannel's daemon writes. */
const subnetOfNode = `FLANNEL_NETWORK=10.31.0.0/16
FLANNEL_SUBNET=10.31.0.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
`

const MiB = 2 ** 20

interface Limit {
  steps: readonly number[]
  /** Those of a DEL of what an ADD without the limit made. */
  dels: readonly number[]
  /** From here on a call says how it ended. */
  starts: number
  /** From here on an ADD of each plugin works; docs/operations.md tells it. */
  enough: number
  cgroup?: Controller
  /** The arguments of prlimit(1). */
  option?: (value: number) => string
  /** Where the kernel kills, an ADD may end half-way: what is left goes with DEL. */
  isDeadly?: boolean
}

const files = [3, 8, 12, 14, 15, 16, 18, 20, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 36, 40, 48]

const limits: Record<string, Limit> = {
  tasks: { steps: [1, 2, 3, 4, 5, 8], dels: [1], starts: 1, enough: 2, cgroup: 'pids' },
  'open files': {
    steps: files,
    dels: [17, 22],
    starts: 16,
    enough: 48,
    option: (value) => `--nofile=${value}`,
  },
  'MiB of addresses': {
    // Between 515 and 530, by the build, lies half a MiB in which a call ends half-way.
    steps: [256, 480, 560, 640, 1024],
    dels: [480],
    starts: 560,
    enough: 640,
    option: (value) => `--as=${value * MiB}`,
  },
  'MiB of memory': {
    steps: [4, 6, 8, 12, 16, 32],
    dels: [8],
    starts: 16,
    enough: 16,
    cgroup: 'memory',
    isDeadly: true,
  },
}

/** Milliseconds within which one ends that has not enough. */
const bound = 2_000
/** How often it is made on a machine that may be too busy for that: what waits does so each time. */
const tries = 3

type Timed = Finished & { milliseconds: number }
type Limited = (value: number, call: Call) => Promise<Timed>

/** Runs calls in a host below a limit, set outside of it: what enters the host is limited already. */
async function below(host: Host, { cgroup: controller, option }: Limit, body: (call: Limited) => Promise<void>) {
  const cgroup = controller && Cgroup.create(controller)
  if (controller && !cgroup) return false
  const enter = [systemCommand('nsenter'), `--net=/proc/${host.pid}/ns/net`, `--mount=/proc/${host.pid}/ns/mnt`, '--']
  const limited: Limited = async (value, call) => {
    cgroup?.limit(controller === 'memory' ? value * MiB : value)
    const joining = cgroup ? [systemCommand('sh'), '-c', 'echo 0 >"$0" && exec "$@"', cgroup.processes] : []
    const limit = option ? [systemCommand('prlimit'), option(value), '--'] : []
    const argv = [...joining, ...enter, ...limit, join(suites.podwire, call.plugin)]
    const began = performance.now()
    const finished = await run(argv, { stdin: JSON.stringify(call.config), env: environment(call) })
    return { ...finished, milliseconds: performance.now() - began }
  }
  try {
    await body(limited)
  } finally {
    await cgroup?.remove()
  }
  return true
}

type End = 'result' | 'error' | 'death'

/** How a call ended. @throws when it printed something else than one result or one error */
function endOf(command: Verb, finished: Finished, { isDeadly = false }: Limit): End {
  const { status, stdout } = finished
  if (status === 0) {
    if (command === 'ADD') resultOf(finished)
    else succeedSilently(finished)
    return 'result'
  }
  if (status === 1) {
    errorOf(finished)
    return 'error'
  }
  // The kernel may kill one that has answered.
  if (!isDeadly) expect(stdout).toBe('')
  return 'death'
}

async function state(host: Host): Promise<string[]> {
  const directories = ['/var/lib/cni/networks', '/var/lib/cni/flannel', '/run/leases', '/run/podwire']
  const lines = await takeSnapshot(host, { directories })
  return lines.filter((line) => !/^file \S*\/(lock|last_reserved_ip\.\d+|[^/ ]*\.lock|\.[^/ ]+) /.test(line))
}

/** A host with all that rows need; `call` makes a call of a row for a container of that ID. */
async function setting(host: Host, { isChained, ...config }: Row) {
  await host.outside()
  await host.output(['ip', 'link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1'])
  await host.output(['sh', '-c', 'mkdir /run/flannel; cat >/run/flannel/subnet.env'], { stdin: subnetOfNode })
  const { netns } = await host.container()
  const make = (command: Verb, containerID: string, of: { type: string; [key: string]: unknown }): Call => ({
    plugin: of.type,
    command,
    containerID,
    netns,
    config: { cniVersion: '1.1.0', name: 'network', ...of },
  })
  const wired = isChained
    ? resultOf(await runPlugin(host, make('ADD', 'wired', { ...bridge, name: 'wire' })))
    : undefined
  const row = { ...config, ...(wired && { prevResult: wired }) }
  return (command: Verb, containerID: string) => make(command, containerID, row as { type: string })
}

interface Ended {
  readonly value: number
  readonly end: End
  readonly milliseconds: number
}

/** What a DEL below a limit leaves undone the next one does. */
async function delsBelow(host: Host, limit: Limit, call: (command: Verb, containerID: string) => Call) {
  const before = await state(host)
  await below(host, limit, async (limited) => {
    for (const value of limit.dels) {
      const id = `without${value}`
      resultOf(await runPlugin(host, call('ADD', id)))
      const attached = await state(host)
      const finished = await limited(value, call('DEL', id))
      const end = endOf('DEL', finished, limit)
      if (end === 'result') expect(await state(host), `${value}: ${finished.stderr}`).toEqual(before)
      if (end === 'death' && !limit.isDeadly) expect(await state(host)).toEqual(attached)
      succeedSilently(await runPlugin(host, call('DEL', id)))
      expect(await state(host), `${value}: ${end} ${finished.stdout}`).toEqual(before)
    }
  })
}

/** What became of a row below a limit, step by step; undefined where this machine gives no cgroup for it. */
async function endsBelow(host: Host, limit: Limit, call: (command: Verb, containerID: string) => Call) {
  const before = await state(host)
  const ends: Ended[] = []
  const made: string[] = []
  const attempt = async (limited: Limited, value: number): Promise<Ended> => {
    const id = `with${value}.${made.length}`
    made.push(id)
    const finished = await limited(value, call('ADD', id))
    const end = endOf('ADD', finished, limit)
    if (end === 'result') endOf('DEL', await limited(value, call('DEL', id)), limit)
    if (end === 'result' || limit.isDeadly) succeedSilently(await runPlugin(host, call('DEL', id)))
    return { value, end, milliseconds: end === 'result' ? 0 : finished.milliseconds }
  }
  const isThere = await below(host, limit, async (limited) => {
    for (const value of limit.steps) {
      let ended = await attempt(limited, value)
      for (let more = 1; more < tries && ended.milliseconds > bound; more++) ended = await attempt(limited, value)
      ends.push(ended)
    }
  })
  // Each ADD was for a container of its own: whatever a failed one leaves is still there.
  expect(await state(host)).toEqual(before)
  for (const id of made) succeedSilently(await runPlugin(host, call('DEL', id)))
  expect(await state(host)).toEqual(before)
  return isThere ? ends : undefined
}

describe('with less and less of what a process needs', () => {
  test.for(Object.entries(rows))('%s', { timeout: 300_000 }, async ([, row], { host, skip }) => {
    const call = await setting(host, row)
    const first = await runPlugin(host, call('ADD', 'first'))
    if (first.status === 1 && /not supported|unknown device type|CONFIG_/i.test(first.stdout)) {
      return skip(`this kernel cannot: ${first.stdout}`)
    }
    resultOf(first)
    succeedSilently(await runPlugin(host, call('DEL', 'first')))
    const missing: string[] = []
    for (const [name, limit] of Object.entries(limits)) {
      const ends = await endsBelow(host, limit, call)
      await delsBelow(host, limit, call)
      if (!ends) missing.push(`${name}: this machine gives no cgroup with the controller ${limit.cgroup}`)
      const ended = ends ?? []
      expect(ended.filter(({ value, end }) => value >= limit.enough && end !== 'result')).toEqual([])
      expect(ended.filter(({ value, end }) => value >= limit.starts && end === 'death')).toEqual([])
      expect(ended.filter(({ milliseconds }) => milliseconds > bound)).toEqual([])
      const longest = Math.max(0, ...ended.map(({ milliseconds }) => milliseconds))
      const told = ended.map(({ value, end }) => `${value} ${end}`).join(', ')
      console.log(`${row.type}, ${name}: ${told}; the longest of those that did not work: ${Math.round(longest)} ms`)
    }
    if (missing.length > 0) skip(missing.join('\n'))
  })
})

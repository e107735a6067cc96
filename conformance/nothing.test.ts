import { describe, expect } from 'vitest'
import { resultOf } from './harness/answer.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { type Call, runPlugin, runTraced, type Verb } from './harness/plugin.js'

// What runtimes repeat most: a DEL of what is not there, and a GC with nothing stale. Neither starts a process, takes a
// lock of rules, or asks the kernel for more than a question or two, whatever else the host carries.

const ipam = { type: 'host-local', ranges: [[{ subnet: '10.31.0.0/16' }]] }
const mapping = (port: number) => ({
  portMappings: ['tcp', 'udp'].map((protocol) => ({ hostPort: port, containerPort: 80, protocol })),
})
const limits = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 }
const bridge = { type: 'bridge', isGateway: true, ipMasq: true, ipam }
const members = [
  bridge,
  { type: 'portmap', capabilities: { portMappings: true } },
  { type: 'firewall' },
  { type: 'tuning' },
]
const chain = { type: 'chain', plugins: members, capabilities: { portMappings: true } }

interface Row {
  /** The network's plugin. */
  readonly config: { readonly type: string; readonly [key: string]: unknown }
  /** How often a DEL may ask the kernel, and a GC. */
  readonly requests: number
  readonly collects: number
  /** Whether somebody has the lock of leases is asked, and it is not taken. */
  readonly hasLeases?: true
}

const rows: Record<string, Row> = {
  loopback: { config: { type: 'loopback' }, requests: 0, collects: 0 },
  'host-local': { config: { type: 'host-local', ipam }, requests: 0, collects: 0, hasLeases: true },
  static: {
    config: { type: 'static', ipam: { type: 'static', addresses: [{ address: '10.1.0.2/24' }] } },
    requests: 0,
    collects: 0,
  },
  bridge: { config: bridge, requests: 2, collects: 3, hasLeases: true },
  'a guarded bridge': {
    config: { ...bridge, macspoofchk: true, ipMasq: false },
    requests: 2,
    collects: 3,
    hasLeases: true,
  },
  'ptp, by iptables': {
    config: { type: 'ptp', ipMasq: true, ipMasqBackend: 'iptables', ipam },
    requests: 2,
    collects: 3,
    hasLeases: true,
  },
  macvlan: { config: { type: 'macvlan', master: 'uplink', ipam }, requests: 0, collects: 0, hasLeases: true },
  tap: { config: { type: 'tap', ipam }, requests: 0, collects: 0, hasLeases: true },
  'host-device': { config: { type: 'host-device', device: 'none0', ipam }, requests: 1, collects: 0, hasLeases: true },
  portmap: { config: { type: 'portmap', runtimeConfig: mapping(9000) }, requests: 1, collects: 3 },
  'portmap, by iptables': {
    config: { type: 'portmap', backend: 'iptables', runtimeConfig: mapping(9000) },
    requests: 1,
    collects: 3,
  },
  firewall: { config: { type: 'firewall' }, requests: 2, collects: 0 },
  'firewall, by iptables': { config: { type: 'firewall', backend: 'iptables' }, requests: 2, collects: 0 },
  'firewall with a policy': { config: { type: 'firewall', ingressPolicy: 'isolated' }, requests: 2, collects: 0 },
  'tuning without work': { config: { type: 'tuning' }, requests: 0, collects: 0 },
  tuning: { config: { type: 'tuning', mtu: 1400 }, requests: 0, collects: 0 },
  bandwidth: { config: { type: 'bandwidth', ...limits }, requests: 1, collects: 0 },
  sbr: { config: { type: 'sbr' }, requests: 0, collects: 0 },
  chain: { config: { ...chain, runtimeConfig: mapping(9000) }, requests: 5, collects: 6, hasLeases: true },
}

const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'cni0' }, { name: 'veth0' }, { name: 'eth0', sandbox: '/run/netns/gone' }],
  ips: [{ address: '10.31.77.9/16', interface: 2 }],
}

/** What a call costs: processes, requests, bytes of the kernel's answers, and the locks it takes or asks for. */
async function costOf(host: Host, call: Call) {
  const options = ['-y', '-e', 'trace=clone,clone3,fork,vfork,execve,sendto,read,flock']
  const { status, stdout, stderr, calls } = await runTraced(host, call, options)
  expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: '' })
  const lines = calls.split('\n')
  const linesOf = (pattern: RegExp) => lines.filter((line) => pattern.test(line))
  const answers = linesOf(/^read\((?!0<)\d+<socket:/).map((line) => Number(line.split(' = ').at(-1)))
  return {
    // strace itself starts the plugin.
    processes: linesOf(/^(clone3?|v?fork|execve)\(/).length - 1,
    requests: linesOf(/^sendto\(/).length,
    bytes: answers.filter((bytes) => bytes > 0).reduce((sum, bytes) => sum + bytes, 0),
    locks: linesOf(/^flock\(.*LOCK_EX/).map(fileIn),
    asked: linesOf(/^flock\(.*LOCK_SH\|LOCK_NB/).map(fileIn),
  }
}

/** The file of a traced call's descriptor. */
function fileIn(line: string): string {
  return /<([^>]*)>/.exec(line)?.[1] ?? line
}

const network = (config: object, more: object = {}) => ({ cniVersion: '1.1.0', name: 'network', ...config, ...more })

/** Attaches containers by the chain. @returns their attachments */
async function populate(host: Host, from: number, count: number) {
  const attachments: { containerID: string; ifname: string }[] = []
  for (let index = from; index < from + count; index++) {
    const { netns } = await host.container(`living${index}`)
    const containerID = `living${index}`
    const config = network(chain, { runtimeConfig: mapping(9100 + index) })
    resultOf(await runPlugin(host, { plugin: 'chain', command: 'ADD', config, containerID, netns }))
    attachments.push({ containerID, ifname: 'eth0' })
  }
  return attachments
}

async function costsOf(host: Host, { config }: Row, valid: readonly object[], netns: string) {
  const call = (command: Verb, more: object, of: Partial<Call> = {}): Call => {
    const whole = network(config, more)
    return { plugin: config.type, command, containerID: 'nothing', netns: '/run/netns/gone', config: whole, ...of }
  }
  const isDelegate = config.type === 'host-local' || config.type === 'static'
  return {
    'no namespace': await costOf(host, call('DEL', {})),
    'with a result': await costOf(host, call('DEL', isDelegate ? {} : { prevResult })),
    'with a namespace': await costOf(host, call('DEL', isDelegate ? {} : { prevResult }, { netns })),
    GC: await costOf(host, call('GC', { 'cni.dev/valid-attachments': valid })),
  }
}

describe('what finds nothing costs nothing', () => {
  test('on a host that has seen no call yet', { timeout: 240_000 }, async ({ host }) => {
    await host.outside()
    for (const [name, row] of Object.entries(rows)) {
      const config = network(row.config, { name: 'untouched' })
      const call: Call = { plugin: row.config.type, command: 'DEL', containerID: 'nothing', netns: '', config }
      const collecting: Call = { ...call, command: 'GC', config: { ...config, 'cni.dev/valid-attachments': [] } }
      for (const [what, one, most] of [
        ['DEL', call, row.requests],
        ['GC', collecting, row.collects],
      ] as const) {
        const { processes, requests, locks } = await costOf(host, one)
        expect({ name, what, processes, locks }).toEqual({ name, what, processes: 0, locks: [] })
        expect(requests, `${name} ${what}`).toBeLessThanOrEqual(most)
      }
    }
  })

  test('however many attachments there are', { timeout: 240_000 }, async ({ host }) => {
    await host.outside()
    const { netns } = await host.container('empty')
    const valid = await populate(host, 0, 2)
    const few = new Map<string, Awaited<ReturnType<typeof costsOf>>>()
    for (const [name, row] of Object.entries(rows)) few.set(name, await costsOf(host, row, valid, netns))
    valid.push(...(await populate(host, 2, 8)))
    for (const [name, row] of Object.entries(rows)) {
      for (const [what, cost] of Object.entries(await costsOf(host, row, valid, netns))) {
        const before = few.get(name)?.[what as 'GC']
        const isInside = what === 'with a namespace'
        const inside = isInside ? 2 : 0
        expect({ name, what, ...cost }).toEqual({ name, what, ...before, processes: 0 })
        expect(cost.requests, `${name} ${what}`).toBeLessThanOrEqual(
          what === 'GC' ? row.collects : row.requests + inside,
        )
        expect(cost.bytes, `${name} ${what}`).toBeLessThan(12_000)
        const lease = row.hasLeases ? ['/var/lib/cni/networks/network/lock'] : []
        expect([...new Set(cost.asked)], `${name} ${what}`).toEqual(lease)
        // What is in a container is looked at by one at a time.
        if (!isInside) expect(cost.locks, `${name} ${what}`).toEqual([])
      }
    }
  })
})

describe('what is there is found all the same', () => {
  const wired = (host: Host, { containerID }: { containerID: string }, more: object = {}): Call => ({
    plugin: 'chain',
    command: 'DEL',
    containerID,
    netns: host.containers.find(({ name }) => name === containerID)?.netns ?? '',
    config: network(chain, { runtimeConfig: mapping(9100), ...more }),
  })

  test.for([
    ['all records are gone', ['rm', '-rf', '/run/podwire'], false],
    ['its records are gone, and DEL is told the addresses', ['find', '/run/podwire', '-type', 'f', '-delete'], true],
    ['its records say nothing', ['sh', '-c', 'for f in /run/podwire/*/network/*; do : >$f; done'], false],
  ] as const)('%s', async ([, spoil, isTold], { host }) => {
    const before = await host.output(['nft', 'list', 'ruleset'])
    const [attachment] = await populate(host, 0, 1)
    const ruleset = await host.output(['nft', 'list', 'ruleset'])
    expect(ruleset).toContain('network/eth0/living0')
    const address = /map masqueraded \{[^}]*elements = \{ (\S+) /.exec(ruleset)?.[1]
    await host.output([...spoil])
    const told = { prevResult: { ...prevResult, ips: [{ address: `${address}/16`, interface: 2 }] } }
    const call = wired(host, attachment as { containerID: string }, isTold ? told : {})
    const { status, stdout, stderr } = await runPlugin(host, call)
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: '' })
    expect(before).not.toContain('living0')
    expect(await host.output(['nft', 'list', 'ruleset'])).not.toContain('living0')
  })

  test('a GC removes the chains that only a subnet used whose attachments are gone, and no others', async ({
    host,
  }) => {
    const [first, second] = await populate(host, 0, 2)
    const gc = (valid: unknown[]) =>
      runPlugin(host, {
        plugin: 'chain',
        command: 'GC',
        config: network(chain, { 'cni.dev/valid-attachments': valid }),
      })
    const shared = async () => {
      const names = (await host.output(['nft', 'list', 'chains'])).matchAll(/chain (\S+)/g)
      return [...names].map(([, name = '']) => name)
    }
    const all = await shared()
    expect(all).toEqual(expect.arrayContaining(['masquerade_10.31.0.0/16', 'portmap_hairpin_10.31.0.0/16']))
    expect((await gc([first, second])).status).toBe(0)
    expect(await shared()).toEqual(all)
    expect((await gc([second])).status).toBe(0)
    expect(await shared()).toEqual(all)
    expect((await gc([])).status).toBe(0)
    const gone = ['masquerade_10.31.0.0/16', 'portmap_hairpin_10.31.0.0/16']
    expect(await shared()).toEqual(all.filter((name) => !gone.includes(name)))
  })
})

/** A record comes before all that changes: a DEL that sees none has nothing to wait for. */
describe('a record is there before the first act', () => {
  const chained = { cniVersion: '1.1.0', interfaces: [{ name: 'cni0' }, { name: 'veth0' }, { name: 'eth0' }] }
  const acting: Record<string, { config: Row['config'] }> = {
    bridge: { config: bridge },
    ptp: { config: { type: 'ptp', ipMasq: true, ipam } },
    portmap: { config: { type: 'portmap', runtimeConfig: mapping(9000) } },
    firewall: { config: { type: 'firewall', ingressPolicy: 'isolated' } },
    tuning: { config: { type: 'tuning', mtu: 1400, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } } },
    bandwidth: { config: { type: 'bandwidth', ...limits } },
    sbr: { config: { type: 'sbr' } },
  }

  test.for(Object.entries(acting))('%s', async ([, { config }], { host }) => {
    await host.outside()
    const { netns } = await host.container()
    const isChained = ['portmap', 'firewall', 'tuning', 'bandwidth', 'sbr'].includes(config.type)
    const wire = network(bridge, { name: 'wire' })
    const before = isChained
      ? JSON.parse((await runPlugin(host, { plugin: 'bridge', command: 'ADD', config: wire, netns })).stdout)
      : undefined
    const call: Call = {
      plugin: config.type,
      command: 'ADD',
      netns,
      config: network(config, before ? { prevResult: { ...chained, ...before } } : {}),
    }
    const options = ['-e', 'trace=clone,clone3,fork,vfork,sendto,rename,renameat,renameat2,symlink,symlinkat']
    const { status, stdout, stderr, calls } = await runTraced(host, call, options)
    expect(status, stdout + stderr).toBe(0)
    const lines = calls.split('\n')
    const record = lines.findIndex((line) => /^rename.*\/run\/(podwire|cni\/tuning)\//.test(line))
    const changing = lines.flatMap((line, index) => (isChange(line) ? [index] : []))
    const started = lines.flatMap((line, index) => (/^(clone3?|v?fork)\(/.test(line) ? [index] : []))
    const first = Math.min(...changing, ...started)
    expect(record).toBeGreaterThanOrEqual(0)
    expect(first).toBeGreaterThan(record)
  })

  /** Requests that make, change or remove: of links, addresses, routes, or a batch of nftables. */
  function isChange(line: string): boolean {
    const type = /^sendto\(.*?nlmsg_type=(0x[0-9a-f]+|[A-Z_]+)/.exec(line)?.[1]
    if (type === undefined || /0x300|NLM_F_DUMP/.test(line)) return false
    return /RTM_(NEW|DEL|SET)/.test(type) || [16, 17, 19, 20, 21, 24, 25].includes(Number(type))
  }
})

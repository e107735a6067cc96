import { existsSync, readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { runPlugin, type Verb } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

const mac = '02:00:5e:10:00:01'
const ours = '02:00:5e:10:00:02'
const file = '/run/cni/tuning/c1_eth0.json'

/** A container with a link of known attributes, as a plugin before tuning in the chain leaves it. */
async function containerWithLink(host: Host, link = 'eth0'): Promise<Container> {
  const container = await host.container()
  await container.batch([
    `link add name ${link} address ${mac} txqueuelen 500 mtu 1500 type veth peer name other`,
    `link set ${link} up`,
  ])
  return container
}

interface Options {
  suite?: Suite
  cniVersion?: string
  ifName?: string
  args?: string
  env?: Record<string, string>
  netns?: string
  containerID?: string
}

function call(
  host: Host,
  container: Container,
  command: Verb,
  tuning: object,
  options: Options = {},
): Promise<Finished> {
  const { cniVersion = '1.1.0', ifName = 'eth0', ...more } = options
  const prevResult = { cniVersion, interfaces: [{ name: ifName, mac, sandbox: container.netns }], ips: [] }
  const config = { cniVersion, name: 'net', type: 'tuning', prevResult, ...tuning }
  return runPlugin(host, {
    plugin: 'tuning',
    command,
    netns: container.netns,
    containerID: 'c1',
    ifName,
    config,
    ...more,
  })
}

interface Link {
  address: string
  mtu: number
  txqlen: number
  flags: string[]
}

async function linkOf(container: Container, name = 'eth0'): Promise<Link> {
  const [link] = JSON.parse(await container.output(['ip', '-j', 'link', 'show', 'dev', name])) as [Link]
  // iproute2 leaves a queue of no length out.
  return { ...link, txqlen: link.txqlen ?? 0 }
}

const setting = async (container: Container, path: string) =>
  (await container.output(['cat', `/proc/sys/${path}`])).trim().replaceAll('\t', ' ')

const original = { address: mac, mtu: 1500, txqlen: 500, flags: expect.not.arrayContaining(['PROMISC', 'ALLMULTI']) }

describe('attributes of the link', () => {
  const rows = [
    { what: 'mac', config: { mac: ours }, shows: { address: ours } },
    { what: 'mac in another notation', config: { mac: '0200.5E10.0002' }, shows: { address: ours } },
    {
      what: 'mac by CNI_ARGS',
      config: { mac: '02:00:00:00:00:09' },
      args: `IgnoreUnknown=1;MAC=${ours}`,
      shows: { address: ours },
    },
    {
      what: 'mac by runtimeConfig',
      config: { runtimeConfig: { mac: ours } },
      args: 'MAC=02:00:00:00:00:08',
      shows: { address: ours },
    },
    {
      what: 'mac by args.cni, the strongest',
      config: { args: { cni: { mac: ours } }, runtimeConfig: { mac: '02:00:00:00:00:07' } },
      args: 'MAC=02:00:00:00:00:08',
      shows: { address: ours },
    },
    { what: 'mtu', config: { mtu: 1300 }, shows: { mtu: 1300 } },
    { what: 'mtu by args.cni', config: { mtu: 1400, args: { cni: { mtu: 1300 } } }, shows: { mtu: 1300 } },
    { what: 'promisc', config: { promisc: true }, shows: { flags: expect.arrayContaining(['PROMISC']) } },
    { what: 'allmulti', config: { allmulti: true }, shows: { flags: expect.arrayContaining(['ALLMULTI']) } },
    { what: 'txQLen', config: { txQLen: 0 }, shows: { txqlen: 0 } },
    { what: 'txQLen by args.cni', config: { txQLen: 10, args: { cni: { txQLen: 700 } } }, shows: { txqlen: 700 } },
    {
      what: 'all of them',
      config: { mac: ours, mtu: 1300, promisc: true, allmulti: true, txQLen: 20, dataDir: '/run/elsewhere' },
      shows: { address: ours, mtu: 1300, txqlen: 20, flags: expect.arrayContaining(['PROMISC', 'ALLMULTI']) },
    },
  ]
  test.for(rows)('$what: set, checked, restored', async ({ config, shows, ...options }, { host }) => {
    const container = await containerWithLink(host)
    const result = resultOf(await call(host, container, 'ADD', config, options))
    expect(await linkOf(container)).toMatchObject(shows)
    expect(result.interfaces?.[0]?.mac).toBe('address' in shows ? ours : mac)
    succeedSilently(await call(host, container, 'CHECK', config, options))
    succeedSilently(await call(host, container, 'DEL', config))
    expect(await linkOf(container)).toMatchObject(original)
    succeedSilently(await call(host, container, 'DEL', config))
    expect(existsSync(host.path(file))).toBe(false)
  })

  test.for(['0.1.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'])('version %s', async (cniVersion, { host }) => {
    const container = await containerWithLink(host)
    const old = { prevResult: { cniVersion, ip4: { ip: '10.1.2.3/24' } } }
    const config = { mtu: 1300, ...(cniVersion === '0.1.0' ? old : {}) }
    const ran = await call(host, container, 'ADD', config, { cniVersion })
    expect(resultOf(ran).cniVersion).toBe(cniVersion)
    if (cniVersion >= '0.4.0') succeedSilently(await call(host, container, 'CHECK', config, { cniVersion }))
    succeedSilently(await call(host, container, 'DEL', config, { cniVersion }))
    expect(await linkOf(container)).toMatchObject(original)
  })
})

describe('sysctls', () => {
  test('are set in order, with spaces in values and IFNAME in keys, and restored', async ({ host }) => {
    const container = await containerWithLink(host)
    const paths = [
      'net/ipv4/ip_local_port_range',
      'net/ipv4/conf/eth0/arp_filter',
      'net/core/somaxconn',
      'net/ipv4/ip_forward',
    ]
    const before = await Promise.all(paths.map((path) => setting(container, path)))
    const sysctl = {
      'net.ipv4.ip_local_port_range': '20000 30000',
      'net.ipv4.conf.IFNAME.arp_filter': '1',
      'net/core/somaxconn': '600',
    }
    const config = { sysctl, args: { cni: { sysctl: { 'net.core.somaxconn': '700', 'net.ipv4.ip_forward': '1' } } } }
    resultOf(await call(host, container, 'ADD', config))
    expect(await Promise.all(paths.map((path) => setting(container, path)))).toEqual(['20000 30000', '1', '700', '1'])
    succeedSilently(await call(host, container, 'CHECK', config))
    succeedSilently(await call(host, container, 'DEL', {}))
    expect(await Promise.all(paths.map((path) => setting(container, path)))).toEqual(before)
  })

  test.for([
    { ifName: 'eth0.100', key: 'net.ipv4.conf.IFNAME.arp_filter' },
    { ifName: 'eth0.100', key: 'net/ipv4/conf/eth0.100/arp_filter' },
    { ifName: 'eth0.100', key: 'net.ipv4.conf.eth0/100.arp_filter' },
  ])('$key reaches the interface $ifName', async ({ ifName, key }, { host }) => {
    const container = await containerWithLink(host, ifName)
    resultOf(await call(host, container, 'ADD', { sysctl: { [key]: '1' } }, { ifName }))
    expect(await setting(container, `net/ipv4/conf/${ifName}/arp_filter`)).toBe('1')
    succeedSilently(await call(host, container, 'CHECK', { sysctl: { [key]: '1' } }, { ifName }))
  })

  test.for([
    { sysctl: { 'kernel.panic': '1' }, says: /kernel\.panic.*below .*net/ },
    {
      sysctl: { 'net.ipv4/../../kernel/panic': '1' },
      says: /plain parts/,
    },
    { sysctl: { 'net/../kernel/panic': '1' }, says: /plain parts/ },
    { sysctl: { 'net/ipv4//ip_forward': '1' }, says: /plain parts/ },
    { sysctl: { '/net/ipv4/ip_forward': '1' }, says: /below .*net/ },
    { sysctl: { net: '1' }, says: /below .*net/ },
    { sysctl: { 'net.ipv4.ip_forward\n': '1' }, says: /plain parts/ },
    { sysctl: { 'net.ipv4.ip_forward': '1', 'net/ipv4/ip_forward': '0' }, says: /only once/ },
    { sysctl: { 'net.ipv4.ip_forward': 1 }, says: /sysctl\.net\.ipv4\.ip_forward: found 1, expected a string/ },
    { sysctl: { 'net.ipv4.no_such_thing': '1' }, says: /net\/ipv4\/no_such_thing from .*unknown.* to .*1/ },
    { sysctl: { 'net.ipv4.ip_forward': 'yes' }, says: /net\/ipv4\/ip_forward from .*0.* to .*yes/ },
  ])('$sysctl is refused, and nothing is left', async ({ sysctl, says }, { host }) => {
    const container = await containerWithLink(host)
    const before = await takeSnapshot(host, { directories: ['/run/cni'] })
    const first = { 'net.ipv4.conf.IFNAME.arp_notify': '1' }
    const failed = await call(host, container, 'ADD', { sysctl: { ...first, ...sysctl }, mtu: 1300 })
    expect(JSON.stringify(errorOf(failed))).toMatch(says)
    expect(difference(before, await takeSnapshot(host, { directories: ['/run/cni'] }))).toBe('')
  })

  test('a key that is written twice is refused', async ({ host }) => {
    const container = await containerWithLink(host)
    const prevResult = JSON.stringify({ cniVersion: '1.1.0' })
    const config = `{"cniVersion":"1.1.0","name":"net","type":"tuning","prevResult":${prevResult},
      "Sysctl":{"net.ipv4.ip_forward":"0","net.ipv4.ip_forward" : "1"}}`
    const input = { plugin: 'tuning', command: 'ADD', netns: container.netns, config } as const
    expect(JSON.stringify(errorOf(await runPlugin(host, input)))).toMatch(/duplicated sysctl keys are not allowed/)
    expect(errorOf(await runPlugin(host, { ...input, suite: 'official' })).msg).toMatch(/duplicated sysctl keys/)
  })

  test('a read-only /proc/sys is said, with the setting and both values', async ({ host }) => {
    const container = await containerWithLink(host)
    await host.output(['mount', '--bind', '/proc/sys', '/proc/sys'])
    await host.output(['mount', '-o', 'remount,bind,ro', '/proc/sys'])
    const { msg, details } = errorOf(await call(host, container, 'ADD', { sysctl: { 'net.ipv4.ip_forward': '1' } }))
    expect(msg).toMatch(/cannot set the sysctl net\/ipv4\/ip_forward from "0" to "1": .*Read-only file system/)
    expect(details).toMatch(/fix: let the runtime run where \/proc\/sys is writable/)
    expect(existsSync(host.path(file))).toBe(false)
  })

  test('an attribute that the kernel refuses takes the settings back, too', async ({ host }) => {
    const container = await containerWithLink(host)
    const before = await takeSnapshot(host, { directories: ['/run/cni'] })
    const config = { sysctl: { 'net.ipv4.conf.IFNAME.arp_notify': '1' }, mac: '02:00:5e:00:00:01', mtu: 70000 }
    expect(errorOf(await call(host, container, 'ADD', config)).msg).toMatch(/cannot set mtu 70000 on eth0/)
    expect(difference(before, await takeSnapshot(host, { directories: ['/run/cni'] }))).toBe('')
  })
})

describe('the list of allowed sysctls', () => {
  const allow = async (host: Host, lines: string) => {
    await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/etc'])
    await host.output(['mkdir', '-p', '/etc/cni/tuning'])
    await host.output(['tee', '/etc/cni/tuning/allowlist.conf'], { stdin: lines })
  }
  const list = '^net.core.somaxconn$\n\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$  \n'
  const rows = [
    { list, key: 'net.core.somaxconn', value: '600' },
    { list, key: 'net.ipv4.conf.IFNAME.arp_filter', value: '1' },
    { list, key: 'net.ipv4.conf.eth0.arp_filter', value: '1', refused: true },
    { list, key: 'net.ipv4.ip_forward', value: '1', refused: true },
    { list: '', key: 'net.ipv4.ip_forward', value: '1', refused: true },
    { list: 'ip_for', key: 'net.ipv4.ip_forward', value: '1' },
  ]
  test.for(rows)(
    '$list: $key refused: $refused, as by the official plugin',
    async ({ list: lines, key, value, refused = false }, { host }) => {
      const container = await containerWithLink(host)
      await allow(host, lines)
      const config = { sysctl: { [key]: value } }
      const official = await call(host, container, 'ADD', config, { suite: 'official' })
      const podwire = await call(host, container, 'ADD', config)
      expect([podwire.status, official.status]).toEqual(refused ? [1, 1] : [0, 0])
      if (refused) expect(errorOf(podwire).msg).toBe(`tuning: network "net": ${errorOf(official).msg}`)
      const status = await call(host, container, 'STATUS', config)
      expect(refused ? errorOf(status).code : status.status).toBe(refused ? 50 : 0)
    },
  )

  test.for(['(', '(?i)net', '[[:alpha:]]'])(
    'a line that is no such expression, %s, is said',
    async (line, { host }) => {
      const container = await containerWithLink(host)
      await allow(host, `${line}\n`)
      const failed = await call(host, container, 'ADD', { sysctl: { 'net.ipv4.ip_forward': '1' } })
      expect(errorOf(failed).details).toMatch(/allowlist\.conf: found .*, expected a regular expression/)
    },
  )
})

describe('original values', () => {
  const config = { mac: ours, mtu: 1300, allmulti: true, sysctl: { 'net.ipv4.ip_forward': '1' } }

  test('a second ADD keeps the first ones', async ({ host }) => {
    const container = await containerWithLink(host)
    resultOf(await call(host, container, 'ADD', config))
    resultOf(await call(host, container, 'ADD', { ...config, mtu: 1200, txQLen: 5 }))
    expect(await linkOf(container)).toMatchObject({ mtu: 1200, txqlen: 5 })
    succeedSilently(await call(host, container, 'DEL', config))
    expect(await linkOf(container)).toMatchObject(original)
    expect(await setting(container, 'net/ipv4/ip_forward')).toBe('0')
  })

  test('but not those of a container that was there before', async ({ host }) => {
    const container = await containerWithLink(host)
    resultOf(await call(host, container, 'ADD', config))
    await container.batch([
      'link del eth0',
      `link add name eth0 address 02:00:5e:10:00:03 mtu 1450 type veth peer name other`,
    ])
    resultOf(await call(host, container, 'ADD', config))
    succeedSilently(await call(host, container, 'DEL', config))
    expect(await linkOf(container)).toMatchObject({ address: '02:00:5e:10:00:03', mtu: 1450 })
  })

  test('the official plugin restores what it knows of ours, and we restore its', async ({ host }) => {
    for (const [adds, dels] of [
      ['podwire', 'official'],
      ['official', 'podwire'],
    ] as const) {
      const container = await containerWithLink(host)
      resultOf(await call(host, container, 'ADD', { ...config, promisc: true, txQLen: 7 }, { suite: adds }))
      const kept = JSON.parse(readFileSync(host.path(file), 'utf8'))
      expect(kept).toMatchObject({ mac, promisc: false, mtu: 1500, allmulti: false, txQLen: 500 })
      succeedSilently(await call(host, container, 'DEL', config, { suite: dels }))
      expect(await linkOf(container)).toMatchObject(original)
      expect(existsSync(host.path(file))).toBe(false)
    }
  })

  test.for(['', '/run/netns/gone'])('are forgotten with the namespace "%s" gone', async (netns, { host }) => {
    const container = await containerWithLink(host)
    resultOf(await call(host, container, 'ADD', config))
    expect(existsSync(host.path(file))).toBe(true)
    succeedSilently(await call(host, container, 'DEL', config, { netns }))
    expect(existsSync(host.path(file))).toBe(false)
  })

  test('DEL of a link that is gone restores the settings and forgets', async ({ host }) => {
    const container = await containerWithLink(host)
    resultOf(await call(host, container, 'ADD', config))
    await container.batch(['link del eth0'])
    succeedSilently(await call(host, container, 'DEL', config))
    expect(await setting(container, 'net/ipv4/ip_forward')).toBe('0')
    expect(existsSync(host.path(file))).toBe(false)
  })

  test('an unreadable file is no reason to fail', async ({ host }) => {
    const container = await containerWithLink(host)
    await host.output(['mkdir', '-p', '/run/cni/tuning'])
    await host.output(['tee', file], { stdin: '{"mac":' })
    succeedSilently(await call(host, container, 'DEL', config))
    expect(existsSync(host.path(file))).toBe(false)
  })

  test('GC forgets those of attachments that are no longer valid', async ({ host }) => {
    const container = await containerWithLink(host)
    resultOf(await call(host, container, 'ADD', config))
    const env = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' }
    const gc = (more: object) => call(host, container, 'GC', more, { env })
    succeedSilently(await gc({}))
    succeedSilently(await gc({ name: 'other', 'cni.dev/valid-attachments': [] }))
    succeedSilently(await gc({ 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }))
    expect(existsSync(host.path(file))).toBe(true)
    succeedSilently(await gc({ 'cni.dev/valid-attachments': [] }))
    expect(existsSync(host.path(file))).toBe(false)
  })
})

describe('CHECK', () => {
  test('says all that differs, and only of what it was asked for', async ({ host }) => {
    const container = await containerWithLink(host)
    const config = { mac: ours.toUpperCase(), mtu: 1300, sysctl: { 'net.ipv4.ip_forward': '1' } }
    resultOf(await call(host, container, 'ADD', config))
    await container.batch(['link set eth0 promisc on', 'link set eth0 txqueuelen 3'])
    succeedSilently(await call(host, container, 'CHECK', config))
    await container.batch([`link set eth0 address ${mac} mtu 1500`])
    await container.output(['sysctl', '-w', 'net.ipv4.ip_forward=0'])
    const { code, details } = errorOf(await call(host, container, 'CHECK', config))
    expect(code).toBe(105)
    expect(details).toBe(
      [
        `mac: found "${mac}", expected ${ours}`,
        'mtu: found 1500, expected 1300',
        '/proc/sys/net/ipv4/ip_forward: found "0", expected 1',
      ].join('\n'),
    )
  })

  test('and ADD name a link that is not there', async ({ host }) => {
    const container = await containerWithLink(host)
    for (const command of ['ADD', 'CHECK'] as const) {
      const failed = await call(host, container, command, { mtu: 1300 }, { ifName: 'eth9' })
      expect(errorOf(failed).msg).toMatch(/cannot find container link eth9/)
    }
    expect(existsSync(host.path('/run/cni/tuning'))).toBe(false)
  })
})

import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { asChain } from '../chain/setting.js'
import { errorOf, resultOf } from '../harness/answer.js'
import { Chain, type Conflist, type PluginConfig } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { bridgeNetwork } from '../main/networks.js'

// Whatever lies where a call looks for what an earlier one left: it is skipped with a warning, and neither followed,
// nor waited for, nor the end of a DEL or GC.

const original = '/run/original'

/** What is put into the place of a file, by shell words that get its path as $1. */
const ways: Record<string, string> = {
  nothing: ': >"$1"',
  null: 'echo null >"$1"',
  'an empty object': 'echo "{}" >"$1"',
  'a list': 'echo "[1]" >"$1"',
  'a number': 'echo 5 >"$1"',
  'a text': 'echo \'"text"\' >"$1"',
  half: 'head -c 40 "$1" >"$1.half"; mv "$1.half" "$1"',
  'zeros as long': 'head -c 300 /dev/zero >"$1"',
  'another version': 'sed "s/\\"version\\": *2/\\"version\\": 77/" -i "$1"',
  'data of the wrong types':
    'sed "s/\\"data\\":.*/\\"data\\":{\\"addresses\\":7,\\"link\\":[],\\"kept\\":null,\\"up\\":0}}/" -i "$1"',
  'a directory': 'rm "$1"; mkdir "$1"',
  'a directory with something in it': 'rm "$1"; mkdir "$1"; touch "$1/in it"',
  'a FIFO': 'rm "$1"; mkfifo "$1"',
  'a symbolic link to a good one': `mv "$1" ${original}; ln -s ${original} "$1"`,
  'a symbolic link to itself': 'rm "$1"; ln -s "$1" "$1"',
  huge: 'truncate -s 3G "$1"',
  deep: 'head -c 1000000 /dev/zero | tr "\\0" "[" >"$1"',
  'deep objects': `yes '{"podwire":' | head -n 100000 | tr -d "\\n" >"$1"`,
}

/** Those that differ in what they ask of a plugin: the reading is one for all. */
const few = Object.fromEntries(
  ['null', 'another version', 'data of the wrong types', 'a directory', 'a FIFO', 'a symbolic link to a good one'].map(
    (what) => [what, ways[what] as string],
  ),
)

interface Setting {
  readonly network: Conflist
  readonly prepare?: (host: Host) => Promise<void>
  readonly attachment?: object
  readonly neighbour?: object
  /** Nobody can know what it stands for without its record. */
  readonly keeps?: RegExp
}

const lan = { type: 'host-local', ranges: [[{ subnet: '192.0.2.0/24', rangeStart: '192.0.2.10' }]] }
const wired = bridgeNetwork({ plugin: { macspoofchk: true } })
const [bridge] = wired.plugins as [PluginConfig]
const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]

const settings: Record<string, Setting> = {
  'a chain with everything': {
    network: {
      ...wired,
      plugins: [
        bridge,
        { type: 'portmap', capabilities: { portMappings: true } },
        { type: 'firewall' },
        { type: 'tuning', mtu: 1400, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } },
        { type: 'bandwidth', ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 },
        { type: 'sbr' },
      ],
    },
    attachment: { capabilityArgs: { portMappings } },
    neighbour: { capabilityArgs: { portMappings: [{ hostPort: 18080, containerPort: 80, protocol: 'tcp' }] } },
    // Of the bridge, which others are on, too.
    keeps: /route_localnet/,
  },
  'a chain on iptables': {
    network: {
      ...wired,
      plugins: [
        { ...bridge, ipMasqBackend: 'iptables' },
        { type: 'portmap', backend: 'iptables', capabilities: { portMappings: true } },
        { type: 'firewall', backend: 'iptables' },
      ],
    },
    attachment: { capabilityArgs: { portMappings } },
    neighbour: { capabilityArgs: { portMappings: [{ hostPort: 18080, containerPort: 80, protocol: 'tcp' }] } },
    // The shared chains of the official suite, which stay.
    keeps: /iptables|filter|nat |CNI-|route_localnet/,
  },
  ptp: {
    network: {
      cniVersion: '1.1.0',
      name: 'network',
      plugins: [{ type: 'ptp', ipMasq: true, ipam: { type: 'host-local', ranges: [[{ subnet: '10.9.0.0/24' }]] } }],
    },
  },
  macvlan: {
    network: {
      cniVersion: '1.1.0',
      name: 'network',
      plugins: [{ type: 'macvlan', master: 'uplink', hostAccess: true, ipam: lan }],
    },
    prepare: async (host) => void (await host.outside()),
    keeps: /shim/,
  },
  'leases elsewhere': {
    network: {
      cniVersion: '1.1.0',
      name: 'network',
      plugins: [{ type: 'tap', ipam: { ...lan, dataDir: '/var/lib/cni/networks/network/elsewhere' } }],
    },
  },
  'host-device': {
    network: { cniVersion: '1.1.0', name: 'network', plugins: [{ type: 'host-device', device: 'hd0', ipam: lan }] },
    prepare: async (host) =>
      void (await host.output(['ip', 'link', 'add', 'hd0', 'type', 'veth', 'peer', 'name', 'far'])),
  },
}

const everything = settings['a chain with everything'] as Setting
settings['one chain of all that'] = { ...everything, network: asChain(everything.network) }
const waysOf: Record<string, Record<string, string>> = {
  'a chain with everything': ways,
  'one chain of all that': { null: ways['null'] ?? '', 'a FIFO': ways['a FIFO'] ?? '' },
}

const directories = ['/run/podwire', '/run/cni/tuning']

/** Every file of state, but locks and the index's links, which the lease store rebuilds. */
async function stateFiles(host: Host, more: readonly string[] = []): Promise<string[]> {
  const places = [...directories, ...more].filter((one) => exists(host, one))
  const found = places.length > 0 ? await host.output(['find', ...places, '-type', 'f']) : ''
  return found.split('\n').filter((path) => path !== '' && !/lock$|last_reserved/.test(path))
}

function exists(host: Host, path: string): boolean {
  return lstatSync(host.path(path), { throwIfNoEntry: false }) !== undefined
}

async function garble(host: Host, path: string, way: string): Promise<void> {
  await host.output(['sh', '-c', way, 'sh', path])
}

/** Everything a call can leave outside of the state directories. */
async function looked(host: Host, keeps = /^$/): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni/networks/network'] })
  return lines.filter((line) => !/^file \S*\/(lock|last_reserved_ip\.\d+|\.\S+) /.test(line) && !keeps.test(line))
}

async function attach(host: Host, { network, attachment = {} }: Setting, containerID = 'c1') {
  const container = await host.container(containerID)
  const chain = new Chain(host, network, { containerID, netns: container.netns, ...attachment })
  await chain.add()
  return { container, chain }
}

for (const [name, setting] of Object.entries(settings)) {
  describe(`state of ${name}`, () => {
    const all = waysOf[name] ?? few
    test.for(Object.entries(all))('is %s', { timeout: 240_000 }, async ([what, way], { host }) => {
      await setting.prepare?.(host)
      const neighbour =
        name === 'host-device'
          ? undefined
          : await attach(host, { ...setting, attachment: setting.neighbour ?? {} }, 'neighbour')
      const before = await looked(host, setting.keeps)
      const others = await stateFiles(host)
      const { container, chain } = await attach(host, setting)
      const own = (await stateFiles(host)).filter((path) => !others.includes(path))
      expect(own.length).toBeGreaterThan(0)
      for (const path of own) await garble(host, path, way)
      const kept = what.includes('link to a good') ? readFileSync(host.path(original), 'utf8') : ''
      await chain.gc([
        { containerID: 'c1', ifname: 'eth0' },
        { containerID: 'neighbour', ifname: 'eth0' },
      ])
      await chain.del()
      if (kept) expect(readFileSync(host.path(original), 'utf8')).toBe(kept)
      await chain.gc([{ containerID: 'neighbour', ifname: 'eth0' }])
      await container.remove()
      expect(difference(before, await looked(host, setting.keeps))).toBe('')
      const left = (await stateFiles(host)).filter((path) => !path.endsWith('/in it'))
      expect(left).toEqual(others)
      await neighbour?.chain.check()
    })
  })
}

describe('each plugin says what it skips', () => {
  test.for([
    ['bridge', '/run/podwire/bridge'],
    ['portmap', '/run/podwire/portmap'],
    ['firewall', '/run/podwire/firewall'],
    ['tuning', '/run/cni/tuning'],
    ['bandwidth', '/run/podwire/bandwidth'],
    ['sbr', '/run/podwire/sbr'],
  ])('%s', async ([plugin = '', directory = ''], { host }) => {
    const setting = settings['a chain with everything'] as Setting
    const { container, chain } = await attach(host, setting)
    const path = (await host.output(['find', directory, '-type', 'f'])).split('\n')[0] as string
    for (const way of ['null', 'a FIFO', 'a symbolic link to itself', 'huge', 'another version']) {
      await host.output(['rm', '-rf', path])
      await host.output(['sh', '-c', 'echo \'{"version": 2}\' >"$1"', 'sh', path])
      await garble(host, path, ways[way] as string)
      const { status, stdout, stderr } = await runPlugin(host, direct(setting, plugin, 'DEL', container, chain))
      expect([status, stdout], stderr).toEqual([0, ''])
      expect(stderr).toContain(`${path} `)
      expect(stderr).toContain('skipped')
    }
  })
})

/** One plugin of a chain, as libcni calls it once all have run. */
function direct({ network }: Setting, type: string, command: Verb, container: Container, chain: Chain): Call {
  const plugin = network.plugins.find((one) => one.type === type)
  const config = {
    ...plugin,
    name: network.name,
    cniVersion: '1.1.0',
    prevResult: chain.result,
    runtimeConfig: { portMappings },
  }
  return { plugin: type, command, config, containerID: 'c1', netns: container.netns }
}

describe('the directory of state is', () => {
  test.for([
    ['a file', ': >/run/podwire'],
    ['a FIFO', 'mkfifo /run/podwire'],
    ['a symbolic link to nowhere', 'ln -s /run/nowhere/at/all /run/podwire'],
  ])('%s: an ADD leaves nothing, no lease either; a DEL works', async ([, way = ''], { host }) => {
    await host.output(['sh', '-c', way])
    await host.outside()
    for (const [name, { network, prepare }] of Object.entries(settings)) {
      if (name !== 'macvlan') await prepare?.(host)
      const container = await host.container()
      const before = await looked(host)
      const [plugin] = network.plugins as [PluginConfig]
      const config = { ...plugin, name: network.name, cniVersion: '1.1.0' }
      const call = (command: Verb): Call => ({
        plugin: plugin.type,
        command,
        config,
        containerID: 'c1',
        netns: container.netns,
      })
      const error = errorOf(await runPlugin(host, call('ADD')))
      expect([name, error.code], JSON.stringify(error)).toEqual([name, 5])
      expect(error.msg + error.details).toContain('/run/podwire')
      expect(difference(before, await looked(host)), name).toBe('')
      const deleted = await runPlugin(host, call('DEL'))
      expect([name, deleted.status, deleted.stdout]).toEqual([name, 0, ''])
    }
  })
})

describe('drafts of killed writers', () => {
  test('go with the DEL of the attachment, those of others with a GC', async ({ host }) => {
    const setting = settings['a chain with everything'] as Setting
    const { chain } = await attach(host, setting)
    const files = (await stateFiles(host)).filter((path) => !path.includes('firewall-holders'))
    const drafts = files.map((path) => {
      const [, , , kind = ''] = path.split('/')
      const name = `${path.split('/').at(-1)}.99.abc.1`
      return kind === 'tuning' ? `/run/cni/tuning/.podwire/${name}` : `/run/podwire/drafts/${kind}.${name}`
    })
    const foreign = '/run/podwire/drafts/bridge.0123456789abcdef.98.abc.1'
    for (const path of [...drafts, foreign]) {
      mkdirSync(host.path(path.slice(0, path.lastIndexOf('/'))), { recursive: true })
      writeFileSync(host.path(path), '{"half')
    }
    await chain.del()
    expect(readdirSync(host.path('/run/podwire/drafts'))).toEqual([foreign.split('/').at(-1)])
    expect(readdirSync(host.path('/run/cni/tuning/.podwire'))).toEqual([])
    await chain.gc([])
    expect(readdirSync(host.path('/run/podwire/drafts'))).toEqual([])
  })
})

describe('leases', () => {
  const network = { ...wired, plugins: [bridge] }
  const leases = '/var/lib/cni/networks/network'

  test.for(Object.entries(ways).filter(([what]) => !what.includes('version') && !what.includes('types')))(
    'and all beside them are %s: others come and go',
    async ([, way], { host }) => {
      const first = await attach(host, { network })
      const beside = await host.output(['find', '/var/lib/cni/networks', '-not', '-type', 'd', '-not', '-name', 'lock'])
      for (const path of beside.trim().split('\n')) await garble(host, path, way)
      const second = await attach(host, { network }, 'c2')
      await second.chain.check()
      await second.chain.del()
      const alone = (command: Verb): Call => ({
        plugin: 'host-local',
        command,
        config: { cniVersion: '1.1.0', name: 'network', type: 'bridge', ipam: bridge['ipam'] },
        containerID: 'c2',
        netns: '/none',
      })
      resultOf(await runPlugin(host, alone('ADD')))
      expect((await runPlugin(host, alone('DEL'))).status).toBe(0)
      await second.chain.gc([{ containerID: 'c1', ifname: 'eth0' }])
      await first.chain.del()
      const owners = readdirSync(host.path(leases)).filter((name) => /^(10|fd)/.test(name))
      const texts = owners.filter((name) => lstatSync(host.path(`${leases}/${name}`)).size < 1e6)
      for (const name of texts) {
        if (lstatSync(host.path(`${leases}/${name}`)).isFile()) {
          expect(readFileSync(host.path(`${leases}/${name}`), 'utf8')).not.toContain('c2')
        }
      }
    },
  )

  const elsewhere = (dataDir?: string): PluginConfig => ({ type: 'tap', ipam: { ...lan, ...(dataDir && { dataDir }) } })
  test.for([
    ['by the same configuration', '/run/leases'],
    ['by another one', undefined],
    ['by one whose directory is below a file, too', '/dev/null/leases'],
  ])('their directory is below a file by now: DEL and GC work %s', async ([, dataDir], { host }) => {
    const before = await looked(host)
    const made = { ...network, plugins: [elsewhere('/run/leases')] }
    const now = { network: { ...network, plugins: [elsewhere(dataDir)] } }
    for (const verb of ['del', 'gc'] as const) {
      const { container } = await attach(host, { network: made }, verb)
      await host.output(['sh', '-c', 'rm -r /run/leases; : >/run/leases'])
      const chain = new Chain(host, now.network, { containerID: verb, netns: container.netns })
      if (verb === 'del') await chain.del()
      else await chain.gc([])
      await container.remove()
      await host.output(['rm', '/run/leases'])
      expect(difference(before, await looked(host))).toBe('')
      expect(await stateFiles(host)).toEqual([])
    }
  })

  test.for([
    ['a directory', (path: string) => mkdirSync(path)],
    ['a symbolic link', (path: string) => symlinkSync('/run/victim', path)],
    ['huge', (path: string) => writeFileSync(path, '\0'.repeat(1e7))],
  ] as const)('their lock is %s', async ([, make], { host }) => {
    const lock = host.path(`${leases}/lock`)
    const { chain } = await attach(host, { network })
    rmSync(lock)
    make(lock)
    await chain.del()
    expect(lstatSync(lock).isFile()).toBe(true)
    expect(exists(host, '/run/victim')).toBe(false)
  })
})

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { printState } from '../../shared/exec/state.js'
import { command } from '../../shared/testing/program.js'
import { attachmentHash } from '../../shared/values/names.js'
import { placeOf } from '../frame/place.js'
import { belongingsOf } from './collect.js'
import type { Kernel } from './kernel.js'
import { lifeOf } from './life.js'
import { readNode } from './node.js'
import { age } from './print.js'
import { FileReader } from './reader.js'
import { isYoung, reprieve } from './release.js'
import { savedRules } from './rules.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'podwire-node-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
})

function put(file: string, value: string | object): void {
  const real = path.join(root, file)
  mkdirSync(path.dirname(real), { recursive: true })
  writeFileSync(real, typeof value === 'string' ? value : JSON.stringify(value))
}

const attachment = { network: 'pods', containerID: 'c1', ifName: 'eth0' }

function record(
  kind: string,
  data: object,
  { netns, of = attachment }: { netns?: object; of?: typeof attachment } = {},
) {
  const entry = { attachment: of, ...(netns ? { netns } : {}), data }
  put(`/run/podwire/${kind}/${of.network}/${attachmentHash(of)}`, printState(entry))
}

const bridge = { type: 'bridge', ipam: { type: 'host-local', subnet: '10.1.2.0/24' } }
const portmap = { type: 'portmap', capabilities: { portMappings: true } }

interface Cached {
  plugins?: readonly object[]
  of?: typeof attachment
  netns?: string
  ports?: readonly object[]
  address?: string
  args?: readonly (readonly [string, string])[]
}

function cache({ of = attachment, address = '10.1.2.3', ...call }: Cached = {}) {
  const { plugins = [bridge, portmap], netns = '/run/netns/c1', ports = [], args } = call
  const list = { cniVersion: '1.0.0', name: of.network, plugins }
  put(`/var/lib/cni/results/${of.network}-${of.containerID}-${of.ifName}`, {
    kind: 'cniCacheV1',
    containerId: of.containerID,
    config: Buffer.from(JSON.stringify(list)).toString('base64'),
    ifName: of.ifName,
    networkName: of.network,
    ...(netns === '' ? {} : { netns }),
    ...(args ? { cniArgs: args } : {}),
    ...(ports.length > 0 ? { capabilityArgs: { portMappings: ports } } : {}),
    result: {
      cniVersion: '1.0.0',
      interfaces: [
        { name: 'cni0', mac: '02:00:00:00:00:01' },
        { name: 'veth1', mac: '02:00:00:00:00:02' },
        { name: of.ifName, mac: '02:00:00:00:00:03', sandbox: '/run/netns/c1' },
      ],
      ips: [{ address: `${address}/24`, gateway: '10.1.2.1', interface: 2 }],
    },
  })
}

const lease = (address: string, text = 'c1\r\neth0') => put(`/var/lib/cni/networks/pods/${address}`, text)

/** A kernel with these namespaces by path: inode, and the addresses there. */
function kernelWith(
  namespaces: Readonly<Record<string, { inode: number; cookie?: string; addresses?: readonly string[] }>> = {},
  { bootID = 'boot', isComplete = true, calls = [] as readonly string[], mounted = {} } = {},
): Kernel {
  const all = Object.entries(namespaces)
  return {
    bootID,
    namespaceAt: (at) => namespaces[at]?.inode,
    cookie: (at) => namespaces[at]?.cookie,
    namespaces: () => ({
      paths: new Map(all.map(([at, { inode }]) => [inode, at])),
      addresses: new Map(all.flatMap(([at, { addresses = [] }]) => addresses.map((one) => [one, [at]] as const))),
      mounted: new Map(Object.entries(mounted)),
      isComplete,
    }),
    callsFor: () => calls,
  }
}

const read = (kernel = kernelWith()) => {
  const reader = new FileReader(placeOf({ root }))
  return { ...readNode(reader, kernel), unused: reader.unused }
}

describe('an attachment', () => {
  test('is put together of its records, its cached result and its leases', () => {
    record('bridge', { mac: '02:00:00:00:00:03' })
    cache({ ports: [{ hostPort: 8080, containerPort: 80, protocol: 'TCP', hostIP: '0.0.0.0' }] })
    lease('10.1.2.3')
    const { attachments, unused } = read(kernelWith({ '/run/netns/c1': { inode: 7 } }))
    expect(unused).toEqual([])
    expect(attachments).toHaveLength(1)
    expect(attachments[0]).toMatchObject({
      ...attachment,
      netns: '/run/netns/c1',
      addresses: ['10.1.2.3/24'],
      mac: '02:00:00:00:00:03',
      hostLink: 'veth1',
      ports: [{ protocol: 'tcp', host: 8080, container: 80, address: '', to: '10.1.2.3' }],
      life: { state: 'alive', how: 'its namespace is /run/netns/c1' },
    })
  })

  test("is known by what containerd 1 has cached, which says its namespace in the result alone, and ports in Go's names", () => {
    cache({ netns: '', ports: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'TCP', HostIP: '192.0.2.1' }] })
    expect(read(kernelWith({ '/run/netns/c1': { inode: 7 } })).attachments).toMatchObject([
      {
        netns: '/run/netns/c1',
        ports: [{ protocol: 'tcp', host: 8080, container: 80, address: '192.0.2.1' }],
        life: { state: 'alive', how: 'its namespace is /run/netns/c1' },
      },
    ])
    expect(read().attachments).toMatchObject([{ life: { state: 'dead', how: '/run/netns/c1 is gone' } }])
  })

  test('is known by a record alone, with the ports and addresses that were made', () => {
    const ports = [{ protocol: 'udp', host: 53, container: 5353, address: '192.0.2.1' }]
    const common = { family: 'ip', address: '10.1.2.4', cidr: '10.1.2.4/24', masquerade: 'none', conditions: [] }
    record(
      'portmap',
      { backend: 'nftables', publications: [{ ...common, ports }] },
      { netns: { path: '/run/netns/x' } },
    )
    expect(read().attachments).toMatchObject([
      { addresses: ['10.1.2.4/24'], netns: '/run/netns/x', ports: [{ ...ports[0], family: 'ip', to: '10.1.2.4' }] },
    ])
  })

  test('has its ports in one order, whatever the order in which the runtime gave them', () => {
    const published = [
      [8081, 'udp'],
      [8080, 'udp'],
      [8080, 'tcp'],
      [80, 'tcp'],
    ] as const
    cache({ ports: published.map(([hostPort, protocol]) => ({ hostPort, containerPort: 80, protocol })) })
    const [one] = read().attachments
    expect(one?.ports.map(({ host, protocol }) => `${host}/${protocol}`)).toEqual([
      '80/tcp',
      '8080/tcp',
      '8080/udp',
      '8081/udp',
    ])
  })

  test('is known by a lease alone, also of a plugin that recorded no interface', () => {
    lease('10.1.2.5')
    lease('10.1.2.6', 'old')
    expect(read().attachments).toMatchObject([
      { containerID: 'c1', ifName: 'eth0', addresses: ['10.1.2.5'], life: { state: 'unknown' } },
      { containerID: 'old', ifName: '', addresses: ['10.1.2.6'], life: { state: 'unknown' } },
    ])
  })

  test('has leases where its configuration, its record, or a configuration of the node says', () => {
    const elsewhere = (dataDir: string) => ({ ...bridge, ipam: { ...bridge.ipam, dataDir } })
    cache({ plugins: [elsewhere('/srv/cached')] })
    put('/etc/cni/net.d/1.conflist', { name: 'pods', plugins: [elsewhere('/srv/configured/')] })
    const plugins = [elsewhere('/srv/chained')]
    put('/etc/cni/net.d/2.conflist', { name: 'pods', plugins: [{ type: 'chain', plugins }] })
    record('ipam', { sources: [{ plugin: 'bridge', type: 'host-local', dataDir: '/srv/recorded' }] })
    const folders = ['cached', 'chained', 'configured', 'recorded']
    for (const folder of folders) put(`/srv/${folder}/pods/10.1.2.9`, 'c1\r\neth0')
    const files = read().attachments.flatMap(({ leases }) => leases.map(({ file }) => file))
    expect(files.sort()).toEqual(folders.map((one) => `/srv/${one}/pods/10.1.2.9`))
    expect([...read().dataDirs].sort()).toEqual(folders.map((one) => `/srv/${one}`))
  })

  test.each([
    [
      'containerd',
      '/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1/config.json',
      {
        'io.kubernetes.cri.sandbox-name': 'web-1',
        'io.kubernetes.cri.sandbox-namespace': 'shop',
      },
      'shop/web-1',
    ],
    [
      'nerdctl',
      '/run/containerd/io.containerd.runtime.v2.task/default/c1/config.json',
      { 'nerdctl/name': 'web' },
      'web',
    ],
    [
      'CRI-O',
      '/run/containers/storage/overlay-containers/c1/userdata/config.json',
      {
        'io.kubernetes.pod.name': 'web-1',
        'io.kubernetes.pod.namespace': 'shop',
      },
      'shop/web-1',
    ],
  ])('has the name that a bundle of %s has', (_, file, annotations, name) => {
    cache()
    put(file, { annotations })
    expect(read().attachments).toMatchObject([{ name }])
  })

  test.each([
    ['Podman', { id: 'c1', names: ['web'] }, 'web'],
    ['CRI-O', { id: 'c1', names: ['k8s_POD_x'], metadata: '{"pod-name":"web-1","namespace":"shop"}' }, 'shop/web-1'],
  ])('has the name that the list of %s has', (_, one, name) => {
    cache()
    put('/var/lib/containers/storage/overlay-containers/containers.json', [one])
    expect(read().attachments).toMatchObject([{ name }])
  })

  test.each([
    ['its annotation', { 'nerdctl/name': 'web' }, 'web'],
    ['the ID that its user gave it', {}, 'c1'],
  ])('has, where CNI was told its ID behind the namespace of containerd, %s as its name', (_, annotations, name) => {
    cache({ of: { ...attachment, containerID: 'default-c1' } })
    put('/run/containerd/io.containerd.runtime.v2.task/default/c1/config.json', { annotations })
    expect(read().attachments).toMatchObject([{ name }])
  })

  test.each([
    [[['K8S_POD_NAMESPACE', 'shop'] as const, ['K8S_POD_NAME', 'web-1'] as const], 'shop/web-1'],
    [[['IgnoreUnknown', '1'] as const, ['K8S_POD_NAME', 'web'] as const], 'web'],
    [[['IP', '10.1.2.3'] as const], ''],
  ])('has the name that its runtime told plugins, where its bundle is gone: %j', (args, name) => {
    cache({ args })
    expect(read().attachments).toMatchObject([{ name }])
  })
})

describe('life', () => {
  const at = '/run/netns/c1'
  const known = { path: at, boot: 'boot', inode: 7, cookie: 'a' }
  const here = { inode: 7, cookie: 'a', addresses: ['10.1.2.3'] }
  test.each([
    [
      'a namespace that lies where the result says',
      [{ path: at }],
      { [at]: here },
      {},
      'alive',
      `its namespace is ${at}`,
    ],
    ['a namespace that lies where the record says', [known], { [at]: here }, {}, 'alive', `its namespace is ${at}`],
    ['nothing there', [{ path: at }], {}, {}, 'dead', `${at} is gone`],
    ['nothing there, and not all was seen', [{ path: at }], {}, { isComplete: false }, 'unknown', 'only root'],
    [
      'nothing there, its address elsewhere',
      [{ path: at }],
      { '/x': { inode: 8, addresses: ['10.1.2.3'] } },
      {},
      'unknown',
      '10.1.2.3 is in /x',
    ],
    [
      'another namespace there, of its inode',
      [known],
      { [at]: { inode: 7, cookie: 'b' } },
      {},
      'dead',
      'no longer its',
    ],
    ['another namespace there', [known], { [at]: { inode: 8 } }, {}, 'dead', 'no longer its namespace'],
    ['its namespace kept elsewhere', [known], { '/proc/9/ns/net': here }, {}, 'alive', 'kept by /proc/9/ns/net'],
    [
      'a record of an earlier boot',
      [{ ...known, boot: 'other' }],
      { [at]: { inode: 7 } },
      {},
      'dead',
      'an earlier boot',
    ],
    [
      'an earlier boot, and a result of now',
      [{ ...known, boot: 'other' }, { path: at }],
      { [at]: here },
      {},
      'alive',
      at,
    ],
    ['no namespace on record, its address somewhere', [], { '/x': here }, {}, 'alive', '10.1.2.3 is in /x'],
    ['nothing on record', [], {}, {}, 'unknown', 'nothing says which namespace it had'],
  ])('%s', (_, namespaces, there, options, state, how) => {
    const life = lifeOf({ namespaces, addresses: ['10.1.2.3/24'], isOutlived: false }, kernelWith(there, options))
    expect(life).toEqual({ state, how: expect.stringContaining(how) })
  })

  test.each([
    ['/run/netns/c1', '/run/netns/c1'],
    ['/var/run/netns/c1', '/run/netns/c1'],
  ])('%s that only the mount namespace of the runtime has is there', (path, point) => {
    const kernel = kernelWith({}, { mounted: { [point]: '/proc/9/root/run/netns/c1' } })
    const life = lifeOf({ namespaces: [{ path }], addresses: [], isOutlived: false }, kernel)
    expect(life).toEqual({ state: 'alive', how: 'its namespace is kept by /proc/9/root/run/netns/c1' })
  })

  test.each([
    ["the host's, by now", { '/proc/1/ns/net': { inode: 1 }, '/proc/9/ns/net': { inode: 1 } }, 'dead', 'no longer'],
    ['its own', { '/proc/1/ns/net': { inode: 1 }, '/proc/9/ns/net': { inode: 7 } }, 'alive', '/proc/9/ns/net'],
    ['gone', { '/proc/1/ns/net': { inode: 1 } }, 'dead', 'is gone'],
  ])('the namespace of a process is %s', (_, there, state, how) => {
    const signs = { namespaces: [{ path: '/proc/9/ns/net' }], addresses: ['10.1.2.3/24'], isOutlived: false }
    expect(lifeOf(signs, kernelWith(there))).toEqual({ state, how: expect.stringContaining(how) })
  })

  test('addresses that every namespace has say nothing', () => {
    const kernel = kernelWith({ '/x': { inode: 8, addresses: ['127.0.0.1', '::1', 'fe80::1'] } })
    const addresses = ['127.0.0.1/8', '::1/128', 'fe80::1/64']
    expect(lifeOf({ namespaces: [{ path: at }], addresses, isOutlived: false }, kernel).state).toBe('dead')
  })

  test("an earlier boot's lease is dead; of another root nobody knows", () => {
    const signs = { namespaces: [], addresses: ['10.1.2.3'], isOutlived: true }
    expect(lifeOf(signs, kernelWith()).state).toBe('dead')
    expect(lifeOf(signs, undefined).state).toBe('unknown')
  })
})

describe('gc', () => {
  const dead = (plugins?: readonly object[]) => {
    cache(plugins ? { plugins } : {})
    lease('10.1.2.3')
    for (const file of ['/var/lib/cni/results/pods-c1-eth0', '/var/lib/cni/networks/pods/10.1.2.3']) {
      utimesSync(path.join(root, file), 1000, 1000)
    }
    const [one] = read().attachments
    if (!one) throw new Error('there is no attachment')
    return one
  }

  test('takes what is dead and old, and has nobody at work', () => {
    const one = dead()
    expect(reprieve(one, kernelWith())).toBeUndefined()
    expect(reprieve(one, kernelWith({}, { calls: ['17 /opt/cni/bin/bridge'] }))).toContain('17 /opt/cni/bin/bridge')
    expect(reprieve({ ...one, touched: Date.now() - 9 * 60_000 }, kernelWith())).toContain('younger than 10 minutes')
    expect(reprieve(one, kernelWith({ '/run/netns/c1': { inode: 7 } }))).toContain('its namespace is')
  })

  test('spares what a clock that was set back has from the future', () => {
    expect(isYoung(Date.now() + 3_600_000)).toBe(true)
    expect(isYoung(Date.now() - 601_000)).toBe(false)
  })

  test('calls the plugins of the chain from its end', () => {
    expect(belongingsOf(dead())).toMatchObject({
      plugins: ['portmap', 'bridge'],
      foreign: [],
      results: [expect.anything()],
    })
  })

  test('leaves the cached result to the runtime where a plugin of another suite has to be asked', () => {
    const result = belongingsOf(dead([{ type: 'calico', ipam: { type: 'calico-ipam' } }, portmap]))
    expect(result).toMatchObject({ foreign: ['calico', 'calico-ipam'], results: [], leases: [expect.anything()] })
  })

  test('calls nobody for names that no runtime gives', () => {
    const one = { ...dead(), network: '../etc' }
    expect(belongingsOf(one)).toBeUndefined()
  })

  test('is for its own host', async () => {
    const { status, stderr } = await command(['gc', '--root', root])
    expect([status, stderr]).toEqual([2, expect.stringContaining('gc is for the host that it runs on')])
  })
})

describe('files that cannot be used', () => {
  const hostile: readonly [string, string | object | undefined][] = [
    ['/run/podwire/bridge/pods/garbled', '{"version":2,'],
    ['/run/podwire/bridge/pods/empty', ''],
    ['/run/podwire/bridge/pods/other-version', { version: 99, attachment, data: {} }],
    ['/run/podwire/bridge/pods/planted', { version: 2, attachment: { ...attachment, network: '../x' }, data: {} }],
    ['/run/podwire/nonsense/pods/x', '{}'],
    ['/var/lib/cni/results/garbled', '\0\0\0'],
    ['/var/lib/cni/results/list', '[]'],
    ['/var/lib/cni/results/old', { ip4: { ip: '10.0.0.1/24' } }],
    ['/var/lib/cni/results/nameless', { kind: 'cniCacheV1' }],
    ['/var/lib/cni/networks/pods/10.1.2.7', ''],
    ['/var/lib/cni/networks/pods/10.1.2.8', '\0\0\0\0'],
    ['/etc/cni/net.d/broken.conflist', '{'],
    ['/var/lib/containers/storage/overlay-containers/containers.json', '}'],
  ]

  test.each(hostile)('%s is told of, and stops no command', async (file, value) => {
    cache({ of: { ...attachment, containerID: 'good' } })
    put(file, value ?? '')
    for (const name of ['ps', 'leases', 'ports']) {
      const { status, stdout, stderr } = await command([name, '--root', root])
      expect([name, status]).toEqual([name, 0])
      if (name === 'ps') expect(stdout).toContain('good')
      expect(stderr).toContain(file.includes('nonsense') ? '/run/podwire/nonsense holds' : file)
    }
  })

  test('huge files, circles of links, devices and folders are told of', async () => {
    const folder = '/var/lib/cni/results'
    put(`${folder}/huge`, '')
    truncateSync(path.join(root, folder, 'huge'), 5 * 1024 * 1024)
    symlinkSync('circle', path.join(root, folder, 'circle'))
    mkdirSync(path.join(root, folder, 'folder'))
    const { status, stdout } = await command(['ps', '--root', root, '--json'])
    expect(status).toBe(0)
    const { unused } = JSON.parse(stdout) as { unused: { path: string; why: string }[] }
    expect(unused.map(({ path: at }) => at)).toEqual(['circle', 'folder', 'huge'].map((name) => `${folder}/${name}`))
  })

  test('what they say is printed without control characters', async () => {
    cache({ of: { network: 'pods', containerID: 'c\x1b[2J', ifName: 'e\nth0' } })
    put('/var/lib/containers/storage/overlay-containers/containers.json', [{ id: 'c\x1b[2J', names: ['\u202ex'] }])
    for (const words of [['ps'], ['ps', '--json'], ['leases'], ['ports']]) {
      const { stdout, stderr } = await command([...words, '--root', root])
      expect((stdout + stderr).replaceAll('\n', '')).not.toMatch(/[\p{C}]/u)
    }
    expect((await command(['ps', '--root', root])).stdout).toContain('c\\u{1b}[2J')
  })
})

describe('leases', () => {
  test('are listed by network and range, with how full it is', async () => {
    put('/etc/cni/net.d/1.conflist', { name: 'pods', plugins: [bridge] })
    lease('10.1.2.3')
    lease('10.1.2.4', 'c2\r\neth0')
    put('/var/lib/cni/networks/other/10.9.9.9', 'c3\r\neth0')
    const { ranges, leases } = JSON.parse((await command(['leases', '--root', root, '--json'])).stdout)
    expect(ranges).toEqual([
      {
        network: 'pods',
        dataDir: '/var/lib/cni/networks',
        start: '10.1.2.1',
        end: '10.1.2.254',
        size: '253',
        used: 2,
        dead: 0,
      },
    ])
    expect(leases.map(({ address, containerID }: never) => [address, containerID])).toEqual([
      ['10.9.9.9', 'c3'],
      ['10.1.2.3', 'c1'],
      ['10.1.2.4', 'c2'],
    ])
    const { stdout } = await command(['leases', '--root', root, '--network', 'other'])
    expect(stdout).toContain('10.9.9.9')
    expect(stdout).not.toContain('10.1.2.3')
  })

  test.each([
    [['lend', '10.1.2.3'], '"lend" is no action'],
    [['free'], '"" is no address'],
    [['free', '10.1.2.300'], 'is no address'],
    [['free', '10.1.2.9'], 'nobody has a lease of 10.1.2.9'],
    [['free', '10.1.2.4'], 'several networks'],
  ])('%j is wrong use', async (words, why) => {
    lease('10.1.2.4')
    put('/var/lib/cni/networks/other/10.1.2.4', 'c3\r\neth0')
    const { status, stdout, stderr } = await command(['leases', ...words, '--root', root])
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain(why)
  })

  test('free keeps what is not provably dead', async () => {
    lease('10.1.2.3')
    const { status, stdout } = await command(['leases', 'free', '10.1.2.3', '--root', root])
    expect([status, stdout]).toEqual([1, '10.1.2.3 of pods and c1: kept: its host cannot be asked\n'])
  })
})

describe('ports', () => {
  test('are read of iptables with their holders and hits', () => {
    const text = [
      '*nat',
      ':CNI-DN-0123 - [0:0]',
      '[9:540] -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"pods\\" id: \\"c1\\"" -m multiport --dports 8080 -j CNI-DN-0123',
      '[1:60] -A CNI-DN-0123 -s 10.1.2.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK',
      '[7:420] -A CNI-DN-0123 -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.2.3:80',
      'COMMIT',
    ].join('\n')
    expect(savedRules('ip', text)).toEqual([
      {
        family: 'ip',
        protocol: 'tcp',
        port: '8080',
        address: '192.0.2.1',
        to: '10.1.2.3:80',
        owner: 'dnat name: "pods" id: "c1"',
        hits: 7,
        backend: 'iptables',
      },
    ])
  })

  test('two containers that have one port are rivals', async () => {
    const ports = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
    cache({ ports })
    cache({ ports, of: { ...attachment, containerID: 'c2' }, address: '10.1.2.4' })
    const { stdout } = await command(['ports', '--root', root])
    expect(stdout).toMatch(/^8080\/tcp {2}10\.1\.2\.3:80 .* \? .*pods\/c2$/m)
    expect(stdout).toMatch(/^8080\/tcp {2}10\.1\.2\.4:80 .* \? .*pods\/c1$/m)
  })
})

test('ages are short', () => {
  expect([5, 119, 121, 7300, 200_000].map((seconds) => age(0, seconds * 1000))).toEqual([
    '5s',
    '119s',
    '2m',
    '2h',
    '2d',
  ])
})

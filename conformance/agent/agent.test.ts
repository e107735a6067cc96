import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { type Started, until } from '../harness/process.js'
import { ask, serve } from '../harness/traffic.js'
import { advertise } from '../lan/routers.js'
import { Cluster, type ClusterMember, hostOf, usualRanges } from './cluster.js'

// `podwire agent` as it is built, on nodes that are network namespaces of one link, beside a simulated API server.

/** For what shall come, however busy the machine is. */
const whole = 30_000
/** What comes from then on comes because the API server told of it, and not by a look without a cause. */
const byWatchAlone = ['--every', '3600']

test('keeps routes, rules and the configuration of a node what the cluster says', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  const agent = one.agent(byWatchAlone)
  await ready(one, agent)
  expect(JSON.parse(one.conflist ?? '')).toEqual({
    cniVersion: '1.0.0',
    name: 'podwire',
    plugins: [
      {
        type: 'chain',
        capabilities: { portMappings: true },
        plugins: [
          {
            type: 'ptp',
            mtu: 1500,
            ipam: {
              type: 'host-local',
              ranges: [[{ subnet: '10.244.1.0/24' }], [{ subnet: 'fd44:0:0:1::/64' }]],
              routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
            },
          },
          { type: 'portmap', capabilities: { portMappings: true } },
        ],
      },
    ],
  })
  expect(readdirSync(host.path(`${one.root}/etc/cni/net.d`))).toEqual(['10-podwire.conflist'])
  expect(await one.routes()).toEqual([])

  // What others made for the same pods stays, and beside it what is the agent's.
  await one.place.batch(['route add 10.244.2.0/24 via 172.20.255.1', 'route add 10.99.0.0/16 via 172.20.255.1'])
  const others = await foreign(one)
  await cluster.api.order('node', { name: 'two', podCIDRs: usualRanges(2), addresses: ['172.20.0.2', 'fd30::2'] })
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'))
  await cluster.api.order('node', { name: 'two', podCIDRs: usualRanges(2), addresses: ['172.20.0.22', 'fd30::22'] })
  await routesAre(one, ways(2, '172.20.0.22', 'fd30::22'))
  expect(await foreign(one)).toEqual(others)

  // One that is not on the link, in one family and in both.
  await cluster.api.order('node', { name: 'far', podCIDRs: usualRanges(3), addresses: ['192.0.2.3', 'fd30::3'] })
  await routesAre(one, [...ways(2, '172.20.0.22', 'fd30::22'), ...ways(3, '', 'fd30::3')])
  await told(cluster, 'NotOnLink', /node far: .*10\.244\.3\.0\/24.*192\.0\.2\.3/)

  // Ranges that whoever writes a node's object must not have.
  await cluster.api.order('node', {
    name: 'greedy',
    podCIDRs: ['0.0.0.0/0', '172.20.0.0/24'],
    addresses: ['172.20.0.9'],
  })
  await cluster.api.order('node', { name: 'twin', podCIDRs: ['10.244.1.128/25'], addresses: ['172.20.0.10'] })
  await cluster.api.order('node', { name: 'words', podCIDRs: ['10.244.9.0/24; reboot'], addresses: ['172.20.0.11'] })
  await told(cluster, 'RangeRefused', /node greedy: .*0\.0\.0\.0\/0/)
  await told(cluster, 'RangeRefused', /node greedy: .*172\.20\.0\.0\/24.*address of a node/)
  await told(cluster, 'RangeRefused', /node twin: .*overlaps the range of this node/)
  await told(cluster, 'NodeGarbled', /node words/)
  for (const name of ['greedy', 'twin', 'words', 'far']) await cluster.api.order('delete', { name })
  await routesAre(one, ways(2, '172.20.0.22', 'fd30::22'))

  // Neither its death nor its end changes anything; what changed meanwhile it makes good.
  const gone = /172\.20\.0\.(9|10|11)\b|fd30::3\b|::3:ffff/
  const tables = async () => `${await one.table('ip')} ${await one.table('ip6')}`
  await until('the tables have none of them either', async () => !gone.test(await tables()), whole)
  const before = await standing(one)
  await end(agent, 'SIGKILL')
  expect(await standing(one)).toEqual(before)
  await one.place.batch(['route del 10.244.2.0/24 proto 117', 'route add fd44:0:0:77::/64 via fd30::7 proto 117'])
  const second = one.agent()
  await routesAre(one, ways(2, '172.20.0.22', 'fd30::22'))
  await ready(one, second)
  expect(await end(second, 'SIGTERM')).toBe(0)
  expect(await standing(one)).toEqual(before)
  expect(await foreign(one)).toEqual(others)

  // As one that was killed while it wrote leaves them.
  const configurations = host.path(`${one.root}/etc/cni/net.d`)
  writeFileSync(`${configurations}/10-podwire.conflist.new`, '{')
  const removed = await one.agentOnce(['--remove'])
  expect(readdirSync(configurations)).toEqual([])
  expect(removed.status, removed.stderr).toBe(0)
  expect(await standing(one)).toEqual([[], '', '', undefined])
  expect(await foreign(one)).toEqual(others)

  // What an agent that has yet to end makes again goes, too.
  const remover = one.agent(['--remove', '--stay', '--every', '1'])
  await one.place.batch(['route add 10.244.2.0/24 via 172.20.0.22 proto 117 metric 2048'])
  writeFileSync(`${configurations}/10-podwire.conflist`, '{}')
  await until(
    'it is gone again',
    async () => (await one.routes()).length + readdirSync(configurations).length === 0,
    whole,
  )
  await one.place.batch(['route add 10.244.2.0/24 via 172.20.0.22 proto 117 metric 2048'])
  await routesAre(one, [])
  expect(await end(remover, 'SIGTERM')).toBe(0)
  expect(await foreign(one)).toEqual(others)
})

test('carries packets between pods of two nodes, and masquerades only what leaves the cluster', async ({ host }) => {
  const cluster = await Cluster.create(host)
  await cluster.api.order('config', { text: 'noMasquerade: [198.51.100.0/24]\n' })
  const [one, two] = [await cluster.node(1), await cluster.node(2)]
  const agents = [one.agent(), two.agent()]
  await Promise.all([ready(one, agents[0]), ready(two, agents[1])])
  await Promise.all([routesAre(one, ways(2, two.v4, two.v6)), routesAre(two, ways(1, one.v4, one.v6))])
  const pods = [await host.container('pod1'), await host.container('pod2')] as const
  const results = [JSON.parse(await one.pod('add', pods[0])), JSON.parse(await two.pod('add', pods[1]))]
  const [from, to] = results.map(({ ips }) => (ips as { address: string }[]).map(({ address }) => hostOf(address)))
  const server = await serve(pods[1], { protocol: 'tcp', port: 80 })
  for (const [index, address] of (to ?? []).entries()) {
    const answered = await ask(pods[0], { protocol: 'tcp', address, port: 80 })
    expect(answered?.source, `${address}`).toBe(from?.[index])
  }
  await server.stop()
  // The host of the test is no node, thus outside; it has a range that is excepted, too.
  await host.output(['ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'lan'])
  await host.output(['ip', 'route', 'add', '10.244.1.0/24', 'via', one.v4])
  const outside = await serve(host, { protocol: 'tcp', port: 81 })
  const seen = async (address: string) => (await ask(pods[0], { protocol: 'tcp', address, port: 81 }))?.source
  expect(await seen('172.20.255.1')).toBe(one.v4)
  expect(await seen('fd30::ffff')).toBe(one.v6)
  expect(await seen('198.51.100.1')).toBe(from?.[0])

  // A flush is healed, of the table's rules and of all rules.
  for (const words of [['table', 'ip', 'podwire-agent'], ['ruleset']]) {
    const before = await one.table('ip')
    await one.place.output(['nft', 'flush', ...words])
    await until('the rules are back', async () => (await one.table('ip')) === before, whole)
  }
  await one.place.output(['nft', 'delete', 'element', 'ip', 'podwire-agent', 'inside', '{ 224.0.0.0/4 }'])
  await until('the element is back', async () => (await one.table('ip')).includes('224.0.0.0/4'), whole)
  expect(await seen('172.20.255.1')).toBe(one.v4)
  await outside.stop()
  await Promise.all([one.pod('del', pods[0]), two.pod('del', pods[1])])
  await Promise.all(agents.map((agent) => end(agent, 'SIGTERM')))
})

test('excepts a new node from masquerade by elements alone, before it makes the table anew', async ({ host }) => {
  const cluster = await Cluster.create(host)
  // One of the node's addresses is excepted already, so that the kernel refuses it.
  await cluster.api.order('config', { text: 'noMasquerade: [172.20.0.0/16]\n' })
  const one = await cluster.node(1)
  const agent = one.agent()
  await ready(one, agent)
  const monitor = one.place.start(['nft', 'monitor'])
  let heard = ''
  monitor.child.stdout?.on('data', (bytes: Buffer) => {
    heard += bytes.toString()
  })
  const isHeard = async () => {
    await one.place.output(['nft', 'add table ip heard; delete table ip heard'])
    return heard.includes('add table ip heard')
  }
  await until('changes of rules are heard', isHeard, whole)
  await cluster.api.order('node', { name: 'two', podCIDRs: usualRanges(2), addresses: ['172.20.0.2', 'fd30::2'] })
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'))
  // A transaction ends in the line of its generation: each of these has one element and nothing else.
  const transactions = () => heard.split(/# new generation .*\n/).map((part) => part.trim())
  const elements = ['ip podwire-agent inside { 10.244.2.0/24 }', 'ip6 podwire-agent inside { fd44:0:0:2::/64 }']
  for (const one of [...elements, 'ip6 podwire-agent inside { fd30::2 }'])
    await until(`${one} is heard`, async () => transactions().includes(`add element ${one}`), whole).catch(() =>
      expect(transactions()).toContain(`add element ${one}`),
    )
  const isWhole = async () => {
    const tables = await Promise.all([one.table('ip'), one.table('ip6')])
    return (
      tables[0].includes('10.244.1.0-10.244.2.255') && tables[1].includes('fd44:0:0:1::-fd44::2:ffff:ffff:ffff:ffff')
    )
  }
  await until('the next look merges them', isWhole, whole)
  await end(monitor, 'SIGTERM')
  await end(agent, 'SIGTERM')
})

test('keeps what works when the API server or the configuration does not', async ({ host }) => {
  const cluster = await Cluster.create(host)
  await cluster.api.order('config', { text: 'plugin: bridge\nlist: true\nbandwidth: true\nmtu: 1400\n' })
  const one = await cluster.node(1)
  await cluster.api.order('node', { name: 'two', podCIDRs: usualRanges(2), addresses: ['172.20.0.2', 'fd30::2'] })
  let agent = one.agent()
  await ready(one, agent)
  const good = one.conflist ?? ''
  expect(JSON.parse(good).plugins.map(({ type }: { type: string }) => type)).toEqual(['bridge', 'portmap', 'bandwidth'])
  expect(JSON.parse(good).plugins[0]).toMatchObject({ mtu: 1400, isDefaultGateway: true, hairpinMode: true })

  for (const [text, words] of [
    ['plugin: macvlan\nporttmap: true\nnoMasquerade: [10.0.0.0]', /plugin.*porttmap.*last good one holds/s],
    ['plugin: [', /no YAML.*last good one holds/],
  ] as const) {
    await cluster.api.order('config', { text })
    await told(cluster, 'ConfigurationWrong', words)
    expect((await one.get('/metrics')).stdout).toContain('podwire_agent_configuration_valid 0')
    expect(one.conflist).toBe(good)
  }
  // Also where the ConfigMap is deleted before the DaemonSet is.
  await cluster.api.order('config', {})
  await until('it is gone', async () => (await one.get('/metrics')).stdout.includes('configuration_valid 1'), whole)
  expect(one.conflist).toBe(good)
  await cluster.api.order('config', { text: 'plugin: [' })
  await told(cluster, 'ConfigurationWrong', /no YAML.*last good one holds/)
  // Also of one that starts with it.
  await end(agent, 'SIGKILL')
  agent = one.agent()
  await ready(one, agent)
  await until(
    'the routes are looked at',
    async () => metric((await one.get('/metrics')).stdout, 'routes_present') === 2,
  )
  expect(one.conflist).toBe(good)

  // An API server that ends its watches, forgets, drops, does not answer, refuses, is gone.
  const standingNow = await standing(one)
  await cluster.api.order('forget')
  await cluster.api.order('node', { name: 'three', podCIDRs: usualRanges(3), addresses: ['172.20.0.3', 'fd30::3'] })
  const both = [...ways(2, '172.20.0.2', 'fd30::2'), ...ways(3, '172.20.0.3', 'fd30::3')]
  await routesAre(one, both)
  await cluster.api.order('bookmark')
  await cluster.api.order('drop')
  await cluster.api.order('delete', { name: 'three' })
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'))
  await cluster.api.order('refuse', { paths: { nodes: 500 } })
  await cluster.api.order('drop')
  await until(
    'it was refused',
    async () => (await one.get('/metrics')).stdout.includes('errors_total{code="500"}'),
    whole,
  )
  expect(await standing(one)).toEqual(standingNow)
  await cluster.api.kill()
  await until(
    'it was not reached',
    async () => (await one.get('/metrics')).stdout.includes('{code="ECONNREFUSED"}'),
    whole,
  )
  expect((await one.get('/readyz')).status).toBe(0)
  expect((await one.get('/healthz')).status).toBe(0)
  expect(await standing(one)).toEqual(standingNow)
  await one.place.batch(['route del 10.244.2.0/24 proto 117'])
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'))
  expect(await end(agent, 'SIGTERM')).toBe(0)
  // One that starts without it changes nothing either.
  agent = one.agent()
  await until('it is up', async () => (await one.get('/healthz')).status === 0, whole)
  expect(await standing(one)).toEqual(standingNow)
  await end(agent, 'SIGTERM')
})

test('says what a node lacks, and what has changed on it', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1, [])
  writeFileSync(host.path(`${one.root}/etc/cni/net.d/05-other.conflist`), '{}')
  const agent = one.agent()
  await told(cluster, 'NoPodCIDR', /no pod range/)
  await told(cluster, 'OtherConflist', /05-other\.conflist/)
  expect(one.conflist).toBeUndefined()
  expect((await one.get('/readyz')).status).toBe(1)

  // IPv4 alone, with a cloud that says the network is not there.
  const cloud = { conditions: [{ type: 'NetworkUnavailable', status: 'True', reason: 'NoRouteCreated' }] }
  await cluster.api.order('refuse', { paths: { '/status': 403 } })
  await cluster.tell(one, ['10.244.1.0/24'], cloud)
  await ready(one, agent)
  expect(rangesIn(one)).toEqual(['10.244.1.0/24'])
  expect(await one.table('ip6')).toBe('')
  await told(cluster, 'StatusRefused', /nodes\/status/)
  await cluster.api.order('refuse', { paths: {} })
  await until('the network is available', async () => (await cluster.api.show()).patches.length > 0, whole)
  expect((await cluster.api.show()).patches).toEqual([
    {
      path: '/api/v1/nodes/node1/status',
      type: 'application/strategic-merge-patch+json',
      body: { status: { conditions: [expect.objectContaining({ type: 'NetworkUnavailable', status: 'False' })] } },
    },
  ])

  // Another range, and another MTU of the uplink; then IPv6 alone.
  await cluster.tell(one, ['10.244.8.0/24'])
  await told(cluster, 'PodCIDRChanged', /10\.244\.8\.0\/24, and was 10\.244\.1\.0\/24/)
  await until('new pods get the new range', () => rangesIn(one)[0] === '10.244.8.0/24')
  expect(await one.table('ip')).toMatch(/set pods \{[^}]*10\.244\.1\.0\/24, 10\.244\.8\.0\/24/s)
  await one.place.output(['ip', 'link', 'set', 'uplink', 'mtu', '1440'])
  await told(cluster, 'MTUChanged', /1440, and was 1500/)
  expect(one.conflist).toContain('"mtu": 1440')
  await cluster.tell(one, ['fd44:0:0:1::/64'])
  await until('pods have IPv6 alone', () => rangesIn(one)[0] === 'fd44:0:0:1::/64')
  expect(one.conflist).not.toContain('0.0.0.0/0')

  const metrics = (await one.get('/metrics')).stdout
  for (const name of ['podwire_agent_last_look_age_seconds', 'podwire_leases_free', 'podwire_agent_problems']) {
    expect(metrics).toContain(name)
  }
  await end(agent, 'SIGTERM')
  const { asked } = await cluster.api.show()
  expect(Object.keys(asked).sort()).toEqual(
    [
      'GET /api/v1/namespaces/kube-system/configmaps',
      'GET /api/v1/namespaces/kube-system/configmaps watch',
      'GET /api/v1/nodes',
      'GET /api/v1/nodes watch',
      'PATCH /api/v1/nodes/node1/status',
      'POST /api/v1/namespaces/default/events',
    ].sort(),
  )
})

test.for([
  {
    only: 'IPv4',
    at: 0,
    far: '192.0.2.3',
    usual: '0.0.0.0/0',
    tables: [/saddr != @pods/, /^$/],
  },
  {
    only: 'IPv6',
    at: 1,
    far: '2001:db8:f::3',
    usual: '::/0',
    tables: [/^$/, /saddr != @pods/],
  },
] as const)('serves a cluster of $only alone', async ({ at, far, usual, tables }, { host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1, [])
  const range = (number: number) => usualRanges(number)[at] as string
  const address = [one.v4, one.v6][at] as string
  await cluster.tell(one, [range(1)], { addresses: [address] })
  const next = ['172.20.0.2', 'fd30::2'][at] as string
  await cluster.api.order('node', { name: 'two', podCIDRs: [range(2)], addresses: [next] })
  await cluster.api.order('node', { name: 'far', podCIDRs: [range(3)], addresses: [far] })
  // One that has an address of the other family alone.
  const other = ['fd30::4', '172.20.0.4'][at] as string
  await cluster.api.order('node', { name: 'other', podCIDRs: [range(4)], addresses: [other] })
  const agent = one.agent()
  await ready(one, agent)
  await routesAre(one, at === 0 ? ways(2, next, '') : ways(2, '', next))
  await told(cluster, 'NotOnLink', new RegExp(`node far: .*${range(3)}, ${far} is not on a link`))
  await told(cluster, 'NotOnLink', new RegExp(`node other: .*${range(4)}, it has no address of IPv${at === 0 ? 4 : 6}`))
  expect(rangesIn(one)).toEqual([range(1)])
  const { ipam } = JSON.parse(one.conflist ?? '').plugins[0].plugins[0]
  expect(ipam.routes).toEqual([{ dst: usual }])
  expect(await one.table('ip')).toMatch(tables[0])
  expect(await one.table('ip6')).toMatch(tables[1])
  const pod = await host.container('pod1')
  const { ips } = JSON.parse(await one.pod('add', pod))
  expect(ips.map((ip: { address: string }) => ip.address.includes(':'))).toEqual([at === 1])
  // Outside of the cluster it bears the node's address.
  const [outside, route] = [['172.20.255.1', 'fd30::ffff'][at] as string, ['ip', at === 0 ? '-4' : '-6', 'route']]
  await host.output([...route, 'add', range(1), 'via', address])
  const server = await serve(host, { protocol: 'tcp', port: 81 })
  expect((await ask(pod, { protocol: 'tcp', address: outside, port: 81 }))?.source).toBe(address)
  await server.stop()
  await one.pod('del', pod)
  await end(agent, 'SIGTERM')
})

test('installs the plugins, and tells where it cannot', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  mkdirSync(host.path(`${one.root}/to`))
  const done = await one.agentOnce(['--install-to', '/to'])
  expect(done.status, done.stderr).toBe(0)
  expect(readdirSync(host.path(`${one.root}/to`))).toContain('chain')
  await host.output(['mount', '-t', 'tmpfs', '-o', 'ro', 'tmpfs', `${one.root}/to`])
  const refused = await one.agentOnce(['--install-to', '/to'])
  expect(refused.status).toBe(2)
  await told(cluster, 'InstallFailed', /^podwire \S+ \(\w+\) cannot be installed in .*\/to: .*read-only/)
  await host.output(['umount', `${one.root}/to`])
  // A folder that is there and read-only, as a distribution with an immutable root has it.
  await host.output(['mount', '--bind', `${one.root}/to`, `${one.root}/to`])
  await host.output(['mount', '-o', 'remount,bind,ro', `${one.root}/to`])
  const full = readdirSync(host.path(`${one.root}/to`))
  mkdirSync(host.path('/run/from'))
  const elf = Buffer.alloc(64)
  elf.write('\x7fELF\x02\x01\x01', 'latin1')
  elf.writeUInt16LE(2, 16)
  elf.writeUInt16LE(process.arch === 'arm64' ? 62 : 183, 18)
  writeFileSync(host.path('/run/from/ptp'), elf, { mode: 0o755 })
  const again = ['--install-to', '/to', '--from', '/run/from']
  expect((await one.agentOnce(again)).status).toBe(2)
  expect((await cluster.api.show()).events.filter(({ message }) => message.includes('read-only'))).toHaveLength(2)
  await host.output(['umount', `${one.root}/to`])

  // Programs for another processor: nothing is changed.
  expect((await one.agentOnce(again)).status).toBe(2)
  await told(cluster, 'InstallFailed', /ptp is not installed: it is of another architecture: for \w+, and this/)
  expect(readdirSync(host.path(`${one.root}/to`))).toEqual(full)

  // As the manifest's init step, which has no capabilities: plugins of another user's, as archives have them, are
  // replaced and kept; of a folder of another user's an Event says whose it is.
  const bare = ['setpriv', '--bounding-set', '-all', '--inh-caps', '-all', '--ambient-caps', '-all']
  const theirs = `${one.root}/theirs`
  await host.output(['mkdir', theirs])
  await host.output(['sh', '-c', 'echo official >"$1"; chmod 755 "$1"; chown 1001:1001 "$1"', 'sh', `${theirs}/ptp`])
  const into = ['--install-to', '/theirs']
  const taken = await one.agent(into, bare).finished
  expect(taken.status, taken.stderr).toBe(0)
  const [kept = ''] = readdirSync(host.path(`${theirs}/podwire-kept`)).filter((name) => name !== 'installed.json')
  expect(readFileSync(host.path(`${theirs}/podwire-kept/${kept}/ptp`), 'utf8')).toBe('official\n')
  await host.output(['sh', '-c', 'rm -r "$1"/*; chown 1001:1001 "$1"', 'sh', theirs])
  expect((await one.agent(into, bare).finished).status).toBe(2)
  await told(cluster, 'InstallFailed', /permission denied.*\/theirs belongs to user 1001: make it that of 0/)
})

test('refuses words that say nothing it can do, before it does anything', async ({ host }) => {
  const one = await (await Cluster.create(host)).node(1)
  const before = await standing(one)
  for (const [options, why] of [
    [['--every', '0'], '--every 0: it is no number of seconds'],
    [['--gc-every', '-1'], '--gc-every -1: it is no number of seconds'],
    [['--server', 'tcp://10.0.0.1:6443'], '"tcp://10.0.0.1:6443" is no API server: expected HOST:PORT'],
    [['--remove', '--install-to', '/to'], '--remove and --install-to are two things'],
    [['--stay'], '--stay goes with --remove alone'],
  ] as const) {
    const { status, stderr } = await one.agentOnce(options)
    expect([status, stderr]).toEqual([2, expect.stringContaining(why)])
  }
  expect(await standing(one)).toEqual(before)
})

test('tells how often plugins failed, by their codes, where the manifest has made the folder', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  const agent = one.agent()
  await ready(one, agent)
  const list = JSON.parse(one.conflist ?? '').plugins[0]
  const chain = (more: object) => ({ cniVersion: '1.0.0', name: 'podwire', ...list, ...more })
  const call = (config: object, command: Call['command'] = 'ADD') =>
    runPlugin(host, { plugin: 'chain', command, config, netns: '/run/netns/nobody' })
  const fail = async () => {
    expect((await call(chain({ plugins: 7 }))).status).toBe(1)
    expect((await call(chain({}))).status).toBe(1)
    expect((await call(chain({}))).status).toBe(1)
    expect((await call(chain({}), 'DEL')).status).toBe(0)
  }
  await fail()
  expect(existsSync(host.path('/run/podwire/errors'))).toBe(false)
  const hide = await one.show('/run/podwire')
  await host.output(['mkdir', '/run/podwire/errors'])
  await fail()
  for (const planted of ['chain.7.new', 'nobody.7', 'ptp.4711', 'ptp.200', 'ptp.255']) {
    writeFileSync(host.path(`/run/podwire/errors/${planted}`), '.')
  }
  const told = (await one.get('/metrics')).stdout.split('\n').filter((line) => line.startsWith('podwire_plugin_errors'))
  expect(told.sort()).toEqual([
    'podwire_plugin_errors_total{plugin="chain",code="104"} 2',
    'podwire_plugin_errors_total{plugin="chain",code="7"} 1',
    'podwire_plugin_errors_total{plugin="ptp",code="other"} 2',
  ])
  expect((await one.get('/metrics')).stdout).toContain(told[0])
  await end(agent, 'SIGTERM')
  await hide()
})

test('keeps a default route by router advertisements, though the node forwards then', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  await one.place.output(['ip', '-6', 'route', 'del', 'default'])
  const byRa = async () => (await one.place.output(['ip', '-6', 'route', 'show', 'default', 'proto', 'ra'])).trim()
  const setting = async (name: string) => (await one.place.output(['cat', `/proc/sys/net/ipv6/conf/${name}`])).trim()
  await advertise(host, 'lan')
  await until('the node has a default route', async () => (await byRa()) !== '')
  const before = (await byRa()).replace(/ expires \S+/, '')
  expect([await setting('all/forwarding'), await setting('uplink/accept_ra')]).toEqual(['0', '1'])
  let agent = one.agent()
  await ready(one, agent)
  expect([await setting('all/forwarding'), await setting('uplink/accept_ra')]).toEqual(['1', '2'])
  expect((await byRa()).replace(/ expires \S+/, '')).toBe(before)
  await end(agent, 'SIGTERM')

  // As after a reboot: no advertisement has come yet when the agent starts.
  for (const [name, value] of [
    ['all/forwarding', '0'],
    ['uplink/accept_ra', '1'],
  ] as const)
    await one.place.output(['sh', '-c', `echo ${value} >/proc/sys/net/ipv6/conf/${name}`])
  await one.place.output(['ip', '-6', 'route', 'flush', 'root', 'default'])
  agent = one.agent()
  await ready(one, agent)
  expect(await byRa()).toBe('')
  await advertise(host, 'lan')
  await until('the node has a default route again', async () => (await byRa()) !== '')
  await end(agent, 'SIGTERM')
})

test('ends when the node gets another address than that at which its metrics are', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  const agent = one.agent(['--listen', `${one.v4}:9117`])
  await until('it is ready', async () => (await one.get('/readyz', one.v4)).status === 0, whole)
  const before = [await one.routes(), await one.table('ip6'), one.conflist]
  await one.place.batch([
    `addr del ${one.v4}/16 dev uplink`,
    'addr add 172.20.0.77/16 dev uplink',
    'route replace default via 172.20.255.1',
  ])
  const { status, stderr } = await agent.finished
  expect(status).toBe(2)
  expect(stderr).toContain(`ends: this node has no longer the address of --listen ${one.v4}:9117`)
  expect([await one.routes(), await one.table('ip6'), one.conflist]).toEqual(before)
  // As kubelet starts it then.
  const next = one.agent(['--listen', '172.20.0.77:9117'])
  await until('it is ready', async () => (await one.get('/readyz', '172.20.0.77')).status === 0, whole)
  await end(next, 'SIGTERM')
})

test('goes on beside a configuration that cannot be written, and another agent that writes', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  const folder = host.path(`${one.root}/etc/cni/net.d`)
  mkdirSync(`${folder}/10-podwire.conflist`)
  const agents = [one.agent(), one.agent(['--listen', '127.0.0.1:9118'])]
  await told(cluster, 'ConflistRefused', /10-podwire\.conflist.*there is a folder of that name, remove it/)
  const isCounted = async () =>
    (await one.get('/metrics')).stdout.includes('podwire_agent_problems{reason="ConflistRefused"} 1')
  await until('it is counted', isCounted, whole)
  await cluster.api.order('node', { name: 'two', podCIDRs: usualRanges(2), addresses: ['172.20.0.2', 'fd30::2'] })
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'))
  expect(await one.table('ip')).toContain('10.244.1.0/24')
  await host.output(['rmdir', `${one.root}/etc/cni/net.d/10-podwire.conflist`])
  await ready(one, agents[0])
  expect(readdirSync(folder)).toEqual(['10-podwire.conflist'])
  for (const agent of agents) expect(await end(agent, 'SIGTERM')).toBe(0)
})

// --- internal

async function ready(member: ClusterMember, agent: Started | undefined): Promise<void> {
  const isOver = agent?.finished.then(({ status, stderr }) => {
    throw new Error(`the agent ended (${status}): ${stderr}`)
  })
  const isReady = until(`${member.name} is ready`, async () => (await member.get('/readyz')).status === 0, whole)
  await Promise.race([isReady, isOver])
  isOver?.catch(() => undefined)
}

async function end(agent: Started | undefined, signal: NodeJS.Signals): Promise<number | null | undefined> {
  agent?.child.kill(signal)
  return (await agent?.finished)?.status
}

/** What `ip` shows of the routes to a node's pods; without those of a family whose gateway is "". */
function ways(number: number, v4: string, v6: string): readonly string[] {
  const [range4, range6] = usualRanges(number)
  return [
    ...(v4 ? [`${range4} via ${v4} dev uplink metric 2048`] : []),
    ...(v6 ? [`${range6?.replace(':0:0:', ':0:0:')} via ${v6} dev uplink metric 2048 pref medium`] : []),
  ]
}

async function routesAre(member: ClusterMember, wanted: readonly string[]): Promise<void> {
  let found: readonly string[] = []
  try {
    await until(
      '',
      async () => {
        found = await member.routes()
        return [...found].sort().join() === [...wanted].sort().join()
      },
      whole,
    )
  } catch {
    expect([...found].sort(), `routes of ${member.name} within ${whole} ms`).toEqual([...wanted].sort())
  }
}

/** The routes that are not the agent's. */
async function foreign(member: ClusterMember): Promise<readonly string[]> {
  const shown = await member.place.output(['ip', '-N', 'route', 'show'])
  return shown.split('\n').filter((line) => line !== '' && !line.includes('proto 117'))
}

async function standing(member: ClusterMember) {
  return [await member.routes(), await member.table('ip'), await member.table('ip6'), member.conflist]
}

async function told(cluster: Cluster, reason: string, words: RegExp): Promise<void> {
  let shown: unknown
  const isTold = async () => {
    const { events } = await cluster.api.show()
    shown = events
    return events.some((one) => one.reason === reason && words.test(one.message))
  }
  await until(reason, isTold, whole).catch(() => expect(shown).toContain(`${reason} ${words}`))
}

function rangesIn(member: ClusterMember): readonly string[] {
  const list = JSON.parse(member.conflist ?? '{}')
  const ranges = list.plugins?.[0]?.plugins?.[0]?.ipam.ranges as { subnet: string }[][] | undefined
  return (ranges ?? []).flat().map(({ subnet }) => subnet)
}

function metric(text: string, name: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`podwire_agent_${name} `))
  return line === undefined ? undefined : Number(line.split(' ')[1])
}

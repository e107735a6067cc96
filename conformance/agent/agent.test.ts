import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { type Started, until } from '../harness/process.js'
import { ask, serve } from '../harness/traffic.js'
import { Cluster, type ClusterMember, usualRanges } from './cluster.js'

// `podwire agent` as it is built, on nodes that are network namespaces of one link, beside a simulated API server.

const whole = 15_000

test('keeps routes, rules and the configuration of a node what the cluster says', async ({ host }) => {
  const cluster = await Cluster.create(host)
  const one = await cluster.node(1)
  const agent = one.agent()
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
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'), 1000)
  await cluster.api.order('node', { name: 'two', podCIDRs: usualRanges(2), addresses: ['172.20.0.22', 'fd30::22'] })
  await routesAre(one, ways(2, '172.20.0.22', 'fd30::22'), 1000)
  expect(await foreign(one)).toEqual(others)

  // One that is not on the link, in one family and in both.
  await cluster.api.order('node', { name: 'far', podCIDRs: usualRanges(3), addresses: ['192.0.2.3', 'fd30::3'] })
  await routesAre(one, [...ways(2, '172.20.0.22', 'fd30::22'), ...ways(3, '', 'fd30::3')], 1000)
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
  await routesAre(one, ways(2, '172.20.0.22', 'fd30::22'), 1000)

  // Neither its death nor its end changes anything; what changed meanwhile it makes good.
  const before = await standing(one)
  await end(agent, 'SIGKILL')
  expect(await standing(one)).toEqual(before)
  await one.place.batch(['route del 10.244.2.0/24 proto 117', 'route add fd44:0:0:77::/64 via fd30::7 proto 117'])
  const second = one.agent()
  await routesAre(one, ways(2, '172.20.0.22', 'fd30::22'), whole)
  await ready(one, second)
  expect(await end(second, 'SIGTERM')).toBe(0)
  expect(await standing(one)).toEqual(before)
  expect(await foreign(one)).toEqual(others)

  const removed = await one.agentOnce(['--remove'])
  expect(removed.status, removed.stderr).toBe(0)
  expect(await standing(one)).toEqual([[], '', '', undefined])
  expect(await foreign(one)).toEqual(others)
})

test('carries packets between pods of two nodes, and masquerades only what leaves the cluster', async ({ host }) => {
  const cluster = await Cluster.create(host)
  await cluster.api.order('config', { text: 'noMasquerade: [198.51.100.0/24]\n' })
  const [one, two] = [await cluster.node(1), await cluster.node(2)]
  const agents = [one.agent(), two.agent()]
  await Promise.all([ready(one, agents[0]), ready(two, agents[1])])
  await Promise.all([routesAre(one, ways(2, two.v4, two.v6), whole), routesAre(two, ways(1, one.v4, one.v6), whole)])
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
    await until('the rules are back', async () => (await one.table('ip')) === before, 4000)
  }
  await one.place.output(['nft', 'delete', 'element', 'ip', 'podwire-agent', 'inside', '{ 224.0.0.0/4 }'])
  await until('the element is back', async () => (await one.table('ip')).includes('224.0.0.0/4'), 4000)
  expect(await seen('172.20.255.1')).toBe(one.v4)
  await outside.stop()
  await Promise.all([one.pod('del', pods[0]), two.pod('del', pods[1])])
  await Promise.all(agents.map((agent) => end(agent, 'SIGTERM')))
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
  await routesAre(one, both, whole)
  await cluster.api.order('bookmark')
  await cluster.api.order('drop')
  await cluster.api.order('delete', { name: 'three' })
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'), whole)
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
  await routesAre(one, ways(2, '172.20.0.2', 'fd30::2'), whole)
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
  await told(cluster, 'InstallFailed', /read-only/)
  await host.output(['umount', `${one.root}/to`])
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

async function routesAre(member: ClusterMember, wanted: readonly string[], within: number): Promise<void> {
  let found: readonly string[] = []
  try {
    await until(
      '',
      async () => {
        found = await member.routes()
        return [...found].sort().join() === [...wanted].sort().join()
      },
      within,
    )
  } catch {
    expect([...found].sort(), `routes of ${member.name} within ${within} ms`).toEqual([...wanted].sort())
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

function hostOf(address: string): string {
  return address.split('/')[0] ?? ''
}

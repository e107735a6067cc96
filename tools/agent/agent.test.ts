import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { encode } from '../../shared/netlink/encode.js'
import { bytesOf } from '../../shared/netlink/message.js'
import type { Operation } from '../../shared/plan/operation.js'
import { render } from '../../shared/plan/render.js'
import { type ClusterNode, prunedNode } from './cluster.js'
import { conflistText } from './conflist.js'
import { serverUrl } from './connection.js'
import { fewOfEach } from './events.js'
import { jittered, statusOf } from './follow.js'
import { planMasquerade } from './masquerade.js'
import { uplinkMtu } from './node.js'
import { planRoutes, type SeenRoute, withoutRoutes } from './routes.js'
import { encodeRuleset } from './ruleset.js'
import { addressOf } from './serve.js'
import { readSettings, settingRows, usualSettings } from './settings.js'
import { noState, readState, writeState } from './state.js'

const own = node('own', ['10.244.0.0/24', 'fd44::/64'], ['172.18.0.2', 'fc00::2'])
const two = node('two', ['10.244.1.0/24', 'fd44:0:0:1::/64'], ['172.18.0.3', 'fc00::3'])
const far = node('far', ['10.244.2.0/24'], ['192.0.2.9'])

const connected: readonly SeenRoute[] = [
  route('0.0.0.0/0', { gateway: '172.18.0.1' }),
  route('172.18.0.0/16', { protocol: 2 }),
  route('fc00::/64', { protocol: 2, metric: 256 }),
  route('::/0', { gateway: 'fc00::1', metric: 1024 }),
]

describe('routes', () => {
  const rows: readonly {
    readonly name: string
    readonly nodes: readonly ClusterNode[]
    readonly seen?: readonly SeenRoute[]
    readonly plan: string
    readonly problems?: readonly string[]
  }[] = [
    {
      name: 'lead to the pods of a new node, in both families',
      nodes: [own, two],
      plan: [
        'ip route replace 10.244.1.0/24 via 172.18.0.3 dev eth0 proto 117 metric 2048',
        'ip route replace fd44:0:0:1::/64 via fc00::3 dev eth0 proto 117 metric 2048',
      ].join('\n'),
    },
    { name: 'that stand are left alone', nodes: [own, two], seen: waysTo(two), plan: '' },
    {
      name: 'are replaced when a node has another address, without a moment in which there is none',
      nodes: [own, { ...two, addresses: ['172.18.0.7', 'fc00::3'] }],
      seen: waysTo(two),
      plan: 'ip route replace 10.244.1.0/24 via 172.18.0.7 dev eth0 proto 117 metric 2048',
    },
    {
      name: 'go with their node; those of others to the same pods stay',
      nodes: [own],
      seen: [...waysTo(two), route('10.244.1.0/24', { gateway: '172.18.0.3', protocol: 3 })],
      plan: [
        'ip route del 10.244.1.0/24 via 172.18.0.3 dev eth0 proto 117 metric 2048',
        'ip route del fd44:0:0:1::/64 via fc00::3 dev eth0 proto 117 metric 2048',
      ].join('\n'),
    },
    {
      name: 'take no place that somebody else has',
      nodes: [own, node('two', ['10.244.1.0/24'], ['172.18.0.3'])],
      seen: [route('10.244.1.0/24', { gateway: '172.18.0.9', protocol: 4, metric: 2048 })],
      plan: '',
      problems: ["node two: the route to 10.244.1.0/24 with metric 2048 is somebody else's (protocol 4)"],
    },
    {
      name: 'do not lead to a node behind a gateway',
      nodes: [own, far],
      plan: '',
      problems: [
        'node far: no route to its pods 10.244.2.0/24, 192.0.2.9 is not on a link of this node: packets to it take a gateway',
      ],
    },
    {
      name: 'lead to a node of which the host has a route of its own without a gateway',
      nodes: [own, far],
      seen: [route('192.0.2.9/32', { link: 'wg0' })],
      plan: 'ip route replace 10.244.2.0/24 via 192.0.2.9 dev wg0 proto 117 metric 2048',
    },
    {
      name: 'ask for an address of the family',
      nodes: [own, node('half', ['fd44:0:0:9::/64'], ['172.18.0.9'])],
      plan: '',
      problems: ['node half: no route to its pods fd44:0:0:9::/64, it has no address of IPv6'],
    },
    {
      name: 'take nothing that is not for pods',
      nodes: [
        own,
        node('a', ['0.0.0.0/0', '172.18.0.0/24', '10.244.0.0/25'], ['172.18.0.4']),
        node('b', ['10.245.0.0/16'], ['172.18.0.5']),
        node('c', ['10.245.7.0/24'], ['172.18.0.6']),
      ],
      plan: 'ip route replace 10.245.0.0/16 via 172.18.0.5 dev eth0 proto 117 metric 2048',
      problems: [
        'node a: no route to its pod range 0.0.0.0/0, which is shorter than /8',
        'node a: no route to its pod range 172.18.0.0/24, which holds the address of a node',
        'node a: no route to its pod range 10.244.0.0/25, which overlaps the range of this node',
        'node c: no route to its pod range 10.245.7.0/24, which node b has',
      ],
    },
  ]
  for (const { name, nodes, seen = [], plan, problems = [] } of rows) {
    test(name, () => {
      const planned = planRoutes(own, nodes, [...connected, ...seen])
      expect(render(planned.operations).trim()).toBe(plan)
      expect(planned.problems.map(({ text }) => text)).toEqual(problems)
      expect(planned.operations.filter((one) => !isEncoded(one))).toEqual([])
    })
  }

  test('are counted', () => {
    const [first] = waysTo(two)
    expect(planRoutes(own, [own, two], [...connected, first as SeenRoute])).toMatchObject({ wanted: 2, present: 1 })
  })

  test('all go when the agent is removed, and none of others', () => {
    const plan = withoutRoutes([...connected, ...waysTo(two)])
    expect(plan.map(({ argv }) => argv.slice(0, 3).join(' '))).toEqual([
      'route del 10.244.1.0/24',
      'route del fd44:0:0:1::/64',
    ])
  })
})

describe('masquerade', () => {
  const all = { pods: ['10.244.0.0/24'], inside: ['10.244.0.0/24', '10.244.1.0/24', '172.18.0.2/32', '10.0.0.0/8'] }

  test('is one table, made anew in one transaction', () => {
    const plan = planMasquerade('ip', all)
    expect(plan.map(({ argv }) => argv.join(' '))).toEqual([
      'add table ip podwire-agent',
      'delete table ip podwire-agent',
      'add table ip podwire-agent',
      'add set ip podwire-agent pods { type ipv4_addr ; flags interval ; }',
      'add element ip podwire-agent pods { 10.244.0.0-10.244.0.255 }',
      'add set ip podwire-agent inside { type ipv4_addr ; flags interval ; }',
      'add element ip podwire-agent inside { 10.0.0.0-10.255.255.255 , 169.254.0.0-169.254.255.255 , 172.18.0.2 , ' +
        '224.0.0.0-239.255.255.255 , 255.255.255.255 }',
      'add chain ip podwire-agent postrouting { type nat hook postrouting priority 110 ; policy accept ; }',
      'add rule ip podwire-agent postrouting ip saddr != @pods return',
      'add rule ip podwire-agent postrouting ip daddr @inside return',
      'add rule ip podwire-agent postrouting masquerade fully-random',
    ])
  })

  test('of a family without pods is no table', () => {
    expect(planMasquerade('ip6', all).map(({ argv }) => argv.join(' '))).toEqual([
      'add table ip6 podwire-agent',
      'delete table ip6 podwire-agent',
    ])
  })

  test('is encoded as nft sends it', () => {
    const requests = encodeRuleset(planMasquerade('ip', { pods: ['10.1.0.0/16'], inside: [] }))
    expect(requests.map(({ type }) => type & 255)).toEqual([0, 2, 0, 9, 12, 9, 12, 3, 6, 6, 6])
    const rule = bytesOf(requests[8]?.attributes ?? []).toString('latin1')
    for (const word of ['payload', 'lookup', 'pods', 'immediate']) expect(rule).toContain(`${word}\0`)
    // The interval 10.1.0.0 up to, and without, 10.2.0.0.
    const elements = bytesOf(requests[4]?.attributes ?? []).toString('hex')
    expect(elements).toMatch(/0a010000.*00000001.*0a020000/)
  })

  test('of more elements than one message holds is several', () => {
    const inside = Array.from({ length: 1200 }, (_, at) => `10.${at >> 7}.${(at & 127) * 2}.0/24`)
    const requests = encodeRuleset(planMasquerade('ip', { pods: ['10.244.0.0/24'], inside }))
    expect(requests.filter(({ type }) => (type & 255) === 12)).toHaveLength(4)
  })

  test('knows its own words alone', () => {
    const other: Operation = { tool: 'nft', argv: ['add', 'rule', 'ip', 't', 'c', 'drop'], why: '' }
    expect(() => encodeRuleset([other])).toThrow('does not know')
  })
})

describe('configuration of the node', () => {
  const rows = [
    { name: 'a chain', text: '', types: ['chain'] },
    { name: 'a list', text: 'list: true', types: ['ptp', 'portmap'] },
    {
      name: 'everything',
      text: 'list: true\nplugin: bridge\nbandwidth: true\nfirewall: true',
      types: ['bridge', 'portmap', 'bandwidth', 'firewall'],
    },
    { name: 'nothing beside', text: 'list: true\nportmap: false', types: ['ptp'] },
  ]
  for (const { name, text, types } of rows) {
    test(name, () => {
      const read = readSettings(text)
      if (!('settings' in read)) throw new Error(read.problems.join())
      const list = JSON.parse(conflistText(own.podCIDRs, 1450, read.settings))
      expect(list.plugins.map(({ type }: { type: string }) => type)).toEqual(types)
    })
  }

  test('with another range has another bridge', () => {
    const settings = { ...usualSettings, plugin: 'bridge', list: true } as const
    const names = ['10.1.0.0/24', '10.2.0.0/24'].map((range) => {
      return JSON.parse(conflistText([range], 1500, settings)).plugins[0].bridge as string
    })
    expect(new Set(names).size).toBe(2)
    for (const name of names) expect(name.length).toBeLessThan(16)
  })

  test("has the uplink's MTU", () => {
    const links = [
      { name: 'lo', mtu: 65_536, addresses: ['127.0.0.1'] },
      { name: 'eth0', mtu: 1450, addresses: ['172.18.0.2', 'fc00::2'] },
      { name: 'eth1', mtu: 9000, addresses: ['192.0.2.1'] },
    ]
    expect(uplinkMtu(own, { links, routes: connected })).toBe(1450)
    expect(uplinkMtu({ ...own, addresses: ['203.0.113.1'] }, { links, routes: connected })).toBe(1450)
    expect(uplinkMtu({ ...own, addresses: [] }, { links, routes: [] })).toBe(1500)
  })
})

describe('settings', () => {
  test('say what is wrong, all of it', () => {
    expect(readSettings('plugin: macvlan\nnoMasquerade: [10.0.0.0, 10.0.0.0/8]\nportmapp: true\nmtu: 5')).toEqual({
      problems: [
        expect.stringMatching(/^plugin: .*"ptp"/),
        expect.stringMatching(/^noMasquerade\.0: expected a range/),
        expect.stringMatching(/^mtu: .*1280/),
        expect.stringMatching(/portmapp/),
      ],
    })
    expect(readSettings('a: &b [*b]')).toHaveProperty('problems')
    expect(readSettings('')).toEqual({ settings: usualSettings })
  })

  test('are in the documentation, each with its default', () => {
    const text = readFileSync(new URL('../../docs/cluster.md', import.meta.url), 'utf8').replace(/\s+/g, ' ')
    for (const [name, usual, what] of settingRows()) expect(text).toContain(`| \`${name}\` | ${usual} | ${what} |`)
  })
})

test('of a node is kept what is needed', () => {
  const object = {
    metadata: { name: 'a', labels: {} },
    spec: { podCIDR: '10.244.1.7/24', podCIDRs: ['10.244.1.7/24', 'fd44::1/64', 'x'] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '172.18.0.3' },
        { type: 'InternalIP', address: 'FC00:0::3' },
        { type: 'Hostname', address: 'a' },
      ],
      conditions: [{ type: 'NetworkUnavailable', status: 'True' }],
      images: [{ names: ['x'] }],
    },
  }
  expect(prunedNode(object)).toEqual({
    name: 'a',
    addresses: ['172.18.0.3', 'fc00::3'],
    podCIDRs: ['10.244.1.0/24', 'fd44::/64'],
    garbled: ['x'],
    isUnavailable: true,
  })
  for (const other of [undefined, 'a', {}, { metadata: 7 }]) expect(prunedNode(other)).toBeUndefined()
  expect(prunedNode({ metadata: { name: 'b' }, spec: 7, status: [] })).toMatchObject({ podCIDRs: [], addresses: [] })
})

test('many problems of a kind are told as some and a number', () => {
  const all = Array.from({ length: 30 }, (_, at) => ({
    reason: 'NotOnLink' as const,
    key: `n${at}`,
    text: `node n${at}`,
  }))
  const told = fewOfEach(all)
  expect(told).toHaveLength(11)
  expect(told.at(-1)?.text).toBe('the same of 20 more: n10, n11, n12, n13, n14, n15, n16, n17, n18, n19, ...')
})

test('errors have codes', () => {
  expect(statusOf(Object.assign(new Error('x'), { code: 403 }))).toBe('403')
  expect(statusOf(Object.assign(new Error('x'), { statusCode: 500 }))).toBe('500')
  expect(statusOf(new Error('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) }))).toBe(
    'ECONNREFUSED',
  )
  expect(statusOf({ kind: 'Status', code: 410 })).toBe('410')
  expect(statusOf('x')).toBe('other')
})

test('a pause is half of the time at the least', () => {
  const pauses = Array.from({ length: 200 }, () => jittered(1000))
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(500)
  expect(Math.max(...pauses)).toBeLessThanOrEqual(1000)
  expect(new Set(pauses).size).toBeGreaterThan(100)
})

test('addresses to listen on and to reach a server are read', () => {
  expect(addressOf('[fc00::2]:9117')).toEqual({ host: 'fc00::2', port: 9117 })
  expect(addressOf('fc00::2:9117')).toEqual({ host: 'fc00::2', port: 9117 })
  expect(addressOf(':9117')).toEqual({ port: 9117 })
  for (const wrong of ['', 'a:b', '127.0.0.1:99999']) expect(() => addressOf(wrong)).toThrow('no ADDRESS:PORT')
  expect(serverUrl('10.0.0.1:6443')).toBe('https://10.0.0.1:6443')
  expect(serverUrl('fc00::1')).toBe('https://[fc00::1]')
  expect(serverUrl('http://127.0.0.1:8001')).toBe('http://127.0.0.1:8001')
})

test('state is written whole, never through a link that somebody planted, and read as nothing where it is garbled', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'podwire-agent-'))
  try {
    const file = path.join(folder, 'agent.json')
    expect(readState(file)).toEqual(noState)
    const victim = path.join(folder, 'victim')
    writeFileSync(victim, 'kept')
    symlinkSync(victim, `${file}.new`)
    const state = { configuration: 'plugin: ptp', ranges: ['10.1.0.0/24'], formerRanges: [], mtu: 1500 }
    writeState(file, state)
    expect(readState(file)).toEqual(state)
    expect(readFileSync(victim, 'utf8')).toBe('kept')
    expect(readdirSync(folder).sort()).toEqual(['agent.json', 'victim'])
    for (const text of ['', '{', '[]', '{"ranges":7,"formerRanges":["x"],"mtu":"1"}']) {
      writeFileSync(file, text)
      expect(readState(file)).toEqual(noState)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

// --- internal

function node(name: string, podCIDRs: readonly string[], addresses: readonly string[]): ClusterNode {
  return { name, podCIDRs, addresses, garbled: [], isUnavailable: false }
}

function route(destination: string, more: Partial<SeenRoute> = {}): SeenRoute {
  const family = destination.includes(':') ? 6 : 4
  return { family, destination, link: 'eth0', metric: 0, protocol: 3, isUnicast: true, ...more }
}

function waysTo({ podCIDRs, addresses }: ClusterNode): readonly SeenRoute[] {
  return podCIDRs.map((range, index) =>
    route(range, { gateway: addresses[index] as string, protocol: 117, metric: 2048 }),
  )
}

function isEncoded(operation: Operation): boolean {
  return encode(operation, { indexOf: () => 1, openNetns: () => undefined }) !== undefined
}

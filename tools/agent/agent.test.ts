import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { encode } from '../../shared/netlink/encode.js'
import { bytesOf } from '../../shared/netlink/message.js'
import type { Operation } from '../../shared/plan/operation.js'
import { render } from '../../shared/plan/render.js'
import type { Belongings } from '../node/collect.js'
import { Agent } from './agent.js'
import { Api } from './api.js'
import { type ClusterNode, prunedNode } from './cluster.js'
import { type Collected, Collector } from './collector.js'
import { conflistText } from './conflist.js'
import { connectionOf, serverUrl } from './connection.js'
import { Events, eventName, fewOfEach } from './events.js'
import { Follower, jittered, statusOf } from './follow.js'
import { FormerRanges, livesIn } from './former.js'
import { type HttpMethod, type Registry, RequestContext } from './libraries.js'
import { planMasquerade } from './masquerade.js'
import type { Metrics } from './metrics.js'
import { type AgentNode, type Outcome, uplinkMtu, type Wanted } from './node.js'
import { ownRangesOf, planRoutes, type SeenRoute, withoutRoutes } from './routes.js'
import { encodeRuleset } from './ruleset.js'
import { addressOf, nodeAddress, serve } from './serve.js'
import { configurationIn, readSettings, settingRows, usualSettings } from './settings.js'
import { clearDrafts, noState, readState, writeState } from './state.js'

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
      name: 'take the address that is on a link, of a node with several',
      nodes: [own, node('two', ['10.244.1.0/24'], ['192.0.2.9', '172.18.0.3'])],
      plan: 'ip route replace 10.244.1.0/24 via 172.18.0.3 dev eth0 proto 117 metric 2048',
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
    {
      name: 'are not taken away by a node that says it has an address among pods, which is no gateway',
      nodes: [
        own,
        two,
        node('liar', ['10.244.3.0/24', 'fd44:0:0:3::/64'], ['10.244.1.7', '10.244.0.5', 'fd44:0:0:1::7', 'fc00::3:3']),
      ],
      seen: [...waysTo(two), route('10.244.0.5/32', { link: 'veth1' })],
      plan: 'ip route replace fd44:0:0:3::/64 via fc00::3:3 dev eth0 proto 117 metric 2048',
      problems: [
        'node liar: its address 10.244.0.5 is not believed: the pod range 10.244.0.0/24 of node own holds it',
        'node liar: its address 10.244.1.7 is not believed: the pod range 10.244.1.0/24 of node two holds it',
        'node liar: its address fd44:0:0:1::7 is not believed: the pod range fd44:0:0:1::/64 of node two holds it',
        'node liar: no route to its pods 10.244.3.0/24, its address 10.244.1.7 is not believed',
      ],
    },
    {
      name: 'do not lead to pods in the place of a node that is on a link',
      nodes: [own, node('thief', ['172.18.0.3/32'], ['172.18.0.4']), node('two', ['10.244.1.0/24'], ['172.18.0.3'])],
      seen: [route('10.244.1.0/24', { gateway: '172.18.0.3', protocol: 117, metric: 2048 })],
      plan: '',
      problems: ['node thief: no route to its pod range 172.18.0.3/32, which holds the address of a node'],
    },
  ]
  for (const [what, wrong, why] of [
    ['nothing', ['0.0.0.0', '0.1.2.3'], '0.0.0.0/8'],
    ['this host', ['127.0.0.1', '127.9.9.9'], '127.0.0.0/8'],
    ['a link', ['169.254.1.1'], '169.254.0.0/16'],
    ['many', ['224.0.0.1', '239.1.1.1'], '224.0.0.0/4'],
    ['all', ['255.255.255.255'], '255.255.255.255/32'],
    ['nothing of IPv6', ['::', '::1', '::7:0:0:1'], '::/16'],
    ['a link of IPv6', ['fe80::9'], 'fe80::/10'],
    ['many of IPv6', ['ff02::1'], 'ff00::/8'],
  ] as const) {
    test(`believe no address of ${what}, as a gateway, among the cluster, or in a range`, () => {
      for (const address of wrong) {
        const range = `${address}/${address.includes(':') ? 112 : 24}`
        const liar = prunedNode({
          metadata: { name: 'liar' },
          spec: { podCIDRs: [range, '10.244.3.0/24', 'fd44:0:0:3::/64'] },
          status: { addresses: [{ type: 'InternalIP', address }] },
        }) as ClusterNode
        const near = [
          ...connected,
          route('127.0.0.0/8', { link: 'lo' }),
          route('169.254.0.0/16'),
          route('fe80::/64'),
          route('224.0.0.0/4'),
          route('::/16'),
        ]
        const { operations, inside, problems, soon } = planRoutes(own, [own, two, liar], near)
        expect(render(operations)).toBe(render(planRoutes(own, [own, two], near).operations))
        expect(inside.addresses).toEqual([...own.addresses, ...two.addresses])
        expect([...inside.ranges].sort()).toEqual([...two.podCIDRs, '10.244.3.0/24', 'fd44:0:0:3::/64'].sort())
        const texts = problems.map(({ text }) => text).join('\n')
        expect(texts).toContain(
          `node liar: its address ${liar.addresses[0]} is not believed: nobody has an address of ${why}`,
        )
        expect(texts).toMatch(
          new RegExp(`pod range ${liar.podCIDRs[0]}, which is not for pods: nobody has an address of `),
        )
        expect(planRoutes(own, [own, two], near).soon(liar)).toBeUndefined()
        expect(soon(two)?.operations).not.toEqual([])
      }
    })
  }

  test('lead to a new node at once only where it takes nothing of anybody', () => {
    const { soon } = planRoutes(own, [own, two, far], [...connected, ...waysTo(two)])
    const lines = (one: ClusterNode) => render(soon(one)?.operations ?? []).trim()
    expect(lines(node('new', ['10.244.5.0/24'], ['172.18.0.9']))).toBe(
      'ip route add 10.244.5.0/24 via 172.18.0.9 dev eth0 proto 117 metric 2048',
    )
    expect(lines(two)).toBe('')
    expect(lines({ ...two, addresses: ['172.18.0.7'] })).toContain('route replace 10.244.1.0/24 via 172.18.0.7')
    for (const [range, address] of [
      ['10.244.1.0/24', '172.18.0.9'],
      ['10.244.1.128/25', '172.18.0.9'],
      ['10.244.0.0/16', '172.18.0.9'],
      ['10.244.0.128/25', '172.18.0.9'],
      ['172.18.0.0/24', '172.18.0.9'],
      ['192.0.2.0/24', '172.18.0.9'],
      ['10.244.5.0/24', '192.0.2.7'],
      ['10.244.5.0/24', '10.244.5.1'],
      ['10.244.5.0/24', '10.244.1.1'],
      ['10.244.5.0/24', '10.244.0.1'],
      ['10.244.5.0/24', '172.18.0.2'],
      ['10.244.5.0/24', '127.0.0.1'],
      ['0.0.0.0/0', '172.18.0.9'],
    ] as const)
      expect(lines(node('new', [range], [address])), `${range} ${address}`).toBe('')
    expect(lines(own)).toBe('')
  })

  test('lead to a new node until the next look, whoever comes behind it and says that it has the same', () => {
    const { soon } = planRoutes(own, [own, two], [...connected, ...waysTo(two)])
    const lines = (one: ClusterNode) => render(soon(one)?.operations ?? []).trim()
    const fresh = node('new', ['10.244.5.0/24', 'fd44:0:0:5::/64'], ['172.18.0.9', 'fc00::9'])
    expect(lines(fresh)).toContain('10.244.5.0/24 via 172.18.0.9')
    for (const ranges of [
      ['10.244.5.0/24'],
      ['10.244.5.128/25'],
      ['10.244.4.0/23'],
      ['fd44:0:0:5::/64'],
      ['172.18.0.9/32'],
      ['fc00::9/128'],
    ])
      expect(lines(node('thief', ranges, ['172.18.0.10', 'fc00::10'])), ranges.join()).toBe('')
    expect(lines({ ...fresh, addresses: ['172.18.0.7', 'fc00::7'] })).toContain('10.244.5.0/24 via 172.18.0.7')
    expect(lines(node('next', ['10.244.6.0/24'], ['172.18.0.10']))).toContain('10.244.6.0/24 via 172.18.0.10')
    // One that is not free keeps nobody off.
    expect(lines(node('greedy', ['10.0.0.0/8'], ['172.18.0.11']))).toBe('')
    expect(lines(node('last', ['10.250.0.0/24'], ['172.18.0.12']))).toContain('10.250.0.0/24 via 172.18.0.12')
  })

  test('of a range that two nodes say they have lead to the older, else to whose stands', () => {
    const [old, young] = [
      { ...two, created: 1 },
      { ...node('a', ['10.244.0.0/17', ...two.podCIDRs], ['172.18.0.9', 'fc00::9']), created: 2 },
    ]
    const thief = { ...young, podCIDRs: ['10.244.1.0/25', '10.244.1.0/24', 'fd44:0:0:1::/64'] }
    for (const [nodes, seen] of [
      [[own, old, thief], []],
      [[own, thief, old], []],
      [[own, two, { ...thief, created: 0 }], waysTo(two)],
    ] as const) {
      const { operations, inside, problems } = planRoutes(own, nodes, [...connected, ...seen])
      const wanted = render(planRoutes(own, [own, two], [...connected, ...seen]).operations)
      expect(render(operations)).toBe(wanted)
      expect([...inside.ranges].sort()).toEqual([...two.podCIDRs].sort())
      expect(problems.filter(({ text }) => text.endsWith('which node two has'))).toHaveLength(3)
    }
    // One that covers many takes none of them.
    const many = Array.from({ length: 100 }, (_, at) => node(`m${at}`, [`10.245.${at}.0/24`], [`172.18.1.${at}`]))
    const cover = { ...node('cover', ['10.245.0.0/16'], ['172.18.0.9']), created: 1 }
    expect(planRoutes(own, [own, cover, ...many], connected)).toMatchObject({ wanted: 100 })
  })

  test('that are refused, and nodes behind a gateway, are masqueraded', () => {
    const greedy = node(
      'greedy',
      ['172.18.0.0/24', '10.244.0.0/25', '0.0.0.0/0'],
      ['172.18.0.9', '8.8.8.8', '2001:db8::1'],
    )
    expect(planRoutes(own, [own, greedy, far], connected).inside).toEqual({
      ranges: ['10.244.2.0/24'],
      addresses: [...own.addresses, '172.18.0.9'],
    })
  })

  test("are not the only ones whose ranges are looked at: this node's own are, too", () => {
    const wrong = ['0.0.0.0/0', '127.0.0.0/8', '169.254.7.0/24', '224.0.0.0/8', '172.18.0.0/16', '::/0', 'fe80::/64']
    const { own: believed, problems } = ownRangesOf({ ...own, podCIDRs: [...own.podCIDRs, ...wrong] })
    expect(believed).toEqual(own)
    expect(problems.map(({ text }) => text.split(' ')[3])).toEqual(wrong)
    expect(ownRangesOf(own).own).toBe(own)
  })

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

  test("goes on where a node says that all addresses are its pods'", () => {
    const liar = node('liar', ['0.0.0.0/0', '::/0', '10.244.9.0/24'], ['172.18.0.4'])
    const { ranges, addresses } = planRoutes(own, [own, two, liar], connected).inside
    expect([...ranges].sort()).toEqual([...two.podCIDRs, '10.244.9.0/24'].sort())
    expect(addresses).toEqual([...own.addresses, ...two.addresses, '172.18.0.4'])
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

  test('takes over the leases and the bridge of another network', () => {
    const text = 'list: true\nplugin: bridge\nbridge: cni0\nnetwork: cbr0\ndataDir: /run/cni-ipam-state\n'
    const read = readSettings(text)
    if (!('settings' in read)) throw new Error(read.problems.join())
    expect(JSON.parse(conflistText(own.podCIDRs, 1450, read.settings))).toMatchObject({
      name: 'cbr0',
      plugins: [{ bridge: 'cni0', ipam: { type: 'host-local', dataDir: '/run/cni-ipam-state' } }, { type: 'portmap' }],
    })
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
    // An address on the loopback, and a link larger than a pod's can be, which would have refused every pod.
    const [lo, ...others] = links
    const looped = [{ ...lo, name: 'lo', mtu: 65_536, addresses: ['127.0.0.1', '203.0.113.1'] }, ...others]
    expect(uplinkMtu({ ...own, addresses: ['203.0.113.1'] }, { links: looped, routes: connected })).toBe(1450)
    expect(uplinkMtu({ ...own, addresses: ['203.0.113.1'] }, { links: looped, routes: [] })).toBe(1500)
    const large = [{ name: 'tun0', mtu: 100_000, addresses: own.addresses }]
    expect(uplinkMtu(own, { links: large, routes: connected })).toBe(65_535)
  })
})

describe('gc takes', () => {
  const minute = 60_000
  const rows: readonly {
    readonly name: string
    /** Looks: the minute, who is dead and old enough, whom a runtime knows. */
    readonly looks: readonly (readonly [at: number, dead: string, known: string])[]
    readonly taken: readonly string[]
  }[] = [
    {
      name: 'what two looks ten minutes apart do not know',
      looks: [
        [0, 'a', ''],
        [9.9, 'a', ''],
        [10, 'a', ''],
      ],
      taken: ['', '', 'a'],
    },
    {
      name: 'nothing that a runtime knew at either',
      looks: [
        [0, 'a', ''],
        [5, 'a', 'a'],
        [10, 'a', ''],
        [19, 'a', ''],
        [20, 'a', ''],
      ],
      taken: ['', '', '', '', 'a'],
    },
    {
      name: 'nothing that was not proven dead in between',
      looks: [
        [0, 'a b', ''],
        [10, 'b', ''],
        [20, 'a', ''],
        [30, 'a', ''],
      ],
      taken: ['', 'b', '', 'a'],
    },
    {
      name: 'nothing of a pod in the making, or of another runtime, which no runtime knows and which lives',
      looks: [
        [0, '', ''],
        [10, '', ''],
        [20, '', ''],
      ],
      taken: ['', '', ''],
    },
  ]
  for (const { name, looks, taken } of rows) {
    test(name, async () => {
      let next = 0
      const collector = new Collector({
        look: async () => {
          const [, dead, known] = looks[next] ?? [0, '', '']
          return {
            sandboxes: new Set(words(known)),
            garbage: { all: words(dead).map(deadPod), empty: [], waiting: [] },
          }
        },
        take: async ({ all }) => all.map((belongings) => ({ belongings, taken: [], kept: '' })),
        now: () => (looks[next]?.[0] ?? 0) * minute,
        apart: 10 * minute,
      })
      const found: string[] = []
      for (; next < looks.length; next++) found.push(idsOf(await collector.collect()))
      expect(found).toEqual(taken)
    })
  }

  test('nothing where a look fails, and looks on', async () => {
    let [at, isBroken] = [0, false]
    const collector = new Collector({
      look: async () => {
        if (isBroken) throw new Error('nobody answers')
        return { sandboxes: new Set(), garbage: { all: [deadPod('a')], empty: [], waiting: [] }, unproven: 'all of it' }
      },
      take: async ({ all }) => all.map((belongings) => ({ belongings, taken: [], kept: 'busy' })),
      now: () => at,
      apart: 10,
    })
    expect(await collector.collect()).toEqual({ taken: [], faults: ['all of it'] })
    ;[at, isBroken] = [20, true]
    expect(await collector.collect()).toEqual({ taken: [], faults: ['nobody answers'] })
    isBroken = false
    expect((await collector.collect()).faults).toEqual(['all of it', 'podwire/a/eth0 is kept: busy'])
  })
})

describe('a former range of the node', () => {
  const [range, minute] = ['10.244.1.0/24', 60_000]
  const quiet = { links: [], routes: connected }

  test('is kept while something of it is there, and forgotten after ten minutes without', () => {
    let [now, attached]: [number, readonly string[]] = [0, ['10.244.1.7/24']]
    const all = [range, 'fd44:0:0:9::/64']
    const former = new FormerRanges({ attached: () => attached, now: () => now })
    const at = (minutes: number) => {
      now = minutes * minute
      return former.kept(all, quiet)
    }
    expect(at(0)).toBe(all)
    expect(at(9)).toBe(all)
    attached = []
    expect(at(10)).toEqual([range])
    expect(at(10.5)).toBe(all)
    attached = ['10.244.1.9']
    expect(at(15)).toEqual([range])
    attached = []
    expect(at(24)).toEqual([range])
    expect(at(33)).toEqual([range])
    expect(at(34)).toEqual([])
  })

  for (const [what, seen, addresses, lives] of [
    ['nothing', quiet, ['10.244.2.3/24', 'fd44::1', 'x'], false],
    ['an attachment or lease', quiet, ['10.244.1.255'], true],
    ['the bridge', { ...quiet, links: [{ name: 'pods-1', mtu: 1500, addresses: ['10.244.1.1'] }] }, [], true],
    ['the route to a pod', { ...quiet, routes: [route('10.244.1.7/32', { link: 'veth1', protocol: 2 })] }, [], true],
    ['the route of a bridge', { ...quiet, routes: [route(range, { link: 'pods-1', protocol: 2 })] }, [], true],
    ['the node that has it now', { ...quiet, routes: [route(range, { protocol: 117, metric: 2048 })] }, [], false],
    ['a shorter route', { ...quiet, routes: [route('10.0.0.0/8')] }, [], false],
  ] as const) {
    test(`is looked for: ${what}`, () => expect(livesIn(range, seen, addresses)).toBe(lives))
  }
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
    expect(readSettings('network: ../x\nbridge: a/b\ndataDir: networks')).toEqual({
      problems: [
        expect.stringMatching(/^bridge: expected the name of a link/),
        'network: expected the name of a network',
        expect.stringMatching(/^dataDir: expected the absolute path of a folder/),
      ],
    })
    for (const wrong of ['all', 'default', 'lo', '.', '..', 'a b', 'a/b', '/', '', 'bridge0123456789', 'a\\tb', 'a:b'])
      expect(readSettings(`bridge: "${wrong}"`), wrong).toEqual({
        problems: [expect.stringMatching(/^bridge: expected .* such as cni0/)],
      })
    for (const wrong of [
      '',
      '/',
      'a',
      './a',
      '../a',
      '/..',
      '/a/..',
      '/a/../b',
      '/a/./b',
      '/.',
      '//a',
      '/a//b',
      '/a/',
      '/a b',
      '/a\\n',
    ])
      for (const name of ['dataDir', 'gcSocket'])
        expect(readSettings(`${name}: "${wrong}"`), wrong).toEqual({
          problems: [expect.stringMatching(new RegExp(`^${name}: expected the absolute path of a .*such as /run/`))],
        })
    for (const good of [
      'bridge: cni0',
      'bridge: br-lan.7',
      'dataDir: /run/cni-ipam-state',
      'dataDir: /a/..b/.c',
      'gcSocket: /a.sock',
    ])
      expect(readSettings(good)).toHaveProperty('settings')
    expect(readSettings('a: &b [*b]')).toHaveProperty('problems')
    expect(readSettings('')).toEqual({ settings: usualSettings })
  })

  test('are those of one key of a ConfigMap, and a misspelt key is none', () => {
    const read = (data: object | null | undefined) => readSettings(configurationIn({ data }))
    for (const data of [undefined, null, {}, { apiServer: '10.0.0.1:6443' }, { 'config.yaml': '' }])
      expect(read(data)).toEqual({ settings: usualSettings })
    const bridge = { settings: { ...usualSettings, plugin: 'bridge' } }
    expect(read({ 'config.yaml': 'plugin: bridge', apiServer: 'a', 'notes.txt': 'x' })).toEqual(bridge)
    expect(read({ 'config.yml': 'network: cbr0', apiServer: 'a' })).toEqual({
      problems: ['config.yaml: Unrecognized key: "config.yml"'],
    })
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

test('one Event is of all that are too many, and lasts by a clock that nobody sets', async () => {
  const sent: string[] = []
  const told = (kind: string, body: unknown) => {
    const { message, count } = body as { readonly message?: string; readonly count: number }
    sent.push(`${kind} ${message ?? ''} ${count}`)
    return Promise.resolve()
  }
  const api = {
    post: (_: string, body: object) => told('post', body),
    patch: (_: string, __: string, body: object) => told('patch', body),
  } as unknown as Api
  const events = new Events({ api, node: 'own', log: (text) => sent.push(text) })
  const problems = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ reason: 'NotOnLink' as const, key: `n${at}`, text: `n${at}` }))
  events.tell(problems(12))
  await new Promise(setImmediate)
  expect(sent.at(-1)).toBe('post the same of 2 more: n10, n11 1')
  const later = performance.now() + 31 * 60_000
  const clocks = [vi.spyOn(Date, 'now').mockReturnValue(0), vi.spyOn(performance, 'now').mockReturnValue(later)]
  try {
    events.tell(problems(13))
    await new Promise(setImmediate)
    expect(sent.slice(11)).toEqual(Array(11).fill('patch  2'))
  } finally {
    for (const clock of clocks) clock.mockRestore()
  }
})

test('an Event of what happened is told later where nobody took it, once', async () => {
  let now = 1_000_000
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
  try {
    const [told, tries]: string[][] = [[], []]
    let isUp = false
    const post = (_path: string, { message }: { message: string }) => {
      tries?.push(message)
      if (!isUp) return Promise.reject(new Error('nobody'))
      told?.push(message)
      return Promise.resolve()
    }
    const events = new Events({ api: { post } as unknown as Api, node: 'own', log: () => undefined })
    const look = async () => {
      events.tell([])
      await new Promise(setImmediate)
      now += 10_000
    }
    for (let at = 0; at < 12; at++) await events.happened({ reason: 'MTUChanged', key: String(at), text: `mtu ${at}` })
    await look()
    expect(tries).toHaveLength(12)
    await look()
    // A few wait, so that a server that is lost is not asked ever more.
    expect([told, tries?.length]).toEqual([[], 22])
    isUp = true
    for (let at = 0; at < 3; at++) await look()
    expect(told).toEqual(Array.from({ length: 10 }, (_, at) => `mtu ${at + 2}`))
  } finally {
    clock.mockRestore()
  }
})

test('Events whose texts change at every look are so many at once and then a few, each counted that is not told', async () => {
  let now = 1_000_000
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
  try {
    let posts = 0
    const withheld: string[] = []
    const done = () => Promise.resolve(void posts++)
    const events = new Events({
      api: { post: done, patch: done } as unknown as Api,
      node: 'own',
      log: () => undefined,
      withheld: (reason) => withheld.push(reason),
    })
    const look = async (at: number) => {
      events.tell([{ reason: 'ConflistRefused', key: '', text: `try ${at}` }])
      await new Promise(setImmediate)
      now += 10_000
    }
    for (let at = 0; at < 100; at++) await look(at)
    // 25 at once, and in 1,000 seconds one each two minutes.
    expect(posts).toBe(33)
    expect(withheld).toHaveLength(67)
    // What lasts is told when its turn comes, and counted once.
    now += 1
    for (let at = 0; at < 24; at++) await look(1000)
    expect([posts, withheld.length]).toEqual([34, 67 + (withheld.length - 67)])
    expect(withheld.length).toBeLessThanOrEqual(68)
    // Others have their own.
    for (let at = 0; at < 30; at++) await events.happened({ reason: 'MTUChanged', key: '', text: `mtu ${at}` })
    expect(posts).toBe(34 + 25)
    expect(withheld.filter((reason) => reason === 'MTUChanged')).toHaveLength(5)
  } finally {
    clock.mockRestore()
  }
})

test('Events that nobody took are told later, and not at every look', async () => {
  let now = 1_000_000
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
  try {
    let [tries, isUp] = [0, false]
    const post = () => {
      tries++
      return isUp ? Promise.resolve() : Promise.reject(new Error('nobody'))
    }
    const events = new Events({ api: { post } as unknown as Api, node: 'own', log: () => undefined })
    const look = async () => {
      events.tell([{ reason: 'NoPodCIDR', key: '', text: 'x' }])
      await new Promise(setImmediate)
    }
    for (let at = 0; at < 600; at++) {
      await look()
      now += 1000
    }
    expect(tries).toBe(60)
    isUp = true
    await look()
    now += 1000
    await look()
    expect(tries).toBe(61)
  } finally {
    clock.mockRestore()
  }
})

test('names of Events are names, however long that of the node is', () => {
  for (const node of ['a', 'a'.repeat(236), 'a'.repeat(253), `${'a'.repeat(234)}.-b${'c'.repeat(16)}`]) {
    const name = eventName(node, 'x')
    expect(name.length).toBeLessThanOrEqual(253)
    expect(name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/)
  }
  const [one, other] = ['b', 'c'].map((end) => eventName(`${'a'.repeat(250)}${end}`, 'x'))
  expect(one).not.toBe(other)
})

test('an API server that has always forgotten is asked less and less often, also if it says a word in between', async () => {
  vi.useFakeTimers()
  try {
    let lists = 0
    const follower = new Follower<string>({
      config: connectionOf({ server: 'http://127.0.0.1:1', serviceAccount: '/nonexistent', env: {} }),
      path: '/nodes',
      query: {},
      list: () => {
        lists++
        return Promise.reject(Object.assign(new Error('too old'), { statusCode: 410 }))
      },
      keep: () => undefined,
      isSame: () => true,
      changed: () => undefined,
      failed: () => undefined,
    })
    const running = follower.run()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(lists).toBeGreaterThan(5)
    expect(lists).toBeLessThan(14)
    await vi.advanceTimersByTimeAsync(600_000)
    // Each 15 to 30 seconds.
    expect(lists).toBeLessThan(14 + 41)
    follower.stop()
    await vi.advanceTimersByTimeAsync(60_000)
    await running
  } finally {
    vi.useRealTimers()
  }
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

test('a watch that says nothing and ends at once is tried again later and later, as of a server that is lost', async () => {
  const server = createServer((_, response) => response.end('<html>'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const failures: string[] = []
  const config = connectionOf({ server: `http://127.0.0.1:${port}`, serviceAccount: '/nonexistent', env: {} })
  const cluster = { name: 'one', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }
  config.loadFromClusterAndUser(cluster, { name: 'nobody' })
  const follower: Follower<string> = new Follower<string>({
    config,
    path: '/nodes',
    query: {},
    list: async () => ({ items: [], version: '1' }),
    keep: () => undefined,
    isSame: () => true,
    changed: () => undefined,
    failed: (why) => {
      failures.push(why)
      if (failures.length === 2) follower.stop()
    },
  })
  await follower.run()
  server.closeAllConnections()
  server.close()
  expect(failures).toEqual(Array(2).fill('the watch ended before it said anything'))
})

test('a node that comes in a look is served within it, and one that comes with other changes before the next', async () => {
  const member = (name: string, number: number) => ({
    metadata: { name, resourceVersion: String(number) },
    spec: { podCIDRs: [`10.244.${number}.0/24`] },
    status: { addresses: [{ type: 'InternalIP', address: `172.18.0.${number}` }] },
  })
  const watching = Promise.withResolvers<ServerResponse>()
  const server = createServer(({ url = '' }, response) => {
    if (!url.includes('watch=')) {
      const items = url.startsWith('/api/v1/nodes') ? [member('own', 1)] : []
      return void response.end(JSON.stringify({ items, metadata: { resourceVersion: '1' } }))
    }
    response.flushHeaders()
    if (url.startsWith('/api/v1/nodes')) watching.resolve(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const config = connectionOf({ server: `http://127.0.0.1:${port}`, serviceAccount: '/nonexistent', env: {} })
  const cluster = { name: 'one', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }
  config.loadFromClusterAndUser(cluster, { name: 'nobody' })
  const acts: string[] = []
  const say = async (...told: readonly (readonly [type: string, object: object])[]) => {
    const watch = await watching.promise
    watch.write(told.map(([type, object]) => `${JSON.stringify({ type, object })}\n`).join(''))
  }
  const node = {
    lastGood: undefined,
    keepGood: () => undefined,
    hasOtherRules: () => false,
    keepSoon: (_: ClusterNode, nodes: readonly ClusterNode[]) => {
      acts.push(`serves ${nodes.map(({ name }) => name).join()}`)
    },
    keep: async ({ pause }: Wanted): Promise<Outcome> => {
      const isFirst = !acts.includes('looks')
      acts.push('looks')
      if (isFirst) {
        await say(['ADDED', member('two', 2)])
        // It is held open until it has let the agent do that.
        const end = performance.now() + 30_000
        while (acts.at(-1) === 'looks' && performance.now() < end) await pause()
        acts.push('has looked')
        // The next look is due at once, so this one ends when that is heard.
        const before = heard()
        await say(['ADDED', member('three', 3)], ['MODIFIED', member('own', 4)])
        while (heard() === before) await new Promise((resolve) => setTimeout(resolve, 1))
        await new Promise(setImmediate)
      } else agent.stop()
      return { problems: [], news: [], routes: { wanted: 0, present: 0 }, isReady: true, errors: [] }
    },
  }
  const silent = () => undefined
  let heard: () => unknown = silent
  const agent: Agent = new Agent({
    api: new Api(config),
    node: node as unknown as AgentNode,
    name: 'own',
    configMap: { namespace: 'kube-system', name: 'podwire' },
    metrics: (ask) => {
      heard = ask
      return { looked: silent, configuration: silent, error: silent } as unknown as Metrics
    },
    every: 3_600_000,
    collector: { collect: silent } as unknown as Collector,
    collectEvery: 3_600_000,
    log: silent,
  })
  await agent.run()
  server.closeAllConnections()
  server.close()
  expect(acts).toEqual(['looks', 'serves two', 'has looked', 'serves three', 'looks'])
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
  for (const [listen, address] of [
    ['172.18.0.2:9117', '172.18.0.2'],
    ['FC00:0::2:9117', 'fc00::2'],
    ['[fc00::2]:9117', 'fc00::2'],
    ['127.0.0.1:9117', undefined],
    ['[::1]:9117', undefined],
    ['0.0.0.0:9117', undefined],
    ['[::]:9117', undefined],
    [':9117', undefined],
    ['localhost:9117', undefined],
  ] as const)
    expect(nodeAddress(listen), listen).toBe(address)
  expect(serverUrl('10.0.0.1:6443')).toBe('https://10.0.0.1:6443')
  expect(serverUrl('fc00::1')).toBe('https://[fc00::1]')
  expect(serverUrl('http://127.0.0.1:8001')).toBe('http://127.0.0.1:8001')
  for (const wrong of ['', 'https://', 'http://[', 'tcp://10.0.0.1:6443', 'a b', '10.0.0.1:99999'])
    expect(() => serverUrl(wrong), wrong).toThrow(`"${wrong}" is no API server`)
})

describe('the API server is asked', () => {
  const folder = () => {
    const made = mkdtempSync(path.join(tmpdir(), 'podwire-connection-'))
    onTestFinished(() => rmSync(made, { recursive: true }))
    return made
  }

  test('by the token that is there now, whatever the clock says', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2040, 1, 1) })
    onTestFinished(() => void vi.useRealTimers())
    const serviceAccount = folder()
    const config = connectionOf({ server: '10.0.0.1:6443', serviceAccount, env: {} })
    const told = async (token: string) => {
      writeFileSync(path.join(serviceAccount, 'token'), token)
      const context = new RequestContext('https://10.0.0.1:6443/', 'GET' as HttpMethod)
      await config.applySecurityAuthentication(context)
      return context.getHeaders()['Authorization']
    }
    expect(await told('first')).toBe('Bearer first')
    vi.setSystemTime(Date.UTC(2026, 1, 1))
    expect(await told('second')).toBe('Bearer second')
  })

  test('by the certificate that is there now', async () => {
    const made = folder()
    const [kubeconfig, certificate] = [path.join(made, 'config'), path.join(made, 'certificate')]
    const files = { 'client-certificate': certificate, 'client-key': certificate }
    const of = {
      clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1' } }],
      users: [{ name: 'u', user: files }],
    }
    const contexts = [{ name: 'x', context: { cluster: 'c', user: 'u' } }]
    writeFileSync(kubeconfig, JSON.stringify({ ...of, contexts, 'current-context': 'x' }))
    writeFileSync(certificate, '')
    const config = connectionOf({ kubeconfig, serviceAccount: made, env: {} })
    const connections = async (text: string) => {
      writeFileSync(certificate, text)
      const context = new RequestContext('https://10.0.0.1/', 'GET' as HttpMethod)
      await config.applySecurityAuthentication(context)
      return context.getDispatcher()
    }
    const first = await connections('first')
    expect(first).toBeDefined()
    expect(await connections('first')).toBe(first)
    expect(await connections('second')).not.toBe(first)
  })

  test('only where a file says which one', () => {
    const kubeconfig = path.join(folder(), 'config')
    writeFileSync(kubeconfig, '{"clusters": [], "contexts": [], "users": []}')
    for (const server of [undefined, '10.0.0.1:6443'])
      expect(() => connectionOf({ kubeconfig, server, serviceAccount: '', env: {} })).toThrow(/says no cluster/)
  })
})

test('what the agent serves is answered beside callers that say nothing, and with a query', async () => {
  const registry = { contentType: 'text/plain', metrics: async () => 'metrics' } as unknown as Registry
  const server = await serve('127.0.0.1:0', { isHealthy: () => true, isReady: () => false, registry })
  const { port } = server.address() as AddressInfo
  const idle: Socket[] = []
  onTestFinished(() => {
    for (const one of idle) one.destroy()
    server.closeAllConnections()
    server.close()
  })
  for (let at = 0; at < 60; at++) {
    const one = connect(port, '127.0.0.1').on('error', () => undefined)
    idle.push(one)
    await once(one, 'connect')
  }
  const status = async (url: string) => (await fetch(`http://127.0.0.1:${port}${url}`)).status
  expect(await status('/healthz')).toBe(200)
  expect(await status('/readyz?verbose')).toBe(503)
  expect(await status('/metrics?collect=all')).toBe(200)
  expect(await status('/metric')).toBe(404)
})

test('state is written whole, never through a link that somebody planted, and read as nothing where it is garbled', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'podwire-agent-'))
  try {
    const file = path.join(folder, 'agent.json')
    expect(readState(file)).toEqual(noState)
    const victim = path.join(folder, 'victim')
    writeFileSync(victim, 'kept')
    symlinkSync(victim, `${file}.new`)
    clearDrafts(file, 0)
    const state = { configuration: 'plugin: ptp', ranges: ['10.1.0.0/24'], formerRanges: [], mtu: 1500 }
    writeState(file, state)
    expect(readState(file)).toEqual(state)
    expect(readFileSync(victim, 'utf8')).toBe('kept')
    expect(readdirSync(folder).sort()).toEqual(['agent.json', 'victim'])
    for (const text of ['', '{', '[]', '{"ranges":7,"formerRanges":["x"],"mtu":"1"}']) {
      writeFileSync(file, text)
      expect(readState(file)).toEqual(noState)
    }
    rmSync(file)
    for (const plant of [
      () => symlinkSync(victim, file),
      () => execFileSync('mkfifo', [file]),
      () => mkdirSync(file),
    ]) {
      plant()
      expect(readState(file)).toEqual(noState)
      rmSync(file, { recursive: true })
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

// --- internal

function node(name: string, podCIDRs: readonly string[], addresses: readonly string[]): ClusterNode {
  return { name, podCIDRs, addresses, garbled: [], isUnavailable: false }
}

function words(text: string): readonly string[] {
  return text.split(' ').filter(Boolean)
}

function deadPod(containerID: string): Belongings {
  const attachment = { network: 'podwire', containerID, ifName: 'eth0' } as Belongings['attachment']
  return { attachment, leases: [], records: [], results: [], plugins: [], foreign: [] }
}

function idsOf({ taken }: Collected): string {
  return taken.map(({ belongings: { attachment } }) => attachment.containerID).join(' ')
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

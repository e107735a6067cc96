import { describe, expect, test } from 'vitest'
import type { Operation } from '../plan/operation.js'
import { render, renderOne } from '../plan/render.js'
import { officialComment, officialName, ownerComment } from '../values/names.js'
import * as ip from './ip.js'
import * as iptables from './iptables.js'
import { linkLocalOf } from './link-local.js'
import * as nft from './nft.js'
import * as tc from './tc.js'

const netns = '/run/netns/c'
const eth0 = { link: 'eth0', netns }
const element = {
  family: 'ip',
  collection: 'm',
  key: ['10.1.0.2'],
  value: ['jump', 'x'],
  comment: 'net/eth0/c1',
} as const

/** Every builder of operations with what it builds; an operation's undo stands behind "undo:". */
const rows: Record<string, [Operation | readonly Operation[], string]> = {
  'ip.addLink': [
    ip.addLink({ link: 'a' }, ['type', 'dummy']),
    'ip link add name a type dummy\nundo: ip link del dev a\n',
  ],
  'ip.ensureLink': [ip.ensureLink({ link: 'br0' }, ['type', 'bridge']), 'ip link add name br0 type bridge\n'],
  'ip.addVethPair': [
    ip.addVethPair({
      host: 'v',
      hostMac: '02::1',
      container: 'eth0',
      containerMac: '02::2',
      netns,
      mtu: 1400,
      master: 'br0',
    }),
    'ip link add name v address 02::1 txqueuelen 0 mtu 1400 master br0 type veth peer name eth0 address 02::2 mtu 1400 netns /run/netns/c\nundo: ip link del dev v\n',
  ],
  'ip.setLink': [ip.setLink(eth0, ['mtu', '9000'], 'x'), 'nsenter --net=/run/netns/c ip link set dev eth0 mtu 9000\n'],
  'ip.setUp': [ip.setUp({ link: 'a' }), 'ip link set dev a up\n'],
  'ip.deleteLink': [ip.deleteLink({ link: 'a' }), 'ip link del dev a\n'],
  'ip.addAddress': [
    [
      ip.addAddress({ link: 'a' }, '10.1.0.2/24'),
      ip.addAddress({ link: 'a' }, '10.1.0.2/32'),
      ip.addAddress({ link: 'a' }, 'fd00::2/64', ['nodad']),
    ],
    'ip addr add 10.1.0.2/24 brd + dev a\nip addr add 10.1.0.2/32 dev a\nip addr add fd00::2/64 dev a nodad\n',
  ],
  'ip.ensureAddress': [ip.ensureAddress({ link: 'a' }, '10.1.0.1/24'), 'ip addr add 10.1.0.1/24 brd + dev a\n'],
  'ip.deleteAddress': [ip.deleteAddress({ link: 'a' }, '10.1.0.1/24'), 'ip addr del 10.1.0.1/24 dev a\n'],
  'ip.addOnlyRoute': [ip.addOnlyRoute({ link: 'a' }, { dst: '10.9.0.0/16' }), 'ip route add 10.9.0.0/16 dev a\n'],
  'ip.addRoute': [
    ip.addRoute(
      { link: 'a' },
      { dst: '10.9.0.0/16', gw: '10.1.0.1', mtu: 1400, advmss: 1360, priority: 5, table: 100, scope: 0 },
    ),
    'ip route prepend 10.9.0.0/16 via 10.1.0.1 dev a metric 5 table 100 scope 0 mtu 1400 advmss 1360\n',
  ],
  'ip.deleteRoute': [ip.deleteRoute({ link: 'a' }, { dst: 'fd00::/64' }), 'ip route del fd00::/64 dev a\n'],
  'ip.sysctl': [ip.sysctl({ key: 'net/ipv4/ip_forward', value: '1' }), 'sysctl -w net/ipv4/ip_forward=1\n'],
  'ip.refuseRouterAdvertisements': [
    ip.refuseRouterAdvertisements({ link: 'a' }),
    'sysctl -w net/ipv6/conf/a/accept_ra=0\n',
  ],
  'ip.forwarding': [
    ip.forwarding(['10.1.0.1/24', 'fd00::1/64']),
    'sysctl -w net/ipv4/ip_forward=1\nsysctl -w net/ipv6/conf/all/forwarding=1\n',
  ],
  'ip.ip': [ip.ip(undefined, ['rule', 'add', 'table', '7'], 'x'), 'ip rule add table 7\n'],
  'iptables.iptables': [
    iptables.iptables('iptables', 'nat', ['-A', 'C', '-m', 'comment', '--comment', '"a \\"b\\""'], 'x'),
    'iptables -t nat -A C -m comment --comment \'a "b"\'\n',
  ],
  'iptables.newChain': [iptables.newChain('ip6tables', 'nat', 'C', 'x'), 'ip6tables -t nat -N C\n'],
  'iptables.removeChain': [
    iptables.removeChain(
      [
        [':C', '-', '[0:0]'],
        ['-A', 'POSTROUTING', '-s', '10.1.0.2/32', '-j', 'C'],
        ['-A', 'OTHER', '-j', 'D'],
      ],
      {
        tool: 'iptables',
        table: 'nat',
        chain: 'C',
      },
    ),
    'iptables -t nat -D POSTROUTING -s 10.1.0.2/32 -j C\niptables -t nat -F C\niptables -t nat -X C\n',
  ],
  'nft.nft': [nft.nft(['add', 'table', 'ip', 'x'], 'x'), 'nft add table ip x\n'],
  'nft.declare': [
    nft.declare('ip', 'map', ['m', '{', 'type', 'ipv4_addr', ':', 'verdict', ';', '}']),
    "nft 'add map ip podwire m { type ipv4_addr : verdict ; }'\n",
  ],
  'nft.declareChain': [
    nft.declareChain('ip6', 'c', [['drop']], ['type', 'filter', 'hook', 'input', 'priority', '0', ';']),
    "nft 'add chain ip6 podwire c { type filter hook input priority 0 ; }'\nnft flush chain ip6 podwire c\nnft add rule ip6 podwire c drop\n",
  ],
  'nft.addElement': [
    nft.addElement(element, 'x', []),
    "nft 'add element ip podwire m { 10.1.0.2 comment \"net/eth0/c1\" : jump x }'\nundo: nft 'delete element ip podwire m { 10.1.0.2 }'\n",
  ],
  'nft.waiting': [
    [nft.waiting(nft.deleteElement(element, 'x')), nft.waiting(ip.setUp(eth0))],
    "nft 'delete element ip podwire m { 10.1.0.2 }'\nnsenter --net=/run/netns/c ip link set dev eth0 up\n",
  ],
  'nft.deleteElement': [nft.deleteElement(element, 'x'), "nft 'delete element ip podwire m { 10.1.0.2 }'\n"],
  'tc.limitRate': [
    tc.limitRate('v', { rate: 1_000_000, burst: 10_000, limit: 35_000 }),
    'tc qdisc replace dev v root handle 1: tbf rate 8000000bit burst 10000 limit 35000\nundo: tc qdisc del dev v root handle 1:\n',
  ],
  'tc.unlimitRate': [tc.unlimitRate('v'), 'tc qdisc del dev v root\n'],
  'tc.redirectIngress': [
    tc.redirectIngress('v', 'ifb0'),
    'tc qdisc replace dev v handle ffff: ingress\ntc filter replace dev v parent ffff: protocol all prio 1 handle 800::800 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev ifb0\nundo: tc qdisc del dev v ingress\n',
  ],
  'tc.restoreIngress': [tc.restoreIngress('v'), 'tc qdisc del dev v ingress\n'],
}

function shown(operations: Operation | readonly Operation[]): string {
  const plan = Array.isArray(operations) ? operations : [operations as Operation]
  const undone = plan.flatMap(({ undo = [] }) => undo.map((one: Operation) => `undo: ${renderOne(one)}\n`))
  return render(plan) + undone.join('')
}

describe('builders', () => {
  test.each(Object.entries(rows))('%s', (_, [operations, text]) => {
    expect(shown(operations)).toBe(text)
  })

  test('every builder has a row', () => {
    const questions = [
      'plainTools',
      'iptablesTools',
      'iptablesTool',
      'legacyTable',
      'savedRules',
      'savedTables',
      'hasChain',
      'hasRule',
      'ownTable',
      'nftFamily',
      'elementWords',
    ]
    const names = Object.entries({ ip, iptables, nft, tc }).flatMap(([module, members]) =>
      Object.keys(members)
        .filter((name) => !questions.includes(name))
        .map((name) => `${module}.${name}`),
    )
    expect(names.filter((name) => !(name in rows))).toEqual([])
  })
})

test('only what nft does may wait for what later plugins of a chain make', () => {
  expect(nft.waiting(nft.deleteElement(element, 'x')).waits).toBe(true)
  expect(nft.waiting(ip.setUp(eth0)).waits).toBeUndefined()
})

test('a chain that another rule still jumps to stays', () => {
  const saved = [
    [':C', '-', '[0:0]'],
    ['-A', 'POSTROUTING', '-s', '10.1.0.2/32', '-j', 'C'],
    ['-A', 'POSTROUTING', '-s', '10.1.0.3/32', '-j', 'C'],
  ]
  const where = { tool: 'iptables', table: 'nat', chain: 'C' } as const
  const plan = iptables.removeChain(saved, where, (rule) => rule.includes('10.1.0.2/32'))
  expect(shown(plan)).toBe('iptables -t nat -D POSTROUTING -s 10.1.0.2/32 -j C\n')
})

describe('names', () => {
  const attachment = { network: 'mynet', containerID: 'c1id', ifName: 'eth0' }

  test('of iptables chains and ifb devices are the official ones', () => {
    expect(officialName('CNI-DN-', attachment, 28)).toBe('CNI-DN-c465c05654907699deadd')
    expect(officialName('bwp', attachment, 15)).toBe('bwpc465c0565490')
    expect(officialName('CNI-', { ...attachment, network: 'test', containerID: '1234' }, 28)).toBe(
      'CNI-2bbe0c48b91a7d1b8a6753a8',
    )
    expect(officialComment(attachment)).toBe('name: "mynet" id: "c1id"')
  })

  test('of owners fit into a comment of nft, and still differ', () => {
    const long = (last: string) => ownerComment({ ...attachment, containerID: 'x'.repeat(200) + last })
    expect(long('a')).toHaveLength(128)
    expect(long('a')).not.toBe(long('b'))
  })
})

test.each([
  ['02:2f:1d:32:9e:e0', 'fe80::2f:1dff:fe32:9ee0'],
  ['00:00:5e:00:53:01', 'fe80::200:5eff:fe00:5301'],
  ['fe:ff:ff:ff:ff:ff', 'fe80::fcff:ffff:feff:ffff'],
])('the link-local address of %s', (mac, address) => expect(linkLocalOf(mac)).toBe(address))

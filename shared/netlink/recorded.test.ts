import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Netlink } from '../plan/netlink.js'
import type { Routing } from '../plan/observer.js'
import type { Operation, Tool } from '../plan/operation.js'
import { namespaceAt } from '../system/namespaces.js'
import {
  type Exchange,
  fakeKernel,
  firstSequence,
  message,
  type Recording,
  recordings,
  replaying,
} from '../testing/kernel.js'
import type { NumberedRoute, ObservedLink } from '../values/observe.schema.js'
import { createNetlink } from './driver.js'
import { linkKinds } from './links.js'

// What a kernel answered (conformance/netlink/record.ts), and what is observed of it. Every request must be the
// recorded one to the byte.

/**
 * recorded.txt is of Linux 6.18, as is recorded-lists.txt; recorded-full.txt of Debian's, for the kinds of links that
 * the other had not.
 */
const recorded = ['recorded', 'recorded-full', 'recorded-lists'].flatMap((name) =>
  recordings(readFileSync(new URL(`${name}.txt`, import.meta.url), 'utf8')),
)
/** The namespaces of the recording; the fake kernel has but one. */
const elsewhere = '/proc/self/ns/net'

function replay<T>({ exchanges }: Recording, body: (netlink: Netlink) => T): T {
  const kernel = replaying(exchanges)
  const answer = body(createNetlink(undefined, () => kernel.libc))
  expect(kernel.left()).toBe(0)
  return answer
}

const ofKind = (kind: string) => recorded.filter(({ call }) => call.startsWith(`${kind} `))
const after = ({ call }: Recording) => call.slice(call.indexOf(' ') + 1)

/** As recorded, apart from order, and from M-DOWN, which is about the other end. */
function comparable(link: ObservedLink | undefined | 'unknown'): object {
  if (!link || link === 'unknown') return { link }
  const { flags, linkinfo, txqlen = 0, ...others } = link
  const { info_kind, info_data = {} } = linkinfo ?? {}
  const data = Object.entries(info_data).filter(([, value]) => value !== undefined && value !== false)
  return {
    ...others,
    txqlen,
    flags: flags.filter((one) => one !== 'M-DOWN').sort(),
    info_kind,
    data: Object.fromEntries(data),
  }
}

describe('look: a link is seen as `ip -j -d addr show` shows it', () => {
  test.each(ofKind('look').filter(({ shown }) => shown !== undefined))('$call', (recording) => {
    const seen = replay(recording, (netlink) => netlink.look(after(recording)))
    const shown = recording.shown as ObservedLink
    expect(comparable(seen)).toEqual(comparable(shown))
  })

  test('of every kind that netlink has in its table', () => {
    const kinds = ofKind('look').map(({ shown }) => (shown as ObservedLink | undefined)?.linkinfo?.info_kind ?? '')
    expect([...new Set(kinds)].sort()).toEqual(['', ...Object.keys(linkKinds)].sort())
  })

  test('a link that is not there', () => {
    const [recording] = recorded.filter(({ call }) => call === 'look absent0') as [Recording]
    expect(replay(recording, (netlink) => netlink.look('absent0'))).toBeUndefined()
  })
})

describe('has: a link of that very name, by no other name', () => {
  test.each([
    ['here0', true],
    ['another0', false],
    ['absent0', false],
  ])('%s: %s', (name, expected) => {
    const [recording] = recorded.filter(({ call }) => call === `has ${name}`) as [Recording]
    expect(replay(recording, (netlink) => netlink.has(name))).toBe(expected)
  })
})

describe('linkTo: the link by which an address is sent to itself', () => {
  test.each([
    ['of the subnet', '10.1.2.77', 'br0'],
    ['behind a gateway', '10.9.0.1', undefined],
    ['behind a gateway of IPv6', '10.8.0.1', undefined],
    ['that is unreachable', '10.7.0.1', 'unknown'],
    ['of this host', '10.1.2.1', undefined],
    ['without a route', '203.0.113.1', 'unknown'],
  ])('one %s (%s): %s', (_, address, expected) => {
    const [recording] = recorded.filter(({ call }) => call === `linkTo ${address}`) as [Recording]
    const value = address.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
    expect(replay(recording, (netlink) => netlink.linkTo({ family: 4, value }))).toBe(expected)
  })
})

describe('hostNumberIn: the number that a namespace has for the host', () => {
  test.each([
    ['other', 0],
    ['third', undefined],
  ])('%s: %s', (name, expected) => {
    const [recording] = recorded.filter(({ call }) => call === `hostNumberIn ${name}`) as [Recording]
    // The open file of a namespace has another number here.
    const exchanges = recording.exchanges.map(({ sent, received }) => {
      const bytes = Buffer.from(sent)
      bytes.writeUInt32LE(namespaceAt(elsewhere) ?? 0, bytes.length - 4)
      return { sent: bytes, received }
    })
    expect(replay({ ...recording, exchanges }, (netlink) => netlink.hostNumberIn(elsewhere))).toBe(expected)
  })
})

describe('run', () => {
  const port = (protocol: string) => `${protocol} . 90 : 10.9.0.2 . 90`
  const refusals: Readonly<Record<string, { kernelError: number; kernelText?: string }>> = {
    'ip link set dev br0 master br0': { kernelError: -40, kernelText: 'Can not enslave a bridge to a bridge' },
    'ip link set dev br0 mtu 70000': { kernelError: -22, kernelText: 'mtu greater than device maximum' },
    'ip route add 10.66.0.0/16 via 192.0.2.1 dev br0': {
      kernelError: -101,
      kernelText: 'Nexthop has invalid gateway',
    },
    'ip addr add 10.1.2.1/24 dev br0': { kernelError: -17, kernelText: 'ipv4: Address already assigned' },
    'ip link add name br1 type bridge': { kernelError: -17 },
    'ip link del dev absent0': { kernelError: -19 },
    [`nft create element ip podwire portmap_ports { ${port('tcp')} }`]: { kernelError: -17 },
    'nft delete element ip podwire portmap_ports { tcp . 91 }': { kernelError: -2 },
  }
  const refused = Object.keys(refusals).filter((line) => line !== 'ip link add name br1 type bridge')

  test.each(ofKind('run').map((recording) => [recording.call, recording] as const))('%s', (call, recording) => {
    const line = call.replace('run in other ', 'run ').slice('run '.length)
    const [tool, ...argv] = line.split(' ')
    const netns = call.startsWith('run in other ') ? { netns: elsewhere } : {}
    const operation: Operation = { tool: tool as Tool, argv, why: 'test', ...netns }
    // What was made first cannot be made again.
    const isFirst = recorded.findIndex((one) => one.call === call) === recorded.indexOf(recording)
    const isRefused = refused.includes(line) || !isFirst
    const done: Operation[] = []
    const outcome = replay(recording, (netlink) => netlink.run([operation], (one) => done.push(one)))
    expect(outcome).toEqual({ left: isRefused ? [operation] : [], ...(isRefused ? refusals[line] : {}) })
    expect(done).toEqual(isRefused ? [] : [operation])
  })
})

describe('listening: the sockets that wait for whoever comes', () => {
  test.each([
    ['tcp', 4, ['0.0.0.0 1001', '127.0.0.1 1003']],
    ['tcp', 6, [':: 1007', ':: 1002 only', '127.0.0.1 1006']],
    ['udp', 4, ['0.0.0.0 1004']],
    ['udp', 6, [':: 1005']],
  ] as const)('%s of IPv%s', (protocol, family, expected) => {
    const [recording] = recorded.filter(({ call }) => call === `listening ${protocol} ${family}`) as [Recording]
    const sockets = replay(recording, (netlink) => netlink.listening({ protocol, family })) ?? []
    const lines = sockets.map(({ address, port, isIPv6Only }) => `${address} ${port}${isIPv6Only ? ' only' : ''}`)
    expect(lines.sort()).toEqual([...expected].sort())
    expect(new Set(sockets.map(({ inode }) => inode)).size).toBe(expected.length)
    for (const { inode } of sockets) expect(Number(inode)).toBeGreaterThan(1)
  })
})

const one = (wanted: string) => recorded.find(({ call }) => call === wanted) as Recording

test('links: all of a namespace, each as it is seen alone', () => {
  const seen = replay(one('links'), (netlink) => netlink.links())
  const shown = one('links').shown as ObservedLink[]
  expect(shown.map(({ ifname }) => ifname)).toEqual(['lo', 'br0', 'veth0', 'there0', 'here0', 'vx0'])
  expect((seen as ObservedLink[]).map(comparable)).toEqual(shown.map(comparable))
})

describe('routing: rules and routes are seen as `ip -N -j -d` shows them', () => {
  /** Of a route's flags only what is read; those of next hops are not. */
  const read = ({ flags, nexthops, ...route }: NumberedRoute) => ({
    ...route,
    flags: flags.filter((flag) => flag === 'onlink'),
    ...(nexthops ? { nexthops: nexthops.map(({ gateway, dev, weight }) => ({ gateway, dev, weight })) } : {}),
  })

  test('of both families, in their order', () => {
    const seen = replay(one('routing'), (netlink) => netlink.routing([4, 6])) as Routing
    const shown = one('routing').shown as Routing
    expect(shown.rules.length).toBe(8)
    expect(shown.routes.length).toBeGreaterThan(15)
    expect(seen.rules).toEqual(shown.rules)
    expect(seen.routes.map(read)).toEqual(shown.routes.map(read))
  })

  test.each(['a metric', 'a rule'])('but for %s that only ip reads', (what) => {
    expect(replay(one(`routing with ${what} that only ip reads`), (netlink) => netlink.routing([4]))).toBe('unknown')
  })
})

describe('elements: what our maps and sets hold', () => {
  const comment = 'net/eth0/c1'
  test.each([
    [
      'ip',
      [
        { collection: 'portmap_ports', key: ['sctp', '8080'] },
        { collection: 'portmap_ports', key: ['tcp', '8080'], comment },
        { collection: 'portmap_ranges', key: ['udp', '5000-5009'], comment },
        { collection: 'masqueraded', key: ['10.9.0.2'], comment },
        { collection: 'portmap_owners', key: ['0123456789abcde'], comment },
      ],
    ],
    ['ip6', [{ collection: 'firewall_addresses', key: ['fd00::5'], comment }]],
    ['bridge', [{ collection: 'allowed_macs', key: ['veth0', '02:00:00:00:00:01'], comment }]],
  ] as const)('of %s, none of anonymous sets', (family, expected) => {
    expect(replay(one(`elements ${family}`), (netlink) => netlink.elements(family))).toEqual(expected)
  })

  test('of one alone', () => {
    const name = 'portmap_ranges'
    expect(replay(one(`elements ip of ${name}`), (netlink) => netlink.elements('ip', { name }))).toEqual([
      { collection: name, key: ['udp', '5000-5009'], comment },
    ])
  })

  test('none where there is no table, or not that one', () => {
    expect(replay(one('elements without a table'), (netlink) => netlink.elements('ip'))).toEqual([])
    expect(replay(one('elements ip of none'), (netlink) => netlink.elements('ip', { name: 'none' }))).toEqual([])
  })

  test('a type that none of ours has is left to nft', () => {
    const { call, exchanges } = one('elements of a type that we have not')
    const asked = exchanges.length
    expect(asked).toBeGreaterThan(1)
    expect(replay({ call, exchanges }, (netlink) => netlink.elements('ip'))).toBeUndefined()
  })
})

describe('udpFlows: where a flow was sent, and who answers', () => {
  test.each([
    ['ip', { destination: '192.0.2.1', destinationPort: 53, answerer: '10.1.2.9', answererPort: 5353 }],
    ['ip6', { destination: 'fd00::1', destinationPort: 54, answerer: 'fd00::1', answererPort: 54 }],
  ] as const)('of %s, none of TCP', (family, expected) => {
    expect(replay(one(`udpFlows ${family}`), (netlink) => netlink.udpFlows(family))).toEqual([expected])
  })
})

describe('a list that changed while it was told, or of which something was lost, is asked for again', () => {
  const lists: readonly (readonly [string, (netlink: Netlink) => unknown])[] = [
    ['links', (netlink) => netlink.links()],
    ['routing', (netlink) => netlink.routing([4, 6])],
    ['elements ip', (netlink) => netlink.elements('ip')],
    ['udpFlows ip', (netlink) => netlink.udpFlows('ip')],
    ['chains', (netlink) => netlink.chains()],
  ]
  const NLM_F_DUMP_INTR = 0x10
  const ENOBUFS = -105
  const interrupted = ([datagram, ...others]: Exchange['received']) => {
    const bytes = Buffer.from(datagram as Buffer)
    bytes.writeUInt16LE(bytes.readUInt16LE(6) | NLM_F_DUMP_INTR, 6)
    return [bytes, ...others]
  }
  const lost = (received: Exchange['received']) => [ENOBUFS, ...received]

  test.each(lists)('%s', (call, ask) => {
    const { exchanges } = one(call)
    const expected = replay(one(call), ask)
    expect(expected).not.toEqual([])
    for (const [at, exchange] of exchanges.entries()) {
      for (const spoil of [interrupted, lost]) {
        const spoilt = { ...exchange, received: spoil(exchange.received) }
        const again = { call, exchanges: [...exchanges.slice(0, at), spoilt, ...exchanges.slice(at)] }
        expect(replay(again, ask)).toEqual(expected)
      }
    }
  })

  test.each(lists)('%s has no answer where it is refused', (_, ask) => {
    const refusing = fakeKernel((sent) => {
      const error = Buffer.alloc(20)
      error.writeInt32LE(-1)
      return [message(2, 0, firstSequence(sent), error)]
    })
    expect([undefined, 'unknown']).toContain(ask(createNetlink(undefined, () => refusing.libc)))
  })
})

describe('chains', () => {
  test('of no table', () => {
    const [recording] = recorded.filter(({ call }) => call === 'chains of none') as [Recording]
    expect(replay(recording, (netlink) => netlink.chains())).toEqual([])
  })

  test('of every family, with and without a hook', () => {
    const [recording] = recorded.filter(({ call }) => call === 'chains') as [Recording]
    const chains = replay(recording, (netlink) => netlink.chains()) ?? []
    expect(chains.map((one) => [one.family, one.table, one.name, one.hook, one.policy].join(' ').trim())).toEqual([
      'ip podwire inside',
      'ip podwire other',
      'ip podwire before prerouting accept',
      'ip podwire after postrouting accept',
      'inet site forward forward drop',
      'inet site in input accept',
      'inet site out output accept',
      'netdev edge first ingress accept',
      'arp who has input accept',
    ])
  })
})

describe('held: whether maps and sets have elements', () => {
  const wanted = [
    { collection: 'portmap_ports', key: ['tcp', '.', '8080'], value: ['10.9.0.2', '.', '80'], comment: 'net/eth0/c1' },
    { collection: 'portmap_ports', key: ['tcp', '.', '8080'], value: ['10.9.0.2', '.', '80'], comment: 'net/eth0/c2' },
    { collection: 'portmap_ports', key: ['tcp', '.', '8080'], value: ['10.9.0.3', '.', '80'], comment: 'net/eth0/c1' },
    { collection: 'portmap_ports', key: ['tcp', '.', '8080'] },
    { collection: 'portmap_ports', key: ['tcp', '.', '8081'] },
    { collection: 'portmap_ranges', key: ['udp', '.', '5000-5009'], value: ['10.9.0.2'] },
    { collection: 'portmap_ranges', key: ['udp', '.', '5000-5008'] },
    { collection: 'masqueraded', key: ['10.9.0.2'], value: ['jump', 'inside'], comment: 'net/eth0/c1' },
    { collection: 'masqueraded', key: ['10.9.0.2'], value: ['jump', 'other'] },
    { collection: 'masqueraded', key: ['10.9.0.2'], value: ['accept'] },
    { family: 'bridge', collection: 'allowed_macs', key: ['"veth0"', '.', '02:00:00:00:00:01'] },
    { family: 'ip6', collection: 'firewall_addresses', key: ['fd00::5'], comment: 'net/eth0/c1' },
  ] as const
  const answer = (call: string) => {
    const [recording] = recorded.filter((one) => one.call === call) as [Recording]
    return replay(recording, (netlink) => netlink.held(wanted.map((one) => ({ family: 'ip', ...one }))))
  }

  test('there are none without a table', () => {
    expect(answer('held without a table')).toEqual(wanted.map(() => false))
  })

  test('with value and comment, of which what is not asked for may be any', () => {
    expect(answer('held')).toEqual([true, false, false, true, false, true, false, true, false, false, true, true])
  })
})

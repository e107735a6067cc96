import { describe, expect, test } from 'vitest'
import { encode } from './encode.js'
import { attributesOf, frame } from './message.js'

/**
 * What the commands of iproute2 6.1 sent, but their numbers, in a namespace with the links and open files of `lookup`.
 */
const rows: readonly (readonly [command: string, bytes: string])[] = [
  [
    'ip link add name br0 address 02:00:00:00:00:01 mtu 1400 type bridge',
    '4c000000100005060000000000000000000000000000000000000000000000000a000100020000000001000008000400780500000800030062723000100012000a0001006272696467650000',
  ],
  [
    'ip link add name br0 type bridge vlan_default_pvid 0',
    '440000001000050600000000000000000000000000000000000000000000000008000300627230001c0012000a00010062726964676500000c0002000600270000000000',
  ],
  [
    'ip link add name eth0 type dummy',
    '3c00000010000506000000000000000000000000000000000000000000000000090003006574683000000000100012000900010064756d6d79000000',
  ],
  [
    'ip link add name ifb0 txqueuelen 32 type ifb',
    '400000001000050600000000000000000000000000000000000000000000000008000d00200000000900030069666230000000000c0012000700010069666200',
  ],
  [
    'ip link add name veth0 txqueuelen 0 master br0 type veth peer name eth0 address 02:00:00:00:00:02 mtu 1400 netns /run/netns/a',
    '880000001000050600000000000000000000000000000000000000000000000008000d000000000008000a00030000000a00030076657468300000004c0012000800010076657468400002003c000100000000000000000000000000000000000a0001000200000000020000080004007805000008001c0004000000090003006574683000000000',
  ],
  [
    'ip link add name eth0 link lan0 netns /run/netns/a type macvlan mode bridge',
    '580000001000050600000000000000000000000000000000000000000000000008001c000400000008000500050000000900030065746830000000001c0012000b0001006d6163766c616e000c0002000800010004000000',
  ],
  [
    'ip link add name eth0 link lan0 type macvlan mode private bcqueuelen 5000',
    '58000000100005060000000000000000000000000000000000000000000000000800050005000000090003006574683000000000240012000b0001006d6163766c616e001400020008000700881300000800010001000000',
  ],
  [
    'ip link add name eth0 link lan0 type macvlan mode vepa',
    '500000001000050600000000000000000000000000000000000000000000000008000500050000000900030065746830000000001c0012000b0001006d6163766c616e000c0002000800010002000000',
  ],
  [
    'ip link add name eth0 link lan0 type macvlan mode passthru',
    '500000001000050600000000000000000000000000000000000000000000000008000500050000000900030065746830000000001c0012000b0001006d6163766c616e000c0002000800010008000000',
  ],
  [
    'ip link add name eth0 link lan0 type ipvlan mode l2',
    '58000000100005060000000000000000000000000000000000000000000000000800050005000000090003006574683000000000240012000a0001006970766c616e00001400020006000100000000000600020000000000',
  ],
  [
    'ip link add name eth0 link lan0 type ipvlan mode l3',
    '58000000100005060000000000000000000000000000000000000000000000000800050005000000090003006574683000000000240012000a0001006970766c616e00001400020006000100010000000600020000000000',
  ],
  [
    'ip link add name eth0 link lan0 type ipvlan mode l3s',
    '58000000100005060000000000000000000000000000000000000000000000000800050005000000090003006574683000000000240012000a0001006970766c616e00001400020006000100020000000600020000000000',
  ],
  [
    'ip link add name eth0 link lan0 type vlan id 4094',
    '4c0000001000050600000000000000000000000000000000000000000000000008000500050000000900030065746830000000001800120008000100766c616e0c00020006000100fe0f0000',
  ],
  ['ip link set dev eth0 up', '2000000010000500000000000000000000000000040000000100000001000000'],
  ['ip link set dev eth0 down', '2000000010000500000000000000000000000000040000000000000001000000'],
  [
    'ip link set dev eth0 promisc on allmulticast off up',
    '2000000010000500000000000000000000000000040000000101000001030000',
  ],
  ['ip link set dev eth0 promisc off', '2000000010000500000000000000000000000000040000000000000000010000'],
  [
    'ip link set dev eth0 name eth1',
    '2c00000010000500000000000000000000000000040000000000000000000000090003006574683100000000',
  ],
  [
    'ip link set dev eth0 netns /run/netns/a name eth1',
    '340000001000050000000000000000000000000004000000000000000000000008001c0004000000090003006574683100000000',
  ],
  [
    'ip link set dev eth0 address 02:00:00:00:00:01 mtu 1400 master br0',
    '3c000000100005000000000000000000000000000400000000000000000000000a0001000200000000010000080004007805000008000a0003000000',
  ],
  [
    'ip link set dev eth0 alias "some body"',
    '30000000100005000000000000000000000000000400000000000000000000000d001400736f6d6520626f6479000000',
  ],
  [
    'ip link set dev eth0 type bridge_slave hairpin on isolated off',
    '480000001000050000000000000000000000000004000000000000000000000028001200100001006272696467655f736c6176651400050005000400010000000500210000000000',
  ],
  ['ip link del dev eth0', '2000000011000500000000000000000000000000040000000000000000000000'],
  [
    'ip addr add 10.1.2.3/24 brd + dev eth0',
    '300000001400050600000000000000000218000004000000080002000a010203080001000a010203080004000a0102ff',
  ],
  [
    'ip addr add 10.1.2.3/31 brd + dev eth0',
    '28000000140005060000000000000000021f000004000000080002000a010203080001000a010203',
  ],
  [
    'ip addr add 127.0.0.2/8 dev eth0',
    '28000000140005060000000000000000020800fe04000000080002007f000002080001007f000002',
  ],
  [
    'ip addr add fd00::1/64 dev eth0 nodad',
    '400000001400050600000000000000000a4002000400000014000200fd00000000000000000000000000000114000100fd000000000000000000000000000001',
  ],
  [
    'ip route add 10.1.2.3/32 dev eth0 scope 254',
    '2c00000018000506000000000000000002200000fe03fe0100000000080001000a0102030800040004000000',
  ],
  [
    'ip route add 10.1.2.0/24 via 10.1.2.1 dev eth0 src 10.1.2.3',
    '3c00000018000506000000000000000002180000fe03000100000000080001000a010200080005000a010201080007000a0102030800040004000000',
  ],
  [
    'ip route prepend 0.0.0.0/0 via 10.1.2.1 dev eth0 metric 77 mtu 1300 advmss 1200',
    '5000000018000504000000000000000002000000fe030001000000000800010000000000080005000a010201080006004d000000080004000400000014000800080002001405000008000800b0040000',
  ],
  [
    'ip route prepend 10.0.0.0/8 via 10.1.2.1 dev eth0 onlink',
    '3400000018000504000000000000000002080000fe03000104000000080001000a000000080005000a0102010800040004000000',
  ],
  [
    'ip route replace fd00::9/128 dev eth0 src fd00::1',
    '4c0000001800050500000000000000000a800000fe0300010000000014000100fd00000000000000000000000000000914000700fd0000000000000000000000000000010800040004000000',
  ],
  [
    'ip route add ::/0 via fd00::1 dev eth0 table 300',
    '540000001800050600000000000000000a0000000003000100000000140001000000000000000000000000000000000014000500fd00000000000000000000000000000108000f002c0100000800040004000000',
  ],
  [
    'ip route add 10.0.0.0/8 dev eth0 table 200 proto static',
    '2c00000018000506000000000000000002080000c804fd0100000000080001000a0000000800040004000000',
  ],
  [
    'ip route add 10.0.0.0/8 dev eth0 scope link',
    '2c00000018000506000000000000000002080000fe03fd0100000000080001000a0000000800040004000000',
  ],
  [
    'ip route del 10.1.2.0/24 dev eth0 proto kernel',
    '2c00000019000500000000000000000002180000fe02ff0000000000080001000a0102000800040004000000',
  ],
  [
    'ip route del fd00::/64 dev eth0 proto boot table 255',
    '380000001900050000000000000000000a400000ff0300000000000014000100fd0000000000000000000000000000000800040004000000',
  ],
  [
    'ip addr add 10.1.2.2/30 brd + dev eth0',
    '30000000140005060000000000000000021e000004000000080002000a010202080001000a010202080004000a010203',
  ],
  [
    'ip addr add 7f00::1/64 dev eth0',
    '400000001400050600000000000000000a40000004000000140002007f000000000000000000000000000001140001007f000000000000000000000000000001',
  ],
  [
    'ip route add ::2/128 via ::1 dev eth0',
    '4c0000001800050600000000000000000a800000fe03000100000000140001000000000000000000000000000000000214000500000000000000000000000000000000010800040004000000',
  ],
]

const indexes: Readonly<Record<string, number>> = { br0: 3, eth0: 4, lan0: 5 }
const lookup = {
  indexOf: (link: string) => indexes[link],
  openNetns: (path: string) => (path === '/run/netns/a' ? 4 : undefined),
}

function sent(command: string): Buffer | undefined {
  const argv = [...command.matchAll(/"[^"]*"|\S+/g)].map(([word]) => word).slice(1)
  const request = encode({ tool: 'ip', argv, why: 'test' }, lookup)
  // NLM_F_ACK
  return request && frame(request.type, request.flags | 4, 0, [request.header, ...request.attributes])
}

const headerBytes: Readonly<Record<number, number>> = { 16: 16, 17: 16, 20: 8, 24: 12, 25: 12 }
/**
 * Attributes that hold others, by their place: of links the information, its data and a veth's peer; of routes the
 * metrics.
 */
const nests: Readonly<Record<string, number>> = { '16/18': 0, '16/18/2': 0, '16/18/5': 0, '24/8': 0, '16/18/2/1': 16 }

interface Contents {
  readonly kind: number
  readonly flags: number
  readonly header: string
  readonly attributes: Tree
}

/**
 * Attributes by their types, in whatever order they are: bytes, or what stands inside, in which 'header' is what is
 * before it.
 */
interface Tree {
  [type: string]: string | Tree
}

function contents(bytes: Buffer): Contents {
  expect(bytes.readUInt32LE()).toBe(bytes.length)
  const kind = bytes.readUInt16LE(4)
  const start = 16 + (headerBytes[kind] ?? 0)
  const attributes = tree(bytes.subarray(start), `${kind}`)
  return { kind, flags: bytes.readUInt16LE(6), header: bytes.toString('hex', 16, start), attributes }
}

function tree(bytes: Buffer, place: string): Tree {
  const found: Tree = {}
  for (const [type, value] of attributesOf(bytes, 0)) {
    const header = nests[`${place}/${type}`]
    const isNest = header !== undefined && value.length > 4
    found[type] = isNest ? tree(value.subarray(header), `${place}/${type}`) : value.toString('hex')
    if (isNest && header > 0) Object.assign(found[type] as Tree, { header: value.toString('hex', 0, header) })
  }
  return found
}

const hexOf = (text: string) => Buffer.from(text).toString('hex')

/** What `ip` says otherwise to the same effect, as it would say it our way. */
const differences: readonly [what: string, ofCommand: RegExp, same: (ip: Contents) => Contents][] = [
  [
    'a link that keeps its name is meant by that, not by its number',
    /^ip link (set(?!.* name )|del)/,
    (ip) => ({
      ...ip,
      header: ip.header.replace(/^(.{8})04000000/, '$100000000'),
      attributes: { ...ip.attributes, 3: hexOf('eth0\0') },
    }),
  ],
  [
    'flags of an ipvlan, of which none is set, are left out',
    /type ipvlan/,
    (ip) => {
      const { 18: information, ...attributes } = ip.attributes as { 18: { 1: string; 2: Tree } }
      return { ...ip, attributes: { ...attributes, 18: { 1: information[1], 2: { 1: information[2][1] as string } } } }
    },
  ],
  [
    'a default route has no destination',
    /(0\.0\.0\.0|::)\/0/,
    (ip) => {
      const { 1: destination, ...attributes } = ip.attributes as { 1: string }
      expect(destination).toMatch(/^0+$/)
      return { ...ip, attributes }
    },
  ],
  [
    'the kind of a port is its bridge, and no kind of link',
    /bridge_slave/,
    (ip) => {
      const { 18: information, ...attributes } = ip.attributes as { 18: { 1: string; 5: Tree } }
      expect(information[1]).toBe(hexOf('bridge_slave'))
      return { ...ip, attributes: { ...attributes, 18: { 4: hexOf('bridge'), 5: information[5] } } }
    },
  ],
]

test.each(rows)('%s', (command, bytes) => {
  const [said, expected] = [sent(command), Buffer.from(bytes, 'hex')]
  const ours = differences.filter(([, ofCommand]) => ofCommand.test(command)).map(([, , same]) => same)
  expect(said && contents(said)).toEqual(ours.reduce((ip, same) => same(ip), contents(expected)))
})

test('attributes stand in the order of the words, numbers in that of the machine', () => {
  expect(sent('ip link add name br0 mtu 1400 type bridge')?.toString('hex')).toBe(
    [
      ...['40000000', '1000', '0506', '00000000', '00000000'],
      '00000000000000000000000000000000',
      ...['08000300', hexOf('br0\0'), '08000400', '78050000'],
      ...['10001200', '0a000100', hexOf('bridge'), '0000'],
    ].join(''),
  )
})

describe('words that only `ip` knows', () => {
  test.each([
    'ip link add name a',
    'ip link add name a type vxlan',
    'ip link add name a type bridge vlan_filtering 1',
    'ip link add name a numrxqueues 4 type dummy',
    'ip link add name a mtu type dummy',
    'ip link add name a mtu 1.5 type dummy',
    'ip link add name a mtu -1 type dummy',
    'ip link add name a mtu 4294967296 type dummy',
    'ip link add name a link absent0 type vlan id 5',
    'ip link add name a master absent0 type dummy',
    'ip link add name a netns /run/netns/none type dummy',
    'ip link add name a link eth0 type vlan id 65536',
    'ip link add name a link eth0 type vlan id five',
    'ip link add name a link eth0 type vlan id 5 protocol 802.1ad',
    'ip link add name a link eth0 type macvlan mode source',
    'ip link add name a link eth0 type ipvlan mode l4',
    'ip link add name a type veth',
    'ip link add name a type veth other name b',
    'ip link add name a type veth peer name b numtxqueues 4',
    'ip link set dev absent0 name b',
    'ip link set dev eth0 arp off',
    'ip link set dev eth0 promisc maybe',
    'ip link set dev eth0 type bridge vlan_filtering 1',
    'ip link set dev eth0 type bridge_slave cost 5',
    'ip link set dev eth0 type bridge_slave hairpin maybe',
    'ip link up dev eth0',
    'ip addr add 10.1.2.3/24 dev absent0',
    'ip addr add 10.1.2.3/24 dev eth0 label eth0:1',
    'ip addr add 10.1.2.3 dev eth0',
    'ip addr add ::ffff:10.1.2.3/120 dev eth0',
    'ip addr del 10.1.2.3/24 dev eth0',
    'ip route add default dev eth0',
    'ip route add ::ffff:10.0.0.0/104 dev eth0',
    'ip route add 10.0.0.0/8',
    'ip route add 10.0.0.0/8 dev absent0',
    'ip route add 10.0.0.0/8 via fd00::1 dev eth0',
    'ip route add 10.0.0.0/8 via gateway dev eth0',
    'ip route add fd00::/64 via ::ffff:10.0.0.1 dev eth0',
    'ip route add 10.0.0.0/8 dev eth0 src fd00::1',
    'ip route add 10.0.0.0/8 dev eth0 scope nearby',
    'ip route add 10.0.0.0/8 dev eth0 proto bird',
    'ip route add 10.0.0.0/8 dev eth0 table main',
    'ip route add 10.0.0.0/8 dev eth0 metric 1e10',
    'ip route add 10.0.0.0/8 dev eth0 mtu lock',
    'ip route add 10.0.0.0/8 dev eth0 rtt 5',
    'ip route append 10.0.0.0/8 dev eth0',
    'ip rule add from 10.0.0.1 table 5',
  ])('%s', (command) => {
    expect(sent(command)).toBeUndefined()
  })
})

test('a defect is no word of `ip`', () => {
  const broken = {
    ...lookup,
    indexOf: () => {
      throw new Error('defect')
    },
  }
  const argv = 'link add name a master br0 type dummy'.split(' ')
  expect(() => encode({ tool: 'ip', argv, why: 'test' }, broken)).toThrow('defect')
})

test.each([
  ['table 255', 255, undefined],
  ['table 256', 0, 256],
])('a route of %s has its number where there is room for it', (words, short, long) => {
  const bytes = sent(`ip route add 10.0.0.0/8 dev eth0 ${words}`) ?? Buffer.alloc(0)
  expect(bytes[20]).toBe(short)
  expect(attributesOf(bytes, 28).get(15)?.readUInt32LE()).toBe(long)
})

import { describe, expect, test } from 'vitest'
import type { Operation } from '../plan/operation.js'
import { collections, isEncoded, operationOf } from '../testing/interpreters.js'
import { EAGAIN, fakeKernel, message } from '../testing/kernel.js'
import { changeElements, encodeElements, heldElements } from './elements.js'
import { attribute, attributesOf, bytesOf, frame } from './message.js'

/** What nft 1.0.6 sent for its commands, but the numbers of messages: one or more for each map and set of ours. */
const rows: readonly (readonly [command: string, bytes: string])[] = [
  [
    'nft add element bridge podwire allowed_macs { "vethdd6ccc806f7" . 02:08:33:8d:32:e9 comment "net/eth0/c1" }',
    '780000000c0a01040000000000000000070000000c000100706f64776972650011000200616c6c6f7765645f6d61637300000000080004000000001d3c00038038000180200001801c000100766574686464366363633830366637000208338d32e9000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft delete element bridge podwire allowed_macs { "vethdd6ccc806f7" . 02:08:33:8d:32:e9 }',
    '5c0000000e0a01000000000000000000070000000c000100706f64776972650011000200616c6c6f7765645f6d616373000000002800038024000180200001801c000100766574686464366363633830366637000208338d32e90000',
  ],
  [
    'nft add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }',
    '680000000c0a01040000000000000000020000000c000100706f647769726500170002006669726577616c6c5f6164647265737365730000080004000000000228000380240001800c000180080001000a01020312000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft add element ip6 podwire firewall_addresses { fd00::3 comment "net/eth0/c1" }',
    '740000000c0a010400000000000000000a0000000c000100706f647769726500170002006669726577616c6c5f6164647265737365730000080004000000001034000380300001801800018014000100fd00000000000000000000000000000312000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft delete element ip6 podwire firewall_addresses { fd00::3 }',
    '580000000e0a010000000000000000000a0000000c000100706f647769726500170002006669726577616c6c5f6164647265737365730000200003801c0001801800018014000100fd000000000000000000000000000003',
  ],
  [
    'nft add element ip podwire firewall_bridges { "br0" }',
    '600000000c0a01040000000000000000020000000c000100706f647769726500150002006669726577616c6c5f62726964676573000000000800040000000003200003801c000180180001801400010062723000000000000000000000000000',
  ],
  [
    'nft add element bridge podwire firewall_isolated_ports { "vethabc" comment "net/eth0/c1" }',
    '780000000c0a01040000000000000000070000000c000100706f6477697265001c0002006669726577616c6c5f69736f6c617465645f706f727473000800040000000020340003803000018018000180140001007665746861626300000000000000000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft add element ip podwire firewall_within { "br0" . "br0" : drop }',
    '7c0000000c0a01040000000000000000020000000c000100706f647769726500140002006669726577616c6c5f77697468696e000800040000000005400003803c00018028000180240001006272300000000000000000000000000062723000000000000000000000000000100002800c0002800800010000000000',
  ],
  [
    'nft add element ip6 podwire firewall_within { "br0" . "br0" : return }',
    '7c0000000c0a010400000000000000000a0000000c000100706f647769726500140002006669726577616c6c5f77697468696e000800040000000001400003803c00018028000180240001006272300000000000000000000000000062723000000000000000000000000000100002800c00028008000100fffffffb',
  ],
  [
    'nft add element bridge podwire guarded_ports { "vethdd6ccc806f7" comment "net/eth0/c1" }',
    '700000000c0a01040000000000000000070000000c000100706f64776972650012000200677561726465645f706f7274730000000800040000000022340003803000018018000180140001007665746864643663636338303666370012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft add element ip podwire masqueraded { 10.1.2.3 comment "net/eth0/c1" : jump masquerade_10.1.2.0/24 }',
    '8c0000000c0a01040000000000000000020000000c000100706f647769726500100002006d6173717565726164656400080004000000000754000380500001800c000180080001000a0102032c0002802800028008000100fffffffd1b0002006d6173717565726164655f31302e312e322e302f3234000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip podwire portmap_alone { 10.9.0.2 . 10.9.0.2 comment "net/eth0/c1" }',
    '680000000c0a01060000000000000000020000000c000100706f64776972650012000200706f72746d61705f616c6f6e6500000008000400000000012c00038028000180100001800c0001000a0900020a09000212000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft delete element ip podwire portmap_alone { 10.9.0.2 . 10.9.0.2 }',
    '4c0000000e0a01000000000000000000020000000c000100706f64776972650012000200706f72746d61705f616c6f6e650000001800038014000180100001800c0001000a0900020a090002',
  ],
  [
    'nft create element ip6 podwire portmap_alone { fd09::2 . fd09::2 comment "net/eth0/c1" }',
    '800000000c0a010600000000000000000a0000000c000100706f64776972650012000200706f72746d61705f616c6f6e65000000080004000000000244000380400001802800018024000100fd090000000000000000000000000002fd09000000000000000000000000000212000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft delete element ip6 podwire portmap_alone { fd09::2 . fd09::2 }',
    '640000000e0a010000000000000000000a0000000c000100706f64776972650012000200706f72746d61705f616c6f6e65000000300003802c0001802800018024000100fd090000000000000000000000000002fd090000000000000000000000000002',
  ],
  [
    'nft create element ip podwire portmap_address_conditions { 127.0.0.53 . udp . 53 comment "net/eth0/c1" : accept }',
    '880000000c0a01060000000000000000020000000c000100706f6477697265001f000200706f72746d61705f616464726573735f636f6e646974696f6e7300000800040000000008400003803c00018014000180100001007f0000351100000000350000100002800c000280080001000000000112000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip6 podwire portmap_address_conditions { fd00::3 . tcp . 65535 comment "net/eth0/c1" : goto portmap_if_8e99cae4ab185765 }',
    'b40000000c0a010600000000000000000a0000000c000100706f6477697265001f000200706f72746d61705f616464726573735f636f6e646974696f6e73000008000400000000166c00038068000180200001801c000100fd00000000000000000000000000000306000000ffff0000300002802c00028008000100fffffffc20000200706f72746d61705f69665f386539396361653461623138353736350012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip podwire portmap_addresses { 192.0.2.1 . tcp . 8080 comment "net/eth0/c1" : 10.9.0.2 . 80 }',
    '800000000c0a01060000000000000000020000000c000100706f64776972650016000200706f72746d61705f6164647265737365730000000800040000000009400003803c0001801400018010000100c0000201060000001f900000100002800c0001000a0900020050000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip6 podwire portmap_addresses { fd00::3 . sctp . 0 comment "net/eth0/c1" : fd09::2 . 80 }',
    '980000000c0a010600000000000000000a0000000c000100706f64776972650016000200706f72746d61705f61646472657373657300000008000400000000175800038054000180200001801c000100fd00000000000000000000000000000384000000000000001c00028018000100fd0900000000000000000000000000020050000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip podwire portmap_conditions { tcp . 8080 comment "net/eth0/c1" : jump portmap_if_8e99cae4ab185765 }',
    '9c0000000c0a01060000000000000000020000000c000100706f64776972650017000200706f72746d61705f636f6e646974696f6e730000080004000000000a5c00038058000180100001800c000100060000001f900000300002802c00028008000100fffffffd20000200706f72746d61705f69665f386539396361653461623138353736350012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip6 podwire portmap_hairpin { fd09::2 comment "net/eth0/c1" : jump portmap_hairpin_fd09--/64 }',
    'a00000000c0a010600000000000000000a0000000c000100706f64776972650014000200706f72746d61705f6861697270696e00080004000000001964000380600001801800018014000100fd090000000000000000000000000002300002802c00028008000100fffffffd1e000200706f72746d61705f6861697270696e5f666430392d2d2f363400000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip podwire portmap_owners { "dd6ccc806f763e1" comment "net/eth0/c1" }',
    '700000000c0a01060000000000000000020000000c000100706f64776972650013000200706f72746d61705f6f776e6572730000080004000000000c340003803000018018000180140001006464366363633830366637363365310012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip podwire portmap_ports { sctp . 9000 comment "net/eth0/c1" : 10.9.0.2 . 9001 , tcp . 8080 comment "net/eth0/c1" : 10.9.0.2 . 80 }',
    'b00000000c0a01060000000000000000020000000c000100706f64776972650012000200706f72746d61705f706f727473000000080004000000000d7400038038000180100001800c0001008400000023280000100002800c0001000a0900022329000012000600000c6e65742f657468302f633100000038000280100001800c000100060000001f900000100002800c0001000a0900020050000012000600000c6e65742f657468302f6331000000',
  ],
  [
    'nft create element ip6 podwire portmap_ports { tcp . 8080 : fd09::2 . 80 }',
    '700000000c0a010600000000000000000a0000000c000100706f64776972650012000200706f72746d61705f706f727473000000080004000000001b3400038030000180100001800c000100060000001f9000001c00028018000100fd09000000000000000000000000000200500000',
  ],
  [
    'nft delete element ip podwire portmap_ports { tcp . 8080 , udp . 53 }',
    '600000000e0a01000000000000000000020000000c000100706f64776972650012000200706f72746d61705f706f7274730000002c00038014000180100001800c000100060000001f90000014000280100001800c0001001100000000350000',
  ],
]

const operation = (command: string) => operationOf(`nft '${command.slice('nft '.length)}'`) as Operation

/** One attribute: its type without flags, and bytes, or what stands inside. */
type Contents = readonly [type: number, value: string | readonly Contents[]]

/** Places that hold attributes: the list, each element, its key and value, a verdict. */
const nests = ['3', '3/1', '3/1/1', '3/1/2', '3/1/2/2']

function contents(bytes: Buffer, place: string): readonly Contents[] {
  const found: Contents[] = []
  for (let at = 0; at + 4 <= bytes.length; at += (bytes.readUInt16LE(at) + 3) & ~3) {
    // nft counts the elements, which the kernel does not look at.
    const type = place === '3' ? 1 : bytes.readUInt16LE(at + 2) & 0x3fff
    const inner = place === '' ? `${type}` : `${place}/${type}`
    const value = bytes.subarray(at + 4, at + bytes.readUInt16LE(at))
    // The number that nft gives a set of the same transaction.
    if (inner !== '4') found.push([type, nests.includes(inner) ? contents(value, inner) : value.toString('hex')])
  }
  // nft sorts elements.
  return place === '3' ? found.sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1)) : found
}

test.each(rows)('%s', (command, hex) => {
  const nft = Buffer.from(hex, 'hex')
  const [one, ...more] = encodeElements(operation(command)) ?? []
  expect(more).toEqual([])
  const ours = one ? frame(one.type, one.flags, 0, [one.header, ...one.attributes]) : Buffer.alloc(20)
  expect([ours.readUInt16LE(4), ours.readUInt16LE(6)]).toEqual([nft.readUInt16LE(4), nft.readUInt16LE(6)])
  expect(ours.toString('hex', 16, 20)).toBe(nft.toString('hex', 16, 20))
  expect(contents(ours.subarray(20), '')).toEqual(contents(nft.subarray(20), ''))
})

test('every map and set of ours has a row, but the one of intervals, which nft fills', () => {
  const named = new Set(rows.map(([command]) => command.split(' ')[5]))
  expect(Object.keys(collections).filter((name) => !named.has(name))).toEqual(['portmap_ranges'])
})

describe('left to nft', () => {
  test.each([
    'nft add element inet podwire a { 10.0.0.1 }',
    'nft insert element ip podwire a { 10.0.0.1 }',
    'nft add map ip podwire a { 10.0.0.1 }',
    'nft add element ip podwire a 10.0.0.1 }',
    'nft add element ip podwire a [ 10.0.0.1 }',
    'nft add element ip podwire a { 0:00:00:00:00:00 }',
    'nft add element ip podwire a { 10.0.0.1',
    'nft add element ip podwire a { 10.0.0.0/8 }',
    'nft add element ip podwire a { 10.0.0.1-10.0.0.4 }',
    'nft add element ip podwire a { eth0 }',
    'nft add element ip podwire a { 65536 }',
    'nft add element ip podwire a { -1 }',
    'nft add element ip podwire a { 1.5 }',
    'nft add element ip podwire a { icmp . 1 }',
    'nft add element ip podwire a { tcp 1 }',
    'nft add element ip podwire a { tcp . }',
    'nft add element ip podwire a { 0:0:0:0:0:1 }',
    'nft add element ip podwire a { ::ffff:10.0.0.1 }',
    'nft add element ip podwire a { 10.0.0.1 : queue }',
    'nft add element ip podwire a { 10.0.0.1 : continue 5 }',
    'nft add element ip podwire a { 10.0.0.1 , 10.0.0.0/8 }',
  ])('%s', (command) => {
    expect(isEncoded(operation(command))).toBe(false)
  })

  test('what another namespace has', () => {
    const one = operation('nft add element ip podwire a { 10.0.0.1 }')
    expect(encodeElements(one)).toHaveLength(1)
    expect(encodeElements({ ...one, netns: '/run/netns/a' })).toBeUndefined()
  })

  test('more elements than an attribute can hold', () => {
    const many = (count: number) => {
      const elements = Array.from({ length: count }, (_, at) => `10.0.${at >> 8}.${at & 255}`).join(' , ')
      return isEncoded(operation(`nft add element ip podwire a { ${elements} }`))
    }
    // Of 60,000 bytes each takes 16.
    expect([many(3750), many(3751)]).toEqual([true, false])
  })
})

test('an operation may be several commands', () => {
  const command = 'nft create element ip podwire a { 10.0.0.1 } ; delete element ip podwire a { 10.0.0.1 }'
  const messages = encodeElements(operation(command)) ?? []
  expect(messages.map(({ type, flags }) => [type, flags])).toEqual([
    [0xa0c, 0x600],
    [0xa0e, 0],
  ])
  expect(isEncoded(operation(`${command} ; add chain ip podwire b`))).toBe(false)
})

/** The messages of what was sent: kind, flags and number. */
function messagesOf(sent: Buffer | undefined): (readonly [kind: number, flags: number, number: number])[] {
  const found: (readonly [number, number, number])[] = []
  for (let at = 0; sent && at < sent.length; at += (sent.readUInt32LE(at) + 3) & ~3) {
    found.push([sent.readUInt16LE(at + 4), sent.readUInt16LE(at + 6), sent.readUInt32LE(at + 8)])
  }
  return found
}

const errno = (number: number) => {
  const bytes = Buffer.alloc(20)
  bytes.writeInt32LE(number)
  return bytes
}
const acknowledged = (sequence: number, error = 0) => message(2, 0, sequence, errno(error))

describe('a transaction', () => {
  const [first, second, removed] = [
    operation('nft add element ip podwire a { 10.0.0.1 }'),
    operation('nft create element ip podwire b { 10.0.0.1 : accept }'),
    operation('nft delete element ip podwire a { 10.0.0.1 }'),
  ]

  test('is one batch, of which the last message is acknowledged', () => {
    const { libc, sent, open, calls } = fakeKernel(() => [acknowledged(2)])
    expect(changeElements(() => libc, [first, second])).toEqual({ isDone: true })
    expect(messagesOf(sent[0])).toEqual([
      [0x10, 1, 0],
      [0xa0c, 0x401, 1],
      [0xa0c, 0x605, 2],
      [0x11, 1, 0],
    ])
    // struct nfgenmsg, the subsystem in network byte order.
    expect(sent[0]?.toString('hex', 16, 20)).toBe('0000000a')
    expect(sent).toHaveLength(1)
    // Kept until the end: closing waits.
    expect(open.size).toBe(1)
    expect(calls).toHaveLength(1)
  })

  test('that removes something among others outlives the process by a ring', () => {
    const { libc, calls } = fakeKernel(() => [acknowledged(2)])
    expect(changeElements(() => libc, [first, removed])).toEqual({ isDone: true })
    expect(calls.filter((one) => one.startsWith('syscall'))).toHaveLength(2)
  })

  test('that removed something leaves the sockets of later questions to a ring, too', () => {
    const asked = { family: 'ip', collection: 'a', key: ['10.0.0.2'] } as const
    const { libc, calls, open } = fakeKernel((sent) =>
      messagesOf(sent).flatMap(([type, , number = 0]) => {
        if (type === 0x10 || type === 0x11) return []
        return [acknowledged(number, type === 0xa0d ? -2 : 0)]
      }),
    )
    expect([heldElements(() => libc, [asked]), open.size]).toEqual([[false], 0])
    expect(changeElements(() => libc, [removed])).toEqual({ isDone: true })
    expect([heldElements(() => libc, [asked]), open.size]).toEqual([[false], 0])
    expect(calls.filter((one) => one.startsWith('syscall'))).toHaveLength(3)
  })

  test.each([
    ['an error of an earlier message', -17, [acknowledged(1, -17), acknowledged(2)]],
    ['an error of the last', -17, [acknowledged(2, -17)]],
    ['an error alone', -2, [acknowledged(1, -2)]],
    ['an error of the whole beside the acknowledgement', -12, [acknowledged(0, -12), acknowledged(2)]],
    ['no answer', undefined, []],
    ['what there was no room for', undefined, [acknowledged(2), -105]],
  ])('is not done after %s', (_, kernelError, received) => {
    const { libc, open } = fakeKernel(() => received)
    expect(changeElements(() => libc, [first, second])).toEqual({ isDone: false, kernelError })
    expect(open.size).toBe(0)
  })

  test('is not done when it cannot be sent, or there is no socket, or no way to ask', () => {
    const unsent = fakeKernel(() => undefined)
    expect(changeElements(() => unsent.libc, [first])).toEqual({ isDone: false })
    expect(unsent.open.size).toBe(0)
    expect(changeElements(() => fakeKernel(() => [], { results: { socket: -1 } }).libc, [first])).toEqual({
      isDone: false,
    })
    expect(changeElements(() => undefined, [first])).toEqual({ isDone: false })
  })

  test('of which nft has to do a part is not begun', () => {
    const { libc, calls } = fakeKernel(() => [acknowledged(1)])
    expect(changeElements(() => libc, [first, operation('nft add chain ip podwire b')])).toEqual({ isDone: false })
    expect(calls).toEqual([])
  })
})

describe('questions for elements', () => {
  const wanted = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ family: 'ip' as const, collection: 'a', key: [String(at)] }))
  const numbersOf = (sent: Buffer) => messagesOf(sent).map(([, , number]) => number)

  test('are asked 32 at once, so that the answers find room', () => {
    const { libc, sent, open } = fakeKernel((sent) => numbersOf(sent).map((number) => acknowledged(number, -2)))
    expect(heldElements(() => libc, wanted(70))).toEqual(wanted(70).map(() => false))
    expect(sent.map((one) => messagesOf(one).length)).toEqual([32, 32, 6])
    expect(messagesOf(sent[0])[0]?.slice(0, 2)).toEqual([0xa0d, 1])
    expect(open.size).toBe(0)
  })

  test.each([
    ['refuses', (number: number) => acknowledged(number, -1)],
    ['does not answer', () => EAGAIN],
  ])('have no answer when the kernel %s one', (_, answer) => {
    const { libc, open } = fakeKernel((sent) =>
      numbersOf(sent).map((number, at) => (at === 1 ? answer(number) : acknowledged(number, -2))),
    )
    expect(heldElements(() => libc, wanted(3))).toBeUndefined()
    expect(open.size).toBe(0)
  })

  test('have no answer where one cannot be asked, or there is no socket', () => {
    const { libc, calls } = fakeKernel(() => [])
    expect(heldElements(() => libc, [{ family: 'ip', collection: 'a', key: ['eth0'] }])).toBeUndefined()
    const mixed = [...wanted(1), { family: 'ip' as const, collection: 'a', key: ['eth0'] }]
    expect(heldElements(() => libc, mixed)).toBeUndefined()
    expect(heldElements(() => libc, [{ family: 'ip', collection: 'a', key: ['tcp', '.', '5-x'] }])).toBeUndefined()
    expect(calls).toEqual([])
    expect(heldElements(() => undefined, wanted(1))).toBeUndefined()
    expect(heldElements(() => fakeKernel(() => [], { results: { socket: -1 } }).libc, wanted(1))).toBeUndefined()
  })

  test('an interval is asked for by both its ends', () => {
    const { libc, sent } = fakeKernel((sent) => numbersOf(sent).map((number) => acknowledged(number, -2)))
    heldElements(() => libc, [{ family: 'ip', collection: 'r', key: ['udp', '.', '5000-5009'], value: ['10.0.0.1'] }])
    const list = attributesOf((sent[0] as Buffer).subarray(20), 0).get(3) as Buffer
    const entry = attributesOf(attributesOf(list, 0).get(1) as Buffer, 0)
    const data = (type: number) =>
      attributesOf(entry.get(type) as Buffer, 0)
        .get(1)
        ?.toString('hex')
    expect([data(1), data(10), data(2)]).toEqual(['1100000013880000', '1100000013910000', '0a000001'])
  })

  test.each([
    ['another element', [attribute(3, [attribute(1, [attribute(1, [attribute(1, Buffer.from([0, 1]))])])])]],
    ['no element', [attribute(3, [])]],
    ['no list', []],
  ])('are not answered by %s', (_, attributes) => {
    const body = bytesOf([Buffer.alloc(4), ...attributes])
    const { libc } = fakeKernel((sent) => numbersOf(sent).map((number) => message(0xa0c, 0, number, body)))
    expect(heldElements(() => libc, wanted(1))).toEqual([false])
  })

  test('are answered by what the kernel tells more of', () => {
    const element = [attribute(1, [attribute(1, Buffer.from([0, 0]))]), attribute(4, 5), attribute(3, 0)]
    const body = bytesOf([Buffer.alloc(4), attribute(3, [attribute(1, element)])])
    const { libc } = fakeKernel((sent) => numbersOf(sent).map((number) => message(0xa0c, 0, number, body)))
    expect(heldElements(() => libc, wanted(1))).toEqual([true])
  })

  test('an interval of names is none', () => {
    const { libc, sent } = fakeKernel((sent) => numbersOf(sent).map((number) => acknowledged(number, -2)))
    expect(heldElements(() => libc, [{ family: 'bridge', collection: 'n', key: ['"a-b"'] }])).toEqual([false])
    expect(sent[0]?.includes('a-b')).toBe(true)
  })
})

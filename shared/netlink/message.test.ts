import { describe, expect, test } from 'vitest'
import { EAGAIN, fakeKernel, firstSequence, message } from '../testing/kernel.js'
import {
  acknowledgements,
  ask,
  askEach,
  attribute,
  attributesOf,
  bytesOf,
  cookieOf,
  flag,
  frame,
  openRoutingSocket,
  openSocket,
  protocol,
  type Request,
  send,
  sizeOf,
  textOf,
  u16,
  u32,
} from './message.js'

const [ERROR, DONE, LINK, MULTI, INTERRUPTED, CAPPED, WITH_TEXT] = [2, 3, 16, 2, 0x10, 0x100, 0x200]
const ENOBUFS = -105
const question: Request = { type: 18, flags: 0, header: Buffer.alloc(4), attributes: [attribute(3, 'eth0')] }
const list: Request = { ...question, flags: flag.dump }

const errno = (number: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(number)
  return bytes
}

/** An error as the kernel sends it: with the request that it is about. */
function refusal(
  sent: Buffer,
  error: number,
  { flags = 0, more = Buffer.alloc(0), echo = sent }: { flags?: number; more?: Buffer; echo?: Buffer } = {},
): Buffer {
  return message(ERROR, flags, firstSequence(sent), Buffer.concat([errno(error), echo, more]))
}

const part = (sent: Buffer, text: string, flags = MULTI) => message(LINK, flags, firstSequence(sent), Buffer.from(text))
const done = (sent: Buffer, flags = MULTI) => message(DONE, flags, firstSequence(sent), errno(0))
const texts = (parts: readonly Buffer[] | undefined) => parts?.map((one) => one.toString())

/** What a socket answers, attempt by attempt. */
function answering(...attempts: ((sent: Buffer) => readonly (Buffer | number)[])[]) {
  let at = 0
  return fakeKernel((sent) => attempts[Math.min(at++, attempts.length - 1)]?.(sent))
}

describe('a request', () => {
  test('is a header, and what follows each on four bytes', () => {
    const parts = [Buffer.from([1, 2]), attribute(7, 'eth0'), attribute(8, 300), attribute(9, [attribute(1, u16(5))])]
    expect(frame(18, flag.dump, 9, parts).toString('hex')).toBe(
      [
        ...['34000000', '1200', '0103', '09000000', '00000000', '01020000'],
        ...[
          '0900',
          '0700',
          '6574683000',
          '000000',
          '0800',
          '0800',
          '2c010000',
          '0c00',
          '0900',
          '0600',
          '0100',
          '05000000',
        ],
      ].join(''),
    )
    expect(sizeOf(parts)).toBe(0x34 - 16)
    expect(bytesOf([attribute(3, Buffer.from([1]))]).toString('hex')).toBe('0500030001000000')
    expect(bytesOf([attribute(3, 'é')]).toString('hex')).toBe('07000300c3a90000')
    expect(u32(0xfffffffe).toString('hex')).toBe('feffffff')
  })

  test('is answered with parts and their end', () => {
    const { libc, sent } = answering((sent) => [part(sent, 'here', 0), refusal(sent, 0)])
    const answer = ask(libc, 5, question)
    expect(answer).toMatchObject({ error: 0, text: undefined })
    expect(texts(answer?.parts)).toEqual(['here'])
    // NLM_F_REQUEST and NLM_F_ACK
    expect(sent[0]?.readUInt16LE(6)).toBe(5)
  })

  test('that cannot be sent, or only in part, has no answer', () => {
    expect(ask(fakeKernel(() => undefined).libc, 5, question)).toBeUndefined()
    const { libc } = fakeKernel(() => [])
    expect(send({ ...libc, send: () => 3n }, 5, Buffer.alloc(4))).toBe(false)
    expect(send(libc, 5, Buffer.alloc(4))).toBe(true)
  })

  test.each([EAGAIN, 0, -5])('whose answer does not come (read gives %s) has none', (read) => {
    const { libc, sent } = answering((sent) => [part(sent, 'here'), read])
    expect(ask(libc, 5, question)).toBeUndefined()
    expect(sent).toHaveLength(1)
  })

  test('is not answered by what was left of another', () => {
    const stale = (sent: Buffer) => message(ERROR, 0, firstSequence(sent) - 1, errno(-17))
    const { libc } = answering((sent) => [stale(sent), Buffer.concat([stale(sent), refusal(sent, 0)])])
    expect(ask(libc, 5, question)).toEqual({ error: 0, parts: [], text: undefined })
  })

  test('each has a number of its own', () => {
    const { libc, sent } = answering((sent) => [refusal(sent, 0)])
    for (let count = 0; count < 3; count++) ask(libc, 5, question)
    expect(new Set(sent.map(firstSequence)).size).toBe(3)
  })
})

describe('an answer in several parts', () => {
  test('is read datagram by datagram, message by message', () => {
    const { libc } = answering((sent) => [
      Buffer.concat([part(sent, 'a'), part(sent, 'bcde')]),
      part(sent, 'f'),
      done(sent),
    ])
    expect(texts(ask(libc, 5, list)?.parts)).toEqual(['a', 'bcde', 'f'])
  })

  test('may have an empty part, and words at its end that are no refusal', () => {
    const { libc } = answering((sent) => [Buffer.concat([part(sent, ''), part(sent, 'a'), done(sent, WITH_TEXT)])])
    const answer = ask(libc, 5, list)
    expect([texts(answer?.parts), answer?.text]).toEqual([['', 'a'], undefined])
  })

  test('that cannot be asked for is not tried again', () => {
    let tried = 0
    const { libc } = fakeKernel(() => {
      tried++
      return undefined
    })
    expect(ask(libc, 5, list)).toBeUndefined()
    expect(tried).toBe(1)
  })

  test('whose list changed meanwhile (NLM_F_DUMP_INTR) is asked for again, to its end', () => {
    const { libc, sent } = answering(
      (sent) => [part(sent, 'old', MULTI | INTERRUPTED), part(sent, 'more'), done(sent)],
      (sent) => [part(sent, 'old'), done(sent, MULTI | INTERRUPTED)],
      (sent) => [part(sent, 'new'), done(sent)],
    )
    expect(texts(ask(libc, 5, list)?.parts)).toEqual(['new'])
    expect(sent).toHaveLength(3)
  })

  test('that never holds still is given up', () => {
    const { libc, sent } = answering((sent) => [part(sent, 'old', MULTI | INTERRUPTED), done(sent)])
    expect(ask(libc, 5, list)).toBeUndefined()
    expect(sent).toHaveLength(5)
  })

  test('for which the kernel had no room (ENOBUFS) is asked for again', () => {
    const { libc, sent } = answering(
      (sent) => [part(sent, 'a'), ENOBUFS, done(sent)],
      (sent) => [part(sent, 'a'), part(sent, 'b'), done(sent)],
    )
    expect(texts(ask(libc, 5, list)?.parts)).toEqual(['a', 'b'])
    expect(sent).toHaveLength(2)
  })

  test('whose end is lost is asked for again', () => {
    const { libc } = answering(
      (sent) => [part(sent, 'a'), ENOBUFS],
      (sent) => [part(sent, 'b'), done(sent)],
    )
    expect(texts(ask(libc, 5, list)?.parts)).toEqual(['b'])
  })

  test.each([
    ['is cut off in its first bytes', (bytes: Buffer) => bytes.subarray(0, 18)],
    ['is cut off', (bytes: Buffer) => bytes.subarray(0, 22)],
    ['is shorter than its own header', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(16)])],
  ])('of which a message %s is asked for again', (_, broken) => {
    const { libc, sent } = answering(
      (sent) => [broken(part(sent, 'abcdefgh')), done(sent)],
      (sent) => [part(sent, 'whole'), done(sent)],
    )
    expect(texts(ask(libc, 5, list)?.parts)).toEqual(['whole'])
    expect(sent).toHaveLength(2)
  })
})

describe('what is refused', () => {
  const text = bytesOf([attribute(1, 'Device is up')])

  test('says so by its number', () => {
    const { libc } = answering((sent) => [refusal(sent, -17)])
    expect(ask(libc, 5, question)).toEqual({ error: -17, parts: [], text: undefined })
  })

  test.each([
    ['behind the request', (sent: Buffer) => refusal(sent, -16, { flags: WITH_TEXT, more: text })],
    [
      'behind the header of the request alone',
      (sent: Buffer) => refusal(sent, -16, { flags: WITH_TEXT | CAPPED, echo: sent.subarray(0, 16), more: text }),
    ],
    [
      'beside where the request is wrong',
      (sent: Buffer) =>
        refusal(sent, -16, { flags: WITH_TEXT, more: Buffer.concat([bytesOf([attribute(2, 20)]), text]) }),
    ],
  ])('says so in the words of the kernel: %s', (_, answer) => {
    const { libc } = answering((sent) => [answer(sent)])
    expect(ask(libc, 5, question)).toEqual({ error: -16, parts: [], text: 'Device is up' })
  })

  test.each([
    ['without saying that it has', (sent: Buffer) => refusal(sent, -16, { more: text })],
    ['without any', (sent: Buffer) => refusal(sent, -16, { flags: WITH_TEXT, more: bytesOf([attribute(2, 20)]) })],
  ])('has no words %s', (_, answer) => {
    const { libc } = answering((sent) => [answer(sent)])
    expect(ask(libc, 5, question)?.text).toBeUndefined()
  })

  test('counts although the request that it repeats is cut off', () => {
    for (const end of [20, 24]) {
      const { libc } = answering((sent) => [refusal(sent, -22).subarray(0, end)])
      expect(ask(libc, 5, question)?.error).toBe(-22)
    }
  })

  test('is no answer when the error itself is cut off', () => {
    const { libc } = answering((sent) => [refusal(sent, -22).subarray(0, 18)])
    expect(ask(libc, 5, question)).toBeUndefined()
  })

  test('is not repeated when the acknowledgement was lost: it may be done', () => {
    const { libc, sent } = answering(() => [ENOBUFS])
    expect(ask(libc, 5, { ...question, flags: flag.create | flag.exclusive })).toBeUndefined()
    expect(sent).toHaveLength(1)
  })
})

describe('several questions at once', () => {
  const inside = (sent: Buffer) => {
    const found: number[] = []
    for (let at = 0; at < sent.length; at += sent.readUInt32LE(at)) found.push(sent.readUInt32LE(at + 8))
    return found
  }

  test('have one answer each, by their numbers, in whatever order these come', () => {
    const { libc } = answering((sent) => {
      const [first = 0, second = 0, third = 0] = inside(sent)
      const refused = message(ERROR, 0, second, Buffer.concat([errno(-2), Buffer.alloc(16)]))
      const stale = message(LINK, 0, first - 1, Buffer.from('stale'))
      const one = message(LINK, 0, first, Buffer.from('one!'))
      return [Buffer.concat([stale, message(LINK, 0, third, Buffer.from('last')), refused]), one]
    })
    const answers = askEach(libc, 5, [question, question, question])
    expect(answers.map((one) => one?.error)).toEqual([0, -2, 0])
    expect(answers.map((one) => texts(one?.parts))).toEqual([['one!'], [], ['last']])
  })

  test.each([
    ['does not come', (): readonly number[] => []],
    ['is lost', () => [ENOBUFS]],
  ])('have none where it %s', (_, rest) => {
    const { libc } = answering((sent) => [message(LINK, 0, inside(sent)[0] ?? 0, Buffer.from('one!')), ...rest()])
    const [first, second] = askEach(libc, 5, [question, question])
    expect([texts(first?.parts), second]).toEqual([['one!'], undefined])
  })

  test('have none when they cannot be sent', () => {
    expect(askEach(fakeKernel(() => undefined).libc, 5, [question])).toEqual([undefined])
  })
})

describe('a batch', () => {
  test.each([
    ['an acknowledgement', (sent: Buffer) => [refusal(sent, 0)], [0]],
    [
      'errors, in several datagrams',
      (sent: Buffer) => [refusal(sent, -2), Buffer.concat([refusal(sent, -17), refusal(sent, 0)])],
      [-2, -17, 0],
    ],
    ['nothing', () => [], []],
    ['what is no error', (sent: Buffer) => [part(sent, 'part')], [0]],
    ['more than there was room for', (sent: Buffer) => [refusal(sent, 0), ENOBUFS], undefined],
  ])('is answered with %s', (_, answer, errors) => {
    const { libc } = answering(answer as (sent: Buffer) => readonly (Buffer | number)[])
    send(libc, 5, frame(1, 0, 0, []))
    expect(acknowledgements(libc, 5)).toEqual(errors)
  })
})

describe('a socket', () => {
  test('closes at exec, does not wait, and leads to its part of the kernel', () => {
    const { libc, calls } = fakeKernel(() => [])
    expect(openSocket(libc, protocol.netfilter)).toBe(1000)
    // AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER
    expect(calls).toEqual([`socket 16 ${3 | 0o2000000 | 0o4000} 12`])
  })

  test('of routing is strict, and hears the words of a refusal', () => {
    const { libc, calls, open } = fakeKernel(() => [])
    expect(openRoutingSocket(libc)).toBe(1000)
    expect(calls.slice(1)).toEqual(['setsockopt 270 11 01000000', 'setsockopt 270 12 01000000'])
    expect([...open]).toEqual([1000])
  })

  test('of routing that cannot be strict is none', () => {
    const { libc, open } = fakeKernel(() => [], { results: { setsockopt: -1 } })
    expect(openRoutingSocket(libc)).toBeUndefined()
    expect([...open]).toEqual([])
  })

  test('may not be had', () => {
    const { libc, calls } = fakeKernel(() => [], { results: { socket: -1 } })
    expect(openSocket(libc, 4)).toBeUndefined()
    expect(openRoutingSocket(libc)).toBeUndefined()
    expect(calls).toHaveLength(2)
  })

  test('knows the number of its namespace, where the kernel has one', () => {
    const { libc, calls } = fakeKernel(() => [])
    expect(cookieOf(libc, 5)).toBe('0000000000000000')
    expect(calls).toEqual(['getsockopt 1 71 08000000'])
    expect(cookieOf(fakeKernel(() => [], { results: { getsockopt: -1 } }).libc, 5)).toBeUndefined()
  })
})

describe('attributes', () => {
  test('are read by their types, without the bits that say nested and byte order', () => {
    const bytes = Buffer.concat([
      Buffer.from('head'),
      bytesOf([attribute(1, 'a'), attribute(0x8002, u32(7)), attribute(0x4003, 'b')]),
    ])
    const found = [...attributesOf(bytes, 4)].map(([type, value]) => [type, value.toString('hex')])
    expect(found).toEqual([
      [1, '6100'],
      [2, '07000000'],
      [3, '6200'],
    ])
  })

  test.each([
    ['shorter than its own header', '03000100'],
    ['longer than the message', '0c00010061626364'],
    ['with half a header', '0800'],
  ])('end at one that is %s', (_, hex) => {
    const bytes = Buffer.concat([bytesOf([attribute(5, 'a')]), Buffer.from(hex, 'hex')])
    expect([...attributesOf(bytes, 0).keys()]).toEqual([5])
  })

  test('may be empty, or fill the message', () => {
    expect(attributesOf(Buffer.from('04000700', 'hex'), 0).get(7)).toHaveLength(0)
  })

  test('are texts up to a 0', () => {
    expect([
      textOf(Buffer.from('ab\0cd')),
      textOf(Buffer.from('ab')),
      textOf(Buffer.from('\0')),
      textOf(undefined),
    ]).toEqual(['ab', 'ab', '', ''])
  })
})

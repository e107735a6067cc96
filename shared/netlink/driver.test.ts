import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test, vi } from 'vitest'
import type { Operation } from '../plan/operation.js'
import { operationOf } from '../testing/interpreters.js'
import { type FakeKernel, fakeKernel, firstSequence, message } from '../testing/kernel.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { createNetlink } from './driver.js'
import { attribute, attributesOf, bytesOf, u32 } from './message.js'

const here = '/proc/self/ns/net'
const CLONE_NEWNET = 0x40000000
const [ENODEV, EPERM, EEXIST] = [-19, -1, -17]

/** Answers every request with an error, or with a message and success, by its kind. */
function kernel(
  answers: Readonly<Record<number, number | Buffer>> = {},
  results: Parameters<typeof fakeKernel>[1] = {},
): FakeKernel {
  return fakeKernel((sent) => {
    const [kind, sequence] = [sent.readUInt16LE(4), firstSequence(sent)]
    // A batch begins with the same number as a request for a link.
    if (kind === 0x10 && sent.readUInt32LE() === 20) return [message(2, 0, 1, Buffer.alloc(20))]
    const answer = answers[kind] ?? 0
    const error = Buffer.alloc(20)
    if (typeof answer === 'number') error.writeInt32LE(answer)
    const parts = typeof answer === 'number' ? [] : [message(kind, 0, sequence, answer)]
    return [...parts, message(2, 0, sequence, error)]
  }, results)
}

const driver = ({ libc }: FakeKernel, ran?: (operation: Operation) => void) => createNetlink(ran, () => libc)
const operation = (line: string, more: Partial<Operation> = {}): Operation => ({
  ...(operationOf(line) as Operation),
  ...more,
})
const kinds = ({ sent }: FakeKernel) => sent.map((one) => one.readUInt16LE(4))
const named = (name: string, ...more: ReturnType<typeof attribute>[]) =>
  bytesOf([Buffer.from('00000100070000004300000000000000', 'hex'), attribute(3, name), ...more])

describe('a plan', () => {
  test('runs until a tool is needed, and whoever wants to know hears of each', () => {
    const fake = kernel()
    const [done, ran]: [Operation[], Operation[]] = [[], []]
    const plan = ['ip link set dev a up', 'ip link del dev b', 'tc qdisc add dev a ingress', 'ip link del dev c'].map(
      (line) => operation(line),
    )
    expect(driver(fake, (one) => ran.push(one)).run(plan, (one) => done.push(one))).toEqual({ left: plan.slice(2) })
    expect([done, ran]).toEqual([plan.slice(0, 2), plan.slice(0, 2)])
    expect(kinds(fake)).toEqual([16, 17])
    expect(fake.calls.filter((one) => one.startsWith('setns'))).toEqual([])
  })

  test('runs to its end', () => {
    const plan = [operation('ip link set dev a up'), operation('ip link del dev b')]
    expect(driver(kernel()).run(plan, () => undefined)).toEqual({ left: [] })
    expect(driver(kernel()).run([], () => undefined)).toEqual({ left: [] })
  })

  test('has neighbouring operations of nft in one transaction, which is done or not as a whole', () => {
    const element = (address: string) => operation(`nft 'add element ip podwire a { ${address} }'`)
    const plan = [element('10.0.0.1'), element('10.0.0.2'), operation('ip link del dev b'), element('10.0.0.3')]
    const fake = kernel()
    // The fake acknowledges number 1 of each batch.
    expect(driver(fake).run(plan.slice(3), () => undefined)).toEqual({ left: [] })
    expect(driver(fake).run(plan.slice(2), () => undefined)).toEqual({ left: [] })
    expect(kinds(fake)).toEqual([0x10, 17, 0x10])
    const whole = kernel()
    const done: Operation[] = []
    expect(driver(whole).run(plan, (one) => done.push(one))).toEqual({ left: [] })
    expect(done).toEqual(plan)
    expect(kinds(whole)).toEqual([0x10, 17, 0x10])
  })

  test('that begins with what only nft does is not begun', () => {
    const fake = kernel()
    const plan = [operation('nft add chain ip podwire a'), operation('ip link del dev b')]
    expect(driver(fake).run(plan, () => undefined)).toMatchObject({ left: plan })
    expect(kinds(fake)).toEqual([])
  })

  test.each([
    ['refused', EPERM, {}, 0],
    ['not there', ENODEV, {}, 0],
    ['not there, where that is as good', ENODEV, { tolerate: ['absent'] }, 1],
    ['refused, where absence is as good', EPERM, { tolerate: ['absent'] }, 0],
    ['not there, where something else is as good', ENODEV, { tolerate: ['exists'] }, 0],
    ['there already', EEXIST, {}, 0],
    ['there already, where that is as good', EEXIST, { tolerate: ['exists'] }, 1],
    ['there already, where it would have to be undone', EEXIST, { tolerate: ['exists'], undo: [] }, 0],
    ['not there, where it would have to be undone', ENODEV, { tolerate: ['absent'], undo: [] }, 0],
  ] as const)('whose link is %s', (_, error, more, expected) => {
    const plan = [operation('ip link del dev a', more)]
    expect(driver(kernel({ 17: error })).run(plan, () => undefined).left).toEqual(plan.slice(expected))
  })

  test('looks links up where it needs their numbers', () => {
    const fake = kernel({ 18: named('br0') })
    const plan = [operation('ip link set dev a master br0')]
    expect(driver(fake).run(plan, () => undefined)).toEqual({ left: [] })
    expect(kinds(fake)).toEqual([18, 16])
    expect(
      attributesOf(fake.sent[1] as Buffer, 32)
        .get(10)
        ?.readUInt32LE(),
    ).toBe(7)
    const refused = kernel({ 18: EPERM })
    expect(driver(refused).run(plan, () => undefined)).toMatchObject({ left: plan })
  })
})

describe('operations sent at once', () => {
  const plan = [
    'ip addr add 10.1.2.3/24 brd + dev eth0',
    'ip addr add fd00::3/64 dev eth0',
    'ip link set dev eth0 up',
    'ip route prepend 0.0.0.0/0 via 10.1.2.1 dev eth0',
    'ip route prepend ::/0 via fd00::1 dev eth0',
  ].map((line) => operation(line))
  const made = { ...operation('ip link add name eth0 type dummy'), undo: [operation('ip link del dev eth0')] }

  const messagesIn = (sent: Buffer): Buffer[] => {
    const found: Buffer[] = []
    for (let at = 0; at < sent.length; at += (sent.readUInt32LE(at) + 3) & ~3) found.push(sent.subarray(at))
    return found
  }
  /** The answer of a kernel to one message: an error, and words that stand behind the header of the request. */
  const acknowledged = (of: Buffer, error: number, text = '') => {
    const body = Buffer.alloc(20)
    body.writeInt32LE(error)
    of.copy(body, 4, 0, 16)
    // NLM_F_CAPPED and NLM_F_ACK_TLVS
    const words = text === '' ? [] : [attribute(1, text)]
    return message(2, text === '' ? 0x100 : 0x300, of.readUInt32LE(8), bytesOf([body, ...words]))
  }
  /** Knows one link; what is sent at once is answered as `answer` says. */
  const answering = (answer: (messages: Buffer[], sent: Buffer) => readonly (Buffer | number)[] | undefined) =>
    fakeKernel((sent) => {
      const found = messagesIn(sent)
      if (sent.readUInt16LE(4) !== 18) return found.length === 1 ? [acknowledged(sent, 0)] : answer(found, sent)
      return [message(18, 0, firstSequence(sent), named('eth0')), acknowledged(sent, 0)]
    })
  const runOn = (fake: FakeKernel, of: readonly Operation[] = plan) => {
    const done: Operation[] = []
    const outcome = driver(fake).run([made, ...of], (one) => done.push(one))
    return { outcome, done: done.slice(1) }
  }

  test('are those of a link that was made before: one datagram, one look at the link', () => {
    const fake = answering((messages) => messages.map((one) => acknowledged(one, 0)))
    expect(runOn(fake)).toEqual({ outcome: { left: [] }, done: plan })
    expect(fake.sent.map((one) => messagesIn(one).map((part) => part.readUInt16LE(4)))).toEqual([
      [16],
      [18],
      [20, 20, 16, 24, 24],
    ])
    const [, , batch] = fake.sent as [Buffer, Buffer, Buffer]
    for (const one of messagesIn(batch)) expect(one.readUInt16LE(6) & 5).toBe(5)
    const numbers = messagesIn(batch).map((one) => one.readUInt32LE(8))
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] as number) + index))
  })

  test('are read as they come: all in one datagram, or in another order', () => {
    const whole = answering((messages) => [Buffer.concat(messages.map((one) => acknowledged(one, 0)))])
    expect(runOn(whole)).toEqual({ outcome: { left: [] }, done: plan })
    const reverse = answering((messages) => messages.toReversed().map((one) => acknowledged(one, 0)))
    expect(runOn(reverse)).toEqual({ outcome: { left: [] }, done: plan })
  })

  test.each(plan.map(({ argv }, index) => [index, argv.join(' ')] as const))(
    'of which number %s (%s) is refused: the others ran, in order',
    (refused) => {
      const fake = answering((messages) =>
        messages.map((one, index) => (index === refused ? acknowledged(one, EPERM, 'not you') : acknowledged(one, 0))),
      )
      expect(runOn(fake)).toEqual({
        outcome: { left: [plan[refused]], kernelError: EPERM, kernelText: 'not you' },
        done: plan.filter((_, index) => index !== refused),
      })
    },
  )

  test.each(plan.slice(1).map((_, index) => index + 1))('of which all from number %s on are refused', (from) => {
    const fake = answering((messages) =>
      messages.map((one, index) => acknowledged(one, index < from ? 0 : -100 - index, `of ${index}`)),
    )
    const next = operation('ip link add name other type dummy')
    expect(runOn(fake, [...plan, next])).toEqual({
      outcome: { left: [...plan.slice(from), next], kernelError: -100 - from, kernelText: `of ${from}` },
      done: plan.slice(0, from),
    })
  })

  test('of which one is refused that may be: it is as good as done', () => {
    const tolerant = plan.map((one) => ({ ...one, tolerate: ['exists'] as const }))
    const fake = answering((messages) => messages.map((one, index) => acknowledged(one, index === 1 ? EEXIST : 0)))
    expect(runOn(fake, tolerant)).toEqual({ outcome: { left: [] }, done: tolerant })
    expect(runOn(fake).outcome).toEqual({ left: [plan[1]], kernelError: EEXIST })
  })

  const ENOBUFS = -105
  const EINTR = -4
  test.each(plan.map((_, index) => index))('of which the answer to number %s is lost: that one is left', (lost) => {
    const but = (messages: Buffer[]) => messages.flatMap((one, at) => (at === lost ? [] : [acknowledged(one, 0)]))
    const left = { outcome: { left: [plan[lost]] }, done: plan.filter((_, index) => index !== lost) }
    expect(runOn(answering(but))).toEqual(left)
    expect(runOn(answering((messages) => [...but(messages), EINTR]))).toEqual(left)
    // The kernel says so first, and what it kept is there to be read.
    expect(runOn(answering((messages) => [ENOBUFS, ...but(messages)]))).toEqual(left)
  })

  test('of which the answers end short, or none comes: what is not known to have run is left', () => {
    const short = answering((messages) => [
      acknowledged(messages[0] as Buffer, 0),
      acknowledged(messages[1] as Buffer, 0).subarray(0, 18),
    ])
    expect(runOn(short)).toEqual({ outcome: { left: plan.slice(1) }, done: plan.slice(0, 1) })
    expect(runOn(answering(() => []))).toEqual({ outcome: { left: plan }, done: [] })
    expect(runOn(answering(() => [ENOBUFS]))).toEqual({ outcome: { left: plan }, done: [] })
  })

  test('and not taken by the socket are left, all of them', () => {
    expect(runOn(answering(() => undefined))).toEqual({ outcome: { left: plan }, done: [] })
  })

  test('end before what only a tool does', () => {
    const onlyIp = operation('ip route prepend 10.9.0.0/16 via inet6 fe80::1 dev eth0')
    const fake = answering((messages) => messages.map((one) => acknowledged(one, 0)))
    expect(runOn(fake, [...plan, onlyIp, plan[0] as Operation])).toEqual({
      outcome: { left: [onlyIp, plan[0]] },
      done: plan,
    })
  })

  test('are not those of a link of others, of one that is gone, or that has another name', () => {
    const fake = () => answering((messages) => messages.map((one) => acknowledged(one, 0)))
    const sizes = (of: readonly Operation[]) => {
      const kernel = fake()
      expect(driver(kernel).run(of, () => undefined).left).toEqual([])
      return kernel.sent.filter((one) => one.readUInt16LE(4) !== 18).map((one) => messagesIn(one).length)
    }
    expect(sizes(plan)).toEqual([1, 1, 1, 1, 1])
    expect(sizes([made, operation('ip link del dev eth0'), ...plan])).toEqual([1, 1, 1, 1, 1, 1, 1])
    expect(sizes([made, operation('ip link set dev eth0 name eth1'), ...plan])).toEqual([1, 1, 1, 1, 1, 1, 1])
    expect(sizes([made, ...plan])).toEqual([1, 5])
  })

  test('look a link up anew where its name may mean another', () => {
    const fake = answering((messages) => messages.map((one) => acknowledged(one, 0)))
    const [address, other] = plan as [Operation, Operation]
    const renewed = [operation('ip link del dev eth0'), made]
    expect(driver(fake).run([made, address, other, ...renewed, address], () => undefined)).toEqual({ left: [] })
    expect(fake.sent.map((one) => one.readUInt16LE(4))).toEqual([16, 18, 20, 17, 16, 18, 20])
  })

  test('are all of a plan of which each is to be tried', () => {
    const ENOENT = -2
    const links = ['a', 'b', 'c'].map((name) => operation(`ip link del dev ${name}`, { tolerate: ['absent'] }))
    for (let refused = 0; refused < links.length; refused++) {
      const fake = answering((messages) => messages.map((one, at) => acknowledged(one, at === refused ? ENOENT : 0)))
      const done: Operation[] = []
      expect(driver(fake).run(links, (one) => done.push(one), { goesOn: true })).toEqual({
        left: [links[refused]],
        kernelError: ENOENT,
      })
      expect(done).toEqual(links.filter((_, index) => index !== refused))
      expect(fake.sent).toHaveLength(1)
    }
    const gone = answering((messages) => messages.map((one) => acknowledged(one, ENODEV)))
    expect(driver(gone).run(links, () => undefined, { goesOn: true })).toEqual({ left: [] })
    const single = kernel()
    expect(driver(single).run(links, () => undefined)).toEqual({ left: [] })
    expect(kinds(single)).toEqual([17, 17, 17])
  })
})

describe('a namespace', () => {
  const inside = (line: string) => operation(line, { netns: here })

  test('is entered once for its socket, and left again', () => {
    const fake = kernel()
    const plan = [inside('ip link set dev a up'), inside('ip link set dev b up')]
    expect(driver(fake).run(plan, () => undefined)).toEqual({ left: [] })
    expect(fake.calls.map((one) => one.split(' ')[0])).toEqual(['setns', 'socket', 'setsockopt', 'setsockopt', 'setns'])
    expect(fake.calls[0]).toBe(`setns ${CLONE_NEWNET}`)
  })

  test('has a socket of its own beside that of the host', () => {
    const fake = kernel()
    driver(fake).run([operation('ip link set dev a up'), inside('ip link set dev a up')], () => undefined)
    expect(fake.open.size).toBe(2)
  })

  test.each([
    ['cannot be entered', here, { setns: -1 }],
    ['is not there', '/proc/self/ns/none', {}],
    ['has no socket to give', here, { socket: -1 }],
  ])('that %s is left to tools, each time anew', (_, netns, results) => {
    const fake = kernel({}, { results })
    const netlink = driver(fake)
    expect(netlink.look('a', netns)).toBe('unknown')
    const plan = [operation('ip link set dev a up', { netns })]
    expect(netlink.run(plan, () => undefined)).toEqual({ left: plan })
    expect(netlink.settings(netns, ['kernel/ostype'])).toBeUndefined()
    expect(netlink.listening({ family: 4, protocol: 'tcp', netns })).toBeUndefined()
    expect(netlink.cookie(netns)).toBeUndefined()
    expect(netlink.hostNumberIn(netns)).toBeUndefined()
    expect(fake.sent).toEqual([])
  })

  test('tells its cookie, and the texts of its settings but those that cannot be read', () => {
    const fake = kernel()
    const netlink = driver(fake)
    expect(netlink.cookie(here)).toBe('0000000000000000')
    const read = readFileSync('/proc/sys/kernel/ostype', 'utf8')
    expect([...(netlink.settings(here, ['kernel/ostype', 'kernel/none']) ?? [])]).toEqual([['kernel/ostype', read]])
    expect(fake.calls.filter((one) => one.startsWith('setns'))).toHaveLength(4)
  })

  test('that cannot be left again ends the process: it would change what is not its own', () => {
    const abort = vi.spyOn(process, 'abort').mockImplementation(() => {
      throw new Error('aborted')
    })
    const netlink = driver(kernel({}, { results: { setns: -1 } }))
    expect(() => netlink.inNewNamespace(() => 'done')).toThrow('aborted')
    expect(abort).toHaveBeenCalledTimes(1)
    abort.mockRestore()
  })

  test('made for a moment is left again, whatever happens there', () => {
    const fake = kernel({ 18: ENODEV })
    const netlink = driver(fake)
    const open = () => readdirSync('/proc/self/fd').length
    const before = open()
    expect(netlink.inNewNamespace((other) => other.has('a'))).toBe(false)
    expect(fake.calls[0]).toBe(`unshare ${CLONE_NEWNET}`)
    expect(fake.calls.at(-1)).toBe(`setns ${CLONE_NEWNET}`)
    expect(() =>
      netlink.inNewNamespace(() => {
        throw new Error('defect')
      }),
    ).toThrow('defect')
    expect(fake.calls.at(-1)).toBe(`setns ${CLONE_NEWNET}`)
    expect(open()).toBe(before)
    const refusing = kernel({}, { results: { unshare: -1 } })
    expect(driver(refusing).inNewNamespace(() => 'done')).toBeUndefined()
    expect(refusing.calls).toEqual([`unshare ${CLONE_NEWNET}`])
  })
})

describe('settings', () => {
  const set = (fake: FakeKernel, words: string, more: Partial<Operation> = {}) =>
    1 - driver(fake).run([operation(`sysctl -w ${words}`, more)], () => undefined).left.length
  const netconf = (forwarding: number) => bytesOf([Buffer.from([2, 0, 0, 0]), attribute(2, forwarding)])
  /** A link with the values of one family, IPv4's (2, 1) or IPv6's (10, 2). */
  const withValues = (family: number, type: number, values: readonly number[]) =>
    named('br0', attribute(26, [attribute(family, [attribute(type, Buffer.concat(values.map(u32)))])]))

  test.each([
    ['net/ipv4/ip_forward=1', 2],
    ['net/ipv6/conf/all/forwarding=1', 10],
  ])('of all links: %s', (words, family) => {
    const fake = kernel({ 82: netconf(1) })
    expect(set(fake, words)).toBe(1)
    expect(fake.sent[0]?.toString('hex', 16)).toBe(`0${family.toString(16)}00000008000100ffffffff`)
    expect(set(kernel({ 82: netconf(0) }), words)).toBe(0)
    expect(set(kernel({ 82: EPERM }), words)).toBe(0)
  })

  const four = Array.from({ length: 32 }, (_, at) => 100 + at)
  test.each([
    ['net/ipv4/conf/br0/forwarding', 2, 1, 100],
    ['net/ipv4/conf/br0/arp_notify', 2, 1, 121],
    ['net/ipv4/conf/br0/route_localnet', 2, 1, 125],
    ['net/ipv6/conf/br0/forwarding', 10, 2, 100],
    ['net/ipv6/conf/br0/accept_ra', 10, 2, 103],
  ])('of a link: %s', (key, family, type, value) => {
    const fake = kernel({ 18: withValues(family, type, four) })
    expect(set(fake, `${key}=${value}`)).toBe(1)
    expect(
      attributesOf(fake.sent[0] as Buffer, 32)
        .get(3)
        ?.toString(),
    ).toBe('br0\0')
    expect(set(fake, `${key}=${value + 1}`)).toBe(0)
    expect(set(kernel({ 18: withValues(family === 2 ? 10 : 2, type, four) }), `${key}=${value}`)).toBe(0)
    expect(set(kernel({ 18: withValues(family, type, []) }), `${key}=${value}`)).toBe(0)
    expect(set(kernel({ 18: named('br0') }), `${key}=${value}`)).toBe(0)
    for (const error of [ENODEV, EPERM]) expect(set(kernel({ 18: error }), `${key}=${value}`)).toBe(0)
  })

  test('the last value that the kernel tells counts, and none behind it', () => {
    const at = (length: number) => kernel({ 18: withValues(2, 1, four.slice(0, length)) })
    expect(set(at(26), 'net/ipv4/conf/br0/route_localnet=125')).toBe(1)
    expect(set(at(25), 'net/ipv4/conf/br0/route_localnet=125')).toBe(0)
  })

  test.each([
    'net/ipv4/conf/br0/rp_filter=1',
    'net/ipv4/conf/all/arp_notify=1',
    'net/ipv4/conf/default/arp_notify=1',
    'net/ipv6/conf/br0/arp_notify=1',
    'net/ipv4/neigh/br0/arp_notify=1',
    'net/ipv4/conf/br0/arp_notify/more=1',
    'kernel/ipv4/conf/br0/arp_notify=1',
  ])('that netlink does not tell are not asked for: %s', (words) => {
    const fake = kernel({
      18: withValues(
        2,
        1,
        four.map(() => 1),
      ),
    })
    expect(set(fake, words)).toBe(0)
    expect(fake.sent).toEqual([])
  })

  test.each([0, 1])('that netlink writes: arp_notify=%s of a link in a container', (value) => {
    const fake = kernel()
    expect(set(fake, `net/ipv4/conf/eth0/arp_notify=${value}`, { netns: here })).toBe(1)
    expect(kinds(fake)).toEqual([16])
    const [sent] = fake.sent as [Buffer]
    const inner = [26, 2, 1].reduce(
      (bytes, type, depth) => attributesOf(bytes, depth === 0 ? 32 : 0).get(type) as Buffer,
      sent,
    )
    expect([...attributesOf(inner, 0)].map(([type, bytes]) => [type, bytes.readUInt32LE()])).toEqual([[22, value]])
    expect(attributesOf(sent, 32).get(3)?.toString()).toBe('eth0\0')
  })

  // Of a link that no machine has: the fake enters no namespace.
  test.each([
    ['net/ipv4/conf/absent-link-0/arp_notify=2', []],
    ['net/ipv4/conf/absent-link-0/forwarding=1', []],
    ['net/ipv4/conf/absent-link-0/arp_notify=1', [16]],
  ])('that netlink does not take are written to their files: %s', (words, asked) => {
    const fake = kernel({ 16: EPERM })
    expect(set(fake, words, { netns: here })).toBe(0)
    expect(kinds(fake)).toEqual(asked)
    expect(set(fake, words, { netns: here, tolerate: ['absent'] })).toBe(1)
    expect(set(fake, words, { netns: here, tolerate: ['exists'] })).toBe(0)
  })

  test('a folder of settings is none, and not absent', () => {
    expect(set(kernel(), 'net/ipv4/conf=1', { netns: here, tolerate: ['absent'] })).toBe(0)
  })
})

describe('questions', () => {
  test('have no answer where C cannot be called', () => {
    const netlink = createNetlink(undefined, () => undefined)
    const plan = [operation('ip link del dev a')]
    expect(netlink.run(plan, () => undefined)).toEqual({ left: plan })
    expect([netlink.has('a'), netlink.look('a'), netlink.linkTo({ family: 4, value: 1n })]).toEqual([
      'unknown',
      'unknown',
      'unknown',
    ])
    expect([netlink.chains(), netlink.cookie(here), netlink.held([]), netlink.hostNumberIn(here)]).toEqual(
      Array.from({ length: 4 }, () => undefined),
    )
    expect([netlink.tryLock(3), netlink.inNewNamespace(() => 'done')]).toEqual([false, undefined])
  })

  test('look the C library up once, at the first', () => {
    let count = 0
    const { libc } = kernel()
    const netlink = createNetlink(undefined, () => {
      count++
      return libc
    })
    expect(count).toBe(0)
    netlink.has('a')
    netlink.tryLock(3)
    expect(count).toBe(1)
  })

  test('for a lock do not wait', () => {
    const fake = kernel()
    expect(driver(fake).tryLock(3)).toBe(true)
    // LOCK_EX | LOCK_NB
    expect(fake.calls).toEqual(['flock 3 6'])
    expect(driver(kernel({}, { results: { flock: -1 } })).tryLock(3)).toBe(false)
  })

  test.each([
    ['chains', 12, (fake: FakeKernel) => driver(fake).chains()],
    ['sockets', 4, (fake: FakeKernel) => driver(fake).listening({ family: 4, protocol: 'tcp' })],
  ])('for %s have a socket of their own, closed at once, and no answer where the kernel refuses', (_, part, body) => {
    const refusing = kernel({ 2564: EPERM, 20: EPERM })
    expect(body(refusing)).toBeUndefined()
    expect(refusing.calls.filter((one) => one.startsWith('socket') && one.endsWith(` ${part}`))).toHaveLength(1)
    expect(refusing.open.size).toBe(part === 4 ? 1 : 0)
    expect(body(kernel({}, { results: { socket: -1 } }))).toBeUndefined()
    expect(body(kernel())).toEqual([])
  })

  test('for a link are unknown where a part of the answer is not had', () => {
    const [link, address] = [named('br0', attribute(10, 3)), 22]
    expect(driver(kernel({ 18: EPERM })).look('br0')).toBe('unknown')
    expect(driver(kernel({ 18: 0 })).look('br0')).toBe('unknown')
    expect(driver(kernel({ 18: link, [address]: EPERM })).look('br0')).toBe('unknown')
    expect(driver(kernel({ 18: link })).look('br0')).toMatchObject({ ifname: 'br0', master: 'br0', addr_info: [] })
    expect(driver(kernel({ 18: EPERM })).links()).toBe('unknown')
    expect(driver(kernel({ 18: link, [address]: EPERM })).links()).toBe('unknown')
    expect(driver(kernel({ 18: link })).links()).toBe('unknown')
    expect(driver(kernel({ 18: EPERM })).has('br0')).toBe('unknown')
  })

  test('have no answer where none comes', () => {
    const netlink = driver(fakeKernel(() => []))
    expect([netlink.look('a'), netlink.has('a'), netlink.linkTo({ family: 4, value: 1n })]).toEqual(
      Array.from({ length: 3 }, () => 'unknown'),
    )
    expect([netlink.chains(), netlink.listening({ family: 4, protocol: 'udp' }), netlink.hostNumberIn(here)]).toEqual(
      Array.from({ length: 3 }, () => undefined),
    )
    const plan = ['net/ipv4/ip_forward=1', 'net/ipv4/conf/a/forwarding=1'].map((one) => operation(`sysctl -w ${one}`))
    for (const one of [...plan, operation('ip link set dev a master b'), operation('ip link del dev a')]) {
      expect(netlink.run([one], () => undefined).left).toEqual([one])
    }
    const inside = operation('sysctl -w net/ipv4/conf/absent-link-0/arp_notify=1', { netns: here })
    expect(netlink.run([inside], () => undefined).left).toEqual([inside])
  })
})

describe('a link', () => {
  /** struct ifaddrmsg and the address; the flags once in the header's one byte, once in an attribute. */
  const address = (index: number, family: number, bytes: string, flags: number, scope = 0) =>
    bytesOf([
      Buffer.from([family, 24, flags & 255, scope]),
      u32(index),
      attribute(1, Buffer.from(bytes, 'hex')),
      attribute(8, flags),
    ])

  /** A driver that sees one link and one address. */
  const seen = (link: Buffer, one?: Buffer) => driver(kernel({ 18: link, 22: one ?? 0 })).look('a0') as ObservedLink

  test.each([
    ['kept for ever', 0x80, {}],
    ['for a time', 0, { dynamic: true }],
    ['not yet tested', 0xc0, { tentative: true }],
    ['that somebody else has', 0x88, { dadfailed: true }],
  ])('has an address %s', (_, flags, more) => {
    const { addr_info } = seen(named('a0'), address(7, 2, '0a000001', flags))
    expect(addr_info).toEqual([{ family: 'inet', local: '10.0.0.1', prefixlen: 24, scope: 'global', ...more }])
  })

  test.each([
    [0, 'global'],
    [200, 'site'],
    [253, 'link'],
    [254, 'host'],
    [77, '77'],
  ])('has an address of scope %s: %s', (scope, name) => {
    expect(seen(named('a0'), address(7, 2, '0a000001', 0x80, scope)).addr_info[0]?.scope).toBe(name)
  })

  test('has neither the addresses of others nor those of other families', () => {
    expect(seen(named('a0'), address(8, 2, '0a000001', 0x80)).addr_info).toEqual([])
    expect(seen(named('a0'), address(7, 17, '0a000001', 0x80)).addr_info).toEqual([])
  })

  const mac = (text: string) => Buffer.from(text, 'hex')
  test.each([
    ['none', [], {}],
    ['one', [attribute(1, mac('02000000000a'))], { address: '02:00:00:00:00:0a' }],
    ['the one it was made with', [attribute(1, mac('020a')), attribute(54, mac('020a'))], { address: '02:0a' }],
    [
      'another than it was made with',
      [attribute(1, mac('020a')), attribute(54, mac('020b'))],
      { address: '02:0a', permaddr: '02:0b' },
    ],
    ['a bus', [attribute(56, '0000:00:03.0'), attribute(57, 'pci')], { parentdev: '0000:00:03.0', parentbus: 'pci' }],
  ] as const)('has a MAC address, or a place among devices: %s', (_, attributes, expected) => {
    const { ifindex, ifname, flags, mtu, operstate, txqlen, promiscuity, addr_info, ...others } = seen(
      named('a0', ...attributes),
    )
    expect(others).toEqual(expected)
    expect([ifindex, ifname, flags, mtu, operstate, txqlen, promiscuity, addr_info]).toEqual([
      7,
      'a0',
      ['BROADCAST', 'UP'],
      0,
      'UNKNOWN',
      0,
      0,
      [],
    ])
  })

  test.each([
    [0x1, ['NO-CARRIER', 'UP']],
    [0x41, ['UP']],
    [0x40, []],
    [0x10043, ['BROADCAST', 'UP', 'LOWER_UP']],
    [0x1b98, ['LOOPBACK', 'POINTOPOINT', 'MULTICAST', 'NOARP', 'ALLMULTI', 'PROMISC', 'SLAVE'].sort()],
    [0x400, ['MASTER']],
  ])('has flags: %s', (bits, names) => {
    const link = named('a0')
    link.writeUInt32LE(bits, 8)
    expect([...seen(link).flags].sort()).toEqual([...names].sort())
  })

  test.each([
    [0, 'UNKNOWN'],
    [2, 'DOWN'],
    [3, 'LOWERLAYERDOWN'],
    [6, 'UP'],
    [99, 'UNKNOWN'],
  ])('is in a state: %s is %s', (number, name) => {
    expect(seen(named('a0', attribute(16, Buffer.from([number])))).operstate).toBe(name)
  })

  test('is below a link of another namespace, of which the name is not asked for', () => {
    const fake = kernel({ 18: named('a0', attribute(5, 9), attribute(37, 0)) })
    const link = driver(fake).look('a0') as ObservedLink
    expect([link.link, link['link_index'], link['link_netnsid']]).toEqual([undefined, 9, 0])
    expect(kinds(fake)).toEqual([18, 22])
  })
})

import type { Libc } from '../system/libc.js'

/** What was sent at once, and what was read after it: datagrams, or negative errnos. */
export interface Exchange {
  readonly sent: Buffer
  readonly received: readonly (Buffer | number)[]
}

/** One call as conformance/netlink/record.ts wrote it down. */
export interface Recording {
  readonly call: string
  /** What `ip` shows of the same. */
  readonly shown?: unknown
  readonly exchanges: readonly Exchange[]
}

/** A libc whose sockets answer from a list, without a kernel. */
export interface FakeKernel {
  readonly libc: Libc
  /** Calls but those of sending and reading, as "setsockopt 3 270 12", in order. */
  readonly calls: string[]
  /** Everything sent, as it was. */
  readonly sent: Buffer[]
  /** Sockets that were opened and not closed. */
  readonly open: Set<number>
  /** How many exchanges were not asked for. */
  readonly left: () => number
}

/** What a socket has when nothing is there. */
export const EAGAIN = -11

/** The answers of calls, where 0 would not do; absent from it, a call returns 0. */
type Results = Partial<
  Record<'socket' | 'setsockopt' | 'getsockopt' | 'setns' | 'unshare' | 'flock' | 'syscall', number>
>

/**
 * @param answer what is read after something was sent; undefined where it cannot be sent. `exchange` for what is
 * recorded
 */
export function fakeKernel(
  answer: (sent: Buffer) => readonly (Buffer | number)[] | undefined,
  { results = {}, left = () => 0 }: { results?: Results; left?: () => number } = {},
): FakeKernel {
  const [calls, sent, open]: [string[], Buffer[], Set<number>] = [[], [], new Set()]
  const queues = new Map<number, (Buffer | number)[]>()
  let last: Buffer = Buffer.alloc(0)
  let next = 1000
  const call = (name: keyof Results, ...words: unknown[]) => {
    calls.push([name, ...words].join(' '))
    return results[name] ?? 0
  }
  const libc: Libc = {
    address: (bytes) => {
      last = bytes
      return 0n
    },
    socket: (domain, type, protocol) => {
      const fd = call('socket', domain, type, protocol) || next++
      if (fd > 0) open.add(fd)
      return fd
    },
    setsockopt: (_, level, name, _value, bytes) => call('setsockopt', level, name, last.toString('hex', 0, bytes)),
    getsockopt: (_, level, name) => call('getsockopt', level, name, last.toString('hex', 0, 4)),
    send: (fd, _, bytes) => {
      const message = Buffer.from(last.subarray(0, Number(bytes)))
      const received = answer(message)
      if (!received) return -1n
      sent.push(message)
      queues.set(fd, [...(queues.get(fd) ?? []), ...received])
      return bytes
    },
    read: (fd, into) => {
      const one = queues.get(fd)?.shift() ?? EAGAIN
      return typeof one === 'number' ? one : one.copy(into)
    },
    close: (fd) => {
      if (!open.delete(fd)) throw new Error(`${fd} is not open`)
    },
    setns: (_, kind) => call('setns', kind),
    unshare: (kinds) => call('unshare', kinds),
    flock: (fd, operation) => call('flock', fd, operation),
    poll: () => -1,
    _exit: () => -1,
    syscall: (number, ...words) => BigInt(call('syscall', number, ...words)),
  }
  return { libc, calls, sent, open, left }
}

/** A kernel that answers as one did when it was recorded, and nothing that was not asked in that order. */
export function replaying(exchanges: readonly Exchange[], results: Results = {}): FakeKernel {
  let at = 0
  const answer = (sent: Buffer) => {
    const exchange = exchanges[at++]
    if (!exchange) throw new Error(`the recording ends before ${sent.toString('hex')}`)
    // Numbers of messages go on from one recorded call to the next.
    const shift = firstSequence(sent) - firstSequence(exchange.sent)
    const expected = renumbered(exchange.sent, shift)
    if (!expected.equals(sent)) throw new Error(`sent ${sent.toString('hex')}\nrecorded ${expected.toString('hex')}`)
    return exchange.received.map((one) => (typeof one === 'number' ? one : renumbered(one, shift)))
  }
  return fakeKernel(answer, { results, left: () => exchanges.length - at })
}

/** Reads what conformance/netlink/record.ts wrote. */
export function recordings(text: string): readonly Recording[] {
  const found: { call: string; shown?: unknown; exchanges: { sent: Buffer; received: (Buffer | number)[] }[] }[] = []
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [kind, rest] = [line[0], line.slice(2)]
    const last = found.at(-1)
    if (kind === '#') found.push({ call: rest, exchanges: [] })
    else if (kind === '=' && last) last.shown = JSON.parse(rest)
    else if (kind === '>' && last) last.exchanges.push({ sent: Buffer.from(rest, 'hex'), received: [] })
    else if (kind === '<' && last) last.exchanges.at(-1)?.received.push(readingOf(rest))
    else throw new Error(`not a line of a recording: ${line.slice(0, 80)}`)
  }
  return found
}

/** A message for a fake answer: struct nlmsghdr and a body. */
export function message(kind: number, flags: number, sequence: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + body.length)
  header.writeUInt16LE(kind, 4)
  header.writeUInt16LE(flags, 6)
  header.writeUInt32LE(sequence, 8)
  return Buffer.concat([header, body, Buffer.alloc((4 - (body.length % 4)) % 4)])
}

export function firstSequence(datagram: Buffer): number {
  return datagram.readUInt32LE(8)
}

// --- internal

function readingOf(text: string): Buffer | number {
  return text.startsWith('-') ? Number(text) : Buffer.from(text, 'hex')
}

/** The messages of a datagram with other numbers. */
function renumbered(datagram: Buffer, shift: number): Buffer {
  const bytes = Buffer.from(datagram)
  for (let at = 0; at + 16 <= bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) {
    bytes.writeUInt32LE((bytes.readUInt32LE(at + 8) + shift) >>> 0, at + 8)
  }
  return bytes
}

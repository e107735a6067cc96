import { closeSync, readSync } from 'node:fs'
import type { Libc } from '../system/libc.js'

// Messages of netlink(7), in the byte order of the machine: all that Node 26 runs on under Linux are little-endian but
// s390x, for which no binary is made.

/** Parts of the kernel that a socket can lead to, as in linux/netlink.h. */
export const protocol = { route: 0, sockets: 4, netfilter: 12 } as const

/** What the kernel is asked to do, as in linux/rtnetlink.h. */
export const request = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  getNetnsID: 90,
} as const

/** Modifiers of a request that makes something, as in linux/netlink.h. */
export const flag = { acknowledge: 4, replace: 0x100, exclusive: 0x200, create: 0x400, dump: 0x300 } as const

/** No such link, as in errno(3). */
export const ENODEV = 19

/** One request: its kind and flags, the fixed header of that kind, and attributes. */
export interface Request {
  readonly type: number
  readonly flags: number
  readonly header: Buffer
  readonly attributes: readonly Attribute[]
}

/** An attribute; it becomes bytes when its message does. */
export interface Attribute {
  readonly type: number
  /** A number of 32 bits, a text that ends in 0, bytes, or what stands inside. */
  readonly value: number | string | Buffer | readonly Part[]
}

/** A fixed header, or an attribute. */
export type Part = Buffer | Attribute

/**
 * The kernel's answer: 0 or a negative errno, and for a question what it answered, message by message without netlink's
 * header.
 */
export interface Answer {
  readonly error: number
  readonly parts: readonly Buffer[]
}

export function attribute(type: number, value: Attribute['value']): Attribute {
  return { type, value }
}

/** 32 bits in the machine's byte order. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  writeWord(bytes, 0, value)
  return bytes
}

/** 16 bits in the machine's byte order. */
export function half(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  writeHalf(bytes, 0, value)
  return bytes
}

/** How many bytes parts take. */
export function sizeOf(parts: readonly Part[]): number {
  let size = 0
  for (const part of parts) {
    if (part instanceof Uint8Array) size += aligned(part.length)
    else if (typeof part.value === 'number') size += attributeHeader + 4
    else if (typeof part.value === 'string') size += attributeHeader + aligned(Buffer.byteLength(part.value) + 1)
    else size += attributeHeader + (part.value instanceof Uint8Array ? aligned(part.value.length) : sizeOf(part.value))
  }
  return size
}

/** The attributes behind a fixed header of `offset` bytes, by their types. */
export function attributesOf(message: Buffer, offset: number): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = offset; at + attributeHeader <= message.length; ) {
    const length = message.readUInt16LE(at)
    if (length < attributeHeader) break
    found.set(message.readUInt16LE(at + 2) & ~flagBits, message.subarray(at + attributeHeader, at + length))
    at += aligned(length)
  }
  return found
}

/** Parts as the kernel takes them, one behind the other. */
export function bytesOf(parts: readonly Part[]): Buffer {
  const bytes = Buffer.alloc(sizeOf(parts))
  writeParts(bytes, 0, parts)
  return bytes
}

/** One whole message: its header (struct nlmsghdr) and what follows. */
export function frame(type: number, flags: number, sequence: number, parts: readonly Part[]): Buffer {
  const message = Buffer.alloc(messageHeader + sizeOf(parts))
  writeWord(message, 0, message.length)
  writeHalf(message, 4, type)
  writeHalf(message, 6, NLM_F_REQUEST | flags)
  writeWord(message, 8, sequence)
  writeParts(message, messageHeader, parts)
  return message
}

/**
 * A socket to a part of the kernel in the namespace of this moment; reading never waits: the answer is there when a
 * request is sent.
 */
export function openSocket(libc: Libc, part: number): number | undefined {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, part)
  return fd < 0 ? undefined : fd
}

/** A socket to the kernel's routing tables, or undefined when there is none to be had. */
export function openRoutingSocket(libc: Libc): number | undefined {
  const fd = openSocket(libc, protocol.route)
  if (fd === undefined) return undefined
  const one = Buffer.from([1, 0, 0, 0])
  if (libc.setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, libc.address(one), one.length) === 0) return fd
  closeSync(fd)
  return undefined
}

/** The number that the kernel gives a socket's network namespace alone, from Linux 5.14 on. */
export function cookieOf(libc: Libc, fd: number): string | undefined {
  const [data, length] = [Buffer.alloc(128), Buffer.alloc(128)]
  length.writeUInt32LE(8)
  const status = libc.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, libc.address(data), libc.address(length))
  return status === 0 ? data.toString('hex', 0, 8) : undefined
}

/**
 * Sends one request and reads the answer to its end. Undefined when the socket does not work, or the kernel says that
 * what it was listing changed meanwhile.
 */
export function ask(libc: Libc, fd: number, { type, flags, header, attributes }: Request): Answer | undefined {
  const asked = ++lastSequence
  const message = frame(type, flag.acknowledge | flags, asked, [header, ...attributes])
  if (!send(libc, fd, message)) return undefined
  const parts: Buffer[] = []
  let isConsistent = true
  for (;;) {
    const messages = receive(fd)
    if (messages.length === 0) return undefined
    // What an earlier answer that broke off left behind is no part of this one.
    for (const { kind, flags, body } of messages.filter(({ sequence }) => sequence === asked)) {
      if ((flags & NLM_F_DUMP_INTR) !== 0) isConsistent = false
      if (kind === NLMSG_ERROR || kind === NLMSG_DONE) {
        return isConsistent ? { error: body.readInt32LE(), parts } : undefined
      }
      parts.push(body)
    }
  }
}

/**
 * Sends requests that have one answer each, all at once, and reads what has been answered; undefined stands for an
 * answer that did not come. Those it sends fit into the socket's buffer, as do their answers.
 */
export function askEach(libc: Libc, fd: number, requests: readonly Request[]): readonly (Answer | undefined)[] {
  const first = lastSequence + 1
  const messages = requests.map(({ type, flags, header, attributes }) =>
    frame(type, flags, ++lastSequence, [header, ...attributes]),
  )
  const answers: (Answer | undefined)[] = requests.map(() => undefined)
  if (!send(libc, fd, Buffer.concat(messages))) return answers
  for (let left = requests.length; left > 0; ) {
    const received = receive(fd)
    if (received.length === 0) return answers
    for (const { kind, sequence, body } of received) {
      const isError = kind === NLMSG_ERROR
      if (sequence < first) continue
      left--
      answers[sequence - first] = { error: isError ? body.readInt32LE() : 0, parts: isError ? [] : [body] }
    }
  }
  return answers
}

/** False when the kernel did not take the whole message. */
export function send(libc: Libc, fd: number, message: Buffer): boolean {
  return libc.send(fd, libc.address(message), BigInt(message.length), 0) === BigInt(message.length)
}

/** The errors (0 or a negative errno) that the kernel has answered a batch with. */
export function acknowledgements(fd: number): readonly number[] {
  const errors: number[] = []
  for (let messages = receive(fd); messages.length > 0; messages = receive(fd)) {
    errors.push(...messages.map(({ kind, body }) => (kind === NLMSG_ERROR ? body.readInt32LE() : 0)))
  }
  return errors
}

// --- internal

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const SOL_SOCKET = 1
const SO_NETNS_COOKIE = 71
const SOL_NETLINK = 270
const NETLINK_GET_STRICT_CHK = 12
const NLM_F_REQUEST = 1
const NLM_F_DUMP_INTR = 0x10
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const messageHeader = 16
const attributeHeader = 4
/**
 * Of the size that netlink(7) advises; one for all, because giving back many of it is work for the garbage collector.
 */
const datagram = Buffer.allocUnsafeSlow(32_768)
/** "Nested" and "network byte order", which are no part of an attribute's type. */
const flagBits = 0xc000

let lastSequence = 0

interface Received {
  readonly kind: number
  readonly flags: number
  readonly sequence: number
  readonly body: Buffer
}

/** The messages of one datagram; none when there is no more. */
function receive(fd: number): readonly Received[] {
  const messages: Received[] = []
  const length = readOrNothing(fd)
  for (let at = 0; at + messageHeader <= length; ) {
    const size = datagram.readUInt32LE(at)
    const body = Buffer.from(datagram.subarray(at + messageHeader, at + size))
    const [kind, flags] = [datagram.readUInt16LE(at + 4), datagram.readUInt16LE(at + 6)]
    messages.push({ kind, flags, sequence: datagram.readUInt32LE(at + 8), body })
    at += aligned(size)
  }
  return messages
}

function readOrNothing(fd: number): number {
  try {
    return readSync(fd, datagram)
  } catch {
    return 0
  }
}

/** Writes parts behind each other; returns where the last one ends. */
function writeParts(into: Buffer, start: number, parts: readonly Part[]): number {
  let at = start
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      into.set(part, at)
      at += aligned(part.length)
      continue
    }
    const end = writeValue(into, at + attributeHeader, part.value)
    writeHalf(into, at, end - at)
    writeHalf(into, at + 2, part.type)
    at = aligned(end)
  }
  return at
}

function writeValue(into: Buffer, at: number, value: Attribute['value']): number {
  if (typeof value === 'string') return at + into.write(value, at) + 1
  if (typeof value === 'number') {
    writeWord(into, at, value)
    return at + 4
  }
  if (!(value instanceof Uint8Array)) return writeParts(into, at, value)
  into.set(value, at)
  return at + value.length
}

/** What Node's own writing checks at each call is given here, and a start runs all of it for the first time. */
function writeHalf(into: Buffer, at: number, value: number): void {
  into[at] = value
  into[at + 1] = value >> 8
}

function writeWord(into: Buffer, at: number, value: number): void {
  writeHalf(into, at, value)
  writeHalf(into, at + 2, value >> 16)
}

function aligned(bytes: number): number {
  return (bytes + 3) & ~3
}

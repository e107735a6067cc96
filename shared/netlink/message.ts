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
export const EEXIST = 17

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
  /** Why it refuses, in its own words, where it has any (an extended acknowledgement). */
  readonly text?: string | undefined
}

export function attribute(type: number, value: Attribute['value']): Attribute {
  return { type, value }
}

/** 32 bits in the machine's byte order. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  writeU32(bytes, 0, value)
  return bytes
}

/** 16 bits in the machine's byte order. */
export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  writeU16(bytes, 0, value)
  return bytes
}

export function u8(value: number): Buffer {
  return Buffer.from([value])
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
    if (length < attributeHeader || at + length > message.length) break
    found.set(message.readUInt16LE(at + 2) & ~flagBits, message.subarray(at + attributeHeader, at + length))
    at += aligned(length)
  }
  return found
}

/** The values of a list whose members have one type. */
export function membersOf(list: Buffer): readonly Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at + attributeHeader <= list.length; ) {
    const length = list.readUInt16LE(at)
    if (length < attributeHeader || at + length > list.length) break
    found.push(list.subarray(at + attributeHeader, at + length))
    at += aligned(length)
  }
  return found
}

/** The text of an attribute, which may end in 0; "" without one. */
export function textOf(bytes: Buffer | undefined): string {
  return bytes?.subarray(0, bytes.indexOf(0) < 0 ? undefined : bytes.indexOf(0)).toString() ?? ''
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
  writeU32(message, 0, message.length)
  writeU16(message, 4, type)
  writeU16(message, 6, NLM_F_REQUEST | flags)
  writeU32(message, 8, sequence)
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
  const one = u32(1)
  const isSet = (option: number) => libc.setsockopt(fd, SOL_NETLINK, option, libc.address(one), one.length) === 0
  // Without the words of a refusal it can do.
  isSet(NETLINK_EXT_ACK)
  if (isSet(NETLINK_GET_STRICT_CHK)) return fd
  libc.close(fd)
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
 * Sends one request and reads the answer to its end; a list that changed meanwhile, or of which something was lost, is
 * asked for again. Undefined when the socket does not work, or no list was whole.
 */
export function ask(libc: Libc, fd: number, request: Request): Answer | undefined {
  for (let attempt = 1; attempt <= mostAttempts; attempt++) {
    const { answer, isWhole } = askOnce(libc, fd, request)
    if (isWhole) return answer
    // What a lost acknowledgement was about may be done, or not.
    if (request.flags !== flag.dump) return undefined
  }
  return undefined
}

/**
 * Sends requests that have one answer each, all at once, and reads what has been answered, also behind what was lost;
 * undefined stands for an answer that did not come. Those it sends fit into the socket's buffer, as do their answers.
 */
export function askEach(libc: Libc, fd: number, requests: readonly Request[]): readonly (Answer | undefined)[] {
  const first = lastSequence + 1
  const [messages, answers]: [Buffer[], (Answer | undefined)[]] = [[], []]
  for (const { type, flags, header, attributes } of requests) {
    messages.push(frame(type, flags, ++lastSequence, [header, ...attributes]))
    answers.push(undefined)
  }
  if (messages.length === 0 || !send(libc, fd, Buffer.concat(messages))) return answers
  for (let left = requests.length; left > 0; ) {
    const { messages: received, isWhole } = receive(libc, fd)
    if (received.length === 0 && isWhole) return answers
    for (const { kind, flags, sequence, body } of received) {
      // What an earlier answer that broke off left behind is none of these.
      if (sequence < first || sequence > lastSequence || answers[sequence - first]) continue
      left--
      answers[sequence - first] =
        kind === NLMSG_ERROR
          ? { error: body.readInt32LE(), parts: [], text: refusalText(flags, body) }
          : { error: 0, parts: [body] }
    }
  }
  return answers
}

/** False when the kernel did not take the whole message. */
export function send(libc: Libc, fd: number, message: Buffer): boolean {
  return libc.send(fd, libc.address(message), BigInt(message.length), 0) === BigInt(message.length)
}

/** The errors (0 or a negative errno) that the kernel has answered a batch with; undefined when some were lost. */
export function acknowledgements(libc: Libc, fd: number): readonly number[] | undefined {
  const errors: number[] = []
  for (;;) {
    const { messages, isWhole } = receive(libc, fd)
    if (!isWhole) return undefined
    if (messages.length === 0) return errors
    errors.push(...messages.map(({ kind, body }) => (kind === NLMSG_ERROR ? body.readInt32LE() : 0)))
  }
}

// --- internal

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const SOL_SOCKET = 1
const SO_NETNS_COOKIE = 71
const SOL_NETLINK = 270
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const ENOBUFS = 105
const NLM_F_REQUEST = 1
const NLM_F_DUMP_INTR = 0x10
/** In an answer with an error: the request's header alone follows, and attributes behind it. */
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
const NLMSGERR_ATTR_MSG = 1
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

/** How many times a list is asked for until it is whole. */
const mostAttempts = 5

let lastSequence = 0

interface Received {
  readonly kind: number
  readonly flags: number
  readonly sequence: number
  readonly body: Buffer
}

/**
 * One request, once; `isWhole` is false for a list that changed meanwhile, and where something of the answer was lost.
 */
function askOnce(
  libc: Libc,
  fd: number,
  { type, flags, header, attributes }: Request,
): { answer?: Answer; isWhole: boolean } {
  const asked = ++lastSequence
  if (!send(libc, fd, frame(type, flag.acknowledge | flags, asked, [header, ...attributes]))) return { isWhole: true }
  const parts: Buffer[] = []
  let isWhole = true
  for (;;) {
    const received = receive(libc, fd)
    isWhole &&= received.isWhole
    if (received.messages.length === 0 && received.isWhole) return { isWhole }
    // What an earlier answer that broke off left behind is no part of this one.
    for (const { kind, flags, body } of received.messages.filter(({ sequence }) => sequence === asked)) {
      if ((flags & NLM_F_DUMP_INTR) !== 0) isWhole = false
      if (kind === NLMSG_ERROR || kind === NLMSG_DONE) {
        const text = kind === NLMSG_ERROR ? refusalText(flags, body) : undefined
        return { answer: { error: body.readInt32LE(), parts, text }, isWhole }
      }
      parts.push(body)
    }
  }
}

/**
 * What the kernel says beside an error: behind the error (struct nlmsgerr) stands the request, or its header, then
 * attributes.
 */
function refusalText(flags: number, body: Buffer): string | undefined {
  if ((flags & NLM_F_ACK_TLVS) === 0) return undefined
  const request = (flags & NLM_F_CAPPED) === 0 ? aligned(body.readUInt32LE(4)) : messageHeader
  return textOf(attributesOf(body, 4 + request).get(NLMSGERR_ATTR_MSG)) || undefined
}

/**
 * The messages of one datagram; none when there is no more. It is not whole when the kernel had no room for what came
 * before it, or a message is longer than what was read; of an error only the request that it repeats is ever cut off.
 */
function receive(libc: Libc, fd: number): { messages: readonly Received[]; isWhole: boolean } {
  const messages: Received[] = []
  const length = libc.read(fd, datagram)
  let isWhole = length !== -ENOBUFS
  for (let at = 0; at + messageHeader <= length; ) {
    const size = datagram.readUInt32LE(at)
    const body = Buffer.from(datagram.subarray(at + messageHeader, Math.min(at + size, length)))
    const [kind, flags] = [datagram.readUInt16LE(at + 4), datagram.readUInt16LE(at + 6)]
    const isError = kind === NLMSG_ERROR && body.length >= 4
    if (size < messageHeader || (at + size > length && !isError)) {
      isWhole = false
      break
    }
    messages.push({ kind, flags, sequence: datagram.readUInt32LE(at + 8), body })
    at += aligned(size)
  }
  return { messages, isWhole }
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
    writeU16(into, at, end - at)
    writeU16(into, at + 2, part.type)
    at = aligned(end)
  }
  return at
}

function writeValue(into: Buffer, at: number, value: Attribute['value']): number {
  if (typeof value === 'string') return at + into.write(value, at) + 1
  if (typeof value === 'number') {
    writeU32(into, at, value)
    return at + 4
  }
  if (!(value instanceof Uint8Array)) return writeParts(into, at, value)
  into.set(value, at)
  return at + value.length
}

/** What Node's own writing checks at each call is given here, and a start runs all of it for the first time. */
function writeU16(into: Buffer, at: number, value: number): void {
  into[at] = value
  into[at + 1] = value >> 8
}

function writeU32(into: Buffer, at: number, value: number): void {
  writeU16(into, at, value)
  writeU16(into, at + 2, value >> 16)
}

function aligned(bytes: number): number {
  return (bytes + 3) & ~3
}

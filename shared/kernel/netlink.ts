import { closeSync, readSync } from 'node:fs'
import type { Libc } from './libc.js'

// Messages of netlink(7), in the byte order of the machine: all that Node 26 runs on under Linux are little-endian but s390x, for which
// no binary is made.

/** What the kernel is asked to do, as in linux/rtnetlink.h. */
export const request = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
} as const

/** Modifiers of a request that makes something, as in linux/netlink.h. */
export const flag = { replace: 0x100, exclusive: 0x200, create: 0x400, dump: 0x300 } as const

/** One request: its kind and flags, the fixed header of that kind, and attributes. */
export interface Request {
  readonly type: number
  readonly flags: number
  readonly header: Buffer
  readonly attributes: readonly Buffer[]
}

/** The kernel's answer: 0 or a negative errno, and for a question what it answered, message by message without netlink's header. */
export interface Answer {
  readonly error: number
  readonly parts: readonly Buffer[]
}

export function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(aligned(attributeHeader + value.length))
  bytes.writeUInt16LE(attributeHeader + value.length, 0)
  bytes.writeUInt16LE(type, 2)
  value.copy(bytes, attributeHeader)
  return bytes
}

export function number(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return attribute(type, bytes)
}

export function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`))
}

export function nested(type: number, attributes: readonly Buffer[]): Buffer {
  return attribute(type, Buffer.concat(attributes))
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

/** A socket to the kernel's routing tables in the namespace of this moment, or undefined when there is none to be had. */
export function openRoutingSocket(libc: Libc): number | undefined {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
  if (fd < 0) return undefined
  const one = Buffer.from([1, 0, 0, 0])
  if (libc.setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, one, one.length) === 0) return fd
  closeSync(fd)
  return undefined
}

/** Sends one request and reads the answer to its end. Undefined when the socket does not work. */
export function ask(libc: Libc, fd: number, { type, flags, header, attributes }: Request): Answer | undefined {
  const body = Buffer.concat([Buffer.alloc(messageHeader), header, ...attributes])
  body.writeUInt32LE(body.length, 0)
  body.writeUInt16LE(type, 4)
  body.writeUInt16LE(NLM_F_REQUEST | NLM_F_ACK | flags, 6)
  if (libc.send(fd, body, BigInt(body.length), 0) !== BigInt(body.length)) return undefined
  const parts: Buffer[] = []
  for (;;) {
    const length = readSync(fd, datagram)
    for (let at = 0; at + messageHeader <= length; ) {
      const [size, kind] = [datagram.readUInt32LE(at), datagram.readUInt16LE(at + 4)]
      if (kind === NLMSG_ERROR || kind === NLMSG_DONE) return { error: datagram.readInt32LE(at + messageHeader), parts }
      parts.push(Buffer.from(datagram.subarray(at + messageHeader, at + size)))
      at += aligned(size)
    }
  }
}

// --- internal

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const NETLINK_ROUTE = 0
const SOL_NETLINK = 270
const NETLINK_GET_STRICT_CHK = 12
const NLM_F_REQUEST = 1
const NLM_F_ACK = 4
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const messageHeader = 16
const attributeHeader = 4
/** Of the size that netlink(7) advises; one for all, because giving back many of it is work for the garbage collector. */
const datagram = Buffer.allocUnsafeSlow(32_768)
/** "Nested" and "network byte order", which are no part of an attribute's type. */
const flagBits = 0xc000

function aligned(bytes: number): number {
  return (bytes + 3) & ~3
}

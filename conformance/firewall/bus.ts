import { createServer, type Socket } from 'node:net'

/** What firewalld would answer on the bus: the sources of its zones, and the calls it was asked. */
export interface FakeFirewalld {
  readonly zones: Map<string, Set<string>>
  readonly calls: string[]
  close(): Promise<void>
}

/**
 * A message bus with firewalld on it, as far as a client sees: enough of the D-Bus specification (SASL EXTERNAL, the
 * wire format of strings and booleans) for busctl, dbus-send and the official plugin, which are the clients.
 */
export async function fakeFirewalld(path: string, options: { isRunning?: boolean } = {}): Promise<FakeFirewalld> {
  const zones = new Map<string, Set<string>>()
  const calls: string[] = []
  const answer = (call: Call) => respond(call, zones, options.isRunning ?? true)
  const server = createServer((socket) =>
    talk(socket, (call) => {
      if (call.member !== 'Hello') calls.push([call.member, ...call.words].join(' '))
      return answer(call)
    }),
  )
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  return { zones, calls, close: () => new Promise((resolve) => server.close(() => resolve())) }
}

interface Call {
  readonly serial: number
  readonly member: string
  readonly words: readonly string[]
}

type Answer =
  | { readonly text: string }
  | { readonly truth: boolean }
  | { readonly error: string; readonly text: string }

function respond({ member, words }: Call, zones: Map<string, Set<string>>, isRunning: boolean): Answer {
  const exception = 'org.fedoraproject.FirewallD1.Exception'
  const [zone = '', source = ''] = words
  const sources = zones.get(zone) ?? new Set()
  if (member === 'Hello') return { text: ':1.7' }
  if (!isRunning) return { error: 'org.freedesktop.DBus.Error.NameHasNoOwner', text: 'no such name' }
  if (member === 'GetNameOwner') return { text: ':1.2' }
  if (zone !== 'trusted' && zone !== 'internal') return { error: exception, text: `INVALID_ZONE: ${zone}` }
  if (member === 'querySource') return { truth: sources.has(source) }
  if (member === 'addSource') {
    if (sources.has(source))
      return { error: exception, text: `ZONE_ALREADY_SET: '${source}' already bound to '${zone}'` }
    zones.set(zone, sources.add(source))
    return { text: zone }
  }
  if (member !== 'removeSource') return { error: 'org.freedesktop.DBus.Error.UnknownMethod', text: member }
  return sources.delete(source) ? { text: zone } : { error: exception, text: `UNKNOWN_SOURCE: '${source}'` }
}

function talk(socket: Socket, answer: (call: Call) => Answer): void {
  let buffer = Buffer.alloc(0)
  let isAuthenticated = false
  socket.on('data', (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk])
    while (!isAuthenticated) {
      const end = buffer.indexOf('\r\n')
      if (end < 0) return
      const line = buffer.subarray(0, end).toString().replace('\0', '')
      buffer = buffer.subarray(end + 2)
      isAuthenticated = line === 'BEGIN'
      if (!isAuthenticated) socket.write(`${authentication(line)}\r\n`)
    }
    for (let length = lengthOf(buffer); length !== undefined && buffer.length >= length; length = lengthOf(buffer)) {
      const call = parse(buffer.subarray(0, length))
      buffer = buffer.subarray(length)
      socket.write(reply(call, answer(call)))
    }
  })
}

function authentication(line: string): string {
  if (line === 'AUTH') return 'REJECTED EXTERNAL'
  if (line === 'AUTH EXTERNAL') return 'DATA'
  if (line.startsWith('AUTH EXTERNAL') || line.startsWith('DATA')) return 'OK 0123456789abcdef0123456789abcdef'
  return line === 'NEGOTIATE_UNIX_FD' ? 'AGREE_UNIX_FD' : 'ERROR'
}

const aligned = (offset: number, to: number): number => Math.ceil(offset / to) * to

/** The length of the message a buffer begins with, once its fixed part is there. */
function lengthOf(buffer: Buffer): number | undefined {
  if (buffer.length < 16) return undefined
  return aligned(16 + buffer.readUInt32LE(12), 8) + buffer.readUInt32LE(4)
}

function parse(message: Buffer): Call {
  const end = 16 + message.readUInt32LE(12)
  let member = ''
  for (let at = 16; at < end; ) {
    at = aligned(at, 8)
    const code = message.readUInt8(at)
    const type = message.toString('latin1', at + 2, at + 3)
    at += 4
    if (type === 'g') at += message.readUInt8(at) + 2
    else if (type === 'u') at += 4
    else {
      const text = stringAt(message, at)
      if (code === 3) member = text.value
      at = text.end
    }
  }
  const words: string[] = []
  for (let at = aligned(end, 8); at < message.length; ) {
    const text = stringAt(message, aligned(at, 4))
    words.push(text.value)
    at = text.end
  }
  return { serial: message.readUInt32LE(8), member, words }
}

function stringAt(message: Buffer, at: number): { value: string; end: number } {
  const length = message.readUInt32LE(at)
  return { value: message.toString('utf8', at + 4, at + 4 + length), end: at + 4 + length + 1 }
}

function reply({ serial }: Call, answer: Answer): Buffer {
  const isError = 'error' in answer
  const body = 'truth' in answer ? word(answer.truth ? 1 : 0) : text(answer.text)
  const fields = [
    field(5, 'u', word(serial)),
    ...(isError ? [field(4, 's', text(answer.error))] : []),
    field(7, 's', text('org.freedesktop.DBus')),
    field(8, 'g', Buffer.from(`\x01${'truth' in answer ? 'b' : 's'}\0`)),
  ]
  const header = fields.reduce((before, one) => Buffer.concat([padded(before, 8), one]), Buffer.alloc(0))
  const fixed = Buffer.concat([Buffer.from(['l'.charCodeAt(0), isError ? 3 : 2, 1, 1]), word(body.length), word(1)])
  return Buffer.concat([padded(Buffer.concat([fixed, word(header.length), header]), 8), body])
}

function field(code: number, type: string, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([code, 1, type.charCodeAt(0), 0]), value])
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function text(value: string): Buffer {
  return Buffer.concat([word(Buffer.byteLength(value)), Buffer.from(`${value}\0`)])
}

function padded(buffer: Buffer, to: number): Buffer {
  return Buffer.concat([buffer, Buffer.alloc(aligned(buffer.length, to) - buffer.length)])
}

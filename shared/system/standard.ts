import { fstatSync, readFileSync, readSync, writeSync } from 'node:fs'
import { loadLibc } from './libc.js'
import { endProcess } from './node.js'

// Standard input and output without Node's streams, which would take 2.5 ms a start. Both may be non-blocking: the
// runtime's other end of a socket or a pipe decides.

/** All that comes in on standard input. @throws the system's error */
export function readAll(): string {
  const chunks: Buffer[] = []
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(65536)
    const length = patiently(0, POLLIN, () => readSync(0, chunk))
    if (length === 0) return Buffer.concat(chunks).toString('utf8')
    chunks.push(chunk.subarray(0, length))
  }
}

/** Writes all of a text or of bytes, also to what takes it in pieces. @throws the system's error */
export function write(fd: number, text: string | Buffer): void {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  for (let at = 0; at < bytes.length; ) {
    const rest = at
    at += patiently(fd, POLLOUT, () => writeSync(fd, bytes, rest))
  }
}

/** Writes a caller's answer. @throws the system's error, also where standard output was closed */
export function answer(text: string): void {
  if (wasClosed(1)) throw new Error('EBADF: standard output is closed')
  write(1, text)
}

/** Writes to standard error, for whoever reads it. */
export function say(text: string): void {
  try {
    write(2, text)
  } catch {
    // There is nobody to be told.
  }
}

/** Leaves at once: an exit handler or an open handle would only cost time. */
export function exit(status: number, lastWords = ''): never {
  if (lastWords !== '') say(lastWords)
  return endProcess(status)
}

// --- internal

/** Events of poll(2). */
const POLLIN = 1
const POLLOUT = 4

function patiently(fd: number, event: number, body: () => number): number {
  for (;;) {
    try {
      return body()
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EAGAIN') throw thrown
      waitFor(fd, event)
    }
  }
}

/** Sleeps until a descriptor is ready, or its other end is gone. */
function waitFor(fd: number, event: number): void {
  const polled = Buffer.alloc(8)
  polled.writeInt32LE(fd, 0)
  polled.writeUInt16LE(event, 4)
  const libc = loadLibc()
  if (libc && libc.poll(libc.address(polled), 1n, -1) >= 0) return
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMilliseconds)
}

/** Between two tries where poll(2) cannot be called. */
const pauseMilliseconds = 10

/**
 * Node opens /dev/null in place of a closed descriptor, for reading and writing; whoever wants nothing to be written
 * opens it for writing.
 */
function wasClosed(fd: number): boolean {
  const nullDevice = 0x103
  if (fstatSync(fd).rdev !== nullDevice) return false
  const flags = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1').split('flags:')[1] ?? ''
  const O_RDWR = 2
  return (Number.parseInt(flags, 8) & 3) === O_RDWR
}

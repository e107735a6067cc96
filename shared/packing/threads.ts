import { execFileSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { bytesAt, offsetOf } from './elf.js'

// Node starts a thread for V8's delayed work and at least one more for its background work, as many as the machine has
// processors when it is told 0, and waits for ever for one that could not be made (a pids cgroup, TasksMax,
// RLIMIT_NPROC). There is no such work under the flags of a start (flags.ts). So the platform of our binaries for x64
// makes none, and returns where it would hand work to them, or wait for their end. That spares a start two threads with
// their stacks, heaps, event loop and descriptors, too. (The third, which waits for SIGUSR1, an option turns off.)

const runner = '_ZN4node23WorkerThreadsTaskRunner'

/**
 * The constructor, from the first thread's handle on, whose semaphore begins at 0, to the unlocking behind the wait for
 * all of them.
 */
const starter = `${runner}C1EiNS_21PlatformDebugLogLevelE`
/** mov $8,%edi; call new; mov %rax,%r12; movq $0,(%rax); mov %r15,%rdi; xor %esi,%esi */
const threadStart = pattern('bf08000000 e8........ 4989c4 48c70000000000 4c89ff 31f6')
/** lea -0x70(%rbp),%rbx; mov %rbx,%rdi; call uv_mutex_unlock; lea -0xa0(%rbp),%rdi */
const threadEnd = pattern('488d5d90 4889df e8........ 488dbd60ffffff')

/** What takes work for the threads, now or later, and waits until they have ended. */
const platform = '_ZN4node12NodePlatform'
const task = 'N2v812TaskPriorityESt10unique_ptrINS1_4TaskESt14default_deleteIS4_EE'
const location = 'RKNS1_14SourceLocationE'
const users = [
  `${platform}26PostTaskOnWorkerThreadImplE${task}${location}`,
  `${platform}33PostDelayedTaskOnWorkerThreadImplE${task}d${location}`,
  `${runner}8ShutdownEv`,
]
/** push %rbp; mov %rsp,%rbp */
const entry = pattern('55 4889e5')
const ret = Buffer.from('c3', 'hex')

/** Has a binary for x64 start no threads. @throws when it is not the Node that is known */
export function startNoThreads(file: string): void {
  const symbols = symbolsOf(file)
  const fd = openSync(file, 'r+')
  try {
    const { offset, code } = functionAt(fd, symbols, starter)
    const from = only(code, threadStart, starter)
    const to = only(code, threadEnd, starter)
    const changes = users.map((name) => {
      const user = functionAt(fd, symbols, name)
      if (user.code.toString('latin1').search(entry) !== 0) throw new Error(`${name} is not the code it was`)
      return { at: user.offset, bytes: ret }
    })
    for (const { at, bytes } of [{ at: offset + from, bytes: jump(to - from) }, ...changes]) {
      writeSync(fd, bytes, 0, bytes.length, at)
    }
  } finally {
    closeSync(fd)
  }
}

// --- internal

interface Symbol {
  address: number
  size: number
}

/** Bytes in hexadecimal, any one written as two points. */
function pattern(text: string): RegExp {
  const bytes = text.replaceAll(' ', '').replaceAll(/[0-9a-f]{2}/g, '\\x$&')
  return new RegExp(bytes.replaceAll('..', '[^]'), 'g')
}

/** The one place where a function has these bytes. */
function only(code: Buffer, bytes: RegExp, name: string): number {
  const [found, another] = [...code.toString('latin1').matchAll(bytes)]
  if (!found || another) throw new Error(`${name} is not the code it was`)
  return found.index
}

/** jmp rel32 */
function jump(distance: number): Buffer {
  const bytes = Buffer.from('e900000000', 'hex')
  bytes.writeInt32LE(distance - bytes.length, 1)
  return bytes
}

function functionAt(fd: number, symbols: ReadonlyMap<string, Symbol>, name: string): { offset: number; code: Buffer } {
  const symbol = symbols.get(name)
  if (!symbol) throw new Error(`there is no ${name}`)
  const offset = offsetOf(fd, symbol.address)
  return { offset, code: bytesAt(fd, offset, symbol.size) }
}

function symbolsOf(file: string): ReadonlyMap<string, Symbol> {
  const options = ['--dynamic', '--defined-only', '--print-size']
  const listed = execFileSync('nm', [...options, file], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const found = new Map<string, Symbol>()
  for (const line of listed.split('\n')) {
    const [address = '', size = '', , versioned] = line.split(' ')
    const [name] = versioned?.split('@') ?? []
    if (name) found.set(name, { address: Number.parseInt(address, 16), size: Number.parseInt(size, 16) })
  }
  return found
}

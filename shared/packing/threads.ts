import { change, functionAt, instead, only, pattern, word } from './code.js'

// Node starts a thread for V8's delayed work and at least one more for its background work, as many as the machine has
// processors when it is told 0, and waits for ever for one that could not be made (a pids cgroup, TasksMax,
// RLIMIT_NPROC). There is no such work under the flags of a start (flags.ts). So the platform of our binaries makes
// none, and returns where it would hand work to them, or wait for their end. That spares a start two threads with
// their stacks, heaps, event loop and descriptors, too. (The third, which waits for SIGUSR1, an option turns off.)

const runner = '_ZN4node23WorkerThreadsTaskRunner'

/** The constructor. */
const starter = `${runner}C1EiNS_21PlatformDebugLogLevelE`

/** What takes work for the threads, now or later, and waits until they have ended. */
const platform = '_ZN4node12NodePlatform'
const task = 'N2v812TaskPriorityESt10unique_ptrINS1_4TaskESt14default_deleteIS4_EE'
const location = 'RKNS1_14SourceLocationE'
const users = [
  `${platform}26PostTaskOnWorkerThreadImplE${task}${location}`,
  `${platform}33PostDelayedTaskOnWorkerThreadImplE${task}d${location}`,
  `${runner}8ShutdownEv`,
]

/** What a processor's code is known by, and what is put in its place. */
interface Code {
  /** In the constructor, the first thread's handle, whose semaphore begins at 0. */
  threadStart: RegExp
  /** There, the unlocking behind the wait for all threads. */
  threadEnd: RegExp
  /** A jump as many bytes forward. */
  jump: (distance: number) => Buffer
}

const codes: Record<string, Code> = {
  x64: {
    // mov $8,%edi; call new; mov %rax,%r12; movq $0,(%rax); mov %r15,%rdi; xor %esi,%esi
    threadStart: pattern('bf08000000 e8........ 4989c4 48c70000000000 4c89ff 31f6'),
    // lea -0x70(%rbp),%rbx; mov %rbx,%rdi; call uv_mutex_unlock; lea -0xa0(%rbp),%rdi
    threadEnd: pattern('488d5d90 4889df e8........ 488dbd60ffffff'),
    // jmp rel32
    jump: (distance) => Buffer.concat([Buffer.of(0xe9), word(distance - 5)]),
  },
  arm64: {
    // mov w0,8; bl new; mov x23,x0; str xzr,[x0]; mov x0,x21; mov w1,wzr
    threadStart: pattern('00018052 ........ f70300aa 1f0000f9 e00315aa e1031f2a'),
    // sub x0,x29,0x30; bl uv_mutex_unlock; add x0,sp,0x10; bl uv_cond_destroy; sub x0,x29,0x30
    threadEnd: pattern('a0c300d1 ........ e0430091 ........ a0c300d1'),
    // b imm26, which counts words
    jump: (distance) => word(0x14000000 + distance / 4),
  },
}

/** Has a binary start no threads. @throws when it is not the Node that is known */
export function startNoThreads(file: string, arch: string): void {
  const known = codes[arch]
  if (!known) throw new Error(`what starts threads on ${arch} is not known`)
  const { threadStart, threadEnd, jump } = known
  change(file, arch, (program) => {
    const { offset, code } = functionAt(program, starter)
    const from = only(code, threadStart, starter)
    const to = only(code, threadEnd, starter)
    return [{ at: offset + from, bytes: jump(to - from) }, ...users.map((name) => instead(program, name, 'nothing'))]
  })
}

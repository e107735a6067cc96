import { type Change, change, functionAt, instead, only, type Program, pattern, word } from './code.js'
import { bytesAt, offsetOf } from './elf.js'

// What Node prepares at every start for programs of other kinds, and no call of a plugin uses: a sixth of a start. Each
// is left out by its own code (bench/PROFILE.md has the figures).
//
// - The library of V8's locks looks for deadlocks until Node tells it not to, at the end of its preparation. The first
//   lock would fill a megabyte with tables for that; so it begins as Node has it end.
// - OpenSSL: error texts, ciphers, providers, a seeded generator. What would use it is not in the saved heap. V8 takes
//   its random numbers from the kernel itself then.
// - Places in the source of all code on the heap, for a profiler.
// - Where the stack begins, for which the C library reads /proc/self/maps; V8 takes the C library's own note where that
//   fails.
// - The memory of the machine and of its cgroup, from four files, for a limit of the heap that no call comes near.

/** What is replaced as a whole. */
const unused = {
  nothing: [
    '_ZN2v811CpuProfiler38UseDetailedSourcePositionsForProfilingEPNS_7IsolateE',
    '_ZN4node6crypto14InitCryptoOnceEPN2v87IsolateE',
  ],
  zero: ['uv_get_constrained_memory', 'uv_get_total_memory'],
} as const

const deadlockMode = '_ZN4absl29SetMutexDeadlockDetectionModeENS_15OnDeadlockCycleE'
const stackStart = '_ZN2v84base5Stack29ObtainCurrentThreadStackStartEv'
const nodeStart = '_ZN4node5StartEiPPc'

/** What a processor's code is known by, and what is put in its place. */
interface Code {
  /** In `deadlockMode`: the address it writes to, of which the code begins at `address`. */
  written: (code: Buffer, address: number) => number
  /** In `stackStart`: the call of pthread_getattr_np(3) whose result is looked at next. */
  stackCall: RegExp
  /** Its failure. */
  failure: Buffer
  /** Has Node's preparation, which `nodeStart` calls, leave out OpenSSL, as its flag kNoInitOpenSSL says. */
  withoutOpenssl: (program: Program) => Change
}

const codes: Record<string, Code> = {
  x64: {
    // push %rbp; mov %rsp,%rbp; mov %edi,rel32(%rip)
    written: (code, address) => {
      const at = only(code, pattern('55 4889e5 893d........ 5d c3'), deadlockMode) + 6
      return address + at + 4 + code.readInt32LE(at)
    },
    // call rel32; test %eax,%eax; je rel8
    stackCall: pattern('e8........ 85c0 74'),
    // mov $1,%eax
    failure: Buffer.from('b801000000', 'hex'),
    withoutOpenssl: (program) => {
      const { offset, code } = functionAt(program, nodeStart)
      // xor %edx,%edx; call rel32
      const call = only(code, pattern('31d2 e8........'), nodeStart) + 3
      const preparation = offset + call + 4 + code.readInt32LE(call)
      // test $0x100,%ebx; jne rel32
      const test = pattern('f7c300010000 0f85........')
      const at = only(bytesAt(program.fd, preparation, preparationSize), test, `what ${nodeStart} calls`) + 6
      // nop; jmp rel32, with the same distance
      return { at: preparation + at, bytes: Buffer.from('90e9', 'hex') }
    },
  },
  arm64: {
    // adrp x8,...; add x8,x8,...; stlr w0,[x8]
    written: (code, address) => {
      const at = only(code, pattern('08......  08......  00fd9f88'), deadlockMode)
      const [adrp, add] = [code.readUInt32LE(at), code.readUInt32LE(at + 4)]
      const pages = (((adrp >>> 5) & 0x7ffff) << 2) | ((adrp >>> 29) & 3)
      return (Math.floor((address + at) / 4096) + pages) * 4096 + ((add >>> 10) & 0xfff)
    },
    // bl; cbz w0,...
    stackCall: pattern('......(94|97) ......34'),
    // mov w0,1
    failure: word(0x52800020),
    withoutOpenssl: (program) => {
      const { offset, code } = functionAt(program, nodeStart)
      // mov w2,wzr; bl
      const at = only(code, pattern('e2031f2a ......(94|97)'), nodeStart)
      // mov w2,0x100
      return { at: offset + at, bytes: word(0x52802002) }
    },
  },
}

/** More than the code of Node's preparation has, and less than reaches to another with the same test. */
const preparationSize = 8192

/** Has a binary leave out what no call uses. @throws when it is not the Node that is known */
export function leaveOut(file: string, arch: string): void {
  const known = codes[arch]
  if (!known) throw new Error(`what a start on ${arch} may leave out is not known`)
  change(file, arch, (program) => [
    ...unused.nothing.map((name) => instead(program, name, 'nothing')),
    ...unused.zero.map((name) => instead(program, name, 'zero')),
    ignoreDeadlocks(program, known),
    failStackCall(program, known),
    known.withoutOpenssl(program),
  ])
}

// --- internal

function ignoreDeadlocks(program: Program, { written }: Code): Change {
  const { address, code } = functionAt(program, deadlockMode)
  const at = offsetOf(program.fd, written(code, address))
  const [ignore, abort] = [0, 2]
  if (bytesAt(program.fd, at, 4).readInt32LE() !== abort) throw new Error(`${deadlockMode} is not the code it was`)
  return { at, bytes: word(ignore) }
}

function failStackCall(program: Program, { stackCall, failure }: Code): Change {
  const { offset, code } = functionAt(program, stackStart)
  return { at: offset + only(code, stackCall, stackStart), bytes: failure }
}

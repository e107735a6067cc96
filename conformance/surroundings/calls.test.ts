import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { type Call, environment } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference } from '../harness/snapshot.js'
import { call, settled, state } from '../main/bridge-setting.js'

// What a seccomp filter of a runtime's unit refuses, to a plugin and all it starts. Expected: what is not needed is
// not missed, and what is needed makes one error and leaves nothing.

/** Numbers of system calls by machine (the kernel's unistd.h). */
const numbers: Record<string, Record<string, number>> = {
  x64: { prctl: 157, ptrace: 101, unshare: 272, setns: 308 },
  arm64: { prctl: 167, ptrace: 117, unshare: 97, setns: 268 },
}
const ioUring = [425, 426, 427]
const numberOf = (name: string): number => {
  const number = numbers[process.arch]?.[name]
  if (number === undefined) throw new Error(`the number of ${name} on ${process.arch} is not known here`)
  return number
}

// Becomes the program under a filter that answers the calls of these numbers with EPERM (1) or ENOSYS (38):
// seccomp(2), bpf(2).
const launcher = `
const [program, prctl, errno, ...refused] = process.argv.slice(1)
const { internalBinding } = process.getBuiltinModule('internal/test/binding')
const { DynamicLibrary, getRawPointer } = internalBinding('ffi')
const long = { arguments: Array(6).fill('int64'), return: 'int64' }
const syscall = new DynamicLibrary(null).getFunction('syscall', long)
const refusal = [0x06, 0, 0, 0x00050000 | Number(errno)]
const tests = refused.flatMap((number) => [[0x15, 0, 1, Number(number)], refusal])
const lines = [[0x20, 0, 0, 0], ...tests, [0x06, 0, 0, 0x7fff0000]]
const filter = Buffer.alloc(8 * lines.length)
lines.forEach(([code, yes, no, value], at) => {
  filter.writeUInt16LE(code, 8 * at)
  filter.writeUInt8(yes, 8 * at + 2)
  filter.writeUInt8(no, 8 * at + 3)
  filter.writeUInt32LE(value, 8 * at + 4)
})
const list = Buffer.alloc(16)
list.writeUInt16LE(lines.length)
list.writeBigUInt64LE(getRawPointer(filter), 8)
const done = (result) => { if (result !== 0n) throw new Error('no filter') }
done(syscall(BigInt(prctl), 38n, 1n, 0n, 0n, 0n))
done(syscall(BigInt(prctl), 22n, 2n, getRawPointer(list), 0n, 0n))
process.execve(program, [program], process.env)
`

function filtered(host: Host, one: Call, refused: readonly number[], errno: number): Promise<Finished> {
  const flags = [
    '--expose-internals',
    '--disable-warning=internal/test/binding',
    '--disable-warning=ExperimentalWarning',
  ]
  const words = [join(suites.podwire, one.plugin), numberOf('prctl'), errno, ...refused].map(String)
  const argv = [process.execPath, ...flags, '--eval', launcher, '--', ...words]
  return host.exec(argv, { stdin: JSON.stringify(one.config), env: environment(one) })
}

describe('a filter without', () => {
  const works = { io_uring: ioUring, ptrace: ['ptrace'], 'unshare, which no call needs,': ['unshare'] }
  for (const [name, refused] of Object.entries(works)) {
    for (const errno of [1, 38]) {
      test(`${name} (errno ${errno}): ADD, CHECK and DEL work`, async ({ host }) => {
        const { container, before } = await settled(host)
        const list = refused.map((one) => (typeof one === 'string' ? numberOf(one) : one))
        const add = call('ADD', container)
        const prevResult = resultOf(await filtered(host, add, list, errno))
        for (const command of ['CHECK', 'DEL'] as const) {
          const config = { ...(add.config as object), prevResult }
          succeedSilently(await filtered(host, { ...add, command, config }, list, errno))
        }
        expect(difference(before, await state(host))).toBe('')
      })
    }
  }

  for (const refused of [['setns'], ['setns', 'unshare']]) {
    test(`${refused.join(' and ')}: one error, and nothing is left`, async ({ host }) => {
      const { container, before } = await settled(host)
      const { msg, details = '' } = errorOf(await filtered(host, call('ADD', container), refused.map(numberOf), 1))
      expect(`${msg}\n${details}`).toContain('Operation not permitted')
      expect(difference(before, await state(host))).toBe('')
      resultOf(await filtered(host, call('ADD', container), [], 1))
      const del = await filtered(host, call('DEL', container), refused.map(numberOf), 1)
      if (del.status !== 0) errorOf(del)
      succeedSilently(await filtered(host, call('DEL', container), [], 1))
      expect(difference(before, await state(host))).toBe('')
    })
  }
})

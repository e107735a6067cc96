import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import * as own from './node.js'
import * as plain from './node.plain.js'
import { foreignFunctions } from './node.program.js'

/** What every program here is started with. */
const common = { file: '/bin/sh', env: { PATH: '/usr/bin:/bin', A: 'b' }, pipes: [], fds: [], mostBytes: 100_000 }

describe.each([
  ['bindings', own],
  ['public modules', plain],
])('by %s', (_, node) => {
  const shell = (script: string, more: Partial<own.Program> = {}) =>
    node.spawn({ ...common, argv: ['sh', '-c', script], ...more })

  test('a process says how it ended, and what it said on each stream', () => {
    const { pid, errno, ...ended } = shell('echo out; echo err >&2; exit 3')
    expect(ended).toEqual({ status: 3, signal: null, output: ['', 'out\n', 'err\n'] })
    expect([pid > 0, errno === 0]).toEqual([true, true])
    expect(shell('kill -9 $$')).toMatchObject({ status: null, signal: 'SIGKILL' })
  })

  test('its words, environment and input are what it is given', () => {
    expect(shell('echo "$0 $1 $A"', { argv: ['sh', '-c', 'echo "$0 $1 $A"', 'a b', '*'] }).output[1]).toBe('a b * b\n')
    expect(shell('cat', { argv: ['cat'], file: '/bin/cat', stdin: 'text' }).output[1]).toBe('text')
    expect(shell('cat').output[1]).toBe('')
  })

  test('descriptors behind its three are texts to read, or streams', () => {
    expect(shell('cat <&3; echo four >&4; cat <&5', { pipes: ['three\n', null, 'five\n'] }).output).toEqual([
      '',
      'three\nfive\n',
      '',
      '',
      'four\n',
      '',
    ])
    expect(shell('cat <&3', { pipes: ['x'.repeat(70_000)] }).output[1]).toHaveLength(70_000)
  })

  test('one with a time leads a group, which can be killed; one without belongs to ours', () => {
    const group = 'ps -o pgid= -p $$; echo $$'
    const numbers = (more: Partial<own.Program>) => shell(group, more).output[1]?.split('\n').map(Number) ?? []
    const [inOwn, itself] = numbers({ milliseconds: 20_000 })
    expect(inOwn).toBe(itself)
    const [inOurs, other] = numbers({})
    expect(inOurs).not.toBe(other)
    const left = shell('sleep 60 >/dev/null 2>&1 & exit 4', { milliseconds: 20_000 })
    expect([left.status, node.killGroup(left.pid)]).toEqual([4, true])
    expect(node.killGroup(2 ** 30)).toBe(false)
  })

  test('one that cannot be started, takes too long or prints too much has an errno', () => {
    const { ENOENT, ENOBUFS, ETIMEDOUT } = constants.errno
    const late = shell('sleep 60', { argv: ['sleep', '60'], file: '/bin/sleep', milliseconds: 50 })
    expect(late).toMatchObject({ status: null, signal: 'SIGKILL', errno: ETIMEDOUT })
    expect(shell('', { file: '/nowhere' })).toMatchObject({ pid: 0, status: null, errno: ENOENT })
    expect(shell('yes')).toMatchObject({ status: null, errno: ENOBUFS })
  })

  test('a script runs, also from the code that was kept of it', () => {
    const text = '(number) => number + 1'
    const first = node.compile<(number: number) => number>(text, 'first')
    expect([first.run(1), first.cachedDataRejected]).toEqual([2, undefined])
    const again = node.compile<(number: number) => number>(text, 'first', first.createCachedData())
    expect([again.run(2), again.cachedDataRejected]).toEqual([3, false])
    expect(node.compile('() => 5', 'second', first.createCachedData()).cachedDataRejected).toBe(true)
  })
})

test('a program that carries no files says so', () => {
  expect(() => plain.asset('none')).toThrow('single-executable')
})

test('only the public modules of the plugins call no C', () => {
  const { emitWarning } = process
  const SIGNATURE = { arguments: [], return: 'int32' }
  for (const found of [own.foreignFunctions(), foreignFunctions()]) {
    const getpid = found && new found.DynamicLibrary(null).getFunction('getpid', SIGNATURE)
    expect((getpid as () => number)()).toBe(process.pid)
  }
  expect(process.emitWarning).toBe(emitWarning)
  expect(plain.foreignFunctions()).toBeUndefined()
})

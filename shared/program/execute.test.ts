import { describe, expect, test } from 'vitest'
import type { Command } from '../exec/command.js'
import type { Host } from '../plan/host.js'
import { CniError } from '../values/errors.js'
import { execute, runProgram } from './execute.js'

// A plugin of another file: what it is given, what becomes of its answer, and how an ADD of it is taken back.

const program = { path: '/opt/cni/bin/other', env: { CNI_NETNS: '/run/netns/c1' } }
const ips = [{ address: '10.1.2.3/24' }]
const answer = JSON.stringify({ cniVersion: '1.1.0', ips })

function hostWith(outcome: object = { stdout: answer }, dryRun = false) {
  const [ran, said]: [Command[], string[]] = [[], []]
  const undo: (() => readonly CniError[])[] = []
  const run = (command: Command) => {
    ran.push(command)
    return { status: 0, signal: null, stdout: '', stderr: '', ...outcome }
  }
  const journal = { note: (one: () => readonly CniError[]) => undo.push(one) }
  return { host: { run, dryRun, warn: (text: string) => said.push(text), journal } as unknown as Host, ran, said, undo }
}

const call = (takeBack: () => void = () => undefined) => ({
  stdin: '{"name":"net"}',
  version: '1.1.0' as const,
  takeBack,
})

test('it gets the verb, its environment and the configuration; what it prints comes back', () => {
  const { host, ran } = hostWith({ stdout: 'said' })
  expect(execute(host, program, 'CHECK', '{"name":"net"}')).toBe('said')
  expect(ran).toHaveLength(1)
  expect(ran[0]).toMatchObject({ argv: ['/opt/cni/bin/other'], stdin: '{"name":"net"}' })
  expect(ran[0]?.env).toMatchObject({ CNI_COMMAND: 'CHECK', CNI_NETNS: '/run/netns/c1' })
})

test('its own error is the error', () => {
  const { host } = hostWith({ status: 1, stdout: '{"code":11,"msg":"later"}' })
  expect(() => execute(host, program, 'DEL', '{}')).toThrow('later')
})

describe('an ADD', () => {
  test('gives its result, and is noted before it is made', () => {
    let count = 0
    const { host, undo } = hostWith()
    expect(
      runProgram(
        host,
        program,
        'ADD',
        call(() => void count++),
      ),
    ).toMatchObject({ ips })
    expect([undo.length, count]).toEqual([1, 0])
    expect([undo.flatMap((one) => one()), count]).toEqual([[], 1])
  })

  test('that fails is taken back, too; what stops that is told of', () => {
    const { host, undo } = hostWith({ status: 1, stdout: '{"code":11,"msg":"later"}' })
    const failing = () => {
      throw new CniError(100, 'it stays')
    }
    expect(() => runProgram(host, program, 'ADD', call(failing))).toThrow('later')
    expect(undo.flatMap((one) => one()).map(({ code, message }) => [code, message])).toEqual([[100, 'it stays']])
  })

  test('whose answer is no result is an error that names the program', () => {
    const { host, undo } = hostWith({ stdout: '{"cniVersion":"1.1.0","ips":[{"address":"x"}]}' })
    expect(() => runProgram(host, program, 'ADD', call())).toThrow(CniError)
    expect(undo).toHaveLength(1)
  })
})

test.each(['DEL', 'CHECK', 'STATUS', 'GC'] as const)('%s has no result, and nothing to take back', (verb) => {
  const { host, ran, undo } = hostWith()
  expect(runProgram(host, program, verb, call())).toBeUndefined()
  expect([ran.length, undo.length]).toEqual([1, 0])
})

test.each([
  ['ADD', 0],
  ['DEL', 0],
  ['GC', 0],
  ['CHECK', 1],
  ['STATUS', 1],
] as const)('in a dry run %s is executed %d times, else only said', (verb, times) => {
  const { host, ran, said, undo } = hostWith({}, true)
  expect(runProgram(host, program, verb, call())).toBeUndefined()
  expect([ran.length, undo.length]).toEqual([times, 0])
  expect(said).toEqual(times === 0 ? [`# CNI_COMMAND=${verb} /opt/cni/bin/other`] : [])
})

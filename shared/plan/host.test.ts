import { describe, expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { thrownBy } from '../testing/thrown.js'
import { createMachine } from '../tools/machine.js'
import { CniError, codes } from '../values/errors.js'
import { attemptAll, createHost, throwTogether } from './host.js'
import type { Operation } from './operation.js'

const up: Operation = { tool: 'ip', argv: ['link', 'set', 'dev', 'a', 'up'], why: 'set a up' }
const add: Operation = {
  tool: 'ip',
  argv: ['link', 'add', 'name', 'a', 'type', 'dummy'],
  why: 'create a',
  undo: [{ tool: 'ip', argv: ['link', 'del', 'dev', 'a'], why: 'remove a' }],
}

/** A host whose tools end as is said, one process each; `heard` is what was run and said. */
function hosted({ dryRun = false, outcomes = [] as Partial<Outcome>[] } = {}) {
  const heard: string[] = []
  const run = ({ argv, stdin = '' }: { readonly argv: readonly string[]; readonly stdin?: string }): Outcome => {
    heard.push(stdin.trimEnd() || argv.join(' '))
    return { status: 0, signal: null, stdout: '', stderr: '', ...outcomes[heard.length - 1] }
  }
  const files = {} as Files
  const machine = createMachine({ run, files })
  const host = createHost({ machine, run, files, env: {}, dryRun, stderr: (text) => heard.push(text) })
  return { host, machine, heard }
}

describe('a host', () => {
  test('does what it is told, and notes what ran, to take it back', () => {
    const { host, machine, heard } = hosted()
    host.apply([add, up])
    host.change('write a file', () => heard.push('written'))
    host.warn('careful')
    expect(host.journal.rollback(machine)).toEqual([])
    expect(heard.join('\n')).toBe('link add name a type dummy\nlink set dev a up\nwritten\ncareful\n\nlink del dev a')
  })

  test('in a dry run only says what it would do', () => {
    const { host, machine, heard } = hosted({ dryRun: true })
    host.apply([add])
    host.sweep([up])
    host.change('write a file', () => expect.fail('wrote'))
    expect(host.journal.rollback(machine)).toEqual([])
    expect(heard).toEqual(['ip link add name a type dummy\n', 'ip link set dev a up\n', '# write a file\n'])
  })

  test('throws what a sweep could not remove, and has done the rest', () => {
    const failed = { status: 1, stderr: 'RTNETLINK answers: Operation not permitted\nCommand failed -:1\n' }
    const { host } = hosted({ outcomes: [failed] })
    const error = thrownBy(() => host.sweep([up]))
    expect(error).toMatchObject({ code: codes.operationFailed, message: expect.stringContaining('cannot set a up') })
  })
})

describe('several failures', () => {
  const [one, two] = [
    new CniError(codes.ioFailure, 'first', { details: 'a' }),
    new CniError(codes.internal, 'second', { details: 'b' }),
  ]

  test('are none, one as it is, or one that has all', () => {
    expect(() => throwTogether([])).not.toThrow()
    expect(thrownBy(() => throwTogether([one]))).toBe(one)
    expect(thrownBy(() => throwTogether([one, two]))).toMatchObject({
      code: codes.cleanupIncomplete,
      message: '2 things could not be removed: first',
      details: expect.stringMatching(/^first\na\nsecond\nb/),
    })
  })

  test('are code 11 where another try may do more', () => {
    const three = new CniError(codes.tryAgainLater, 'third')
    expect(thrownBy(() => throwTogether([one, three, two])).code).toBe(codes.tryAgainLater)
  })

  test('stop nothing of what is to be done', () => {
    const did: number[] = []
    const failing = () => {
      throw one
    }
    expect(
      thrownBy(() =>
        attemptAll(
          failing,
          () => did.push(1),
          failing,
          () => did.push(2),
        ),
      ).message,
    ).toContain('2 things')
    expect(did).toEqual([1, 2])
    attemptAll(() => did.push(3))
    expect(did).toEqual([1, 2, 3])
  })
})

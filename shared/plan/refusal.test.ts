import { describe, expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import { codes } from '../values/errors.js'
import type { Operation, Tool } from './operation.js'
import { isTolerated, neverRan, operationError, refusal, together, unclear, unclearError } from './refusal.js'

const operation = (more: Partial<Operation> = {}): Operation => ({
  tool: 'ip',
  argv: ['link', 'del', 'dev', 'a'],
  why: 'remove a',
  ...more,
})
const ended = (more: Partial<Outcome>): Outcome => ({ status: 1, signal: null, stdout: '', stderr: '', ...more })

describe('a refused operation', () => {
  test('is named with its command and the words of the tool', () => {
    const refused = refusal(operation(), ended({ stderr: 'RTNETLINK answers: Operation not permitted\n' }))
    expect(operationError(refused)).toMatchObject({
      code: codes.operationFailed,
      message: 'cannot remove a: Operation not permitted',
      details: 'command: ip link del dev a\nstderr: RTNETLINK answers: Operation not permitted',
    })
  })

  test('has an end for words where the tool said nothing', () => {
    expect(refusal(operation(), ended({ status: 3 })).stderr).toBe('exit status 3')
    expect(refusal(operation(), ended({ status: null, signal: 'SIGKILL', stderr: ' \n' })).stderr).toBe(
      'killed by SIGKILL',
    )
    expect(refusal(operation(), ended({ status: null, failure: 'EAGAIN' })).stderr).toBe('EAGAIN')
    expect(refusal(operation(), ended({ exceeded: true })).stderr).toBe('')
  })

  test('is tolerated for the reasons it names, and never because a program is missing', () => {
    const absent = ended({ stderr: 'Cannot find device "a"' })
    expect(isTolerated(refusal(operation({ tolerate: ['absent'] }), absent))).toBe(true)
    expect(isTolerated(refusal(operation({ tolerate: ['exists'] }), absent))).toBe(false)
    expect(isTolerated(refusal(operation(), absent))).toBe(false)
    const other = operation({ tolerate: ['other'] })
    expect(isTolerated(refusal(other, ended({ stderr: 'odd' })))).toBe(true)
    expect(isTolerated(refusal(other, ended({ failure: 'ENOENT' })))).toBe(false)
  })

  test('means to the user what it says for the reason', () => {
    const meaning = { exists: { code: codes.nameTaken, fix: 'rename it', says: 'a is taken' } }
    const error = operationError(refusal(operation({ meaning }), ended({ stderr: 'RTNETLINK answers: File exists' })))
    expect(error).toMatchObject({ code: codes.nameTaken, message: 'a is taken' })
    expect(error.details).toContain('rename it')
    const unsupported = ended({ stderr: 'Error: Unknown device type.' })
    expect(operationError(refusal(operation({ meaning }), unsupported)).code).toBe(codes.featureMissing)
  })
})

test.each<[Tool, string | undefined, Partial<Outcome>, string, string]>([
  ['nft', undefined, { failure: 'ENOENT' }, 'nft', 'nftables'],
  ['ip', undefined, { failure: 'ENOENT' }, 'ip', 'iproute2'],
  ['ip', '/run/netns/c', { failure: 'ENOENT' }, 'nsenter', 'util-linux'],
  ['conntrack', undefined, { failure: 'ENOENT' }, 'conntrack', 'conntrack'],
  ['runcon', undefined, { failure: 'ENOENT' }, 'runcon', 'coreutils'],
  ['iptables', undefined, { failure: 'ENOENT' }, 'iptables-restore', 'iptables'],
  ['ip', undefined, { failure: 'ENOENT', stderr: 'sh: 1: tc: not found\n' }, 'tc', 'iproute2'],
  [
    'ip',
    '/run/netns/c',
    { status: 127, stderr: 'nsenter: failed to execute ip: No such file or directory\n' },
    'ip',
    'iproute2',
  ],
])('a missing program is named with its package: %s in %s %o', (tool, netns, outcome, program, name) => {
  const one = refusal(operation({ tool, ...(netns ? { netns } : {}) }), ended(outcome))
  expect(one.isUntried).toBe(true)
  expect(operationError(one)).toMatchObject({
    code: codes.toolMissing,
    message: `cannot remove a: the program "${program}" is not installed`,
    details: expect.stringContaining(`install the package ${name}`),
  })
})

test.each([
  ['EAGAIN', 'TasksMax'],
  ['EMFILE', 'RLIMIT_NOFILE'],
  ['ENFILE', 'fs.file-max'],
  ['ENOMEM', 'memory.max'],
  ['EACCES', 'mend the cause'],
])('a process that cannot be started for %s was not tried, and says what to give', (failure, fix) => {
  const refused = refusal(operation(), ended({ status: null, failure }))
  expect(refused.isUntried).toBe(true)
  expect(operationError(refused)).toMatchObject({
    code: codes.tryAgainLater,
    message: `cannot remove a: no process can be started (${failure})`,
    details: expect.stringContaining(fix),
  })
})

test('a tool never ran where it could not be started, or nsenter says so under its own name', () => {
  expect(neverRan(ended({ failure: 'ENOENT' }))).toBe(true)
  expect(neverRan(ended({ stderr: 'nsenter: cannot open /run/netns/c\n' }))).toBe(true)
  expect(neverRan(ended({ stderr: 'nsenter: cannot open\n', signal: 'SIGKILL' }))).toBe(false)
  expect(neverRan(ended({ stderr: 'oh, nsenter: no\n' }))).toBe(false)
})

describe('what is unclear', () => {
  test('of one operation names it', () => {
    const error = unclearError({ operations: [operation()], outcome: ended({ status: 255, stderr: 'oh\n' }) })
    expect(error.message).toBe('cannot remove a: "ip" ended without saying whether it had done it: exit status 255: oh')
    expect(error.details).toMatch(/^command:\nip link del dev a\nstderr: oh/)
  })

  test('of several names the tools, and has all commands', () => {
    const operations = [operation(), operation(), operation({ tool: 'tc', argv: ['qdisc'] })]
    const error = unclearError({ operations, outcome: ended({ status: null, signal: 'SIGKILL' }) })
    expect(error.message).toBe('"ip" and "tc" ended without saying which of 3 commands it had done: killed by SIGKILL')
    expect(error.details).toContain('commands:\nip link del dev a\nip link del dev a\ntc qdisc\n')
  })

  test('of a tool that took too long has its own words alone', () => {
    const error = unclearError({ operations: [operation()], outcome: ended({ exceeded: true, stderr: 'too long' }) })
    expect(error.message).toMatch(/done it: too long$/)
  })
})

test('reports add up', () => {
  const [one, two] = [operation(), operation({ why: 'remove b' })]
  const outcome = ended({})
  const all = together([
    { ran: [one], refused: [] },
    unclear([two], outcome),
    { ran: [two], refused: [refusal(one, outcome)] },
  ])
  expect(all).toEqual({
    ran: [one, two],
    refused: [refusal(one, outcome)],
    unclear: [{ operations: [two], outcome }],
  })
})

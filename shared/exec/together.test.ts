import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, onTestFinished, test } from 'vitest'
import type { Run } from './command.js'
import { createRunner } from './run.js'
import { type Part, runTogether } from './together.js'

const run = createRunner()
const print = (script: string, stdin?: string): Part => ({ argv: ['sh', '-c', script], ...(stdin ? { stdin } : {}) })

test('each command has its own input, status and stderr', () => {
  const outcomes = runTogether(run, [print('cat >&2', 'one'), print('cat >&2; exit 0', 'two')], false)
  expect(outcomes).toMatchObject([
    { status: 0, stderr: 'one' },
    { status: 0, stderr: 'two' },
  ])
})

test('the first failure ends the sequence, unless it is to go on', () => {
  const parts = [print('exit 3'), print('echo second >&2')]
  expect(runTogether(run, parts, false)).toMatchObject([{ status: 3 }, undefined])
  expect(runTogether(run, parts, true)).toMatchObject([{ status: 3 }, { status: 0, stderr: 'second\n' }])
})

test('a command beside runs while the others do, and is waited for', () => {
  const folder = mkdtempSync(`${tmpdir()}/podwire-together-`)
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const meeting = `${folder}/meeting`
  const waits: Part = { ...print(`mkfifo ${meeting}; cat ${meeting} >&2; exit 5`), beside: true }
  const writes = print(`until [ -p ${meeting} ]; do :; done; echo met > ${meeting}`)
  expect(runTogether(run, [writes, waits], false)).toMatchObject([{ status: 0 }, { status: 5, stderr: 'met\n' }])
})

test('words are words, whatever they hold', () => {
  const hostile = ['$HOME', '`id`', '"; exit 9; "', 'a b', '', "'", '\\', '*']
  const [outcome] = runTogether(
    run,
    [{ argv: ['sh', '-c', 'printf "%s|" "$@" >&2', 'sh', ...hostile] }, print('true')],
    false,
  )
  expect(outcome?.stderr).toBe(hostile.map((word) => `${word}|`).join(''))
})

test('a program that is missing is told apart', () => {
  expect(runTogether(run, [{ argv: ['no-such-program'] }, print('true')], true)).toMatchObject([
    { failure: 'ENOENT' },
    { status: 0 },
  ])
})

test('large inputs and outputs do not block each other', () => {
  const parts = Array.from({ length: 3 }, (_, index) => print('cat >&2', String(index).repeat(300_000)))
  const outcomes = runTogether(run, parts, false)
  expect(outcomes.map((one) => one?.stderr.length)).toEqual([300_000, 300_000, 300_000])
})

test('a command killed by a signal, and one that ends with the word for a missing program, are told apart', () => {
  const outcomes = runTogether(run, [print('kill -9 $$'), print('exit 127'), print('true')], true)
  expect(outcomes).toMatchObject([{ status: null, signal: 'signal 9' }, { status: 127, signal: null }, { status: 0 }])
  expect(outcomes[1]?.failure).toBeUndefined()
})

test('when the shell does not get to its end, what it did not tell of may have run; what it did tell of counts', () => {
  const parts = [print('exit 0'), print('echo mine >&2; kill -9 $PPID; sleep 0.1'), print('true')]
  const outcomes = runTogether(run, parts, false)
  expect(outcomes).toMatchObject([{ status: 0 }, { signal: 'SIGKILL', stderr: 'mine\n' }, { signal: 'SIGKILL' }])
})

test('what was not reached behind a failure was not tried, however the shell ended', () => {
  const slow: Part = { ...print('sleep 0.2'), beside: true }
  // The first ends by itself, and tells.
  const [beside, first, behind] = runTogether(run, [slow, print('kill -9 $PPID'), print('true')], false)
  expect([beside?.signal, first?.signal, behind?.signal]).toEqual([null, 'SIGKILL', 'SIGKILL'])
  expect(runTogether(run, [print('exit 1'), print('kill -9 $PPID')], false)[1]).toBeUndefined()
})

test('a shell that cannot be started has tried nothing', () => {
  const failing = () => ({ status: null, signal: null, stdout: '', stderr: '', failure: 'EAGAIN' })
  expect(runTogether(failing, [print('true'), print('true')], false)).toMatchObject([{ failure: 'EAGAIN' }])
})

test('a shell that can make no process has tried nothing', () => {
  const ended = { status: 2, signal: null, stdout: '', stderr: '', extra: ['', 'sh: 1: Cannot fork\n', '', ''] }
  const forkless: Run = () => ended
  expect(runTogether(forkless, [print('true'), print('true')], false)).toEqual([])
  const killed: Run = () => ({ ...ended, status: null, signal: 'SIGKILL' })
  expect(runTogether(killed, [print('true'), print('true')], false)).toMatchObject([
    { signal: 'SIGKILL' },
    { signal: 'SIGKILL' },
  ])
})

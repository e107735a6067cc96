import { expect, test } from 'vitest'
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
  const meeting = `/tmp/podwire-meeting-${process.pid}`
  const waits: Part = { ...print(`mkfifo ${meeting}; cat ${meeting} >&2; rm ${meeting}; exit 5`), beside: true }
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

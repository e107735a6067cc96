import { randomInt } from 'node:crypto'
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { createRunner, pasteable, patience } from './run.js'

const run = createRunner()

test('both streams and the exit status come back, a megabyte of each as well', () => {
  const script = 'head -c 1000000 /dev/zero | tr "\\0" o; head -c 1000000 /dev/zero | tr "\\0" e >&2; exit 3'
  const { status, stdout, stderr } = run({ argv: ['sh', '-c', script] })
  expect({ status, out: stdout.length, err: stderr.length }).toEqual({ status: 3, out: 1_000_000, err: 1_000_000 })
})

test('stdin of any length reaches the child; without one it reads nothing', () => {
  const stdin = 'x'.repeat(300_000)
  expect(run({ argv: ['wc', '-c'], stdin }).stdout.trim()).toBe('300000')
  expect(run({ argv: ['wc', '-c'] }).stdout.trim()).toBe('0')
})

test('a child that ignores its stdin is no error', () => {
  expect(run({ argv: ['true'], stdin: 'x'.repeat(1_000_000) }).status).toBe(0)
})

test('words are words: nothing is read by a shell', () => {
  expect(run({ argv: ['printf', '%s|', '$HOME', 'a b', ';reboot', '`id`'] }).stdout).toBe('$HOME|a b|;reboot|`id`|')
})

test('what cannot be started is named by its errno', () => {
  expect(run({ argv: ['no-such-program'] })).toMatchObject({ status: null, failure: 'ENOENT' })
  const directory = mkdtempSync(`${tmpdir()}/podwire-`)
  writeFileSync(`${directory}/plain`, 'x', { mode: 0o644 })
  expect(run({ argv: [`${directory}/plain`] })).toMatchObject({ status: null, failure: 'EACCES' })
  rmSync(directory, { recursive: true })
})

test('a signal is told apart from an exit status', () => {
  expect(run({ argv: ['sh', '-c', 'kill -9 $$'] })).toMatchObject({ status: null, signal: 'SIGKILL' })
})

test('tools see a small fixed environment, whatever the caller has', () => {
  process.env['PODWIRE_TEST_LEAK'] = '1'
  const lines = run({ argv: ['env'] })
    .stdout.trim()
    .split('\n')
    .sort()
  delete process.env['PODWIRE_TEST_LEAK']
  expect(lines.map((line) => line.split('=')[0])).toEqual(['LC_ALL', 'PATH'])
})

test('a given environment is the whole environment', () => {
  expect(run({ argv: ['env'], env: { A: 'b' } }).stdout).toBe('A=b\n')
})

test('descriptors are handed on as 3 and up', () => {
  const directory = mkdtempSync(`${tmpdir()}/podwire-`)
  const fd = openSync(`${directory}/file`, 'w')
  expect(run({ argv: ['sh', '-c', 'echo hello >&3'], fds: [fd] }).status).toBe(0)
  expect(readFileSync(`${directory}/file`, 'utf8')).toBe('hello\n')
  rmSync(directory, { recursive: true })
})

test('a trace has one line a process, with everything about it', () => {
  const directory = mkdtempSync(`${tmpdir()}/podwire-`)
  const trace = `${directory}/trace`
  const traced = createRunner({ trace: { file: trace, warn: () => expect.fail() } })
  traced({ argv: ['sh', '-c', 'cat >/dev/null; echo oh >&2; exit 4'], stdin: 'text' })
  traced({ argv: ['no-such-program'] })
  const [first, second] = readFileSync(trace, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(first).toMatchObject({ argv: ['sh', '-c', expect.any(String)], stdin: 'text', status: 4, stderr: 'oh\n' })
  expect(first.ms).toBeGreaterThan(0)
  expect(Date.parse(first.time)).not.toBeNaN()
  expect(second.status).toBe('ENOENT')
  rmSync(directory, { recursive: true })
})

test('a command prints so that a shell reads it back', () => {
  expect(pasteable({ argv: ['ip', 'link', 'set', 'dev', 'eth0', 'up'] })).toBe('ip link set dev eth0 up')
  for (const word of ['', 'a b', "it's", '$x', '*', 'a;b', '!=', '"q"']) {
    expect(run({ argv: ['sh', '-c', `printf %s ${pasteable({ argv: [word] })}`] }).stdout).toBe(word)
  }
})

/** Whether any process still has these words. */
function runs(words: string): boolean {
  return readdirSync('/proc').some((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim() === words
    } catch {
      return false
    }
  })
}

/** Of this process of tests alone: others may run beside it. */
const long = `sleep 1234.${randomInt(2 ** 40)}`

test('a process that takes too long is killed with all it started, and what it printed is kept', () => {
  const script = `echo out; echo err >&2; ${long} & ${long}`
  // On a busy machine it may not have begun within the first times.
  const times = [0.3, 2, 20]
  const ended = (seconds: number) => ({ ...run({ argv: ['sh', '-c', script], seconds }), seconds })
  let outcome = ended(times.shift() as number)
  for (const seconds of times) if (!outcome.stderr.endsWith('err\n')) outcome = ended(seconds)
  expect(outcome).toMatchObject({ status: null, signal: 'SIGKILL', exceeded: true, stdout: 'out\n' })
  expect(outcome.stderr).toBe(`ended by force, because it ran for more than ${outcome.seconds} s\nerr\n`)
  expect(runs(long)).toBe(false)
})

test('behind a tool that took too long the next ones of the call get less, others their own time', () => {
  expect(patience).toEqual({ first: 30, next: 3 })
  const impatient = createRunner({ patience: { first: 0.1, next: 0.2 } })
  const ended = (seconds: number) => ({
    exceeded: true,
    stderr: expect.stringContaining(`for more than ${seconds} s\n`),
  })
  expect(impatient({ argv: ['sleep', '100'] })).toMatchObject(ended(0.1))
  expect(impatient({ argv: ['sleep', '100'] })).toMatchObject(ended(0.2))
  expect(impatient({ argv: ['sleep', '0.3'], seconds: 30 }).status).toBe(0)
  expect(impatient({ argv: ['sleep', '0.3'], env: { PATH: '/bin' } }).status).toBe(0)
})

test('a process that prints without end is killed, on whatever stream', () => {
  for (const stream of ['', ' >&2', ' >&3']) {
    const outcome = run({ argv: ['sh', '-c', `yes${stream}`], pipes: [null] })
    expect(outcome).toMatchObject({ status: null, exceeded: true })
    expect(outcome.stderr).toContain('ended by force, because it printed more than 64 MiB\n')
    expect(outcome.stderr.length).toBeLessThan(100_000)
  }
})

test('what a tool killed from outside had started is killed too', () => {
  expect(run({ argv: ['sh', '-c', `${long} >/dev/null 2>&1 & kill -9 $$`] }).signal).toBe('SIGKILL')
  expect(runs(long)).toBe(false)
})

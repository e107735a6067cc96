import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import type { Run } from './command.js'
import { withLock } from './lock.js'
import { createRunner } from './run.js'

const run = createRunner()
/** Where the kernel is not asked, the flock program takes the lock. */
const hostOf = (runner: Run) => ({ run: runner, observer: { tryLock: () => false } })
let directory: string
let path: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lock-'))
  path = join(directory, 'lock')
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Whether somebody else could take the lock right now. */
function isFree(): boolean {
  return run({ argv: ['flock', '-n', path, 'true'] }).status === 0
}

describe('withLock', () => {
  test('makes the file with mode 0750, holds the lock during the body only, and returns its value', () => {
    expect(withLock(path, isFree, { host: hostOf(run) })).toBe(false)
    expect(isFree()).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o750 & ~process.umask())
  })

  test('lets go when the body throws', () => {
    const failing = () => {
      throw new Error('boom')
    }
    expect(() => withLock(path, failing, { host: hostOf(run) })).toThrow('boom')
    expect(isFree()).toBe(true)
  })

  test('says which lock and how long when another process keeps it', async () => {
    const holder = spawn('flock', ['-x', path, 'sh', '-c', 'echo held; read _'], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    const error = thrownBy(() =>
      withLock(path, () => expect.fail('ran without the lock'), { host: hostOf(run), seconds: 0 }),
    )
    expect(error.code).toBe(codes.tryAgainLater)
    expect(error.message).toBe(`another process has held the lock ${path} for more than 0 s`)
    expect(error.details).toContain(`fuser -v ${path}`)
    holder.stdin.end('\n')
    await once(holder, 'exit')
    expect(withLock(path, () => 'mine', { host: hostOf(run) })).toBe('mine')
  })

  test('locks again when the file was replaced while it waited', () => {
    let waits = 0
    const replacing: Run = (command) => {
      if (waits++ === 0) {
        renameSync(path, `${path}.old`)
        writeFileSync(path, '')
      }
      return run(command)
    }
    expect(withLock(path, isFree, { host: hostOf(replacing) })).toBe(false)
    expect(waits).toBe(2)
  })

  test.each<[string, ReturnType<Run>, number, string]>([
    [
      'no flock',
      { status: null, signal: null, stdout: '', stderr: '', failure: 'ENOENT' },
      codes.toolMissing,
      'util-linux',
    ],
    [
      'flock fails',
      { status: 66, signal: null, stdout: '', stderr: 'flock: 3: Bad file descriptor\n' },
      100,
      'Bad file',
    ],
    ['flock killed', { status: null, signal: 'SIGKILL', stdout: '', stderr: '' }, 100, 'SIGKILL'],
  ])('never goes on without the lock: %s', (_, outcome, code, details) => {
    const error = thrownBy(() =>
      withLock(path, () => expect.fail('ran without the lock'), { host: hostOf(() => outcome) }),
    )
    expect(error.code).toBe(code)
    expect(error.message + error.details).toContain(details)
  })

  test('names the file that cannot be opened', () => {
    const error = thrownBy(() => withLock(join(directory, 'no', 'lock'), () => 0, { host: hostOf(run) }))
    expect(error.code).toBe(codes.ioFailure)
    expect(error.message).toContain(join(directory, 'no', 'lock'))
    expect(existsSync(join(directory, 'no'))).toBe(false)
  })
})

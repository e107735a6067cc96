import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { holdersOf } from './holders.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holders-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Who holds a file's lock while a shell runs that inherited it: this script, with `arguments` behind it. */
async function holdersWhile(file: string, locked: string, ...words: string[]): Promise<readonly string[]> {
  const shell = ['sh', '-c', 'echo held; read _', ...words]
  const holder = spawn('flock', ['-x', locked, ...shell], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  const fd = openSync(file, 'r')
  try {
    // They come in the order of process numbers, which begin anew once in a while.
    return holdersOf(fd)
      .map((one) => one.replace(/\d+\)$/, 'N)'))
      .sort()
  } finally {
    closeSync(fd)
    holder.stdin.end('\n')
    await once(holder, 'exit')
  }
}

test('names every process that has the locked file open, the one that only inherited it too', async () => {
  const file = join(directory, 'lock')
  const shell = 'sh -c echo held; read _'
  expect(await holdersWhile(file, file)).toEqual([`flock -x ${file} ${shell} (pid N)`, `${shell} (pid N)`])
})

test('who has it open without its lock holds nothing, nor who holds the lock of another file', async () => {
  const [file, other] = [join(directory, 'lock'), join(directory, 'other')]
  const open = [openSync(file, 'a'), openSync(other, 'a')]
  expect(await holdersWhile(file, other)).toEqual([])
  for (const fd of open) closeSync(fd)
})

test('long command lines are cut', async () => {
  const file = join(directory, 'lock')
  const [, shell = ''] = await holdersWhile(file, file, 'x'.repeat(300))
  expect(shell).toBe(`${`sh -c echo held; read _ ${'x'.repeat(300)}`.slice(0, 200)} (pid N)`)
})

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, expect, test } from 'vitest'
import { redirected } from '../testing/descriptors.js'
import { answer, readAll, say, write } from './standard.js'

const directory = mkdtempSync(`${tmpdir()}/podwire-standard-`)
const file = `${directory}/file`
let pipes = 0

afterAll(() => rmSync(directory, { recursive: true }))

/** Both ends of a pipe, which answer at once when they would have to wait. */
function pipe(): { reading: number; writing: number } {
  const path = `${directory}/pipe${pipes++}`
  expect(spawnSync('mkfifo', [path]).status).toBe(0)
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { reading, writing: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) }
}

/** Runs `body` with a file open, and closes it. */
function opened<T>(path: string, flags: string | number, body: (fd: number) => T): T {
  const fd = openSync(path, flags)
  try {
    return body(fd)
  } finally {
    closeSync(fd)
  }
}

async function statusOf(child: ChildProcess): Promise<number> {
  const [status] = await once(child, 'exit')
  return status
}

test('input of any length is read to its end', () => {
  for (const text of ['', '{"a": "é"}', 'é'.repeat(200_001)]) {
    writeFileSync(file, text)
    expect(opened(file, 'r', (fd) => redirected(0, fd, readAll))).toBe(text)
  }
})

test('input that comes late, and in pieces, is waited for', async () => {
  const { reading, writing } = pipe()
  const child = spawn('sh', ['-c', 'sleep 0.1; echo one; sleep 0.1; echo two'], {
    stdio: ['ignore', writing, 'ignore'],
  })
  closeSync(writing)
  expect(redirected(0, reading, readAll)).toBe('one\ntwo\n')
  closeSync(reading)
  expect(await statusOf(child)).toBe(0)
})

test('input that cannot be read is an error', () => {
  expect(() => opened(directory, 'r', (fd) => redirected(0, fd, readAll))).toThrow('EISDIR')
})

test('all of a text, or of bytes, is written', () => {
  for (const text of ['', 'é', Buffer.from([0, 255])]) {
    opened(file, 'w', (fd) => write(fd, text))
    expect(readFileSync(file)).toEqual(Buffer.from(text))
  }
  expect(() => opened(file, 'r', (fd) => write(fd, 'x'))).toThrow('EBADF')
})

test('all of it also goes to a reader that takes its time', async () => {
  const { reading, writing } = pipe()
  const text = 'é'.repeat(200_001)
  const child = spawn('sh', ['-c', `sleep 0.1; cat >${file}`], { stdio: [reading, 'ignore', 'ignore'] })
  closeSync(reading)
  write(writing, text)
  closeSync(writing)
  expect(await statusOf(child)).toBe(0)
  expect(readFileSync(file, 'utf8')).toBe(text)
})

test('an answer goes to standard output, unless that was closed', () => {
  opened(file, 'w', (fd) => redirected(1, fd, () => answer('{}')))
  expect(readFileSync(file, 'utf8')).toBe('{}')
  const closed = () => opened('/dev/null', 'r+', (fd) => redirected(1, fd, () => answer('{}')))
  expect(closed).toThrow('EBADF: standard output is closed')
  // Someone who wants no answer, and a device that is another.
  opened('/dev/null', 'w', (fd) => redirected(1, fd, () => answer('{}')))
  opened('/dev/zero', 'r+', (fd) => redirected(1, fd, () => answer('{}')))
})

test('what is said goes to standard error, or to nobody', () => {
  opened(file, 'w', (fd) => redirected(2, fd, () => say('oh\n')))
  expect(readFileSync(file, 'utf8')).toBe('oh\n')
  expect(opened('/dev/full', 'w', (fd) => redirected(2, fd, () => say('oh\n')))).toBeUndefined()
})

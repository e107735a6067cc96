import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, describe, expect, test } from 'vitest'
import { type Libc, loadLibc } from './libc.js'
import { outlive } from './outlive.js'

const directory = mkdtempSync(`${tmpdir()}/podwire-libc-`)
const file = `${directory}/file`
writeFileSync(file, 'text')
afterAll(() => rmSync(directory, { recursive: true }))

/** The C library itself, called as often as a test likes. */
const libc = loadLibc() as Libc

test('locks exclude each other, of one process, too', () => {
  const [LOCK_EX, LOCK_NB, LOCK_UN] = [2, 4, 8]
  const [one, other] = [openSync(file, 'r'), openSync(file, 'r')]
  expect(libc.flock(one, LOCK_EX | LOCK_NB)).toBe(0)
  expect(libc.flock(other, LOCK_EX | LOCK_NB)).toBe(-1)
  expect(libc.flock(one, LOCK_UN)).toBe(0)
  expect(libc.flock(other, LOCK_EX | LOCK_NB)).toBe(0)
  closeSync(one)
  closeSync(other)
  expect(libc.flock(one, LOCK_EX | LOCK_NB)).toBe(-1)
})

test('what is read lies in the buffer, and a failure is its errno', () => {
  const bytes = Buffer.alloc(8)
  const fd = openSync(file, 'r')
  expect(libc.read(fd, bytes)).toBe(4)
  expect(bytes.toString('latin1')).toBe('text\0\0\0\0')
  expect(libc.read(fd, bytes)).toBe(0)
  libc.close(fd)
  const EBADF = 9
  expect(libc.read(fd, bytes)).toBe(-EBADF)
})

test('a buffer is where C finds it: a socket has its options', () => {
  const [AF_UNIX, SOCK_DGRAM, SOL_SOCKET, SO_TYPE] = [1, 2, 1, 3]
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM, 0)
  expect(fd).toBeGreaterThan(2)
  const [value, bytes] = [Buffer.alloc(8, 0xff), Buffer.alloc(4)]
  bytes.writeInt32LE(8)
  expect(libc.getsockopt(fd, SOL_SOCKET, SO_TYPE, libc.address(value), libc.address(bytes))).toBe(0)
  expect([value.readInt32LE(), bytes.readInt32LE()]).toEqual([SOCK_DGRAM, 4])
  libc.close(fd)
  expect(libc.socket(-1, SOCK_DGRAM, 0)).toBe(-1)
})

test('what is no namespace is not entered', () => {
  const fd = openSync(file, constants.O_RDONLY)
  expect(libc.setns(fd, 0)).toBe(-1)
  expect(libc.setns(-1, 0)).toBe(-1)
  libc.close(fd)
})

describe('files outlive the process in a ring', () => {
  const setup = [425, 1, 120, 0, 0, ...Array(120).fill(0)]
  const first = [427, 7, 2, 128, 32, 0x02, 0x01, 0, 0, ...Array(124).fill(0xff)]

  /** What is asked of a kernel that answers these, for so many files; and which are closed. */
  function askedFor(files: number, ...answers: readonly bigint[]) {
    const calls: number[][] = []
    const closed: number[] = []
    let last: Buffer = Buffer.alloc(0)
    const address = (bytes: Buffer) => {
      last = bytes
      return BigInt(bytes.length)
    }
    const syscall = (...words: bigint[]) => {
      calls.push([...words.map(Number), ...last])
      return answers[calls.length - 1] ?? 0n
    }
    const one = { ...libc, address, syscall, close: (fd: number) => void closed.push(fd) }
    for (let index = 0; index < files; index++) outlive(one, 0x0102 + index)
    return { calls, closed }
  }

  test('that knows them, so that their numbers are free', () => {
    const second = [427, 7, 6, 20, 1, 1, 0, 0, 0, 0, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0x03, 0x01, 0, 0]
    expect(askedFor(2, 7n)).toEqual({ calls: [setup, first, second], closed: [0x0102, 0x0103] })
  })

  test('and in another where that has no room', () => {
    const { calls, closed } = askedFor(33, 7n)
    expect(calls.filter(([number]) => number === 425)).toHaveLength(2)
    expect(closed).toHaveLength(33)
  })

  test('and stay open until its end where there are none, or one takes no files', () => {
    expect(askedFor(1, -1n)).toEqual({ calls: [setup], closed: [] })
    expect(askedFor(1, 7n, -1n)).toEqual({ calls: [setup, first], closed: [] })
    expect(askedFor(2, 7n, 0n, -1n).closed).toEqual([0x0102])
  })
})

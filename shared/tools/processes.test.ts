import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadLibc } from '../system/libc.js'
import {
  cgroupsOf,
  commandOf,
  holderOf,
  holdersOf,
  ifThere,
  mountsOf,
  networkOf,
  openFiles,
  parentOf,
  processIDs,
} from './processes.js'

// What /proc says of this process, of a child of it, and of one that is gone.

const self = String(process.pid)
let child: ChildProcess
let socket: number
let gone = ''

beforeAll(async () => {
  const [AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC] = [1, 2, 0o2000000]
  socket = loadLibc()?.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number
  child = spawn('sh', ['-c', 'echo ready; read -r line', 'a b'], { stdio: ['pipe', 'pipe', 'ignore', socket] })
  await once(child.stdout as never, 'data')
  const ended = spawn('true')
  await once(ended, 'exit')
  gone = String(ended.pid)
})

afterAll(async () => {
  const ended = once(child, 'exit')
  child.stdin?.end()
  await ended
  closeSync(socket)
})

test('processes are named by numbers alone', () => {
  const all = processIDs()
  expect(all).toContain(self)
  expect(all.filter((one) => !/^\d+$/.test(one))).toEqual([])
})

test('what a process is, was started by, and is in', () => {
  const pid = String(child.pid)
  expect(commandOf(pid)).toBe('sh -c echo ready; read -r line a b')
  expect(parentOf(pid)).toBe(self)
  expect(parentOf('1')).toBe('0')
  expect(networkOf(pid)).toBe(readlinkSync('/proc/self/ns/net'))
  expect(cgroupsOf(pid)).toBe(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))
  expect(mountsOf(pid)).toBe(readFileSync(`/proc/${pid}/mountinfo`, 'latin1'))
  expect(openFiles(pid)).toContain(readlinkSync(`/proc/${pid}/fd/3`))
})

test('one that is gone has nothing', () => {
  const said = [commandOf, parentOf, networkOf, cgroupsOf, mountsOf].map((ask) => ask(gone))
  expect([...said, ...openFiles(gone)]).toEqual(['', '', '', '', ''])
})

test('who else has a socket open', () => {
  const inode = readlinkSync(`/proc/${child.pid}/fd/3`).slice('socket:['.length, -1)
  expect(inode).toMatch(/^\d+$/)
  expect([...holdersOf(new Set([inode, '0']))]).toEqual([[inode, [String(child.pid)]]])
  expect([...holdersOf(new Set())]).toEqual([])
})

test('a path leads to a network namespace that some process is in', () => {
  const path = holderOf(readlinkSync('/proc/self/ns/net')) as string
  expect(readlinkSync(path)).toBe(readlinkSync('/proc/self/ns/net'))
  expect(holderOf('net:[1]')).toBeUndefined()
})

test('a namespace that a process only has open is found by its open file', () => {
  // Of another kind, because a network namespace of its own takes privileges: only the name is looked at.
  const fd = openSync('/proc/self/ns/uts', 'r')
  const name = readlinkSync('/proc/self/ns/uts')
  expect(readlinkSync(holderOf(name) as string)).toBe(name)
  closeSync(fd)
})

test('what is not there, or not ours to see, is told from a failure', () => {
  const failing = (code: string) => () => {
    throw Object.assign(new Error(code), { code })
  }
  for (const code of ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL', 'ENOTDIR']) {
    expect(ifThere(failing(code), 'nothing')).toBe('nothing')
  }
  expect(ifThere(() => 'something', 'nothing')).toBe('something')
  expect(() => ifThere(failing('EMFILE'), 'nothing')).toThrow('EMFILE')
  expect(() => ifThere(() => expect.fail('without a code'), 'nothing')).toThrow('without a code')
})

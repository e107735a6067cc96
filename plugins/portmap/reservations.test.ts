import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, readlinkSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { loadLibc } from '../../shared/system/libc.js'
import { holdings } from './reservations.js'

// Who holds a socket, by real processes: children of this one, which is none of those that execute a plugin.

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) {
    const ended = once(child, 'exit')
    child.stdin?.end()
    await ended
  }
})

/** A socket that these processes have open, each with words of its command line; this one only while they start. */
async function heldBy(...words: string[]): Promise<string> {
  const [AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC] = [1, 2, 0o2000000]
  const socket = loadLibc()?.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number
  const inode = readlinkSync(`/proc/self/fd/${socket}`).slice('socket:['.length, -1)
  for (const one of words) {
    const child = spawn('sh', ['-c', 'echo ready; read -r line', one], { stdio: ['pipe', 'pipe', 'ignore', socket] })
    children.push(child)
    await once(child.stdout as never, 'data')
  }
  closeSync(socket)
  return inode
}

const of = (inode: string, containerID = attachment.containerID) =>
  holdings({ ...attachment, containerID }, new Set([inode])).get(inode)

test('a process that names the container keeps the port for it', async () => {
  const inode = await heldBy('/run/c1/conmon')
  expect(of(inode)).toEqual({
    isReservation: true,
    holder: { pid: String(children[0]?.pid), command: expect.stringContaining('/run/c1/conmon'), role: 'reserver' },
  })
  for (const other of ['c', 'c11', 'run']) expect(of(inode, other)?.isReservation).toBe(other === 'run')
})

test('what anybody else has open, too, is theirs, and the one that is told of', async () => {
  const inode = await heldBy('conmon -c c1', 'c1.service', 'server')
  expect(of(inode)).toMatchObject({ isReservation: false, holder: { pid: String(children[1]?.pid) } })
  expect(of(await heldBy('server'))).toMatchObject({ isReservation: false, holder: { role: 'other' } })
})

test('a socket that nobody else has open is held by none', async () => {
  expect(of(await heldBy())).toEqual({ holder: undefined, isReservation: false })
  expect([...holdings(attachment, new Set())]).toEqual([])
})

test('each socket has its own holders', async () => {
  const [mine, theirs] = [await heldBy('c1'), await heldBy('server')]
  const held = holdings(attachment, new Set([mine, theirs]))
  expect([held.get(mine)?.isReservation, held.get(theirs)?.isReservation]).toEqual([true, false])
})

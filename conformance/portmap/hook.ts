// A runtime's hook that holds a port and then calls a plugin, run by `node --eval` (see reservations.test.ts); what
// nerdctl's does is "reserved". It ends with the plugin's status, and passes on what that read and wrote.
//   WAY PROTOCOL ADDRESS PORT LOG PLUGIN...
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

const [way = '', protocol, address = '', port, log = '', ...plugin] = process.argv.slice(1)
const input = readFileSync(0)
const sleep = ['sleep', 'infinity']

interface Held {
  fd: number
  close: () => Promise<void>
}

/** A socket that listens; only its bare descriptor can be handed to a child. */
async function hold(): Promise<Held> {
  const socket = protocol === 'udp' ? createSocket('udp4') : createServer()
  await new Promise<void>((resolve) => {
    if ('listen' in socket) socket.listen(Number(port), address, resolve)
    else socket.bind(Number(port), address, resolve)
  })
  return { fd: descriptorOf(socket), close: () => new Promise((resolve) => void socket.close(() => resolve())) }
}

/** Node keeps a TCP server's handle in a property, a UDP socket's in its state. */
function descriptorOf(socket: object): number {
  const [state] = Object.getOwnPropertySymbols(socket).filter(({ description }) => description === 'state symbol')
  const holder = state ? (socket as Record<symbol, unknown>)[state] : socket
  const { handle, _handle } = holder as { handle?: { fd: number }; _handle?: { fd: number } }
  const fd = (handle ?? _handle)?.fd
  if (fd === undefined) throw new Error('this Node keeps its descriptors elsewhere')
  return fd
}

const children: ChildProcess[] = []

function child(argv: readonly string[], fd: number): void {
  const [command = '', ...rest] = argv
  children.push(spawn(command, rest, { stdio: ['ignore', 'ignore', 'ignore', fd] }))
}

/** Starts a program whose parent ends at once; returns its process ID. */
function orphan(argv: readonly string[], fd: number): string {
  const script = '"$@" >/dev/null 2>&1 & echo $!'
  return spawnSync('sh', ['-c', script, 'sh', ...argv], { stdio: ['ignore', 'pipe', 'ignore', fd] }).stdout.toString()
}

function call(argv: readonly string[], more: readonly number[] = []): number {
  const [command = '', ...rest] = argv
  return spawnSync(command, rest, { input, stdio: ['pipe', 1, 2, ...more] }).status ?? 255
}

const direct = () => call(plugin)
const through = () => call(['sh', '-c', '"$@"; exit $?', 'sh', ...plugin])

/** Waits until a process is the program that it was forked for: until then it is a shell. */
async function becomes(pid: string, [command]: readonly string[]): Promise<void> {
  while (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`${command}\0`)) await delay(5)
}

async function orphaned(held: Held, argv = sleep): Promise<string> {
  const pid = orphan(argv, held.fd).trim()
  await becomes(pid, argv)
  await held.close()
  return pid
}

const ways: Record<string, (held: Held) => number | Promise<number>> = {
  alone: direct,
  leaked: ({ fd }) => call(plugin, [fd]),
  'above the caller': through,
  reserved: ({ fd }) => {
    child(sleep, fd)
    return direct()
  },
  'by another program': ({ fd }) => {
    child(['tail', '-f', '/dev/null'], fd)
    return direct()
  },
  'handed over': async ({ fd, close }) => {
    child(sleep, fd)
    await close()
    return direct()
  },
  'with a grandchild': async ({ fd }) => {
    const shell = spawn('sh', ['-c', 'sleep infinity & echo $!; wait'], { stdio: ['ignore', 'pipe', 'ignore', fd] })
    children.push(shell)
    const [pid] = await once(shell.stdout as Readable, 'data')
    await becomes(String(pid).trim(), sleep)
    return direct()
  },
  "by a stranger's child": async ({ fd, close }) => {
    child(sleep, fd)
    await close()
    return through()
  },
  'above the caller, with a child': ({ fd }) => {
    child(sleep, fd)
    return through()
  },
  orphaned: async (held) => {
    await orphaned(held)
    return direct()
  },
  'orphaned, by another program': async (held) => {
    await orphaned(held, ['tail', '-f', '/dev/null'])
    return direct()
  },
  'orphaned, in another cgroup': async (held) => {
    const pid = await orphaned(held)
    const mount = ['--bind', '/run/other-cgroup', `/proc/${pid}/cgroup`]
    const { status } = spawnSync('mount', mount, { stdio: ['ignore', 2, 2] })
    return status === 0 ? direct() : 254
  },
}

if (log !== '') openSync(log, 'w')
const status = (await ways[way]?.(await hold())) ?? 253
for (const one of children) {
  const gone = once(one, 'exit')
  one.kill()
  await gone
}
process.exit(status)

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import { callBus, isOnBus, isTrue, isUnanswered, systemBus } from './dbus.js'

const ended = (outcome: Partial<Outcome>): Outcome => ({ status: 0, signal: null, stdout: '', stderr: '', ...outcome })
const target = { service: 'org.example.S', object: '/org/example', interface: 'org.example.I' }

/** The calls, whose programs are there, or not. */
function calling(outcomes: Readonly<Record<string, Partial<Outcome>>>) {
  const calls: string[] = []
  const run = ({ argv }: { argv: readonly [string, ...string[]] }) => {
    calls.push(argv.join(' '))
    return ended(outcomes[argv[0]] ?? { status: null, failure: 'ENOENT' })
  }
  return { calls, host: { run, env: {} } }
}

test('the bus is where the environment says, or at its usual place; without a socket there is none', () => {
  const directory = mkdtempSync(`${tmpdir()}/podwire-bus-`)
  const bus = (DBUS_SYSTEM_BUS_ADDRESS?: string) => systemBus({ env: { DBUS_SYSTEM_BUS_ADDRESS } })
  const path = `unix:path=${directory}/socket`
  expect(bus(path)).toBeUndefined()
  writeFileSync(`${directory}/socket`, '')
  for (const address of [path, `${path},guid=1`, `${path};tcp:host=a`, 'tcp:host=127.0.0.1', 'unix:abstract=a']) {
    expect(bus(address)).toBe(address)
  }
  rmSync(directory, { recursive: true })
  expect([undefined, 'unix:path=/var/run/dbus/system_bus_socket']).toContain(bus())
  expect(bus('')).toBe(bus())
})

test('a method is called by the first tool there is', () => {
  const words = ['a', 'b c']
  const both = calling({ busctl: { stdout: 's "x"' }, 'dbus-send': {} })
  expect(callBus(both.host, 'unix:path=/b', target, 'Do', words)?.stdout).toBe('s "x"')
  expect(both.calls).toEqual([
    'busctl --address=unix:path=/b call org.example.S /org/example org.example.I Do ss a b c',
  ])
  const older = calling({ 'dbus-send': { status: 1 } })
  expect(callBus(older.host, 'unix:path=/b', target, 'Do', words)?.status).toBe(1)
  expect(older.calls[1]).toBe(
    'dbus-send --bus=unix:path=/b --print-reply=literal --dest=org.example.S /org/example org.example.I.Do string:a string:b c',
  )
  expect(callBus(calling({}).host, 'unix:path=/b', target, 'Do', [])).toBeUndefined()
})

test('a service is on the bus when its name has an owner', () => {
  const asking = (outcome: Partial<Outcome>) => isOnBus(calling({ busctl: outcome }).host, 'a', 'org.example.S')
  expect([asking({}), asking({ status: 1 }), isOnBus(calling({}).host, 'a', 'org.example.S')]).toEqual([
    true,
    false,
    false,
  ])
})

test('a reply is read as either tool prints it', () => {
  expect(['b true\n', '   boolean true\n', 'b false\n'].map((stdout) => isTrue(ended({ stdout })))).toEqual([
    true,
    true,
    false,
  ])
})

test('a call that was refused is told from one whose answer is not known', () => {
  const rows: [Partial<Outcome>, boolean][] = [
    [{ status: null, failure: 'ENOENT' }, false],
    [{ status: null, failure: 'EAGAIN', stderr: 'timed out' }, false],
    [{ status: 1, stderr: 'Call failed: ALREADY_ENABLED' }, false],
    [{ status: 1, stderr: 'Call failed: Connection timed out' }, true],
    [{ status: 1, stderr: 'Error org.freedesktop.DBus.Error.NoReply: Did not receive a reply' }, true],
    [{ status: 1, stderr: ' \n' }, true],
    [{ status: null, signal: 'SIGKILL', stderr: 'x' }, true],
  ]
  for (const [outcome, expected] of rows) expect([outcome, isUnanswered(ended(outcome))]).toEqual([outcome, expected])
})

import { statSync } from 'node:fs'
import type { Outcome, Run } from '../exec/command.js'

// The system bus, asked through busctl, which every systemd host has, or dbus-send: a D-Bus client of our own would
// need synchronous sockets, which Node does not have.

/** An interface of an object that a service has on the bus. */
export interface BusTarget {
  readonly service: string
  readonly object: string
  readonly interface: string
}

/** What a call needs: processes, and the caller's environment, which may name the bus. */
export interface BusHost {
  readonly run: Run
  readonly env: Readonly<Record<string, string | undefined>>
}

/** The address of the system bus; undefined where there is no socket, so that a host without a bus costs nothing. */
export function systemBus({ env }: Pick<BusHost, 'env'>): string | undefined {
  const address = env['DBUS_SYSTEM_BUS_ADDRESS'] || 'unix:path=/var/run/dbus/system_bus_socket'
  const prefix = 'unix:path='
  if (!address.startsWith(prefix)) return address
  const path = address.slice(prefix.length).split(/[,;]/)[0] as string
  return statSync(path, { throwIfNoEntry: false }) ? address : undefined
}

/** Whether a service has its name on a bus. */
export function isOnBus(host: BusHost, address: string, service: string): boolean {
  return callBus(host, address, bus, 'GetNameOwner', [service])?.status === 0
}

/** A method call with string arguments by the first tool there is; undefined where there is none. */
export function callBus(
  { run }: Pick<BusHost, 'run'>,
  address: string,
  target: BusTarget,
  method: string,
  words: readonly string[],
): Outcome | undefined {
  const { service, object, interface: name } = target
  const signature = 's'.repeat(words.length)
  const commands = [
    ['busctl', `--address=${address}`, 'call', service, object, name, method, signature, ...words],
    [
      'dbus-send',
      `--bus=${address}`,
      '--print-reply=literal',
      `--dest=${service}`,
      object,
      `${name}.${method}`,
      ...words.map((word) => `string:${word}`),
    ],
  ] as const
  for (const argv of commands) {
    const outcome = run({ argv: argv as unknown as [string] })
    if (outcome.failure !== 'ENOENT') return outcome
  }
  return undefined
}

/** Whether a reply of one boolean is true, in the words of either tool. */
export function isTrue({ stdout }: Outcome): boolean {
  return stdout.includes('true')
}

/**
 * Whether the service may have done what it was asked although its answer is not known: the tool was ended, or did not
 * wait for it.
 */
export function isUnanswered({ status, stderr, failure }: Outcome): boolean {
  if (failure !== undefined) return false
  return status !== 1 || stderr.trim() === '' || ['timed out', 'NoReply'].some((words) => stderr.includes(words))
}

// --- internal

const bus: BusTarget = {
  service: 'org.freedesktop.DBus',
  object: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
}

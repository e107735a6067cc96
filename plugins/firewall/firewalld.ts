import { statSync } from 'node:fs'
import type { Outcome } from '../../shared/exec/command.js'
import { firstLine } from '../../shared/exec/stderr.js'
import type { Host } from '../../shared/plan/host.js'
import { asCniError, CniError, codes, type Problem } from '../../shared/values/errors.js'

/**
 * firewalld over D-Bus. The bus is asked through busctl, which every systemd host has, or dbus-send: a D-Bus client of
 * our own would need synchronous sockets, which Node does not have, and firewall-cmd starts a Python for each question.
 */
export function runsFirewalld(host: Host): boolean {
  const address = busAddress(host)
  if (address === undefined) return false
  return ask(host, address, bus, 'GetNameOwner', [firewalld.service])?.status === 0
}

/** Binds the addresses to a zone; one that is there already is fine. Taken back when the ADD fails. */
export function addSources(host: Host, zone: string, addresses: readonly string[]): void {
  for (const source of addresses.map(sourceOf)) {
    host.change(`busctl call ${firewalld.service} addSource ss ${zone} ${source}`, () => {
      const outcome = requireAnswer(host, 'addSource', [zone, source])
      const { status, stderr } = outcome
      if (status !== 0 && stderr.includes('ZONE_ALREADY_SET')) return
      if (status === 0 || isUnclear(outcome)) {
        host.journal.note(() => {
          try {
            removeSource(host, zone, source)
            return []
          } catch (thrown) {
            return [asCniError(thrown)]
          }
        })
      }
      if (status !== 0) throw failed(`failed to add the address ${source} to ${zone} zone`, stderr)
    })
  }
}

/** Takes the addresses out of a zone; nothing to do where firewalld is gone: it has forgotten them, too. */
export function removeSources(host: Host, zone: string, addresses: readonly string[]): void {
  if (addresses.length === 0 || !runsFirewalld(host)) return
  for (const source of addresses.map(sourceOf)) {
    host.change(`busctl call ${firewalld.service} removeSource ss ${zone} ${source}`, () =>
      removeSource(host, zone, source),
    )
  }
}

/** What CHECK finds missing. */
export function sourceDifferences(host: Host, zone: string, addresses: readonly string[]): readonly Problem[] {
  const missing = addresses.map(sourceOf).filter((source) => {
    const { status, stdout, stderr } = requireAnswer(host, 'querySource', [zone, source])
    if (status !== 0) throw failed(`failed to find the address ${source} in ${zone} zone`, stderr)
    return !stdout.includes('true')
  })
  return missing.map((source) => ({
    path: `firewalld zone ${zone}`,
    value: 'no such source',
    expected: source,
    fix: 'DEL and ADD the attachment: a reload of firewalld forgets such sources',
  }))
}

// --- internal

interface Target {
  readonly service: string
  readonly object: string
  readonly interface: string
}

const bus: Target = {
  service: 'org.freedesktop.DBus',
  object: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
}

const firewalld: Target = {
  service: 'org.fedoraproject.FirewallD1',
  object: '/org/fedoraproject/FirewallD1',
  interface: 'org.fedoraproject.FirewallD1.zone',
}

/** The address of the system bus; undefined where there is no socket, so that a host without a bus costs nothing. */
function busAddress({ env }: Host): string | undefined {
  const address = env['DBUS_SYSTEM_BUS_ADDRESS'] || 'unix:path=/var/run/dbus/system_bus_socket'
  const prefix = 'unix:path='
  if (!address.startsWith(prefix)) return address
  const path = address.slice(prefix.length).split(/[,;]/)[0] as string
  return statSync(path, { throwIfNoEntry: false }) ? address : undefined
}

/** A method call with string arguments by the first tool there is; undefined where there is none. */
function ask(
  { run }: Host,
  address: string,
  target: Target,
  method: string,
  words: readonly string[],
): Outcome | undefined {
  const { service, object, interface: name } = target
  const signature = 's'.repeat(words.length)
  const outcomes = [
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
  for (const argv of outcomes) {
    const outcome = run({ argv: argv as unknown as [string] })
    if (outcome.failure !== 'ENOENT') return outcome
  }
  return undefined
}

function requireAnswer(host: Host, method: string, words: readonly string[]): Outcome {
  const address = busAddress(host)
  if (address === undefined) {
    throw new CniError(codes.operationFailed, 'cannot reach firewalld: there is no D-Bus system bus', {
      fix: 'start dbus and firewalld, or leave out "backend"',
    })
  }
  const outcome = ask(host, address, firewalld, method, words)
  if (outcome) return outcome
  throw new CniError(codes.toolMissing, 'cannot speak to firewalld: neither "busctl" nor "dbus-send" is installed', {
    fix: 'install systemd or dbus-bin, or set the backend to "nftables"',
  })
}

/** True when firewalld may have done what it was asked although its answer is not known: the tool was ended, or did not wait for it. */
function isUnclear({ status, stderr, failure }: Outcome): boolean {
  if (failure !== undefined) return false
  return status !== 1 || stderr.trim() === '' || ['timed out', 'NoReply'].some((words) => stderr.includes(words))
}

function removeSource(host: Host, zone: string, source: string): void {
  const { status, stderr } = requireAnswer(host, 'removeSource', [zone, source])
  if (status === 0 || stderr.includes('UNKNOWN_SOURCE')) return
  throw failed(`failed to remove the address ${source} from ${zone} zone`, stderr)
}

function failed(what: string, stderr: string): CniError {
  return new CniError(codes.operationFailed, `${what}: ${firstLine(stderr)}`, {
    details: `stderr: ${stderr.trim()}`,
    fix: 'see "firewall-cmd --get-active-zones" and the journal of firewalld',
  })
}

function sourceOf(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`
}

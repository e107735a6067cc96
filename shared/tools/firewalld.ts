import type { Outcome } from '../exec/command.js'
import { firstLine } from '../exec/stderr.js'
import { CniError, codes } from '../values/errors.js'
import { type BusHost, type BusTarget, callBus, isOnBus, isTrue, isUnanswered, systemBus } from './dbus.js'

// Zones of firewalld over D-Bus: firewall-cmd starts a Python for each question.

export function runsFirewalld(host: BusHost): boolean {
  const address = systemBus(host)
  return address !== undefined && isOnBus(host, address, zones.service)
}

/**
 * Binds an address (with its prefix length) to a zone.
 * @param done is called when it was, or may have been, and was not bound to it before
 */
export function addToZone(host: BusHost, zone: string, source: string, done: () => void): void {
  const outcome = call(host, 'addSource', [zone, source])
  const { status, stderr } = outcome
  if (status !== 0 && stderr.includes('ZONE_ALREADY_SET')) return
  if (status === 0 || isUnanswered(outcome)) done()
  if (status !== 0) throw failed(`failed to add the address ${source} to ${zone} zone`, stderr)
}

/** Takes an address out of a zone; one that is not in it is fine. */
export function removeFromZone(host: BusHost, zone: string, source: string): void {
  const { status, stderr } = call(host, 'removeSource', [zone, source])
  if (status === 0 || stderr.includes('UNKNOWN_SOURCE')) return
  throw failed(`failed to remove the address ${source} from ${zone} zone`, stderr)
}

export function isInZone(host: BusHost, zone: string, source: string): boolean {
  const answer = call(host, 'querySource', [zone, source])
  if (answer.status !== 0) throw failed(`failed to find the address ${source} in ${zone} zone`, answer.stderr)
  return isTrue(answer)
}

/** What a person would type for the same. */
export function zoneCommand(verb: 'add' | 'remove', zone: string, source: string): string {
  return `busctl call ${zones.service} ${verb}Source ss ${zone} ${source}`
}

// --- internal

const zones: BusTarget = {
  service: 'org.fedoraproject.FirewallD1',
  object: '/org/fedoraproject/FirewallD1',
  interface: 'org.fedoraproject.FirewallD1.zone',
}

function call(host: BusHost, method: string, words: readonly string[]): Outcome {
  const address = systemBus(host)
  if (address === undefined) {
    throw new CniError(codes.operationFailed, 'cannot reach firewalld: there is no D-Bus system bus', {
      official: 'system bus not found',
      fix: 'start dbus and firewalld, or leave out "backend"',
    })
  }
  const outcome = callBus(host, address, zones, method, words)
  if (outcome) return outcome
  throw new CniError(codes.toolMissing, 'cannot speak to firewalld: neither "busctl" nor "dbus-send" is installed', {
    fix: 'install systemd or dbus-bin, or set the backend to "nftables"',
  })
}

function failed(what: string, stderr: string): CniError {
  return new CniError(codes.operationFailed, `${what}: ${firstLine(stderr)}`, {
    details: `stderr: ${stderr.trim()}`,
    fix: 'see "firewall-cmd --get-active-zones" and the journal of firewalld',
  })
}

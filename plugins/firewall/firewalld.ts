import type { Outcome } from '../../shared/exec/command.js'
import { firstLine } from '../../shared/exec/stderr.js'
import type { Host } from '../../shared/plan/host.js'
import { type BusTarget, callBus, isOnBus, isTrue, isUnanswered, systemBus } from '../../shared/tools/dbus.js'
import { hostPrefix } from '../../shared/values/address.js'
import { asCniError, CniError, codes, type Problem } from '../../shared/values/errors.js'

/** firewalld over D-Bus: firewall-cmd starts a Python for each question. */
export function runsFirewalld(host: Host): boolean {
  const address = systemBus(host)
  return address !== undefined && isOnBus(host, address, firewalld.service)
}

/** Binds the addresses to a zone; one that is there already is fine. Taken back when the ADD fails. */
export function addSources(host: Host, zone: string, addresses: readonly string[]): void {
  for (const source of addresses.map(hostPrefix)) {
    host.change(`busctl call ${firewalld.service} addSource ss ${zone} ${source}`, () => {
      const outcome = requireAnswer(host, 'addSource', [zone, source])
      const { status, stderr } = outcome
      if (status !== 0 && stderr.includes('ZONE_ALREADY_SET')) return
      if (status === 0 || isUnanswered(outcome)) {
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
  for (const source of addresses.map(hostPrefix)) {
    host.change(`busctl call ${firewalld.service} removeSource ss ${zone} ${source}`, () =>
      removeSource(host, zone, source),
    )
  }
}

/** What CHECK finds missing. */
export function sourceDifferences(host: Host, zone: string, addresses: readonly string[]): readonly Problem[] {
  const missing = addresses.map(hostPrefix).filter((source) => {
    const answer = requireAnswer(host, 'querySource', [zone, source])
    if (answer.status !== 0) throw failed(`failed to find the address ${source} in ${zone} zone`, answer.stderr)
    return !isTrue(answer)
  })
  return missing.map((source) => ({
    path: `firewalld zone ${zone}`,
    value: 'no such source',
    expected: source,
    fix: 'DEL and ADD the attachment: a reload of firewalld forgets such sources',
  }))
}

// --- internal

const firewalld: BusTarget = {
  service: 'org.fedoraproject.FirewallD1',
  object: '/org/fedoraproject/FirewallD1',
  interface: 'org.fedoraproject.FirewallD1.zone',
}

function requireAnswer(host: Host, method: string, words: readonly string[]): Outcome {
  const address = systemBus(host)
  if (address === undefined) {
    throw new CniError(codes.operationFailed, 'cannot reach firewalld: there is no D-Bus system bus', {
      official: 'system bus not found',
      fix: 'start dbus and firewalld, or leave out "backend"',
    })
  }
  const outcome = callBus(host, address, firewalld, method, words)
  if (outcome) return outcome
  throw new CniError(codes.toolMissing, 'cannot speak to firewalld: neither "busctl" nor "dbus-send" is installed', {
    fix: 'install systemd or dbus-bin, or set the backend to "nftables"',
  })
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

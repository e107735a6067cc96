import type { Host } from '../../shared/plan/host.js'
import { addToZone, isInZone, removeFromZone, runsFirewalld, zoneCommand } from '../../shared/tools/firewalld.js'
import { hostPrefix } from '../../shared/values/address.js'
import { asCniError, type Problem } from '../../shared/values/errors.js'

/** Binds the addresses to a zone; one that is there already is fine. Taken back when the ADD fails. */
export function addSources(host: Host, zone: string, addresses: readonly string[]): void {
  for (const source of addresses.map(hostPrefix)) {
    const undo = () => {
      try {
        removeFromZone(host, zone, source)
        return []
      } catch (thrown) {
        return [asCniError(thrown)]
      }
    }
    host.change(zoneCommand('add', zone, source), () => addToZone(host, zone, source, () => host.journal.note(undo)))
  }
}

/** Takes the addresses out of a zone; nothing to do where firewalld is gone: it has forgotten them, too. */
export function removeSources(host: Host, zone: string, addresses: readonly string[]): void {
  if (addresses.length === 0 || !runsFirewalld(host)) return
  for (const source of addresses.map(hostPrefix)) {
    host.change(zoneCommand('remove', zone, source), () => removeFromZone(host, zone, source))
  }
}

/** What CHECK finds missing. */
export function sourceDifferences(host: Host, zone: string, addresses: readonly string[]): readonly Problem[] {
  const missing = addresses.map(hostPrefix).filter((source) => !isInZone(host, zone, source))
  return missing.map((source) => ({
    path: `firewalld zone ${zone}`,
    value: 'no such source',
    expected: source,
    fix: 'DEL and ADD the attachment: a reload of firewalld forgets such sources',
  }))
}

import { mayHaveLostRecord } from '../../shared/exec/records.js'
import type { plainTools } from '../../shared/net/iptables.js'
import { addressText, familiesOf, mayMention } from '../../shared/net/leftovers.js'
import { bothFamilies, type NftObject, ownTable } from '../../shared/plan/element.js'
import type { Host } from '../../shared/plan/host.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { hostVethName } from '../../shared/values/names.js'
import { addressSet, admittedElement } from './admission.js'
import type { Wanted } from './iptables.js'
import { isolatedPort, portSet } from './isolation.js'
import { chains } from './rules.js'

/** What there may be of an attachment that no record tells of. */
export interface Left {
  readonly isAdmitted: boolean
  readonly isIsolated: boolean
  /** Rules of the official plugin. */
  readonly hasRules: boolean
}

/** Asks by the addresses and the port that the DEL is told, and by all where somebody has taken records away. */
export function leftOf({ observer }: Host, attachment: Attachment, { addresses, isolation }: Wanted): Left {
  const isLost = mayHaveLostRecord('firewall', attachment)
  const sets = bothFamilies.map((family) => ({ family, table: ownTable, set: addressSet }))
  const own = isLost ? sets : addresses.map((address) => admittedElement(address, attachment))
  const named = [hostVethName(attachment), ...(isolation?.port === undefined ? [] : [isolation.port])]
  const ports = isLost
    ? [{ family: 'bridge' as const, table: ownTable, set: portSet }]
    : named.map((port) => isolatedPort(port, attachment))
  const families = familiesOf(addresses)
  const texts = addresses.map(addressText)
  const rules = families.flatMap((family) => [
    { of: filterChain(family, chains.forward), texts },
    ...(isolation ? [{ of: filterChain(family, chains.stages[0]), texts: [isolation.bridge] }] : []),
  ])
  const held = observer.holdsDirectly([...own, ...ports, ...rules.map(({ of }) => of)])
  if (!held) return { isAdmitted: true, isIsolated: true, hasRules: addresses.length > 0 }
  const portsEnd = own.length + ports.length
  return {
    isAdmitted: held.slice(0, own.length).includes(true),
    isIsolated: held.slice(own.length, portsEnd).includes(true),
    hasRules:
      rules.some(({ of, texts }, index) => held[portsEnd + index] && mayMention(observer, of, texts)) ||
      families.some((family) => observer.hasLegacyTable(family, 'filter')),
  }
}

// --- internal

function filterChain(family: keyof typeof plainTools, chain: string): NftObject {
  return { family, table: 'filter', chain }
}

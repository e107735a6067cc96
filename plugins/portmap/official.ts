import { nft } from '../../shared/net/nft.js'
import type { ListedRule, ListedTable, Observer } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'

/** A rule of a family. */
export type OfficialRule = ListedRule & { readonly family: string }

/**
 * The rules that the official plugin's nftables backend left for a container. They carry nothing but its ID, so that
 * another network's rules of the same container look alike: where its addresses on this network are known, only rules
 * for those are taken.
 */
export function officialRules(
  observer: Observer,
  { containerID }: Attachment,
  { tables, addresses }: { tables: readonly ListedTable[]; addresses: readonly string[] },
): readonly OfficialRule[] {
  const families = tables.flatMap(({ family, name }) => (name === table ? [family] : []))
  return families.flatMap((family) =>
    observer
      .rules({ family, table })
      .filter((rule) => rule.comment === containerID && chains.includes(rule.chain) && isFor(rule, addresses))
      .map((rule) => ({ ...rule, family })),
  )
}

/** Removes such rules. */
export function removeOfficialRules({ containerID }: Attachment, rules: readonly OfficialRule[]): readonly Operation[] {
  const why = `remove what the official plugin published for ${containerID}`
  return rules.map(({ family, chain, handle }) => ({
    ...nft(['delete', 'rule', family, table, chain, 'handle', String(handle)], why),
    tolerate: ['absent'],
  }))
}

// --- internal

const table = 'cni_hostport'
const chains = ['hostports', 'hostip_hostports', 'masquerading']

/** Whether a rule names one of the addresses: as the target of a dnat, or where masquerade applies. */
function isFor({ matches, target = '' }: ListedRule, addresses: readonly string[]): boolean {
  if (addresses.length === 0) return true
  return addresses.includes(target) || matches.some(({ value }) => addresses.includes(value))
}

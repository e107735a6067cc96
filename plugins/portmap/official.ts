import { nft } from '../../shared/net/nft.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import { askNft, type RuleTable } from '../../shared/tools/nft.js'
import type { Attachment } from '../../shared/values/attachment.js'

/**
 * The rules that the official plugin's nftables backend left for a container. They carry nothing but its ID, so that
 * another network's rules of the same container look alike: where its addresses on this network are known, only rules
 * for those are taken.
 */
export function officialRules(
  { run }: Host,
  { containerID }: Attachment,
  { tables, addresses }: { tables: readonly RuleTable[]; addresses: readonly string[] },
): readonly Operation[] {
  const families = tables.flatMap(({ family, name }) => (name === table ? [family] : []))
  return families.flatMap((family) =>
    askNft(run, ['list', 'table', family, table])
      .map((one) => one['rule'] as Rule | undefined)
      .filter((rule) => rule?.comment === containerID && chains.includes(rule.chain) && isFor(rule, addresses))
      .map((rule) => ({
        ...nft(
          ['delete', 'rule', family, table, rule?.chain ?? '', 'handle', String(rule?.handle)],
          `remove what the official plugin published for ${containerID}`,
        ),
        tolerate: ['absent'],
      })),
  )
}

// --- internal

interface Rule {
  readonly chain: string
  readonly handle: number
  readonly comment?: string
  readonly expr?: readonly unknown[]
}

const table = 'cni_hostport'
const chains = ['hostports', 'hostip_hostports', 'masquerading']

/** Whether a rule's last expressions name one of the addresses: as the target of a dnat, or where masquerade applies. */
function isFor({ expr = [] }: Rule, addresses: readonly string[]): boolean {
  if (addresses.length === 0) return true
  return expr.some((one) => {
    const { dnat, match } = one as { dnat?: { addr?: unknown }; match?: { right?: unknown } }
    return addresses.includes(String(dnat?.addr)) || addresses.includes(String(match?.right))
  })
}

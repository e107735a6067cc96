import { nft } from '../../shared/net/nft.js'
import type { ListedRule, Observer } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { type Family, type Port, type Publication, portText } from './publication.js'

/** The table of the official plugin's nftables backend. */
export const table = 'cni_hostport'

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
  { families, addresses }: { families: readonly Family[]; addresses: readonly string[] },
): readonly OfficialRule[] {
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

/**
 * What CHECK finds missing of what the official nftables backend publishes; undefined where it has nothing of the
 * container in the family. A rule is known by the container's ID, its port and the address it leads to; one that
 * nothing leads into counts as missing.
 */
export function officialProblems(
  observer: Observer,
  { containerID }: Attachment,
  publication: Publication,
): readonly Problem[] | undefined {
  const { family, address, ports, masquerade } = publication
  const rules = observer.rules({ family, table })
  const own = rules.filter(({ comment }) => comment === containerID)
  if (own.length === 0) return undefined
  const hooks = ['prerouting', 'output'].map((hook) => chainsBehind(rules, hook))
  const reached = own.filter(({ chain }) => hooks.every((hook) => hook.has(chain)))
  const lacking = ports.filter((port) => !reached.some((rule) => isOf(rule, port, address)))
  const isMasked = own.some(
    ({ chain, matches }) => chain === 'masquerading' && matches.some(({ value }) => value === address),
  )
  const missing = (chain: string, expected: string) => ({
    path: `nftables ${family} ${table} ${chain}`,
    value: 'no such rule',
    expected,
    fix: 'DEL and ADD the attachment: something flushed or changed its rules',
  })
  return [
    ...lacking.map((port) => missing('hostports', `host port ${portText(port)} to ${address}:${port.container}`)),
    ...(masquerade === 'none' || isMasked ? [] : [missing('masquerading', `a rule that masquerades for ${address}`)]),
  ]
}

// --- internal

const chains = ['hostports', 'hostip_hostports', 'masquerading']

/** The chains that packets come to by jumps: which, differs between versions of the official plugin. */
function chainsBehind(rules: readonly ListedRule[], first: string): ReadonlySet<string> {
  const found = new Set([first])
  for (const from of found) {
    for (const { chain, jump } of rules) if (chain === from && jump !== undefined) found.add(jump)
  }
  return found
}

/** Whether a rule publishes a port of the container with an address. */
function isOf({ matches, target, targetPort }: ListedRule, port: Port, address: string): boolean {
  const of = (wanted: string) => matches.find(({ field }) => field === wanted)
  const number = of('dport')
  return (
    target === address &&
    targetPort === port.container &&
    number?.value === String(port.host) &&
    number.protocol === port.protocol &&
    of('daddr')?.value === port.address
  )
}

/** Whether a rule names one of the addresses: as the target of a dnat, or where masquerade applies. */
function isFor({ matches, target = '' }: ListedRule, addresses: readonly string[]): boolean {
  if (addresses.length === 0) return true
  return addresses.includes(target) || matches.some(({ value }) => addresses.includes(value))
}

import { bothFamilies, type NftObject, ownTable } from '../plan/element.js'
import type { ListedChain } from '../plan/observer.js'
import type { Ask } from './look.js'
import { type Answer, attribute as attributeOf, attributesOf, flag, type Request } from './message.js'
import { netfilterHeader, netfilterHeaderBytes, nftablesType } from './netfilter.js'

/**
 * Every chain of nftables in the namespace at hand, as linux/netfilter/nf_tables.h has it. Undefined where the kernel
 * cannot say.
 */
export function listedChains(ask: Ask): readonly ListedChain[] | undefined {
  const header = Buffer.alloc(netfilterHeaderBytes)
  const answer = ask({ type: NFT_MSG_GETCHAIN, flags: flag.dump, header, attributes: [] })
  return answer?.error === 0 ? answer.parts.map(chainOf) : undefined
}

/** The bytes of the rules of a table or chain, each as a latin1 text; of a table that is absent there are none. */
export function ruleTexts(ask: Ask, { family, table, chain }: NftObject): readonly string[] | undefined {
  const rules = rulesOf(ask, numberOf(family), table, chain)
  return rules?.map((part) => part.toString('latin1'))
}

/**
 * The chains of our tables that only their own rules use, in three questions however many attachments there are: a
 * chain's use is the number of its rules, and of all that leads to it. A base chain is used by packets.
 */
export function unusedChains(
  ask: Ask,
  askEach: (requests: readonly Request[]) => readonly (Answer | undefined)[],
  isAsked: (name: string) => boolean,
): readonly ListedChain[] | undefined {
  const found = bothFamilies.map((family) => rulesOf(ask, numberOf(family), ownTable))
  if (found.includes(undefined)) return undefined
  const asked = new Map<string, { family: string; name: string; rules: number }>()
  for (const part of found.flatMap((rules) => rules ?? [])) {
    const [family, name] = [
      families[part[0] ?? 0] ?? '',
      text(attributesOf(part, netfilterHeaderBytes), ruleAttribute.chain),
    ]
    if (!isAsked(name)) continue
    const key = `${family} ${name}`
    asked.set(key, { family, name, rules: (asked.get(key)?.rules ?? 0) + 1 })
  }
  const all = [...asked.values()]
  const unused: ListedChain[] = []
  for (let at = 0; at < all.length; at += mostQuestions) {
    const some = all.slice(at, at + mostQuestions)
    const answers = askEach(some.map((one) => chainRequest(numberOf(one.family), one.name)))
    for (const [index, { family, name, rules }] of some.entries()) {
      const [part] = answers[index]?.parts ?? []
      const told = part && attributesOf(part, netfilterHeaderBytes)
      const uses = told?.has(attribute.hook) ? undefined : told?.get(attribute.use)?.readUInt32BE()
      if (uses !== undefined && uses <= rules) unused.push({ family, table: ownTable, name })
    }
  }
  return unused
}

// --- internal

/** The answers to so many fit into a socket's buffer. */
const mostQuestions = 32
const NFT_MSG_GETRULE = nftablesType(7)
const ruleAttribute = { table: 1, chain: 2 } as const

function rulesOf(ask: Ask, family: number, table: string, chain?: string): readonly Buffer[] | undefined {
  const attributes = [
    attributeOf(ruleAttribute.table, table),
    ...(chain === undefined ? [] : [attributeOf(ruleAttribute.chain, chain)]),
  ]
  const answer = ask({ type: NFT_MSG_GETRULE, flags: flag.dump, header: netfilterHeader(family), attributes })
  if (answer?.error === -ENOENT) return []
  return answer?.error === 0 ? answer.parts : undefined
}

function chainRequest(family: number, name: string): Request {
  const attributes = [attributeOf(attribute.table, ownTable), attributeOf(attribute.name, name)]
  return { type: NFT_MSG_GETCHAIN, flags: 0, header: netfilterHeader(family), attributes }
}

function numberOf(family: string): number {
  return Number(Object.keys(families).find((number) => families[Number(number)] === family) ?? 0)
}

function text(attributes: ReadonlyMap<number, Buffer>, type: number): string {
  return attributes.get(type)?.toString('latin1').replace('\0', '') ?? ''
}

const ENOENT = 2

const NFT_MSG_GETCHAIN = nftablesType(4)
const attribute = { table: 1, name: 3, hook: 4, policy: 5, use: 6 } as const
const NFTA_HOOK_HOOKNUM = 1
const families: Readonly<Record<number, string>> = { 1: 'inet', 2: 'ip', 3: 'arp', 5: 'netdev', 7: 'bridge', 10: 'ip6' }
const hooks = ['prerouting', 'input', 'forward', 'output', 'postrouting', 'ingress']
/** Of families that count them otherwise. */
const otherHooks: Readonly<Record<string, readonly string[]>> = {
  arp: ['input', 'output'],
  netdev: ['ingress', 'egress'],
}
const policies = ['drop', 'accept']

function chainOf(part: Buffer): ListedChain {
  const attributes = attributesOf(part, netfilterHeaderBytes)
  const [table, name] = [text(attributes, attribute.table), text(attributes, attribute.name)]
  const chain = { family: families[part[0] ?? 0] ?? '', table, name }
  const hook = attributes.get(attribute.hook)
  if (!hook) return chain
  const number = attributesOf(hook, 0).get(NFTA_HOOK_HOOKNUM)?.readUInt32BE() ?? -1
  const policy = attributes.get(attribute.policy)?.readUInt32BE() ?? -1
  return { ...chain, hook: (otherHooks[chain.family] ?? hooks)[number] ?? '', policy: policies[policy] ?? '' }
}

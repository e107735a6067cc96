import { bothFamilies, type Chain, type NftObject, ownTable } from '../plan/element.js'
import type { ListedChain, UnusedChains } from '../plan/observer.js'
import type { Ask } from './look.js'
import { type Answer, attribute as attributeOf, attributesOf, flag, type Request } from './message.js'
import { isThere, netfilterHeader, netfilterHeaderBytes, nftablesType, partsOf } from './netfilter.js'

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
 * @param along what else is asked for together with them
 */
export function unusedChains(
  ask: Ask,
  askEach: (requests: readonly Request[]) => readonly (Answer | undefined)[],
  isAsked: (name: string) => boolean,
  along: readonly Chain[],
): UnusedChains | undefined {
  const shared = sharedChains(ask, isAsked)
  if (shared === undefined) return undefined
  const questions = [...along, ...shared]
  const answers: (Answer | undefined)[] = []
  for (let at = 0; at < questions.length; at += mostQuestions) {
    answers.push(...askEach(questions.slice(at, at + mostQuestions).map(chainRequest)))
  }
  const others = answers.slice(0, along.length).map(isThere)
  return {
    unused: shared
      .filter(({ rules }, index) => isUnused(answers[along.length + index], rules))
      .map(({ family, table, chain: name }) => ({ family, table, name })),
    along: others.includes(undefined) ? undefined : (others as boolean[]),
  }
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
  return partsOf(ask({ type: NFT_MSG_GETRULE, flags: flag.dump, header: netfilterHeader(family), attributes }))
}

/**
 * The chains of our tables that have such names and rules, with the number of these. A listing of a table of any family
 * would end behind the first of its name.
 */
function sharedChains(
  ask: Ask,
  isAsked: (name: string) => boolean,
): readonly (Chain & { rules: number })[] | undefined {
  const shared = new Map<string, Chain & { rules: number }>()
  for (const family of bothFamilies) {
    const found = rulesOf(ask, numberOf(family), ownTable)
    if (found === undefined) return undefined
    for (const part of found) {
      const chain = text(attributesOf(part, netfilterHeaderBytes), ruleAttribute.chain)
      if (!isAsked(chain)) continue
      const key = `${family} ${chain}`
      shared.set(key, { family, table: ownTable, chain, rules: (shared.get(key)?.rules ?? 0) + 1 })
    }
  }
  return [...shared.values()]
}

function isUnused(answer: Answer | undefined, rules: number): boolean {
  const [part] = answer?.parts ?? []
  const told = part && attributesOf(part, netfilterHeaderBytes)
  const uses = told?.has(attribute.hook) ? undefined : told?.get(attribute.use)?.readUInt32BE()
  return uses !== undefined && uses <= rules
}

function chainRequest({ family, table, chain }: Chain): Request {
  const attributes = [attributeOf(attribute.table, table), attributeOf(attribute.name, chain)]
  return { type: NFT_MSG_GETCHAIN, flags: 0, header: netfilterHeader(numberOf(family)), attributes }
}

function numberOf(family: string): number {
  return Number(Object.keys(families).find((number) => families[Number(number)] === family) ?? 0)
}

function text(attributes: ReadonlyMap<number, Buffer>, type: number): string {
  return attributes.get(type)?.toString('latin1').replace('\0', '') ?? ''
}

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

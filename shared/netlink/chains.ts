import type { ListedChain } from '../plan/observer.js'
import type { Ask } from './look.js'
import { attributesOf, flag } from './message.js'

/**
 * Every chain of nftables in the namespace at hand, as linux/netfilter/nf_tables.h has it. Undefined where the kernel
 * cannot say.
 */
export function listedChains(ask: Ask): readonly ListedChain[] | undefined {
  const header = Buffer.alloc(headerBytes)
  const answer = ask({ type: NFT_MSG_GETCHAIN, flags: flag.dump, header, attributes: [] })
  return answer?.error === 0 ? answer.parts.map(chainOf) : undefined
}

// --- internal

/** NFNL_SUBSYS_NFTABLES in the upper byte. */
const NFT_MSG_GETCHAIN = (10 << 8) | 4
/** struct nfgenmsg. */
const headerBytes = 4
const attribute = { table: 1, name: 3, hook: 4, policy: 5 } as const
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
  const attributes = attributesOf(part, headerBytes)
  const text = (type: number) => attributes.get(type)?.toString('latin1').replace('\0', '') ?? ''
  const chain = { family: families[part[0] ?? 0] ?? '', table: text(attribute.table), name: text(attribute.name) }
  const hook = attributes.get(attribute.hook)
  if (!hook) return chain
  const number = attributesOf(hook, 0).get(NFTA_HOOK_HOOKNUM)?.readUInt32BE() ?? -1
  const policy = attributes.get(attribute.policy)?.readUInt32BE() ?? -1
  return { ...chain, hook: (otherHooks[chain.family] ?? hooks)[number] ?? '', policy: policies[policy] ?? '' }
}

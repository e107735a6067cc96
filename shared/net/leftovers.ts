import { addressBytes } from '../netlink/address.js'
import { bothFamilies, type NftObject } from '../plan/element.js'
import type { Observer } from '../plan/observer.js'
import { parseAddress } from '../values/address.js'
import { nftFamily } from './nft.js'

// What a DEL or GC asks before it starts a process to look for what no record tells of: whether there can be any. The
// kernel says so in a request or two. Where it does not tell, there may.

/** Those of them that addresses are of. */
export function familiesOf(addresses: readonly string[]): readonly (typeof bothFamilies)[number][] {
  return bothFamilies.filter((family) => addresses.some((address) => nftFamily(address) === family))
}

/** Whether a rule of a table or chain may hold one of these texts, as names and comments stand in it. */
export function mayMention(observer: Observer, of: NftObject, texts: readonly string[]): boolean {
  const rules = observer.ruleTexts(of)
  return rules === undefined || rules.some((rule) => texts.some((text) => rule.includes(text)))
}

/** An address without prefix length, as it stands in a rule's text. */
export function addressText(address: string): string {
  const parsed = parseAddress(address)
  return parsed ? addressBytes(parsed).toString('latin1') : ''
}

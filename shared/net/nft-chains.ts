import { ownTable } from '../plan/element.js'
import type { ListedChain } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import { nft } from './nft.js'

/**
 * Removes those of our chains with such names that nothing leads to any more; the kernel refuses to remove the others.
 * Not for DEL: the next ADD would declare them again, which takes time. One that comes meanwhile finds its chain
 * absent, and does so.
 */
export function removeUnusedChains(chains: readonly ListedChain[], prefixes: readonly string[]): readonly Operation[] {
  const isShared = ({ table, name, hook }: ListedChain) =>
    table === ownTable && !hook && prefixes.some((prefix) => name.startsWith(prefix))
  return chains.filter(isShared).map(({ family, table, name }) => ({
    ...nft(['delete', 'chain', family, table, name], `remove the chain ${name}`),
    tolerate: ['absent', 'busy'],
  }))
}

import type { ListedChain } from '../plan/observer.js'
import type { Operation } from '../plan/operation.js'
import { nft } from './nft.js'

/**
 * Removes chains of ours that nothing leads to any more; the kernel refuses to remove others.
 * Not for DEL: the next ADD would declare them again, which takes time. One that comes meanwhile finds its chain
 * absent, and does so.
 */
export function removeUnusedChains(unused: readonly ListedChain[]): readonly Operation[] {
  return unused.map(({ family, table, name }) => ({
    ...nft(['delete', 'chain', family, table, name], `remove the chain ${name}`),
    tolerate: ['absent', 'busy'],
  }))
}

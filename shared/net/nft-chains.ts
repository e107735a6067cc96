import { ownTable } from '../plan/element.js'
import type { Host } from '../plan/host.js'
import { nft } from './nft.js'

/**
 * Removes those of our chains with such names that nothing leads to any more; the kernel refuses to remove the others. Not
 * for DEL: the next ADD would declare them again, which takes time. One that comes meanwhile finds its chain absent, and does so.
 */
export function removeUnusedChains(host: Host, prefixes: readonly string[]): void {
  const chains = host.observer
    .chains()
    .filter(
      ({ table, name, hook }) => table === ownTable && !hook && prefixes.some((prefix) => name.startsWith(prefix)),
    )
  host.sweep(
    chains.map(({ family, table, name }) => ({
      ...nft(['delete', 'chain', family, table, name], `remove the chain ${name}`),
      tolerate: ['absent', 'busy'],
    })),
  )
}

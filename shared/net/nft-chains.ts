import type { Host } from '../plan/host.js'
import { nft, nftText, ownTable } from './nft.js'

/** A chain of nftables, whoever made it; `hook` and `policy` are a base chain's. */
export interface ListedChain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly policy?: string
}

/** Every chain there is, without its rules: asked of the kernel itself, else of nft. */
export function listChains({ run, kernel }: Pick<Host, 'run' | 'kernel'>): readonly ListedChain[] {
  return kernel?.chains() ?? readChains(nftText(run, ['list', 'chains']))
}

/**
 * Removes those of our chains with such names that nothing leads to any more; the kernel refuses to remove the others. Not
 * for DEL: the next ADD would declare them again, which takes time. One that comes meanwhile finds its chain absent, and does so.
 */
export function removeUnusedChains(host: Host, prefixes: readonly string[]): void {
  const chains = listChains(host).filter(
    ({ table, name, hook }) => table === ownTable && !hook && prefixes.some((prefix) => name.startsWith(prefix)),
  )
  host.sweep(
    chains.map(({ family, table, name }) => ({
      ...nft(['delete', 'chain', family, table, name], `remove the chain ${name}`),
      tolerate: ['absent', 'busy'],
    })),
  )
}

// --- internal

function readChains(text: string): readonly ListedChain[] {
  const chains: ListedChain[] = []
  let [family, table] = ['', '']
  for (const line of text.split('\n')) {
    const words = line.trim().split(' ')
    if (words[0] === 'table') [family, table] = words.slice(1) as [string, string]
    if (words[0] === 'chain') chains.push({ family, table, name: words[1] ?? '' })
    const after = (word: string) => words[words.indexOf(word) + 1]?.replace(';', '') ?? ''
    const last = chains.at(-1)
    if (words[0] === 'type' && last)
      chains[chains.length - 1] = { ...last, hook: after('hook'), policy: after('policy') }
  }
  return chains
}

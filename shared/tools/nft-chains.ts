import type { ListedChain } from '../plan/observer.js'

/** The chains in what `nft list chains` shows. */
export function readChains(text: string): readonly ListedChain[] {
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

import { execFileSync } from 'node:child_process'
import { median, type Suite } from './measure.js'
import { firstPort, podmanChain, runChain } from './sections.js'

/** What one more attachment costs (milliseconds, medians) when so many are there already. */
export interface Growth {
  readonly attachments: number
  readonly podwire: Cost
  readonly official: Cost
}

interface Cost {
  readonly add: number
  readonly del: number
}

const suites = (process.env['BENCH_SUITES']?.split(',') ?? ['podwire', 'official']) as readonly Suite[]
const steps = [0, 250, 500, 750, 1_000]

/**
 * The default chain at growing numbers of attachments. Both suites grow side by side in one host, each among the other's rules too; with
 * BENCH_SUITES=podwire (or official) that one grows alone, and the other's figures are not numbers.
 */
export function growth(): readonly Growth[] {
  let present = 0
  return steps.map((attachments) => {
    for (; present < attachments; present++) {
      for (const suite of suites) addForGood(suite, present)
    }
    const cost = { podwire: [] as Cost[], official: [] as Cost[] }
    for (let round = 0; round < 5; round++) {
      for (const suite of suites) {
        const chain = podmanChain(2, firstPort)
        const id = `${suite}-next-${round}`
        cost[suite].push({ add: runChain(suite, 'ADD', chain, id), del: runChain(suite, 'DEL', chain, id) })
      }
    }
    return { attachments, podwire: medians(cost.podwire), official: medians(cost.official) }
  })
}

// --- internal

/** An attachment that stays, in a namespace of its own. */
function addForGood(suite: Suite, index: number): void {
  const chain = podmanChain(2, (one) => firstPort(one) + 25_000 + index * 4)
  const name = `${suite}-stays-${index}`
  execFileSync('ip', ['netns', 'add', name])
  runChain(suite, 'ADD', chain, name, `/run/netns/${name}`)
}

function medians(costs: readonly Cost[]): Cost {
  return { add: median(costs.map(({ add }) => add)), del: median(costs.map(({ del }) => del)) }
}

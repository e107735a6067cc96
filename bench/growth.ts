import { execFileSync } from 'node:child_process'
import { firstPort, podmanChain, runChain } from './lists.js'
import { median, type Suite } from './measure.js'
import { inNamespace } from './namespace.js'

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

const suites = ['podwire', 'official'] as const satisfies readonly Suite[]
const steps = [0, 250, 500, 750, 1_000]

/**
 * The default chain at growing numbers of attachments, call by call in turn; each suite has a host of its own, with
 * nothing of the other's.
 */
export function growth(): readonly Growth[] {
  for (const suite of suites) {
    execFileSync('ip', ['netns', 'add', hostOf(suite)])
    execFileSync('ip', ['-n', hostOf(suite), 'link', 'set', 'lo', 'up'])
  }
  let present = 0
  return steps.map((attachments) => {
    for (; present < attachments; present++) {
      for (const suite of suites) addForGood(suite, present)
    }
    const cost = { podwire: [] as Cost[], official: [] as Cost[] }
    for (let round = -1; round < rounds; round++) {
      for (const suite of suites) {
        const one = inNamespace(hostOf(suite), () => once(suite, `${suite}-next-${round}`))
        if (round >= 0) cost[suite].push(one)
      }
    }
    return { attachments, podwire: medians(cost.podwire), official: medians(cost.official) }
  })
}

// --- internal

const rounds = 9
const hostOf = (suite: Suite) => `growth-${suite}`

function once(suite: Suite, id: string): Cost {
  const chain = podmanChain(2, firstPort)
  return { add: runChain(suite, 'ADD', chain, id), del: runChain(suite, 'DEL', chain, id) }
}

/** An attachment that stays, in a namespace of its own. */
function addForGood(suite: Suite, index: number): void {
  const chain = podmanChain(2, (one) => firstPort(one) + 25_000 + index * 4)
  const name = `${suite}-stays-${index}`
  execFileSync('ip', ['netns', 'add', name])
  inNamespace(hostOf(suite), () => runChain(suite, 'ADD', chain, name, `/run/netns/${name}`))
}

function medians(costs: readonly Cost[]): Cost {
  return { add: median(costs.map(({ add }) => add)), del: median(costs.map(({ del }) => del)) }
}

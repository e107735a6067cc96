import { Chain } from '../harness/chain.js'
import { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { normalise, type Snapshot, takeSnapshot } from '../harness/snapshot.js'
import type { Case } from './cases.js'

/** What a suite did with a case, comparable with what the other suite did. */
export interface Outcome {
  results: string[]
  /** Whether CHECK was content with each attachment; empty where the version has no CHECK. */
  checks: boolean[]
  attached: Snapshot
  detached: Snapshot
}

/** Runs a case through a suite in a fresh host: all ADDs, CHECKs, then all DELs, each DEL twice. */
export async function runCase(suite: Suite, subject: Case): Promise<Outcome> {
  const host = await Host.create()
  try {
    for (const command of subject.prepare) await host.output(command)
    const chains = await attach(host, suite, subject)
    const options = { directories: ['/var/lib'], ...(subject.knownMacs && { knownMacs: subject.knownMacs }) }
    const attached = await takeSnapshot(host, options)
    const results = await comparable(host, chains, subject.knownMacs)
    const checks = await check(chains, subject)
    for (const chain of chains) await chain.del()
    // Ours must need neither runtimeConfig nor prevResult; the official plugins are not asked for so much.
    for (const chain of chains) await chain.del(suite === 'podwire')
    return { results, checks, attached, detached: await takeSnapshot(host, options) }
  } finally {
    await host.dispose()
  }
}

async function attach(host: Host, suite: Suite, { containers, list, args, capabilityArgs }: Case): Promise<Chain[]> {
  const chains: Chain[] = []
  for (let index = 0; index < containers; index++) {
    const { netns } = await host.container(`container${index}`)
    const attachment = { suite, netns, containerID: `id${index}`, ...(args && { args }) }
    const chain = new Chain(host, list, { ...attachment, ...(capabilityArgs && { capabilityArgs }) })
    await chain.add()
    chains.push(chain)
  }
  return chains
}

async function comparable(host: Host, chains: Chain[], knownMacs: string[] = []): Promise<string[]> {
  const links = JSON.parse(await host.output(['ip', '-j', 'link'])) as { ifname: string }[]
  const names = links.map(({ ifname }) => ifname)
  return chains.flatMap(({ result }) => normalise([JSON.stringify(result, undefined, 2)], names, { knownMacs }))
}

async function check(chains: Chain[], { list }: Case): Promise<boolean[]> {
  if (/^0\.[1-3]\./.test(list.cniVersion)) return []
  const outcomes: boolean[] = []
  for (const chain of chains) {
    outcomes.push(
      await chain.check().then(
        () => true,
        () => false,
      ),
    )
  }
  return outcomes
}

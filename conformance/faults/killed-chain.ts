import { expect } from 'vitest'
import { type Result, resultOf, succeedSilently } from '../harness/answer.js'
import { type Conflist, inputOf } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { Killer, type Share } from '../harness/killer.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { capabilityArgs } from './chains.js'

/**
 * Attaches a container by a list again and again. In each round one call, of another plugin each time, is killed: of
 * the ADD, or of the DEL behind a whole ADD. Then comes what a runtime does: DEL of all plugins in reverse order,
 * without a result. Nothing may be left.
 */
export async function killAgain(
  host: Host,
  list: Conflist,
  options: { rounds: number; env?: Record<string, string> },
): Promise<Share> {
  const { rounds, env = {} } = options
  await host.outside()
  const container = await host.container()
  const callOf = callsFor(list, container, env)
  await wholeRound(host, list, callOf)
  const before = await state(host)
  const killers = new Map<string, Killer>()
  const killerOf = async (verb: Verb, index: number) => {
    const name = `${verb} ${index}`
    const killer = killers.get(name) ?? (await timed(host, list, callOf, verb, index))
    killers.set(name, killer)
    return killer
  }

  for (let round = 0; round < rounds; round++) {
    const verb = round % 4 === 3 ? 'DEL' : 'ADD'
    const index = Math.floor(round / 4 + (round % 4)) % list.plugins.length
    const killer = await killerOf(verb, index)
    if (verb === 'ADD') {
      const previous = await addBefore(host, list, callOf, index)
      await killer.kill(host, callOf('ADD', index, previous))
    } else {
      await addBefore(host, list, callOf, list.plugins.length)
      for (let at = list.plugins.length - 1; at > index; at--) succeedSilently(await runPlugin(host, callOf('DEL', at)))
      await killer.kill(host, callOf('DEL', index))
    }
    await delAll(host, list, callOf)
    if (round % 10 === 9) expect(difference(before, await state(host)), `round ${round}: ${verb} ${index}`).toBe('')
  }
  expect(difference(before, await state(host))).toBe('')
  const shares = [...killers.values()].map(({ share }) => share)
  return {
    hits: shares.reduce((sum, { hits }) => sum + hits, 0),
    rounds: shares.reduce((sum, share) => sum + share.rounds, 0),
  }
}

type CallOf = (verb: Verb, index: number, previous?: Result) => Call

function callsFor(list: Conflist, container: Container, env: Record<string, string>): CallOf {
  const attachment = { containerID: container.name, netns: container.netns }
  return (command, index, previous) => {
    const plugin = list.plugins[index]
    if (plugin === undefined) throw new Error(`${list.name} has no plugin ${index}`)
    const runtime = plugin.capabilities && command === 'ADD' ? capabilityArgs : undefined
    const config = inputOf(list, plugin, previous, runtime)
    return { plugin: plugin.type, command, config, ...attachment, env }
  }
}

async function addBefore(host: Host, list: Conflist, callOf: CallOf, end: number): Promise<Result | undefined> {
  let previous: Result | undefined
  for (let index = 0; index < Math.min(end, list.plugins.length); index++) {
    previous = resultOf(await runPlugin(host, callOf('ADD', index, previous)))
  }
  return previous
}

async function delAll(host: Host, list: Conflist, callOf: CallOf): Promise<void> {
  for (let index = list.plugins.length - 1; index >= 0; index--) {
    succeedSilently(await runPlugin(host, callOf('DEL', index)))
  }
}

/** Makes what belongs to the network and stays: bridges, tables, forwarding. */
async function wholeRound(host: Host, list: Conflist, callOf: CallOf): Promise<void> {
  await addBefore(host, list, callOf, list.plugins.length)
  await delAll(host, list, callOf)
}

async function timed(host: Host, list: Conflist, callOf: CallOf, verb: Verb, index: number): Promise<Killer> {
  const previous = await addBefore(host, list, callOf, verb === 'ADD' ? index : list.plugins.length)
  if (verb === 'DEL') {
    for (let at = list.plugins.length - 1; at > index; at--) succeedSilently(await runPlugin(host, callOf('DEL', at)))
  }
  const killer = await Killer.timing(async () => {
    const finished = await runPlugin(host, callOf(verb, index, verb === 'ADD' ? previous : undefined))
    expect(finished.status, finished.stdout).toBe(0)
  })
  await delAll(host, list, callOf)
  return killer
}

/** Everything but what only remembers where the next search begins, or is a lock. */
async function state(host: Host): Promise<string[]> {
  await host.quiet()
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni/networks/network', '/run/podwire', '/run/cni'] })
  return lines.filter((line) => !/^file \S*\/(\S*lock\S*|last_reserved_ip\.\d+|\.\S+) /.test(line))
}

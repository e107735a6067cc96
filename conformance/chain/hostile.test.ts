import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { refuseInTurn } from '../lan/breaking.js'
import { asChain, call, failingAt, fourMembers, look, portMappings, withOthers } from './setting.js'

const given = { runtimeConfig: { portMappings } }

describe('every member broken at every operation: nothing is left', () => {
  test('of links, addresses, routes and settings', { timeout: 120_000 }, async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers({ type: 'tuning', mtu: 1300, promisc: true }))
    // What the network shares is there.
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { given })))
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { given })))
    expect(await refuseInTurn(host, call(list, 'ADD', netns, { given }), look)).toBeGreaterThan(8)
  })

  test('by another program, at ADD, wherever it stands', { timeout: 120_000 }, async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { bad: failingAt('ADD') })
    const { plugins, ...list } = fourMembers()
    const whole = asChain({ ...list, plugins })
    for (const verb of ['ADD', 'DEL'] as const) await runPlugin(host, call(whole, verb, netns, { given }))
    const before = await look(host)
    for (let at = 0; at <= plugins.length; at++) {
      const broken = asChain({ ...list, plugins: plugins.toSpliced(at, 0, { type: 'bad' }) })
      const error = errorOf(await runPlugin(host, call(broken, 'ADD', netns, { path, given })))
      expect(error).toMatchObject({ code: 150, msg: `plugins[${at}] bad: out of order` })
      expect(difference(before, await look(host)), `at ${at}`).toBe('')
    }
  })
})

describe('members of the official suite', () => {
  const { plugins } = fourMembers()
  for (const { type } of plugins) {
    test(`${type} among ours`, async ({ host }) => {
      const { netns } = await host.container()
      const path = await withOthers(host, { [type]: `${suites.official}/${type}` })
      const list = asChain(fourMembers())
      const before = await look(host)
      const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { path, given })))
      const again = { path, given: { ...given, prevResult } }
      succeedSilently(await runPlugin(host, call(list, 'CHECK', netns, again)))
      succeedSilently(await runPlugin(host, call(list, 'DEL', netns, again)))
      const left = (await look(host)).filter((line) => !before.includes(line))
      expect(left.filter((line) => /c1|veth|8080|10\.1\.2\.2\b|fd00:1:2::2\b/.test(line))).toEqual([])
    })
  }
})

test('40 at once: each has its own address, port and rules, and nothing is left', { timeout: 180_000 }, async ({
  host,
}) => {
  const list = asChain(fourMembers())
  const { netns } = await host.container()
  for (const verb of ['ADD', 'DEL'] as const) await runPlugin(host, call(list, verb, netns, { given }))
  const all: { netns: string; containerID: string; given: object }[] = []
  for (let index = 0; index < 40; index++) {
    const one = await host.container()
    const mapping = { hostPort: 9000 + index, containerPort: 80, protocol: 'tcp' }
    all.push({ netns: one.netns, containerID: one.name, given: { runtimeConfig: { portMappings: [mapping] } } })
  }
  const before = await remains(host)
  const run = (verb: 'ADD' | 'CHECK' | 'DEL', previous: readonly object[] = []) =>
    Promise.all(
      all.map(({ netns, containerID, given }, index) => {
        const prevResult = previous[index] ? { prevResult: previous[index] } : {}
        return runPlugin(host, call(list, verb, netns, { containerID, given: { ...given, ...prevResult } }))
      }),
    )
  const results = (await run('ADD')).map(resultOf)
  expect(new Set(results.map(({ ips }) => ips?.[0]?.address)).size).toBe(40)
  for (const finished of await run('CHECK', results)) succeedSilently(finished)
  for (const finished of await run('DEL', results)) succeedSilently(finished)
  expect(difference(before, await remains(host))).toBe('')
})

/** Links, rules and files of the host; a snapshot looks into every container, too. */
async function remains(host: Host): Promise<string[]> {
  const script = 'ip -br link; nft -s list ruleset; find /var/lib/cni /run/podwire /run/cni -type f'
  const lines = (await host.output(['sh', '-c', script])).split('\n')
  return lines.filter((line) => !/last_reserved_ip|lock|^br2 /.test(line))
}

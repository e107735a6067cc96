import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { PluginConfig } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { environment, runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { refuseInTurn } from '../lan/breaking.js'
import {
  asChain,
  call,
  calls,
  failingAt,
  fourMembers,
  given,
  look,
  noting,
  ofAttachment,
  withOthers,
} from './setting.js'

describe('every member broken at every operation: nothing is left', () => {
  test('of links, addresses, routes and settings', { timeout: 240_000 }, async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers({ type: 'tuning', mtu: 1300, promisc: true }))
    // What the network shares is there.
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { given })))
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { given })))
    expect(await refuseInTurn(host, call(list, 'ADD', netns, { given }), look)).toBeGreaterThan(8)
  })

  test('by another program, at ADD, wherever it stands', { timeout: 240_000 }, async ({ host }) => {
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

describe('an ADD that fails as a whole', () => {
  const bad = { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.none': '1' } }

  test('makes nothing any more that has waited when other programs are asked to take back', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { first: noting() })
    const { plugins, ...list } = fourMembers()
    const [bridge, portmap] = plugins as [PluginConfig, PluginConfig]
    const whole = asChain({ ...list, plugins: [bridge, portmap] })
    for (const verb of ['ADD', 'DEL'] as const) await runPlugin(host, call(whole, verb, netns, { given }))
    const before = await look(host)
    const broken = asChain({ ...list, plugins: [{ type: 'first' }, bridge, portmap, bad] })
    const error = errorOf(await runPlugin(host, call(broken, 'ADD', netns, { path, given })))
    expect(error.msg).toMatch(/^plugins\[3\] tuning: /)
    expect((await calls(host)).map(([verb]) => verb)).toEqual(['VERSION', 'ADD', 'DEL'])
    expect(difference(before, await look(host))).toBe('')
  })

  test('tells whom it could not take back, and takes back the others', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { stuck: failingAt('DEL') })
    const error = errorOf(
      await runPlugin(host, call(asChain(fourMembers({ type: 'stuck' }, bad)), 'ADD', netns, { path })),
    )
    expect(error.msg).toMatch(/^plugins\[5\] tuning: /)
    expect(error.details).toContain('left behind: plugins[4] stuck: out of order')
    expect(await ofAttachment(host)).toEqual([])
  })

  const ends: Record<string, [script: string, says: RegExp]> = {
    'a result that nobody takes': ['exec "$0" >/dev/full', /cannot write to stdout/],
    'fewer open files than it needs': ['ulimit -n 24; exec "$0"', /open files|EMFILE|too many/i],
    'no process to be had and no netlink': ['export PODWIRE_NO_NETLINK=1; ulimit -n 40; exec "$0"', /./],
  }
  for (const [name, [script, says]] of Object.entries(ends)) {
    test(name, async ({ host }) => {
      const { netns } = await host.container()
      const list = asChain(fourMembers())
      for (const verb of ['ADD', 'DEL'] as const) await runPlugin(host, call(list, verb, netns, { given }))
      const before = await look(host)
      const { config, ...rest } = call(list, 'ADD', netns, { given })
      const env = environment(rest)
      const { status, stdout, stderr } = await host.exec(['bash', '-c', script, `${suites.podwire}/chain`], {
        env,
        stdin: JSON.stringify(config),
      })
      expect(status).toBe(1)
      expect(stdout + stderr).toMatch(says)
      expect(difference(before, await look(host))).toBe('')
    })
  }
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

import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { type Conflist, inputOf, type PluginConfig } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin, runTraced, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { programsOf, readTrace, type Step } from '../harness/trace.js'
import { asChain, call, fourMembers, look, noting, ofAttachment, portMappings, withOthers } from './setting.js'

/** What a call sends to the kernel by netlink, and how many transactions of nftables are among it. */
interface Sent {
  requests: number
  transactions: number
}

/** Runs a call under strace. */
async function sentBy(
  host: Host,
  list: Conflist,
  plugin: PluginConfig,
  command: Verb,
  netns: string,
  previous?: object,
) {
  const config = inputOf(list, plugin, previous as never, plugin.capabilities ? { portMappings } : undefined)
  const traced = { plugin: plugin.type, command, config, netns, containerID: 'c1' }
  const finished = await runTraced(host, traced, ['-f', '-y', '-e', 'trace=sendto,execve'])
  expect(finished.status, finished.stdout).toBe(0)
  const lines = finished.calls.split('\n')
  expect(lines.filter((line) => line.includes('execve('))).toHaveLength(1)
  const sent = lines.filter((line) => line.includes('sendto('))
  // A transaction begins with NFNL_MSG_BATCH_BEGIN (16) for the subsystem NFNL_SUBSYS_NFTABLES (10).
  const begin =
    /nlmsg_type=(0x10\b|NFNL_MSG_BATCH_BEGIN).*?(\\x00\\x00\\x00\\x0a|res_id=(10|NFNL_SUBSYS_NFTABLES)|htons\(10\))/
  const transactions = sent.filter((line) => begin.test(line) && line.includes('[[{nlmsg_len=20'))
  const seen: Sent = { requests: sent.length, transactions: transactions.length }
  return { seen, result: finished.stdout === '' ? undefined : (JSON.parse(finished.stdout) as object) }
}

/** All calls of a verb, one behind the other. */
async function sentByAll(host: Host, list: Conflist, command: Verb, netns: string, result?: object) {
  const sum: Sent = { requests: 0, transactions: 0 }
  let previous = result
  for (const plugin of command === 'DEL' ? list.plugins.toReversed() : list.plugins) {
    const { seen, result: made } = await sentBy(host, list, plugin, command, netns, previous)
    if (command === 'ADD') previous = made
    sum.requests += seen.requests
    sum.transactions += seen.transactions
  }
  return { ...sum, result: previous }
}

describe('what a chain asks and changes', () => {
  test('rules of all members by one transaction, and no process', { timeout: 120_000 }, async ({ host }) => {
    const { netns } = await host.container()
    const list = fourMembers()
    const chain = asChain(list)
    const given = { runtimeConfig: { portMappings } }
    for (const verb of ['ADD', 'DEL'] as const) await runPlugin(host, call(chain, verb, netns, { given }))
    const found: { added: Sent; removed: Sent }[] = []
    for (const form of [list, chain]) {
      const { result, ...added } = await sentByAll(host, form, 'ADD', netns)
      const { result: _, ...removed } = await sentByAll(host, form, 'DEL', netns, result)
      found.push({ added, removed })
    }
    console.log(`list and chain, netlink: ${JSON.stringify(found)}`)
    const [{ added: ofList, removed: listDown }, { added: ofChain, removed: chainDown }] = found as [
      (typeof found)[0],
      (typeof found)[0],
    ]
    expect([ofList.transactions, ofChain.transactions]).toEqual([3, 1])
    expect(ofChain.requests).toBeLessThanOrEqual(ofList.requests - 2)
    expect(chainDown.requests).toBeLessThanOrEqual(listDown.requests)
  })

  test('what members need of the kernel is tried once at STATUS', async ({ host }) => {
    const started = async (list: Conflist) => {
      const env = { PODWIRE_TRACE: `/run/status-${list.plugins.length}` }
      for (const plugin of list.plugins) {
        const config = inputOf(list, plugin)
        succeedSilently(await runPlugin(host, { plugin: plugin.type, command: 'STATUS', config, env }))
      }
      return programsOf(readTrace(host, env.PODWIRE_TRACE))
    }
    expect(await started(fourMembers())).toEqual(['nft', 'nft', 'nft'])
    expect(await started(asChain(fourMembers()))).toEqual(['nft'])
  })

  test('rules are there before another program is started', async ({ host }) => {
    const { netns } = await host.container()
    const seeing = noting('[ "$CNI_COMMAND" != ADD ] || nft list ruleset >/run/ruleset')
    const path = await withOthers(host, { seeing })
    const list = asChain(fourMembers({ type: 'seeing' }))
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { path, given: { runtimeConfig: { portMappings } } })))
    const ruleset = await host.output(['cat', '/run/ruleset'])
    for (const part of ['masqueraded', 'portmap_hairpin', 'firewall_addresses']) expect(ruleset).toContain(part)
    expect(ruleset.match(/10\.1\.2\.2 /g)?.length).toBeGreaterThanOrEqual(3)
  })
})

// Each makes the part of one member of what they make together impossible.
const obstacles: Record<string, { nft: string; says: string; code: number }> = {
  bridge: {
    nft: 'add table ip podwire; add set ip podwire masqueraded { type ipv4_addr; }',
    says: 'plugins[0] bridge: network "network": cannot declare the nftables ',
    code: 100,
  },
  portmap: {
    nft: 'add table ip podwire; add set ip podwire portmap_hairpin { type inet_service; }',
    says: 'plugins[1] portmap: network "network": cannot declare the nftables ',
    code: 100,
  },
  firewall: {
    nft: 'add table ip podwire; add map ip podwire firewall_addresses { type ipv4_addr : verdict; }',
    says: 'plugins[2] firewall: network "network": cannot declare the nftables ',
    code: 100,
  },
}

describe('what is refused of what members make together is its owner’s', () => {
  const given = { runtimeConfig: { portMappings } }

  for (const [member, { nft, says, code }] of Object.entries(obstacles)) {
    test(member, async ({ host }) => {
      const { netns } = await host.container()
      await host.output(['nft', nft])
      const error = errorOf(await runPlugin(host, call(asChain(fourMembers()), 'ADD', netns, { given })))
      expect(error.msg).toContain(says)
      expect(error).toMatchObject({ code, details: expect.not.stringContaining('left behind') })
      expect(await ofAttachment(host)).toEqual([])
      const list = await ruleset(host)
      for (const address of ['10.1.2.2', 'fd00:1:2::2']) expect(list).not.toContain(`${address} `)
    })
  }

  test('a port that another container has: in its code, and that one keeps it', async ({ host }) => {
    const [one, other] = [await host.container(), await host.container()]
    const list = asChain(fourMembers())
    const first = { containerID: 'c0' }
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', one.netns, { given, ...first })))
    const before = await look(host)
    const error = errorOf(await runPlugin(host, call(list, 'ADD', other.netns, { given })))
    expect(error).toMatchObject({
      code: 106,
      msg: expect.stringMatching(/^plugins\[1\] portmap: network "network": cannot publish host port .*8080.*c0/),
    })
    expect(difference(before, await look(host))).toBe('')
    succeedSilently(
      await runPlugin(host, call(list, 'CHECK', one.netns, { ...first, given: { ...given, prevResult } })),
    )
  })

  test('a port of another interface of the same container waits, and comes when that one goes', async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers())
    const second = { given, ifName: 'eth1' }
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { given })))
    resultOf(await runPlugin(host, call(list, 'ADD', netns, second)))
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { given })))
    expect(await ruleset(host)).toMatch(/8080[^\n]*10\.1\.2\.3|10\.1\.2\.3[^\n]*8080/)
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, second)))
    expect(await ofAttachment(host)).toEqual([])
  })
})

const ruleset = (host: Host) => host.output(['nft', 'list', 'ruleset'])

describe('who looks on', () => {
  test('sees in a dry run the commands of all, under the name of each, and its time', async ({ host }) => {
    const { netns } = await host.container()
    const before = await look(host)
    const given = { runtimeConfig: { portMappings } }
    const env = { PODWIRE_DRY_RUN: '1' }
    const tried = await runPlugin(host, call(asChain(fourMembers()), 'ADD', netns, { given, env }))
    const result = resultOf(tried)
    expect(difference(before, await look(host))).toBe('')
    const sections = tried.stderr.split(/^# (?=plugins\[\d\] \S+$)/m).slice(1)
    expect(sections.map((text) => text.slice(0, text.indexOf('\n')))).toEqual([
      'plugins[0] bridge',
      'plugins[1] portmap',
      'plugins[2] firewall',
      'plugins[3] tuning',
    ])
    for (const [index, part] of ['masqueraded', 'portmap_', 'firewall_addresses', 'arp_filter'].entries())
      expect(sections[index]).toContain(part)
    for (const index of [0, 1, 2, 3])
      expect(tried.stderr).toMatch(new RegExp(`# plugins\\[${index}\\] \\S+ took [\\d.]+ ms`))
    expect(resultOf(await runPlugin(host, call(asChain(fourMembers()), 'ADD', netns, { given })))).toEqual(result)
  })

  test('finds in a trace what was done, and each member’s time', async ({ host }) => {
    const { netns } = await host.container()
    const env = { PODWIRE_TRACE: '/run/trace' }
    const given = { runtimeConfig: { portMappings } }
    const path = await withOthers(host, { other: noting() })
    const list = asChain(fourMembers({ type: 'other' }))
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { given, env, path })))
    const lines: Partial<Step>[] = readTrace(host, '/run/trace')
    const times = lines.filter(({ member }) => member !== undefined)
    expect(times.map(({ member }) => member)).toEqual([
      'plugins[0] bridge',
      'plugins[1] portmap',
      'plugins[2] firewall',
      'plugins[3] tuning',
      'plugins[4] other',
    ])
    for (const { ms } of times) expect(ms).toBeGreaterThan(0)
    const commands = lines.map(({ argv = [], stdin = '' }) => [...argv, stdin].join(' '))
    for (const part of [/^ip link add/, /masqueraded/, /portmap_/, /firewall_addresses/, /\/run\/others\/other/])
      expect(
        commands.some((one) => part.test(one)),
        String(part),
      ).toBe(true)
  })
})

import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { type Conflist, inputOf, type PluginConfig } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin, runTraced, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { programsOf, readTrace, type Step } from '../harness/trace.js'
import {
  asChain,
  call,
  calls,
  fourMembers,
  given,
  look,
  noting,
  ofAttachment,
  portMappings,
  withOthers,
} from './setting.js'

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
  test('rules of all members by one transaction, and no process', { timeout: 240_000 }, async ({ host }) => {
    const { netns } = await host.container()
    const list = fourMembers()
    const chain = asChain(list)
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
    expect([listDown.transactions, chainDown.transactions]).toEqual([3, 1])
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

  test('and another program behind it, which was not started, is not asked to take anything back', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { other: noting() })
    const { nft, says } = obstacles['portmap'] as { nft: string; says: string }
    await host.output(['nft', nft])
    const list = asChain(fourMembers({ type: 'other' }))
    expect(errorOf(await runPlugin(host, call(list, 'ADD', netns, { path, given }))).msg).toContain(says)
    expect((await calls(host)).map(([verb]) => verb)).toEqual(['VERSION'])
    expect(await ofAttachment(host)).toEqual([])
  })

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

/** Where bridge, portmap and firewall have the container's address. */
const sets = ['masqueraded', 'portmap_hairpin', 'firewall_addresses']

/** The elements of one of our sets or maps of IPv4, as a ruleset shows them; undefined where it has none. */
function elementsOf(rules: string, name: string): string | undefined {
  const start = rules.search(new RegExp(`\\b(set|map) ${name} \\{`))
  return /elements = \{([^}]*)\}/.exec(rules.slice(start, rules.indexOf('\n\t}', start)))?.[1]
}

// Each makes of one member's set or map one with other keys, so that what it removes is refused.
const spoilt: Record<string, { chain: string; set: string; type: string; says: string }> = {
  bridge: {
    chain: 'masquerade_postrouting',
    set: 'map ip podwire masqueraded',
    type: 'ipv4_addr . inet_service : verdict',
    says: 'plugins[0] bridge: network "network": cannot stop to masquerade 10.1.2.2: ',
  },
  portmap: {
    chain: '',
    set: 'set ip podwire portmap_owners',
    type: 'ipv4_addr . inet_service',
    says: 'plugins[1] portmap: network "network": cannot stop to publish 8080/tcp as 10.1.2.2, ',
  },
  firewall: {
    chain: 'firewall_first',
    set: 'set ip podwire firewall_addresses',
    type: 'ipv4_addr . inet_service',
    says: 'plugins[2] firewall: network "network": cannot stop to admit 10.1.2.2: ',
  },
}

describe('what is refused of what members remove together is its owner’s', () => {
  for (const [member, { chain, set, type, says }] of Object.entries(spoilt)) {
    test(member, async ({ host }) => {
      const { netns } = await host.container()
      const list = asChain(fourMembers())
      const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { given })))
      const lines = [
        ...(chain === '' ? [] : [`flush chain ip podwire ${chain}`]),
        `delete ${set}`,
        `add ${set} { type ${type}; }`,
      ]
      await host.output(['nft', '-f', '-'], { stdin: lines.join('\n') })
      const del = () => runPlugin(host, call(list, 'DEL', netns, { given: { ...given, prevResult } }))
      expect(errorOf(await del())).toMatchObject({ code: 100, msg: expect.stringContaining(says) })
      // The others are done, and the address is nobody else's yet. portmap removes all of its own or nothing.
      const rules = await ruleset(host)
      const found = sets.filter((name) => elementsOf(rules, name) !== undefined)
      expect(found).toEqual(member === 'portmap' ? ['portmap_hairpin'] : [])
      const left = await ofAttachment(host)
      expect(left.filter((line) => line.includes('networks/network/10.1.2.2'))).not.toEqual([])
      expect(left.filter((line) => line.includes('veth'))).toEqual([])
      await host.output(['nft', `delete ${set}`])
      succeedSilently(await del())
      expect(await ofAttachment(host)).toEqual([])
    })
  }

  test('and rules that somebody flushed are no failure', async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers())
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { given })))
    await host.output(['nft', 'flush set ip podwire firewall_addresses'])
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { given: { ...given, prevResult } })))
    expect(await ofAttachment(host)).toEqual([])
    for (const address of ['10.1.2.2', 'fd00:1:2::2']) expect(await ruleset(host)).not.toContain(`${address} `)
  })

  test('rules of members before another program are there until that one was asked', async ({ host }) => {
    const { netns } = await host.container()
    const seeing = noting('[ "$CNI_COMMAND" != DEL ] || nft list ruleset >/run/ruleset')
    const path = await withOthers(host, { seeing })
    const { plugins, ...rest } = fourMembers()
    const list = asChain({ ...rest, plugins: [...plugins.slice(0, 2), { type: 'seeing' }, ...plugins.slice(2)] })
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { path, given })))
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { path, given: { ...given, prevResult } })))
    const seen = await host.output(['cat', '/run/ruleset'])
    const found = sets.map((name) => elementsOf(seen, name))
    expect(found).toEqual([expect.stringContaining('10.1.2.2 '), expect.stringContaining('10.1.2.2 '), undefined])
    expect(await ofAttachment(host)).toEqual([])
  })
})

test('an ADD that fails takes rules back behind the programs that were started after them', async ({ host }) => {
  const { netns } = await host.container()
  const seeing = noting('[ "$CNI_COMMAND" != DEL ] || nft list ruleset >/run/ruleset')
  const path = await withOthers(host, { seeing })
  const bad = { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.none': '1' } }
  const list = asChain(fourMembers({ type: 'seeing' }, bad))
  expect(errorOf(await runPlugin(host, call(list, 'ADD', netns, { path, given }))).msg).toMatch(
    /^plugins\[5\] tuning: /,
  )
  const seen = await host.output(['cat', '/run/ruleset'])
  expect(sets.map((name) => elementsOf(seen, name))).toEqual(sets.map(() => expect.stringContaining('10.1.2.2 ')))
  expect(await ofAttachment(host)).toEqual([])
})

describe('who looks on', () => {
  test('sees in a dry run the commands of all, under the name of each, and its time', async ({ host }) => {
    const { netns } = await host.container()
    const before = await look(host)
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

  test('sees a lease that is given back last under the name of whose it is, and starts nobody at GC', async ({
    host,
  }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { first: noting() })
    const { plugins, ...list } = fourMembers()
    const whole = asChain({ ...list, plugins: [{ type: 'first' }, ...plugins] })
    resultOf(await runPlugin(host, call(whole, 'ADD', netns, { path, given })))
    const before = [await look(host), await calls(host)]
    const env = { PODWIRE_DRY_RUN: '1' }
    const { stderr } = await runPlugin(host, call(whole, 'DEL', netns, { path, given, env }))
    const last = stderr.slice(stderr.indexOf('# CNI_COMMAND=DEL /run/others/first'))
    expect(last).toMatch(/^# CNI_COMMAND=DEL \S+\n# plugins\[1\] bridge\n# release the addresses of c1 eth0 /)
    const ofNetwork = { path, env, containerID: '', ifName: '', given: { 'cni.dev/valid-attachments': [] } }
    const collected = await runPlugin(host, call(whole, 'GC', '', ofNetwork))
    expect([collected.status, collected.stdout]).toEqual([0, ''])
    expect(collected.stderr).toContain('# CNI_COMMAND=GC /run/others/first\n')
    expect([await look(host), await calls(host)]).toEqual(before)
    succeedSilently(await runPlugin(host, call(whole, 'DEL', netns, { path })))
  })

  test('finds in a trace what was done, and each member’s time', async ({ host }) => {
    const { netns } = await host.container()
    const env = { PODWIRE_TRACE: '/run/trace' }
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

import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { ask } from '../harness/traffic.js'
import { allOf, isOfPolicy, type Kind, kinds, leftovers, Member, networkOf, packets, prepare, records } from './swap.js'

// The official suite knows nothing of our tables: its DEL leaves them, and they lead to an address that is free again.
// One command takes them all away; and where podwire attaches the next container with such an address, that does.

const removeRules = (host: Host) =>
  host.output([`${suites.podwire}/podwire`, 'uninstall', '--rules', '--force', '--bin', '/run/none'])

/** Every rule that only podwire knows. */
async function ownRules(host: Host): Promise<string[]> {
  const shown = [['iptables-save'], ['ip6tables-save'], ['iptables-legacy-save'], ['nft', 'list', 'ruleset']]
  const texts = await Promise.all(shown.map((argv) => host.output(argv)))
  return texts.flatMap((text) => text.split('\n').filter((line) => /podwire/i.test(line)))
}

/** Each family has one address to give. */
const onlyAddress = {
  ranges: [
    [{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.9', rangeEnd: '10.1.2.9' }],
    [{ subnet: 'fd00:1:2::/64', rangeStart: 'fd00:1:2::9', rangeEnd: 'fd00:1:2::9' }],
  ],
}

describe.each(Object.keys(kinds) as Kind[])('%s', (kind) => {
  const network = networkOf(kind, ['podwire', 'official'])

  test('one command removes all rules, and what runs keeps its link, its address and its lease', async ({ host }) => {
    const outside = await prepare(host)
    // Chains of somebody's own that drop: the iptables backend does not pass them, and so is not tried with any.
    for (const table of kind === 'iptables everywhere' ? [] : ['ip', 'inet']) {
      await host.output(['nft', 'add', 'table', table, 'site'])
      const transit = '{ type filter hook forward priority 10; policy drop; }'
      await host.output(['nft', 'add', 'chain', table, 'site', 'transit', transit])
      await host.output(['nft', 'add', 'rule', table, 'site', 'transit', 'ct', 'status', 'dnat', 'accept'])
    }
    const site = async () => (await host.output(['nft', 'list', 'ruleset'])).match(/table (ip|inet) site \{.*?\n\}/gs)
    const before = await site()
    const [stays, goes] = [
      new Member(host, network, await host.container('member1'), 8080),
      new Member(host, network, await host.container('member2'), 8180),
    ]
    for (const one of [stays, goes]) await one.add('podwire')
    expect(await packets(outside, stays)).toEqual(allOf(stays))
    await goes.del('official')
    expect(await ownRules(host)).not.toEqual([])
    expect(records(host)).not.toEqual([])

    await removeRules(host)
    expect(await ownRules(host)).toEqual([])
    expect(await site()).toEqual(before)
    expect(records(host).filter((path) => !path.includes('/bridge/'))).toEqual([])
    expect((await host.exec(['ping', '-c', '1', '-w', '15', stays.v4])).status).toBe(0)
    await removeRules(host)
    // What the iptables backend publishes is in chains that the official suite knows.
    const isPublished = kind === 'iptables everywhere'
    const published = isPublished ? allOf(stays).published : [undefined, undefined]
    expect((await packets(outside, stays, isPublished)).published).toEqual(published)

    await stays.del('official')
    const left = await leftovers(host)
    expect(left.filter((line) => !isOfPolicy(line) && !line.startsWith('/run/podwire/bridge/'))).toEqual([])
  })

  test.for([
    ['published elsewhere', 'is gone', 9180],
    ['published elsewhere', 'stays without the address', 9180],
    ['unpublished', 'is gone', undefined],
    ['unpublished', 'stays without the address', undefined],
  ] as const)('the next ADD of an address clears it: %s, the old namespace %s', async ([, fate, port], { host }) => {
    const outside = await prepare(host)
    const narrow = networkOf(kind, ['podwire', 'official'], onlyAddress)
    const [old, next] = [
      new Member(host, narrow, await host.container('member1'), 8080),
      new Member(host, narrow, await host.container('member2'), port),
    ]
    await old.add('podwire')
    await old.del('official')
    if (fate === 'is gone') await old.container.remove()
    await next.add('podwire')
    expect(next.v4).toBe('10.1.2.9')
    for (const address of ['192.0.2.1', '2001:db8:f::1']) {
      expect(await ask(outside, { protocol: 'tcp', address, port: 8080, deadline: 400 })).toBeUndefined()
    }
    const passes = async () => {
      expect(await next.check('podwire')).toBeUndefined()
      const { published, seen } = allOf(next)
      const expected = { published: port ? published : [undefined, undefined], seen }
      expect(await packets(outside, next, port !== undefined)).toEqual(expected)
    }
    await passes()
    // Runtimes repeat DEL, also for what was another suite's.
    await old.del('podwire')
    await passes()
    await next.del('podwire')
    expect(await leftovers(host)).toEqual([])
  })
})

test('without any rule, without nft and without iptables it does nothing', async ({ host }) => {
  await removeRules(host)
  expect(await ownRules(host)).toEqual([])
})

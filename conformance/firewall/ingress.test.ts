import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { ping } from '../harness/traffic.js'
import { firewalled, join, type Member } from './networks.js'

interface Four {
  readonly foo: readonly [Member, Member]
  readonly bar: readonly [Member, Member]
}

/** Two bridges with two containers each, as the official suite tests it. */
async function four(host: Host, foo: object, bar: object = foo): Promise<Four> {
  const two = async (number: number, firewall: object) =>
    [await join(host, firewalled(firewall, { number })), await join(host, firewalled(firewall, { number }))] as const
  return { foo: await two(2, foo), bar: await two(3, bar) }
}

/** Whether the one reaches the other within the deadline (whole seconds), by both families, which must agree. */
async function reaches({ container }: Member, { v4, v6 }: Member, deadline?: number): Promise<boolean> {
  const [by4, by6] = await Promise.all([ping(container, v4, deadline), ping(container, v6, deadline)])
  expect(by4, 'IPv4 and IPv6').toBe(by6)
  return by4
}

const outside = '192.0.2.2'

// The official rules see frames within a bridge only where br_netfilter hands them to iptables, as it does here unless
// told otherwise.
describe.for(['nftables', 'iptables'])('backend %s', (backend) => {
  test('open: everybody reaches everybody', async ({ host }) => {
    const { foo, bar } = await four(host, { backend, ingressPolicy: 'open' })
    expect(await reaches(foo[0], foo[1])).toBe(true)
    expect(await reaches(foo[0], bar[0])).toBe(true)
  })

  test('same-bridge: neighbours yes, the other bridge no', async ({ host }) => {
    await host.outside()
    const { foo, bar } = await four(host, { backend, ingressPolicy: 'same-bridge' })
    expect(await reaches(foo[0], foo[1])).toBe(true)
    expect(await reaches(bar[1], bar[0])).toBe(true)
    expect(await reaches(foo[0], bar[0], 1)).toBe(false)
    expect(await reaches(bar[1], foo[1], 1)).toBe(false)
    expect(await ping(foo[0].container, outside)).toBe(true)
    expect(await ping(foo[0].container, '10.1.2.1')).toBe(true)
    await foo[0].chain.check()
  })

  test('isolated: neither', async ({ host }) => {
    await host.outside()
    const { foo, bar } = await four(host, { backend, ingressPolicy: 'isolated' })
    expect(await reaches(foo[0], foo[1], 1)).toBe(false)
    expect(await reaches(foo[0], bar[0], 1)).toBe(false)
    expect(await ping(foo[0].container, outside)).toBe(true)
    expect(await ping(foo[0].container, '10.1.2.1')).toBe(true)
    await bar[0].chain.check()
  })

  test('a bridge without a policy is reached from one with', async ({ host }) => {
    const { foo, bar } = await four(host, { backend, ingressPolicy: 'same-bridge' }, { backend })
    expect(await reaches(foo[0], bar[0])).toBe(true)
    expect(await reaches(bar[0], foo[0])).toBe(true)
  })

  test('a policy lives as long as an attachment that wants it', async ({ host }) => {
    const { foo, bar } = await four(host, { backend, ingressPolicy: 'same-bridge' })
    await foo[0].chain.del()
    expect(await reaches(foo[1], bar[0], 1), 'one is left').toBe(false)
    await foo[0].chain.del()
    expect(await reaches(foo[1], bar[0], 1), 'the first DEL was repeated').toBe(false)
    await foo[1].chain.del()
    const unpoliced = await join(host, firewalled({ backend }))
    expect(await reaches(unpoliced, bar[0]), 'none is left').toBe(true)
  })

  test('the strictest policy of a bridge holds, and goes with who wanted it', async ({ host }) => {
    const strict = await join(host, firewalled({ backend, ingressPolicy: 'isolated' }))
    const { foo, bar } = await four(host, { backend, ingressPolicy: 'same-bridge' })
    expect(await reaches(foo[0], strict, 1)).toBe(false)
    expect(await reaches(foo[0], bar[0], 1)).toBe(false)
    await strict.chain.del()
    expect(await reaches(foo[0], foo[1])).toBe(true)
    expect(await reaches(foo[0], bar[0], 1)).toBe(false)
  })
})

describe('beside containers of the official plugin, by iptables', () => {
  const network = firewalled({ backend: 'iptables', ingressPolicy: 'same-bridge' })
  const policyOf = async (host: Host) => {
    const lines = (await host.output(['iptables-save', '-t', 'filter'])).split('\n')
    return lines.filter((line) => line.startsWith('-A CNI-ISOLATION-STAGE') && line.includes('br2'))
  }

  test('the policy stays while they live, and goes with the last of ours after them', async ({ host }) => {
    const theirs = await join(host, network, { suite: 'official' })
    await (await join(host, network)).chain.del()
    expect(await policyOf(host), 'theirs lives').toHaveLength(2)
    await theirs.chain.del()
    expect(await policyOf(host), 'the official DEL leaves it').toHaveLength(2)
    await (await join(host, network)).chain.del()
    expect(await policyOf(host)).toEqual([])
  })

  test('rules that a killed call left do not stay for ever', async ({ host }) => {
    const first = await join(host, network)
    await host.output(['rm', '-r', '/run/podwire/firewall-holders'])
    const second = await join(host, network)
    await first.chain.del()
    await second.chain.del()
    expect(await policyOf(host)).toEqual([])
  })
})

describe('without br_netfilter', () => {
  test('isolated containers of one bridge do not see each other: frames are dropped in the bridge', async ({
    host,
  }) => {
    for (const setting of ['iptables', 'ip6tables']) {
      await host.output(['sysctl', '-w', `net.bridge.bridge-nf-call-${setting}=0`])
    }
    const { foo } = await four(host, { ingressPolicy: 'isolated' }, {})
    expect(await reaches(foo[0], foo[1], 1)).toBe(false)
    const open = await join(host, firewalled())
    expect(await reaches(open, foo[0], 1)).toBe(false)
    expect(await ping(foo[0].container, '10.1.2.1')).toBe(true)
  })
})

import { writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { fakeTools } from '../firewall/networks.js'
import { errorOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import { programsOf, readTrace } from '../harness/trace.js'
import { call, type Mapping, tcp, udp } from './setting.js'

// A CHECK of many ports: what it starts and asks does not grow with them, but for questions that 32 elements share, and
// it finds exactly what is missing or changed.

/** Single ports, of both protocols, apart so that they make no ranges. */
const apart = (count: number): Mapping[] =>
  Array.from({ length: count }, (_, index) => (index % 2 === 0 ? tcp : udp)(10_000 + index * 2, 80))

/** Every kind of element: a range, ports of one address, single ports. */
const others = [...Array.from({ length: 8 }, (_, at) => tcp(8000 + at, 8000 + at)), tcp(9000, 80, '127.0.0.1')]

const counts = [1, 200, 201, 1_000, 5_000]
const byTools = { PODWIRE_NO_NETLINK: '1' }

/** Adds a container that has an address of either family, and returns its CHECK. */
async function add(host: Host, mappings: Mapping[], portmap = {}): Promise<Call> {
  const container = await host.container()
  const one = call('ADD', container, mappings, { portmap })
  const config = one.config as { prevResult: { ips: object[] } }
  config.prevResult.ips.push({ address: 'fd00:1:2::2/64', interface: 0 })
  const added = await runPlugin(host, one)
  expect(added.status, added.stdout).toBe(0)
  return { ...one, command: 'CHECK' }
}

/** Runs a CHECK; returns its end and the programs it started. */
async function check(host: Host, one: Call, env: Record<string, string> = {}) {
  const file = '/run/trace'
  writeFileSync(host.path(file), '')
  const finished = await runPlugin(host, { ...one, env: { ...env, PODWIRE_TRACE: file } })
  return { finished, programs: programsOf(readTrace(host, file)) }
}

/** The expectations that a CHECK's error names. */
const expectedOf = (details: string | undefined, of: RegExp) => (details?.match(of) ?? []).sort()

describe('of ports in nftables', () => {
  test.for(counts)(
    '%d: nothing is started, 32 elements share a question',
    { timeout: 240_000 },
    async (count, { host }) => {
      const one = await add(host, [...apart(count), ...others])
      const { finished, programs } = await check(host, one)
      succeedSilently(finished)
      expect(programs).toEqual([])
      const traced = await runTraced(host, one, ['-e', 'trace=sendto'])
      expect(traced.status, traced.stdout).toBe(0)
      // In each family the owner, the range, the container's hairpin, and the single ports; the port of an address.
      expect(traced.calls.match(/^sendto\(/gm)).toHaveLength(Math.ceil((2 * (count + 3) + 1) / 32))
    },
  )

  test.for(counts)('%d, without netlink: nft, once', { timeout: 240_000 }, async (count, { host }) => {
    const { finished, programs } = await check(host, await add(host, [...apart(count), ...others]), byTools)
    succeedSilently(finished)
    expect(programs).toEqual(['nft'])
  })

  test.for([
    ['netlink', {}, 0],
    ['the tools', byTools, 10],
  ] as const)('by %s: finds exactly what is gone or changed', { timeout: 240_000 }, async ([, env, most], { host }) => {
    const one = await add(host, [...apart(1_000), ...others])
    const nft = (text: string) => host.output(['nft', '-f', '-'], { stdin: `${text}\n` })
    const gone = ['tcp . 10000', 'udp . 11002', 'udp . 11998']
    await nft(`delete element ip podwire portmap_ports { ${gone.join(', ')} }`)
    await nft('delete element ip podwire portmap_ports { tcp . 10004 }')
    await nft('add element ip podwire portmap_ports { tcp . 10004 comment "network/eth0/id2" : 10.1.2.9 . 80 }')
    await nft('delete element ip podwire portmap_ports { tcp . 10008 }')
    await nft('add element ip podwire portmap_ports { tcp . 10008 comment "other" : 10.1.2.2 . 80 }')
    await nft('delete element ip podwire portmap_ranges { tcp . 8000-8007 }')
    await nft('add element ip podwire portmap_ranges { tcp . 8000-8006 comment "network/eth0/id2" : 10.1.2.2 }')
    await nft('delete element ip podwire portmap_addresses { 127.0.0.1 . tcp . 9000 }')
    await nft('delete element ip podwire portmap_hairpin { 10.1.2.2 }')
    const { finished, programs } = await check(host, one, env)
    const { code, details } = errorOf(finished)
    expect(code).toBe(105)
    const rest = ['tcp . 10004', 'tcp . 10008', 'tcp . 8000-8007', '127.0.0.1 . tcp . 9000', '10.1.2.2']
    expect(expectedOf(details, /(?<=expected ).*?(?= comment)/g)).toEqual([...gone, ...rest].sort())
    expect(programs.length).toBeLessThanOrEqual(most)
  })

  test.for([
    ['netlink', {}],
    ['the tools', byTools],
  ] as const)(
    'by %s: finds all 1,000 gone when the rules were flushed',
    { timeout: 240_000 },
    async ([, env], { host }) => {
      const one = await add(host, apart(1_000))
      for (const family of ['ip', 'ip6']) await host.output(['nft', 'delete', 'table', family, 'podwire'])
      const { finished, programs } = await check(host, one, env)
      const { details } = errorOf(finished)
      expect(details?.match(/ comment /g)).toHaveLength(2_004)
      expect(programs.length).toBeLessThanOrEqual(8)
    },
  )

  test.for([
    ['dies', 'kill -SEGV $$', /killed by SIGSEGV/],
    ['says half an answer and dies', 'echo "Error: No such file or directory" >&2; kill -KILL $$', /killed by SIGKILL/],
    ['fails for no reason it tells', 'exit 1', /stderr/],
    ['prints nothing', 'exit 0', /found ""/],
    ['prints something else', 'cat >/dev/null; echo "table ip podwire {"', /found "table ip podwire/],
  ] as const)('an nft that %s is no sign that anything is missing', async ([, script, reason], { host }) => {
    const one = await add(host, apart(10))
    await fakeTools(host, { nft: script })
    const { code, details } = errorOf((await check(host, one, byTools)).finished)
    expect(code).toBe(100)
    expect(details).toMatch(reason)
    succeedSilently((await check(host, one)).finished)
  })
})

describe('of ports in iptables', () => {
  test.for(counts)(
    '%d: iptables-save, once a family, and what is gone is found',
    { timeout: 240_000 },
    async (count, { host }) => {
      const one = await add(host, apart(count), { backend: 'iptables' })
      const { finished, programs } = await check(host, one)
      succeedSilently(finished)
      expect(programs).toEqual(['iptables-save', 'ip6tables-save'])
      const rule = (await host.output(['iptables-save', '-t', 'nat']))
        .split('\n')
        .find((line) => / --dport 10000 .*DNAT/.test(line))
      await host.output(['iptables', '-t', 'nat', ...(rule ?? '').replace('-A', '-D').split(' ')])
      const { details } = errorOf((await check(host, one)).finished)
      expect(expectedOf(details, /--dport \d+ .*DNAT/g)).toEqual(['--dport 10000 -j DNAT'])
    },
  )
})

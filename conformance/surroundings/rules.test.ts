import { describe, expect } from 'vitest'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { ask, serve } from '../harness/traffic.js'
import { addresses, publishingNetwork, tcp } from '../portmap/setting.js'
import { dockerOpening, others, theirContainer } from './others.js'

// Other programs' rules on the same host. Expected, whoever they are: published ports answer, theirs and ours,
// masquerade works, and what is closed stays closed; DEL leaves nothing of ours but the chains and tables that are for
// all, and all of theirs to the byte.

interface Entry {
  table?: string
  name?: string
}

/** Tables that are ours, and those that iptables' own programs list. */
const keptElsewhere = ['podwire', 'nat', 'filter', 'raw', 'mangle']

/** What netfilter holds of others than us, in order; our tables, chains and ways into them left out. */
async function theirs(host: Host): Promise<string> {
  const ruleset = await host.output(['nft', '-s', '-j', 'list', 'ruleset'])
  const { nftables } = JSON.parse(ruleset) as { nftables: Record<string, Entry>[] }
  const ofTables = nftables
    .flatMap((one) => Object.entries(one))
    .filter(([kind, { table, name }]) => kind !== 'metainfo' && !keptElsewhere.includes(table ?? name ?? ''))
    .map(([kind, entry]) => JSON.stringify([kind, { ...entry, handle: undefined }]))
  const programs = ['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save']
  const saved = await Promise.all(programs.map((program) => host.output([program])))
  const ofTools = saved.flatMap((text, index) =>
    text
      .split('\n')
      .filter((line) => /^[-:]/.test(line) && !/PODWIRE|CNI-/.test(line))
      // Built-in chains come with the first look at a table.
      .filter((line) => !/^:(PREROUTING|INPUT|OUTPUT|POSTROUTING|FORWARD) ACCEPT/.test(line))
      .map((line) => `${programs[index]} ${line.replace(/ ?\[\d+:\d+\]/, '')}`),
  )
  return [...ofTables, ...ofTools].join('\n')
}

/** Lines of netfilter that name a container's addresses or its identifier. */
async function ours(host: Host, { result }: Chain, id: string): Promise<string[]> {
  const programs = [['nft', '-s', 'list', 'ruleset'], ['iptables-nft-save'], ['iptables-legacy-save']]
  const texts = await Promise.all(programs.map((argv) => host.output(argv)))
  const marks = [id, ...(result?.ips ?? []).map(({ address }) => address.replace(/\/\d+$/, ''))]
  const lines = texts.join('\n').split('\n')
  return lines.filter((line) => marks.some((mark) => new RegExp(`\\b${mark}\\b`).test(line)))
}

function attached(host: Host, container: Container, backend: string): Chain {
  const network = publishingNetwork({ portmap: { backend } })
  const [bridge, portmap] = network.plugins as [(typeof network.plugins)[0], (typeof network.plugins)[0]]
  const plugins = [{ ...bridge, ipMasqBackend: backend }, portmap, { type: 'firewall', backend }]
  const attachment = { containerID: container.name, netns: container.netns }
  return new Chain(host, { ...network, plugins }, { ...attachment, capabilityArgs: { portMappings: [tcp(8080)] } })
}

describe.each(['nftables', 'iptables'])('our rules by %s beside', (backend) => {
  for (const [name, { rules }] of Object.entries(others)) {
    test(name, async ({ host }) => {
      const { container: outside } = await host.outside()
      const their = await theirContainer(host)
      for (const { argv, stdin } of rules) await host.output(argv, { stdin })
      if (backend === 'iptables' && name.startsWith("Docker's chains by legacy")) {
        // Our rules are in one of the two iptables, as those of the official plugin: the other's policy is its
        // administrator's.
        const replies = ['-d', '10.1.0.0/16', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED']
        for (const rule of [['-s', '10.1.0.0/16'], replies]) {
          await host.output(['iptables-legacy', '-I', 'DOCKER-USER', ...rule, '-j', 'ACCEPT'])
        }
      }
      const container = await host.container()
      const before = await theirs(host)
      expect(before).not.toBe('')
      const chain = attached(host, container, backend)
      await chain.add()
      await chain.check()
      expect((await ours(host, chain, container.name)).length).toBeGreaterThan(0)
      await serve(container, { protocol: 'tcp', port: 80, name: 'ours' })
      await serve(their, { protocol: 'tcp', port: 80, name: 'theirs' })
      await serve(outside, { protocol: 'tcp', port: 80, name: 'outside' })
      await serve(host, { protocol: 'tcp', port: 2222, address: '127.0.0.1', name: 'private' })
      await outside.batch(['route add 10.1.2.0/24 via 192.0.2.1'])

      const port = (number: number, deadline = 15_000) =>
        ({ protocol: 'tcp', address: addresses[4], port: number, deadline }) as const
      expect(await ask(outside, port(8080)), 'our port').toMatchObject({ server: 'ours' })
      expect(await ask(host, port(8080)), 'our port, from the host').toMatchObject({ server: 'ours' })
      if (!name.startsWith('firewalld')) {
        expect(await ask(outside, port(7070)), 'their port').toMatchObject({ server: 'theirs' })
      }
      const away = { protocol: 'tcp', address: '192.0.2.2', port: 80 } as const
      expect(await ask(container, away), 'masquerade').toMatchObject({ server: 'outside', source: '192.0.2.1' })
      expect(await ask(outside, port(2222, 400)), 'a closed port').toBeUndefined()

      await chain.del()
      expect(await ours(host, chain, container.name)).toEqual([])
      expect(await theirs(host)).toBe(before)
      expect(await ask(outside, port(8080, 400)), 'our port after DEL').toBeUndefined()
      if (!name.startsWith('firewalld')) {
        expect(await ask(outside, port(7070)), 'their port after DEL').toMatchObject({ server: 'theirs' })
      }
    })
  }

  test("new connections that Docker's policy drops stay closed, and published ports until it is told", async ({
    host,
  }) => {
    const { container: outside } = await host.outside()
    const their = await theirContainer(host)
    for (const { argv, stdin } of others["Docker's chains"]?.rules ?? []) await host.output(argv, { stdin })
    const container = await host.container()
    const chain = attached(host, container, backend)
    await chain.add()
    await serve(container, { protocol: 'tcp', port: 80, name: 'published' })
    await serve(container, { protocol: 'tcp', port: 81, name: 'unpublished' })
    await serve(their, { protocol: 'tcp', port: 81, name: 'unpublished' })
    await outside.batch(['route add 10.1.2.0/24 via 192.0.2.1', 'route add 172.17.0.0/16 via 192.0.2.1'])
    const published = { protocol: 'tcp', address: addresses[4], port: 8080 } as const
    expect(await ask(outside, published)).toMatchObject({ server: 'published' })
    await host.output(['iptables-nft', ...dockerOpening.replace('-A', '-D').split(' ')])
    expect(await ask(outside, { ...published, deadline: 400 })).toBeUndefined()
    for (const address of ['10.1.2.2', '172.17.0.2']) {
      expect(await ask(outside, { protocol: 'tcp', address, port: 81, deadline: 400 }), address).toBeUndefined()
    }
    await chain.del()
  })

  test('a reload of firewalld, which makes its table anew, cuts nobody off', async ({ host }) => {
    const { container: outside } = await host.outside()
    const [table] = others["firewalld's table"]?.rules ?? []
    const reload = async () =>
      host.output(table?.argv ?? [], { stdin: `table inet firewalld\ndelete table inet firewalld\n${table?.stdin}` })
    await reload()
    const before = await theirs(host)
    const container = await host.container()
    const chain = attached(host, container, backend)
    await chain.add()
    await serve(container, { protocol: 'tcp', port: 80, name: 'ours' })
    await reload()
    const target = { protocol: 'tcp', address: addresses[4], port: 8080 } as const
    expect(await ask(outside, target)).toMatchObject({ server: 'ours' })
    await chain.check()
    await chain.del()
    expect(await ours(host, chain, container.name)).toEqual([])
    expect(await theirs(host)).toBe(before)
  })

  test('a reload that flushes all of iptables is seen by CHECK, mended by the next ADD, and no matter to DEL', async ({
    host,
  }) => {
    const { container: outside } = await host.outside()
    const [first, second] = [await host.container(), await host.container()]
    const chain = attached(host, first, backend)
    await chain.add()
    for (const name of ['iptables', 'ip6tables']) {
      for (const table of ['nat', 'filter', 'raw']) {
        for (const act of ['-F', '-X']) await host.output([name, '-t', table, act])
      }
    }
    await serve(first, { protocol: 'tcp', port: 80, name: 'ours' })
    const target = { protocol: 'tcp', address: addresses[4], port: 8080 } as const
    if (backend === 'nftables') expect(await ask(outside, target)).toMatchObject({ server: 'ours' })
    else await expect(chain.check()).rejects.toThrow(/CHECK: exit 1/)
    await chain.del()
    await chain.add()
    expect(await ask(outside, target)).toMatchObject({ server: 'ours' })
    await chain.check()
    await chain.del()
    for (const one of [first, second]) expect(await ours(host, chain, one.name)).toEqual([])
  })
})

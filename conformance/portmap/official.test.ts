import { describe, expect } from 'vitest'
import { succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'
import { elementCount, type Mapping, publish, publishing, publishingNetwork, tcp, udp } from './setting.js'

const mappings: Mapping[] = [
  tcp(8443, 443),
  tcp(8080),
  udp(5353),
  { hostPort: 9000, containerPort: 9000, protocol: 'sctp' },
]

/** The nat tables of both families as tools see them, rules in order, without counters. */
async function nat(host: Host): Promise<string> {
  const both = await Promise.all(['iptables-save', 'ip6tables-save'].map((tool) => host.output([tool, '-t', 'nat'])))
  return both
    .join('')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\[\d+:\d+\]/g, '')
}

const officialLeftovers = async (host: Host) => [
  ...(await host.output(['iptables-save'])).split('\n').filter((line) => line.includes('CNI-DN-')),
  ...(await host.output(['nft', 'list', 'ruleset'])).split('\n').filter((line) => line.includes('comment "container')),
]

async function withOther<T>(suite: Suite, body: (host: Host) => Promise<T>): Promise<T> {
  const host = await Host.create()
  try {
    await publish(host, await host.container(), mappings, { suite, portmap: { backend: 'iptables' } })
    return await body(host)
  } finally {
    await host.dispose()
  }
}

describe('beside the official plugin', () => {
  test('the nat tables are the same, byte for byte', async () => {
    expect(await withOther('podwire', nat)).toBe(await withOther('official', nat))
  })

  test.for(['iptables', 'nftables'])(
    'what it left by %s goes with a DEL that is told nothing',
    async (backend, { host }) => {
      const container = await host.container()
      await publish(host, container, mappings, { suite: 'official', portmap: { backend } })
      expect(await officialLeftovers(host)).not.toEqual([])
      await publishing(host, container, mappings).del(true)
      expect(await officialLeftovers(host)).toEqual([])
    },
  )

  test('and GC takes the chains of containers that are no more, on its own network', async ({ host }) => {
    const portmap = { backend: 'iptables' }
    const [gone, alive, elsewhere] = [await host.container(), await host.container(), await host.container()]
    await publish(host, gone, [tcp(8080)], { suite: 'official', portmap })
    await publish(host, alive, [tcp(8081)], { suite: 'official', portmap })
    await publish(host, elsewhere, [tcp(8082)], { suite: 'official', portmap, network: 'other' })
    await publishing(host, alive, []).gc([{ containerID: alive.name, ifname: 'eth0' }])
    const left = await host.output(['iptables-save', '-t', 'nat'])
    expect(left).not.toContain(`id: \\"${gone.name}\\"`)
    expect(left).toContain(`id: \\"${alive.name}\\"`)
    expect(left).toContain(`id: \\"${elsewhere.name}\\"`)
  })

  test('rules of the same container on another network stay where the address tells them apart', async ({ host }) => {
    const container = await host.container()
    const portmap = { backend: 'nftables' }
    const chain = await publish(host, container, [tcp(8080)], { suite: 'official', portmap })
    await publish(host, container, [tcp(8081)], { suite: 'official', portmap, network: 'other', ifName: 'eth1' })
    const [, config = { type: '' }] = publishingNetwork().plugins
    const stdin = chain.input(config, chain.result)
    const { name: containerID, netns } = container
    succeedSilently(await runPlugin(host, { plugin: 'portmap', command: 'DEL', config: stdin, containerID, netns }))
    const left = (await officialLeftovers(host)).join('\n')
    expect(left).not.toContain('8080')
    expect(left).toContain('8081')
  })

  test('it finds our chains complete, and removes them', async ({ host }) => {
    const container = await host.container()
    const portmap = { backend: 'iptables' }
    const ours = await publish(host, container, mappings, { portmap })
    const theirs = publishing(host, container, mappings, { portmap, suite: 'official' })
    theirs.result = ours.result
    await theirs.check()
    await theirs.del()
    expect(await officialLeftovers(host)).toEqual([])
    await ours.del()
  })

  test.for([
    ['iptables', 'iptables'],
    ['iptables', 'nftables'],
    ['nftables', 'nftables'],
  ])('a port it has by %s is refused by %s, naming the holder, until it is free', async ([theirs, ours], { host }) => {
    const [first, second] = [await host.container('first'), await host.container('second')]
    const held = [tcp(8080), udp(5353), tcp(8443, 443, '192.0.2.7')]
    const official = await publish(host, first, held, { suite: 'official', portmap: { backend: theirs } })
    const portmap = { backend: ours }
    const before = await elementCount(host)
    for (const mapping of [tcp(8080), udp(5353), tcp(8443)]) {
      const refused = publishing(host, second, [tcp(7000), mapping], { portmap })
      await expect(refused.add()).rejects.toThrow(
        /"code": 106.*cannot publish host port \d+\/...: it is published by container .*first/s,
      )
      expect(await elementCount(host)).toBe(before)
      await refused.del()
    }
    await publish(host, second, [udp(8080), tcp(8081), tcp(8443, 443, '192.0.2.8')], { portmap })
    await publishing(host, second, [], { portmap }).del()
    await official.del()
    await publish(host, second, held, { portmap })
  })

  test('another interface of its container may have the same port', async ({ host }) => {
    const container = await host.container()
    await publish(host, container, [tcp(8080)], { suite: 'official', portmap: { backend: 'iptables' } })
    await publish(host, container, [tcp(8080)], { network: 'other', ifName: 'eth1' })
    expect(await elementCount(host)).toBeGreaterThan(0)
  })
})

describe.each(['nftables', 'iptables'])('verbs, by %s', (backend) => {
  const portmap = { backend }

  test('ADD, CHECK, DEL, DEL again, STATUS and GC', async ({ host }) => {
    const container = await host.container()
    const chain = await publish(host, container, mappings, { portmap })
    await chain.check()
    await chain.status()
    await chain.gc([{ containerID: container.name, ifname: 'eth0' }])
    await chain.check()
    await chain.gc()
    await chain.check()
    await chain.del()
    await chain.del(true)
    expect(await elementCount(host)).toBe(0)
    expect(await officialLeftovers(host)).toEqual([])
  })

  test('GC removes what no valid attachment has', async ({ host }) => {
    const [gone, alive] = [await host.container(), await host.container()]
    await publish(host, gone, mappings, { portmap })
    const chain = await publish(host, alive, [tcp(8888)], { portmap })
    await gone.remove()
    await chain.gc([{ containerID: alive.name, ifname: 'eth0' }])
    await chain.check()
    if (backend === 'nftables') expect(await elementCount(host)).toBe(6)
    else expect(await host.output(['iptables-save'])).not.toContain('8443')
  })

  test('GC takes what containers shared with the last of them', async ({ host }) => {
    const conditions = backend === 'nftables' ? { conditionsV4: ['ip', 'daddr', '!=', '192.0.2.9'] } : {}
    const chain = await publish(host, await host.container(), mappings, { portmap: { ...portmap, ...conditions } })
    const shared = async () => (await host.output(['nft', 'list', 'chains'])).match(/portmap_(hairpin|if)_/g) ?? []
    const made = await shared()
    expect(made).toHaveLength(backend === 'nftables' ? 3 : 0)
    await chain.gc([{ containerID: 'container0', ifname: 'eth0' }])
    expect(await shared()).toEqual(made)
    await chain.del()
    await chain.gc([])
    expect(await shared()).toEqual([])
  })

  test('CHECK names what is missing', async ({ host }) => {
    const chain = await publish(host, await host.container(), mappings, { portmap })
    const remove =
      backend === 'nftables'
        ? ['nft', 'delete element ip6 podwire portmap_ports { udp . 5353 }']
        : [
            'iptables',
            '-t',
            'nat',
            '-D',
            'PREROUTING',
            '-m',
            'addrtype',
            '--dst-type',
            'LOCAL',
            '-j',
            'CNI-HOSTPORT-DNAT',
          ]
    await host.output(remove)
    await expect(chain.check()).rejects.toThrow(
      backend === 'nftables'
        ? /nftables ip6 podwire portmap_ports: found ..no such element.*udp \. 5353/
        : /iptables table nat: found ..no such rule.*PREROUTING -m addrtype/,
    )
  })

  test.for(['0.1.0', '0.3.1', '0.4.0', '1.0.0'])('version %s', async (cniVersion, { host }) => {
    const { name: containerID, netns } = await host.container()
    const old = { cniVersion, ip4: { ip: '10.1.2.9/24' }, dns: {} }
    const prevResult = cniVersion === '0.1.0' ? old : { cniVersion, ips: [{ version: '4', address: '10.1.2.9/24' }] }
    const runtimeConfig = { portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'TCP', HostIP: '' }] }
    const config = { cniVersion, name: 'network', type: 'portmap', ...portmap, runtimeConfig, prevResult }
    const call = { plugin: 'portmap', config, containerID, netns }
    const added = await runPlugin(host, { ...call, command: 'ADD' })
    // The official nftables backend refuses a protocol in capitals.
    const theirs = { ...config, backend: 'iptables' }
    const official = await runPlugin(host, {
      ...call,
      config: theirs,
      suite: 'official',
      command: 'ADD',
      containerID: 'o',
    })
    expect(added).toMatchObject({ status: 0, stdout: official.stdout })
    succeedSilently(await runPlugin(host, { ...call, command: 'DEL' }))
  })
})

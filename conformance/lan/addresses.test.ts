import { describe, expect } from 'vitest'
import { errorOf } from '../harness/answer.js'
import type { ChainError } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { until } from '../harness/process.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { fixedNetwork, join, lanNetwork, neighbour } from './network.js'

const [four, six] = ['192.0.2.10', '2001:db8:f::10']

interface Neighbour {
  dst: string
  lladdr?: string
  state: string[]
}

/** What a machine remembers of an address's owner. */
async function remembered(place: Container, address: string): Promise<string | undefined> {
  const entries = JSON.parse(await place.output(['ip', '-j', 'neigh', 'show', 'to', address])) as Neighbour[]
  return entries[0]?.lladdr
}

/** Waits until it does: a question of its own would come tens of seconds later, once it doubts what it remembers. */
async function remembers(place: Container, address: string, mac: string | undefined): Promise<void> {
  await until(`${address} is at ${mac}`, async () => (await remembered(place, address)) === mac, 10_000)
}

describe('an address that had another owner', () => {
  test('is reached at once by a machine that remembers the other', async ({ host }) => {
    const outside = await neighbour(host)
    const dead = '02:00:00:00:de:ad'
    for (const address of [four, six]) {
      await outside.output(['ip', 'neigh', 'replace', address, 'lladdr', dead, 'dev', 'eth0', 'nud', 'reachable'])
      expect(await remembered(outside, address)).toBe(dead)
    }
    const container = await host.container()
    const { result } = await join(host, container, fixedNetwork('macvlan', [`${four}/24`, `${six}/64`]))
    // What the container tells needs no answer: it is there a moment later.
    for (const address of [four, six]) await remembers(outside, address, result?.interfaces?.[0]?.mac)
    await serve(container, { protocol: 'tcp', port: 80 })
    for (const address of [four, six]) {
      expect(await ask(outside, { protocol: 'tcp', address, port: 80 })).toBeDefined()
    }
  })

  test('goes from container to container while a third looks on', async ({ host }) => {
    await neighbour(host)
    const [watcher, first, second] = [await host.container(), await host.container(), await host.container()]
    await join(host, watcher, fixedNetwork('macvlan', ['192.0.2.9/24', '2001:db8:f::9/64']))
    const network = fixedNetwork('macvlan', [`${four}/24`, `${six}/64`])
    const before = await join(host, first, network)
    for (const address of [four, six]) expect(await ping(watcher, address)).toBe(true)
    await before.del()
    const after = await join(host, second, network)
    for (const address of [four, six]) {
      await remembers(watcher, address, after.result?.interfaces?.[0]?.mac)
      expect(await ping(watcher, address)).toBe(true)
    }
  })
})

/** Gives the machine outside addresses that IPAM would hand out next. */
async function squat(outside: Container, ...addresses: string[]): Promise<void> {
  await outside.batch(addresses.map((one) => `addr add ${one} dev eth0 ${one.includes(':') ? 'nodad' : ''}`))
}

const owners = (host: Host) =>
  Object.entries(readFiles(host, '/var/lib/cni/networks/network'))
    .filter(([name]) => /^(192|2001)/.test(name))
    .map(([name, text]) => `${name} ${text.split('\r\n')[0]}`)

describe('an address that another machine has', () => {
  test('of IPv6 fails the ADD, which leaves nothing', async ({ host }) => {
    const outside = await neighbour(host)
    await squat(outside, `${six}/64`)
    const container = await host.container()
    const adding = join(host, container, lanNetwork('macvlan'))
    const error = await adding.then(
      () => undefined,
      (thrown: ChainError) => errorOf(thrown.finished),
    )
    expect(error).toMatchObject({
      code: 110,
      msg: expect.stringContaining(`another machine on the link has the address ${six}`),
    })
    expect(owners(host)).toEqual([])
    expect(await container.output(['ip', '-o', 'link'])).not.toContain('eth0')
  })

  test.for<[string, string]>([
    ['IPv4', `${four}/24`],
    ['IPv6', `${six}/64`],
  ])('of %s is quarantined, and the next one used', async ([, address], { host }) => {
    const outside = await neighbour(host)
    await squat(outside, address)
    const network = lanNetwork('macvlan', { addressConflictDetection: true })
    const [one, two] = [await host.container(), await host.container()]
    const first = await join(host, one, network)
    expect(first.result?.ips?.map((ip) => ip.address)).toEqual(['192.0.2.11/24', '2001:db8:f::11/64'])
    expect(owners(host)).toEqual([
      `${four} address-conflict-${four}`,
      '192.0.2.11 container0',
      `${six} address-conflict-${four}`,
      '2001:db8:f::11 container0',
    ])
    for (const target of ['192.0.2.11', '2001:db8:f::11']) expect(await ping(outside, target)).toBe(true)
    await first.check()
    const second = await join(host, two, network)
    expect(second.result?.ips?.[0]?.address).toBe('192.0.2.12/24')
    await first.del()
    await second.gc([{ containerID: two.name, ifname: 'eth0' }])
    expect(owners(host)).toEqual(['192.0.2.12 container1', '2001:db8:f::12 container1'])
  })

  test('is not tried twice where IPAM has no other; the host itself counts as a machine', async ({ host }) => {
    const outside = await neighbour(host)
    await squat(outside, `${four}/24`)
    const container = await host.container()
    for (const address of [`${four}/24`, '192.0.2.1/24']) {
      const adding = join(host, container, fixedNetwork('macvlan', [address], { addressConflictDetection: true }))
      const error = await adding.then(
        () => undefined,
        (thrown: ChainError) => errorOf(thrown.finished),
      )
      expect(error).toMatchObject({ code: 110, msg: expect.stringContaining(address) })
      expect(await container.output(['ip', '-o', 'link'])).not.toContain('eth0')
    }
  })
})

import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { refuseInTurn } from '../lan/breaking.js'
import { bridgeNetwork } from '../main/networks.js'
import { call as callOf, linkNames, linkOf, state } from './calls.js'
import { diesAtAnyMoment } from './killing.js'

// A plugin call takes seconds in the machine: few calls, and much asked of each.

const prevResult = { ips: [{ address: '10.1.0.5/24' }, { address: 'fd01::5/64' }] }
const call = (verb: Verb, container: Container, change: object = {}, more: Partial<Call> = {}) =>
  callOf('vrf', verb, container, { vrfname: 'blue', prevResult, ...change }, more)

/**
 * A container with two interfaces of the same subnets, at the far end of each a neighbour with an address of its own.
 */
async function world(host: Host) {
  const [container, blue, red] = [await host.container('c1'), await host.container('n1'), await host.container('n2')]
  for (const [index, neighbour] of [blue, red].entries()) {
    const link = `eth${index}`
    await container.batch([
      `link add ${link} type veth peer name far netns ${neighbour.name}`,
      `addr add 10.1.0.5/24 dev ${link}`,
      `addr add fd01::5/64 dev ${link} nodad`,
      `link set ${link} up`,
    ])
    await neighbour.batch([
      'link set far up',
      `addr add 10.1.0.2${index}/24 dev far`,
      `addr add fd01::2${index}/64 dev far nodad`,
    ])
  }
  return container
}

/** The same with routes that the kernel does not make again by itself. */
async function routedWorld(host: Host) {
  const container = await world(host)
  await container.batch([
    'route add default via 10.1.0.20 dev eth0',
    'route add default via fd01::20 dev eth0',
    'route add 172.17.0.0/16 dev eth0 scope link',
    'route add 10.5.0.0/16 via 10.1.0.20 dev eth0 table 5000',
  ])
  return container
}

const reaches = async (container: Container, vrf: string, address: string) => {
  const { status } = await container.exec(['ping', '-n', '-c', '2', '-w', '5', '-I', vrf, address])
  return status === 0
}

/** The state without what the kernel keeps of the first VRF ever made. */
const settled = async (host: Host) =>
  (await state(host)).filter((line) => !/rule (family inet6 )?priority 1000 /.test(line))

describe('two VRFs of one container', () => {
  test('do not hear each other, and keep all addresses and routes', async ({ host }) => {
    const container = await routedWorld(host)
    const before = await settled(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    const red = { vrfname: 'red', table: 42 }
    resultOf(await runPlugin(host, call('ADD', container, red, { ifName: 'eth1' })))
    for (const [vrf, own, others] of [
      ['blue', '20', '21'],
      ['red', '21', '20'],
    ] as const) {
      expect([await reaches(container, vrf, `10.1.0.${own}`), await reaches(container, vrf, `fd01::${own}`)]).toEqual([
        true,
        true,
      ])
      expect([
        await reaches(container, vrf, `10.1.0.${others}`),
        await reaches(container, vrf, `fd01::${others}`),
      ]).toEqual([false, false])
    }
    const routes = await container.output(['ip', 'route', 'show', 'table', '1'])
    expect(routes).toMatch(/^default via 10\.1\.0\.20 dev eth0/m)
    expect(routes).toMatch(/^172\.17\.0\.0\/16 dev eth0 .*scope link/m)
    expect(await container.output(['ip', '-6', 'route', 'show', 'table', '1'])).toMatch(
      /^default via fd01::20 dev eth0/m,
    )
    expect(await container.output(['ip', 'route', 'show', 'table', '5000'])).toContain('10.5.0.0/16 via 10.1.0.20')
    expect(await container.output(['ip', 'route', 'show', 'table', '42'])).toContain('10.1.0.0/24 dev eth1')

    succeedSilently(await runPlugin(host, call('CHECK', container)))
    expect(errorOf(await runPlugin(host, call('CHECK', container, { table: 9 })))).toMatchObject({ code: 105 })
    const there = await settled(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    expect(difference(there, await settled(host))).toBe('')
    for (let times = 0; times < 2; times++) {
      succeedSilently(await runPlugin(host, call('DEL', container)))
      succeedSilently(await runPlugin(host, call('DEL', container, red, { ifName: 'eth1' })))
    }
    expect(difference(before, await settled(host))).toBe('')
  })
})

test('in every version; GC and STATUS', { timeout: 240_000 }, async ({ host }) => {
  const container = await world(host)
  const before = await settled(host)
  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    expect(resultOf(await runPlugin(host, call('ADD', container, { cniVersion })))).toMatchObject(prevResult)
    if (cniVersion !== '0.3.1') succeedSilently(await runPlugin(host, call('CHECK', container, { cniVersion })))
    succeedSilently(await runPlugin(host, call('DEL', container, { cniVersion, prevResult: undefined })))
    expect(difference(before, await settled(host))).toBe('')
  }
  resultOf(await runPlugin(host, call('ADD', container)))
  succeedSilently(await runPlugin(host, call('GC', container)))
  expect(await linkNames(container)).toContain('blue')
  succeedSilently(await runPlugin(host, call('GC', container, { 'cni.dev/valid-attachments': [] })))
  expect(difference(before, await settled(host))).toBe('')
  succeedSilently(await runPlugin(host, call('STATUS', container)))
})

test('DEL leaves the VRF that ADD made, whatever the configuration names by now', async ({ host }) => {
  const container = await world(host)
  const before = await settled(host)
  resultOf(await runPlugin(host, call('ADD', container)))
  expect(await linkNames(container)).toContain('blue')
  succeedSilently(await runPlugin(host, call('DEL', container, { vrfname: 'red' })))
  expect(difference(before, await settled(host))).toBe('')
})

test('two interfaces at once share the VRF; the last takes it away', async ({ host }) => {
  const container = await world(host)
  const both = (verb: Verb) =>
    Promise.all(['eth0', 'eth1'].map((ifName) => runPlugin(host, call(verb, container, {}, { ifName }))))
  for (const finished of await both('ADD')) resultOf(finished)
  for (const name of ['eth0', 'eth1']) expect(await linkOf(container, name)).toMatchObject({ master: 'blue' })
  succeedSilently(await runPlugin(host, call('DEL', container)))
  expect(await linkNames(container)).toContain('blue')
  for (const finished of await both('DEL')) succeedSilently(finished)
  expect(await linkNames(container)).toEqual(['lo', 'eth0', 'eth1'])
})

test('an ADD that fails, and a namespace that is gone, leave nothing', async ({ host }) => {
  const container = await world(host)
  const before = await settled(host)
  // The kernel refuses loopback as part of a VRF, which is there by then.
  errorOf(await runPlugin(host, call('ADD', container, {}, { ifName: 'lo' })))
  expect(errorOf(await runPlugin(host, call('ADD', container, { vrfname: 'eth1' }))).code).toBe(103)
  expect(difference(before, await settled(host))).toBe('')
  resultOf(await runPlugin(host, call('ADD', container)))
  await container.remove()
  for (let times = 0; times < 2; times++) succeedSilently(await runPlugin(host, call('DEL', container)))
  expect((await state(host)).filter((line) => line.startsWith('file '))).toEqual([])
})

diesAtAnyMoment('vrf', { shape: call, prepare: routedWorld, look: settled }, 8)

test('each operation of an ADD refused in turn leaves nothing', { timeout: 240_000 }, async ({ host }) => {
  const container = await routedWorld(host)
  expect(await refuseInTurn(host, call('ADD', container), settled)).toBeGreaterThan(4)
})

describe('beside the official plugin', () => {
  const given = { prevResult: { cniVersion: '1.1.0', ...prevResult } }

  test('the same VRF, addresses and routes', async ({ host }) => {
    const container = await world(host)
    await container.batch(['route add default via 10.1.0.20 dev eth0'])
    const seen: string[][] = []
    for (const suite of ['podwire', 'official'] as const) {
      resultOf(await runPlugin(host, call('ADD', container, given, { suite })))
      const lines = (await settled(host)).filter((line) => /^c1: (link|address|route)/.test(line))
      // The addresses were proven to be alone before, and are not asked about again.
      seen.push(lines.map((line) => line.replace(/ nodad true/, '').replace(/ "?nodad"?/, '')))
      succeedSilently(await runPlugin(host, call('DEL', container, given, { suite })))
    }
    expect(seen[1]).toEqual(seen[0])
  })

  test.for([
    ['official', 'podwire'],
    ['podwire', 'official'],
  ] as [Suite, Suite][])('what the %s one made the %s one removes', async ([makes, removes], { host }) => {
    const container = await world(host)
    resultOf(await runPlugin(host, call('ADD', container, given, { suite: makes })))
    succeedSilently(await runPlugin(host, call('CHECK', container, given, { suite: removes })))
    succeedSilently(await runPlugin(host, call('DEL', container, given, { suite: removes })))
    expect(await linkNames(container)).toEqual(['lo', 'eth0', 'eth1'])
  })
})

test('behind bridge in a chain: CHECK of both is content', async ({ host }) => {
  const container = await host.container('c1')
  const list = bridgeNetwork()
  const chained = { ...list, plugins: [...list.plugins, { type: 'vrf', vrfname: 'blue' }] }
  const chain = new Chain(host, chained, { containerID: 'c1', netns: container.netns })
  await chain.add()
  await chain.check()
  expect(await reaches(container, 'blue', '10.1.2.1')).toBe(true)
  await chain.del()
  expect(await linkNames(container)).toEqual(['lo'])
})

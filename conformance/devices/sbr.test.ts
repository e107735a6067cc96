import { existsSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { addressOf, bridgeNetwork } from '../main/networks.js'
import { call as callOf, state, versions } from './calls.js'

const prevResult = {
  interfaces: [{ name: 'net1' }],
  ips: [
    { address: '10.2.0.5/24', gateway: '10.2.0.1', interface: 0 },
    { address: 'fd02::5/64', gateway: 'fd02::1', interface: 0 },
  ],
}

const call = (verb: Verb, container: Container, change: object = {}, more: Partial<Call> = {}) =>
  callOf('sbr', verb, container, { prevResult, ...change }, { ifName: 'net1', ...more })

/** Joins two containers by a cable with addresses of 10.NET.0.0/24 and fdNET::/64 at both ends. */
async function cable(left: Container, leftEnd: string, right: Container, rightEnd: string, net: string) {
  await left.batch([`link add ${leftEnd} type veth peer name ${rightEnd} netns ${right.name}`])
  const [last, first] = [leftEnd === 'out' ? '9' : '5', '1']
  const end = (link: string, host: string) => [
    `addr add 10.${Number(net)}.0.${host}/24 dev ${link}`,
    `addr add fd${net}::${host}/64 dev ${link} nodad`,
    `link set ${link} up`,
  ]
  await left.batch(end(leftEnd, last))
  await right.batch(end(rightEnd, first))
}

/** A container with its default route by eth0, and a client who knows the way to its other interface, net1, alone. */
async function world(host: Host) {
  const names = ['c1', 'other', 'router', 'client'] as const
  const [container, other, router, client] = await Promise.all(names.map((name) => host.container(name)))
  if (!container || !other || !router || !client) throw new Error('a container is missing')
  await cable(container, 'eth0', other, 'in', '01')
  await cable(container, 'net1', router, 'in', '02')
  await cable(client, 'out', router, 'far', '99')
  await container.batch(['route add default via 10.1.0.1', 'route add default via fd01::1'])
  await client.batch(['route add default via 10.99.0.1', 'route add default via fd99::1'])
  await router.output([
    'sh',
    '-c',
    'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
  ])
  return { container, other, client }
}

const reaches = async (client: Container, deadline?: number) => [
  await ping(client, '10.2.0.5', deadline),
  await ping(client, 'fd02::5', deadline),
]

describe('an answer leaves by the interface the question came by', () => {
  test('ping, tcp and udp of both families; without sbr none; the other interface goes on', async ({ host }) => {
    const { container, other, client } = await world(host)
    expect(await reaches(client, 1)).toEqual([false, false])
    resultOf(await runPlugin(host, call('ADD', container)))
    expect(await reaches(client)).toEqual([true, true])
    for (const protocol of ['tcp', 'udp'] as const) {
      const { stop } = await serve(container, { protocol, port: 80, address: protocol === 'udp' ? '10.2.0.5' : '::' })
      expect(await ask(client, { protocol, address: '10.2.0.5', port: 80 })).toMatchObject({ source: '10.99.0.9' })
      await stop()
    }
    expect([await ping(other, '10.1.0.5'), await ping(container, '10.1.0.1')]).toEqual([true, true])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(await reaches(client, 1)).toEqual([false, false])
  })

  test('with a table of the configuration the routes are its own, with gateways they lead there', async ({ host }) => {
    const { container, client } = await world(host)
    await container.batch(['route add default via 10.2.0.1 dev net1 table 42'])
    resultOf(await runPlugin(host, call('ADD', container, { table: 42 })))
    expect(await reaches(client, 1)).toEqual([true, false])
    succeedSilently(await runPlugin(host, call('DEL', container, { table: 42 })))
    const noGateways = { ...prevResult, ips: prevResult.ips.map(({ gateway: _, ...ip }) => ip) }
    const gateways = ['10.2.0.1', 'fd02::1']
    resultOf(await runPlugin(host, call('ADD', container, { prevResult: noGateways, gateways })))
    expect(await reaches(client)).toEqual([true, true])
  })

  test('source hints choose the address for what the container begins itself', async ({ host }) => {
    const { container, client } = await world(host)
    resultOf(await runPlugin(host, call('ADD', container, { addSourceHints: true })))
    expect(await reaches(client)).toEqual([true, true])
    for (const [gateway, source] of [
      ['10.2.0.1', '10.2.0.5'],
      ['fd02::1', 'fd02::5'],
    ]) {
      expect(await container.output(['ip', 'route', 'get', gateway ?? ''])).toContain(`dev net1 src ${source}`)
    }
  })
})

describe('every verb', () => {
  test.for(versions)('in version %s: what ADD moved DEL puts back', async (cniVersion, { host }) => {
    const { container, client } = await world(host)
    const old = { ip4: { ip: '10.2.0.5/24', gateway: '10.2.0.1' }, ip6: { ip: 'fd02::5/64', gateway: 'fd02::1' } }
    const given = cniVersion < '0.3' ? old : prevResult
    const before = await state(host)
    for (let times = 0; times < 2; times++) {
      const result = resultOf(await runPlugin(host, call('ADD', container, { cniVersion, prevResult: given })))
      expect(result).toMatchObject(given)
      expect(await reaches(client)).toEqual([true, true])
      const checked = await runPlugin(host, call('CHECK', container, { cniVersion, prevResult: given }))
      if (cniVersion < '0.4') expect(errorOf(checked).code).toBe(1)
      else succeedSilently(checked)
      const bare = { cniVersion, prevResult: undefined }
      for (let again = 0; again < 2; again++) succeedSilently(await runPlugin(host, call('DEL', container, bare)))
      expect(difference(before, await state(host))).toBe('')
    }
  })

  test('a second ADD changes nothing', async ({ host }) => {
    const { container } = await world(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    const there = await state(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    expect(difference(there, await state(host))).toBe('')
  })

  test('CHECK misses a rule and a route', async ({ host }) => {
    const { container } = await world(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    await container.output(['ip', '-6', 'route', 'del', 'default', 'table', '101'])
    expect(errorOf(await runPlugin(host, call('CHECK', container)))).toMatchObject({
      code: 105,
      details: expect.stringContaining('routes of table 101'),
    })
    await container.output(['ip', 'rule', 'del', 'from', '10.2.0.5'])
    expect(errorOf(await runPlugin(host, call('CHECK', container))).details).toContain(
      'a rule from 10.2.0.5 to table 100',
    )
  })

  test("GC undoes what is nobody's, and nothing without a list", async ({ host }) => {
    const { container } = await world(host)
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    const there = await state(host)
    succeedSilently(await runPlugin(host, call('GC', container)))
    expect(difference(there, await state(host))).toBe('')
    succeedSilently(await runPlugin(host, call('GC', container, { 'cni.dev/valid-attachments': [] })))
    expect(difference(before, await state(host))).toBe('')
  })

  test('STATUS is content', async ({ host }) => {
    succeedSilently(await runPlugin(host, call('STATUS', await host.container('c1'))))
  })
})

describe('DEL with little to go by', () => {
  test('the namespace is gone: nothing is made in its place', async ({ host }) => {
    const { container } = await world(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    await container.remove()
    for (let times = 0; times < 2; times++) succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(existsSync(host.path(container.netns))).toBe(false)
    expect((await state(host)).filter((line) => line.startsWith('file '))).toEqual([])
  })

  test('CNI_NETNS is empty', async ({ host }) => {
    const { container } = await world(host)
    succeedSilently(await runPlugin(host, call('DEL', container, {}, { env: { CNI_NETNS: '' } })))
  })

  test("the interface is gone: its rules go, and nobody else's", async ({ host }) => {
    const { container } = await world(host)
    await container.batch(['rule add from 10.1.0.5 table 7'])
    resultOf(await runPlugin(host, call('ADD', container)))
    await container.batch(['link del net1'])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(await container.output(['ip', 'rule'])).not.toContain('10.2.0.5')
    expect(await container.output(['ip', '-6', 'rule'])).not.toContain('fd02::5')
    expect(await container.output(['ip', 'rule'])).toContain('from 10.1.0.5 lookup 7')
  })
})

test('an ADD that fails half-way leaves the routing as it was', async ({ host }) => {
  const { container } = await world(host)
  const before = await state(host)
  // Its own address is no gateway: the kernel refuses that after the rules and the first routes are there.
  const ips = [prevResult.ips[0], { address: 'fd02::5/64', gateway: 'fd02::5', interface: 0 }]
  const error = errorOf(await runPlugin(host, call('ADD', container, { prevResult: { ...prevResult, ips } })))
  expect(error.msg).toContain('put the route to ::/0 into table 101')
  expect(difference(before, await state(host))).toBe('')
})

test('two interfaces of a container at once get tables of their own', async ({ host }) => {
  const { container, client } = await world(host)
  const ips = [{ address: '10.1.0.5/24', gateway: '10.1.0.1' }]
  const both = [call('ADD', container), call('ADD', container, { prevResult: { ips } }, { ifName: 'eth0' })]
  for (const finished of await Promise.all(both.map((one) => runPlugin(host, one)))) resultOf(finished)
  const rules = await container.output(['ip', 'rule'])
  const tables = [...rules.matchAll(/from 10\.\d\.0\.5 lookup (\d+)/g)].map(([, table]) => table)
  expect(new Set(tables).size).toBe(2)
  expect(await reaches(client)).toEqual([true, true])
})

describe('locks', () => {
  /** Holds the lock of a namespace's file for ever, as anyone on the host can. */
  async function held(host: Host, { netns }: Container) {
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs']
    const holder = host.start([...nobody, 'flock', netns, 'sh', '-c', 'echo held; exec cat'], { keepOpen: true })
    await new Promise<void>((resolve, reject) => {
      holder.child.stdout?.once('data', () => resolve())
      holder.finished.then(({ stderr }) => reject(new Error(`it cannot lock: ${stderr}`)), reject)
    })
    return holder
  }

  test('of the namespace file, which anyone can take, are waited for a second', async ({ host }) => {
    const { container } = await world(host)
    const before = await state(host)
    const holder = await held(host, container)
    for (const verb of ['ADD', 'DEL'] as const) {
      const { status, stdout, stderr } = await runPlugin(host, call(verb, container))
      expect(status, stdout).toBe(0)
      expect(stderr).toContain(`another process has held the lock ${container.netns} for more than 1 s`)
    }
    // vrf, of which the official plugin locks nothing, does not look at it.
    const vrf = callOf('vrf', 'DEL', container, { vrfname: 'blue', prevResult }, { ifName: 'net1' })
    succeedSilently(await runPlugin(host, vrf))
    holder.child.stdin?.end()
    await holder.finished
    expect(difference(before, await state(host))).toBe('')
  })

  test('of ours lie where nobody else looks, and are gone with who took them', async ({ host }) => {
    const { container } = await world(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    expect((await host.output(['stat', '-c', '%a %u', '/run/podwire'])).trim()).toBe('700 0')
    expect(await host.output(['find', '/run/podwire', '-name', '*lock*'])).toBe('')
  })
})

test('behind bridge in a chain: CHECK of both is content', async ({ host }) => {
  const container = await host.container('c1')
  const list = bridgeNetwork()
  const chained = { ...list, plugins: [...list.plugins, { type: 'sbr' }] }
  const chain = new Chain(host, chained, { containerID: 'c1', netns: container.netns })
  await chain.add()
  await chain.check()
  expect(await ping(host, addressOf(chain.result ?? {}, 4))).toBe(true)
  await chain.del()
  expect(await container.output(['ip', 'rule'])).not.toContain('lookup 100')
})

describe('beside the official plugin', () => {
  const four = { interfaces: [{ name: 'net1' }], ips: [prevResult.ips[0]] }
  const isOfInterest = (line: string) => /^c1: (rule|route)/.test(line) && !line.includes('family inet6')

  test('the same rules and routes of IPv4', async ({ host }) => {
    const { container } = await world(host)
    await container.batch([
      'route add 172.16.0.0/16 via 10.2.0.7 dev net1 metric 5',
      'route add 172.17.0.0/16 dev net1',
    ])
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container, { prevResult: { cniVersion: '1.1.0', ...four } })))
    const own = (await state(host)).filter(isOfInterest)
    succeedSilently(await runPlugin(host, call('DEL', container, { prevResult: four })))
    expect(difference(before, await state(host))).toBe('')
    const given = { prevResult: { cniVersion: '1.1.0', ...four } }
    resultOf(await runPlugin(host, call('ADD', container, given, { suite: 'official' })))
    expect((await state(host)).filter(isOfInterest)).toEqual(own)
  })

  test.for([
    ['official', 'podwire'],
    ['podwire', 'official'],
  ] as [Suite, Suite][])('the rules that the %s one made the %s one removes', async ([makes, removes], { host }) => {
    const { container } = await world(host)
    const given = { prevResult: { cniVersion: '1.1.0', ...prevResult } }
    resultOf(await runPlugin(host, call('ADD', container, given, { suite: makes })))
    succeedSilently(await runPlugin(host, call('DEL', container, given, { suite: removes })))
    expect(await container.output(['ip', 'rule'])).not.toContain('10.2.0.5')
    expect(await container.output(['ip', '-6', 'rule'])).not.toContain('fd02::5')
  })
})

import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { type Chain, ChainError } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { ask, serve } from '../harness/traffic.js'
import { addresses, call, elementCount, type Mapping, publish, publishing, tcp, udp } from './setting.js'

/** The error of an ADD that must be refused. */
async function refused(chain: Chain) {
  const thrown = await chain.add().then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(thrown instanceof ChainError)) throw new Error(`ADD was not refused: ${String(thrown)}`)
  expect(thrown.plugin).toBe('portmap')
  return errorOf(thrown.finished)
}

const answers = (host: Host, port = 8080) =>
  ask(host, { protocol: 'tcp', address: addresses[4], port }).then((answer) => answer?.server)

async function pair(host: Host): Promise<[Container, Container]> {
  await host.outside()
  const made = [await host.container(), await host.container()] as [Container, Container]
  for (const one of made) await serve(one, { protocol: 'tcp', port: 80, name: one.name })
  return made
}

const wholeRange = Array.from({ length: 20 }, (_, index) => tcp(8070 + index, 8070 + index))

describe.each(['nftables', 'iptables'])('who has a port, by %s', (backend) => {
  const portmap = { backend }

  const overlaps: [string, Mapping[], Mapping[]][] = [
    ['the same port', [tcp(8080)], [tcp(8080)]],
    ['a port for every address, then for one', [tcp(8080)], [tcp(8080, 80, '127.0.0.1')]],
    ['a port for one address, then for every', [tcp(8080, 80, '127.0.0.1')], [tcp(8080)]],
    ['a port for the same address', [tcp(8080, 80, '127.0.0.1')], [tcp(8080, 80, '127.0.0.1')]],
    ['a port, then a range with it', [tcp(8080)], wholeRange],
    ['a range, then a port of it', wholeRange, [tcp(8080)]],
    ['a range, then a wider one', wholeRange.slice(5, 15), wholeRange],
    ['a range, then one for an address', wholeRange, [tcp(8080, 80, '127.0.0.1')]],
    ['one of many', [tcp(8080)], [tcp(8081), tcp(8082), tcp(8080), udp(8080)]],
  ]
  test.for(overlaps)('%s: refused, naming the holder, nothing left', async ([, held, wanted], { host }) => {
    const [one, two] = await pair(host)
    await publish(host, one, held, { portmap })
    const before = await takeSnapshot(host)
    const error = await refused(publishing(host, two, wanted, { portmap }))
    expect(error).toMatchObject({ code: 106 })
    expect(error.msg).toContain(`host port`)
    expect(error.msg).toContain(`container "${one.name}" (network "network", interface eth0)`)
    await publishing(host, two, wanted, { portmap }).del()
    const left = difference(before, await takeSnapshot(host)).split('\n')
    expect(left.filter((line) => line.includes('portmap') || line.includes('CNI-'))).toEqual([])
  })

  test('what does not overlap does not', async ({ host }) => {
    const [one, two] = await pair(host)
    await publish(host, one, [tcp(8080), tcp(8081, 80, '127.0.0.1'), tcp(8082, 80, addresses[6])], { portmap })
    await publish(host, two, [udp(8080), tcp(8081, 80, addresses[4]), tcp(8082, 80, '0.0.0.0')], { portmap })
    expect([await answers(host), await answers(host, 8081)]).toEqual([one.name, two.name])
  })

  test.for(['tcp', 'udp'] as const)('a process of the host that listens on %s is named', async (protocol, { host }) => {
    const [one] = await pair(host)
    await serve(host, { protocol, port: 8080, address: '0.0.0.0' })
    const wanted = [{ hostPort: 8080, containerPort: 80, protocol }]
    const error = await refused(publishing(host, one, wanted, { portmap }))
    expect(error.code).toBe(106)
    expect(error.msg).toMatch(new RegExp(`host port 8080/${protocol}: process \\d+ \\(.*node.*\\) listens on it`))
  })

  test('a process elsewhere, or on another address, is none of our business', async ({ host }) => {
    const [one, two] = await pair(host)
    await serve(host, { protocol: 'tcp', port: 8080, address: '127.0.0.1' })
    await serve(two, { protocol: 'tcp', port: 8081 })
    await publish(host, one, [tcp(8080, 80, addresses[4]), tcp(8081)], { portmap })
    expect([await answers(host), await answers(host, 8081)]).toEqual([one.name, one.name])
  })

  test('a socket that the runtime holds for this very container is no obstacle', async ({ host }) => {
    const [one] = await pair(host)
    await serve(host, { protocol: 'tcp', port: 8080, address: '0.0.0.0', name: 'id-of-the-container' })
    await publish(host, one, [tcp(8080)], { portmap, containerID: 'id-of-the-container' })
    expect(await answers(host)).toBe(one.name)
  })

  test('what a dead container had is taken over, and its late DEL takes nothing away', async ({ host }) => {
    const [, two] = await pair(host)
    const dead = await host.container('dead')
    const lost = await publish(host, dead, [tcp(8080), tcp(8090, 80, '127.0.0.1'), ...wholeRange.slice(15)], {
      portmap,
    })
    await dead.remove()
    const wanted = [tcp(8080), tcp(8090), tcp(8085)]
    const chain = publishing(host, two, wanted, { portmap })
    await chain.add()
    expect(await answers(host)).toBe(two.name)
    await lost.del(true)
    await chain.check()
    expect(await answers(host, 8085)).toBe(two.name)
  })

  test('a container whose namespace is only hidden is not dead', async ({ host }) => {
    const [one, two] = await pair(host)
    const hidden = await host.container('hidden')
    const path = await hidden.netnsOfProcess()
    await publish(host, hidden, [tcp(8080)], { portmap })
    await host.output(['ip', 'netns', 'del', 'hidden'])
    host.containers.splice(host.containers.indexOf(hidden), 1)
    expect(path).toContain('/proc/')
    expect((await refused(publishing(host, two, [tcp(8080)], { portmap }))).msg).toContain('container "hidden"')
    expect(one.name).not.toBe(two.name)
  })

  test('two interfaces of a container on one network: each has its ports as long as it is there', async ({ host }) => {
    const [one] = await pair(host)
    const first = await publish(host, one, [tcp(8080)], { portmap })
    const second = await publish(host, one, [tcp(8081)], { portmap, ifName: 'eth1' })
    const third = await publish(host, one, [tcp(8080)], { portmap, ifName: 'eth2' })
    await third.del()
    await second.del()
    await first.check()
    expect(await answers(host)).toBe(one.name)
    await first.del()
    expect(await elementCount(host)).toBe(0)
    expect(await host.output(['iptables-save'])).not.toContain('CNI-DN-')
  })

  test('the same container again, and on two networks', async ({ host }) => {
    const [one] = await pair(host)
    const first = await publish(host, one, [tcp(8080)], { portmap })
    const second = await publish(host, one, [tcp(8080)], { portmap, network: 'other', ifName: 'eth1' })
    await first.check()
    await second.check()
    expect(await answers(host)).toBe(one.name)
    // The one that waited gets the port when the first one goes.
    await first.del()
    expect(await answers(host)).toBe(one.name)
    await second.check()
    await second.del()
    expect(await elementCount(host)).toBe(0)
    expect(await host.output(['iptables-save'])).not.toContain('CNI-DN-')
  })
})

type Run = (command: Verb) => ReturnType<typeof runPlugin>

describe('deleting', () => {
  const config = { cniVersion: '1.1.0', name: 'network', type: 'portmap' }

  test('a DEL that was killed before it forgot, and comes again, takes nothing from the next one', async ({ host }) => {
    const container = await host.container()
    const [mine, next] = ['mine', 'next'].map((containerID) => (command: Verb) => {
      return runPlugin(host, { ...call(command, container, [tcp(8080), tcp(8090, 80, '127.0.0.1')]), containerID })
    }) as [Run, Run]
    resultOf(await mine('ADD'))
    await host.output(['cp', '-r', '/run/podwire/portmap', '/run/podwire/kept'])
    succeedSilently(await mine('DEL'))
    // The next one has the same ports and the same address; and then the first one's record is there again, as if its
    // DEL had died between the rules and the record.
    resultOf(await next('ADD'))
    const before = await host.output(['nft', 'list', 'ruleset'])
    await host.output(['sh', '-c', 'cp -r /run/podwire/kept/network/* /run/podwire/portmap/network/'])
    succeedSilently(await mine('DEL'))
    succeedSilently(await next('CHECK'))
    expect(await host.output(['nft', 'list', 'ruleset'])).toBe(before)
  })

  test('without a record the owner in the comments is enough, and DEL may come any number of times', async ({
    host,
  }) => {
    const [one, two] = await pair(host)
    await publish(host, one, [tcp(8080), tcp(8090, 80, '127.0.0.1'), ...wholeRange.slice(15)])
    const other = await publish(host, two, [tcp(8888)])
    const whole = await elementCount(host)
    await host.output(['rm', '-r', '/run/podwire/portmap', '/run/podwire/portmap-special'])
    const bare = { plugin: 'portmap', command: 'DEL', config, containerID: one.name } as const
    for (let time = 0; time < 3; time++) succeedSilently(await runPlugin(host, bare))
    expect(await elementCount(host)).toBe(6)
    expect(whole).toBeGreaterThan(6)
    expect(await answers(host, 8888)).toBe(two.name)
    expect(other.result).toBeDefined()
  })

  test('elements that somebody else removed do not keep the others alive', async ({ host }) => {
    const [one] = await pair(host)
    const chain = await publish(host, one, [tcp(8080), tcp(8081)])
    await host.output(['nft', 'delete element ip podwire portmap_ports { tcp . 8080 }'])
    await expect(chain.check()).rejects.toThrow(/portmap_ports.*tcp \. 8080/)
    await chain.del()
    expect(await elementCount(host)).toBe(0)
  })

  test('an ADD that fails late leaves neither element nor record', async ({ host }) => {
    const [one] = await pair(host)
    const failing = publishing(host, one, [tcp(8080)], { portmap: { conditionsV4: ['meta', 'mark', 'nonsense'] } })
    const error = await failing.add().then(String, String)
    expect(error).toMatch(/cannot publish 8080\/tcp as 10\.1\.2\.\d+: .*nonsense|: .*[Cc]ould not/)
    expect(await elementCount(host)).toBe(0)
    expect(await host.output(['find', '/run/podwire/portmap', '-type', 'f'])).toBe('')
  })
})

import { describe, expect } from 'vitest'
import { errorOf, succeedSilently } from '../harness/answer.js'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { runPlugin } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { bridgeNetwork } from './networks.js'

const leases = '/var/lib/cni/networks/network'
const network = bridgeNetwork({ plugin: { macspoofchk: true } })

const held = (host: Host): string[] => Object.keys(readFiles(host, leases)).filter((name) => /^(10\.|fd00)/.test(name))

async function join(host: Host, container: Container): Promise<Chain> {
  const chain = new Chain(host, network, { containerID: container.name, netns: container.netns })
  await chain.add()
  return chain
}

/** Three attachments: of a container that lives, of one that vanished, and of one whose namespace is still there. */
async function inhabited(host: Host) {
  const [alive, gone, forgotten] = [await host.container(), await host.container(), await host.container()]
  const chain = await join(host, alive)
  const alone = (await takeSnapshot(host)).filter((line) => line.startsWith('host: '))
  await join(host, gone)
  await join(host, forgotten)
  await gone.remove()
  // Its link goes with the namespace, which the kernel takes down in its own time.
  const hostEnds = async () => JSON.parse(await host.output(['ip', '-j', 'link', 'show', 'type', 'veth'])) as object[]
  await until('two host ends are left', async () => (await hostEnds()).length === 2)
  const valid = [{ containerID: alive.name, ifname: 'eth0' }]
  return { chain, alone, valid, forgotten }
}

describe('GC', () => {
  test('removes links, rules and leases of attachments that are not valid, and no others', async ({ host }) => {
    const { chain, alone, valid, forgotten } = await inhabited(host)
    expect(held(host)).toHaveLength(6)
    await chain.gc(valid)
    expect(held(host)).toHaveLength(2)
    const ofHost = (await takeSnapshot(host)).filter((line) => line.startsWith('host: '))
    expect(difference(alone, ofHost)).toBe('')
    expect(await forgotten.output(['ip', '-o', 'link'])).not.toContain('eth0')
    await chain.check()
    await chain.gc(valid)
    await chain.check()
  })

  test('with an empty list removes everything of the network', async ({ host }) => {
    const { chain } = await inhabited(host)
    await chain.gc([])
    expect(held(host)).toEqual([])
    expect((await takeSnapshot(host)).filter((line) => line.includes('veth#'))).toEqual([])
  })

  test('without a list touches nothing', async ({ host }) => {
    const { chain } = await inhabited(host)
    const before = await takeSnapshot(host, { directories: [leases] })
    await chain.gc()
    expect(difference(before, await takeSnapshot(host, { directories: [leases] }))).toBe('')
  })

  test('leaves another network on the same bridge alone', async ({ host }) => {
    const { chain } = await inhabited(host)
    const other = await host.container()
    const list = bridgeNetwork({
      name: 'other',
      ipam: { ranges: [[{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.200' }]] },
    })
    const neighbour = new Chain(host, list, { containerID: other.name, netns: other.netns })
    await neighbour.add()
    await chain.gc([])
    await neighbour.check()
  })

  test('goes on when the IPAM plugin fails, and says so', async ({ host }) => {
    const { valid } = await inhabited(host)
    installScripts(host, { broken: `echo '{"code":11,"msg":"later"}'; exit 1` })
    const [plugin] = network.plugins
    const config = { ...plugin, cniVersion: '1.1.0', name: 'network', ipam: { type: 'broken' } }
    const gc = { plugin: 'bridge', command: 'GC', path: scriptDirectory } as const
    const finished = await runPlugin(host, { ...gc, config: { ...config, 'cni.dev/valid-attachments': valid } })
    expect(errorOf(finished).msg).toContain('later')
    expect((await takeSnapshot(host)).filter((line) => /^host: link veth#/.test(line))).toHaveLength(1)
  })
})

describe('STATUS', () => {
  const status = (plugin: object, more: object = {}) => ({
    plugin: 'bridge',
    command: 'STATUS' as const,
    config: { cniVersion: '1.1.0', name: 'network', type: 'bridge', ...plugin },
    ...more,
  })

  test('is content where ADD would be', async ({ host }) => {
    const [plugin] = network.plugins
    succeedSilently(await runPlugin(host, status(plugin ?? {})))
  })

  test('50 when the IPAM plugin is not there', async ({ host }) => {
    const error = errorOf(await runPlugin(host, status({ ipam: { type: 'nosuch' } })))
    expect(error.code).toBe(50)
    expect(`${error.msg} ${error.details}`).toContain('nosuch')
  })

  test.for([50, 51])('%i of the IPAM plugin is passed on', async (code, { host }) => {
    installScripts(host, { unwell: `echo '{"code":${code},"msg":"unwell"}'; exit 1` })
    const finished = await runPlugin(host, status({ ipam: { type: 'unwell' } }, { path: scriptDirectory }))
    expect(errorOf(finished)).toMatchObject({ code, msg: expect.stringContaining('unwell') })
  })

  test('50 when no address is free, where the configuration asks for it', async ({ host }) => {
    const ranges = [[{ subnet: '10.1.2.0/30' }]]
    const small = bridgeNetwork({ ipam: { ranges, statusOnFullRange: true } })
    const [plugin] = small.plugins
    const container = await host.container()
    await new Chain(host, small, { containerID: 'c1', netns: container.netns }).add()
    const error = errorOf(await runPlugin(host, status(plugin ?? {})))
    expect(error.code).toBe(50)
    expect(`${error.msg} ${error.details}`).toMatch(/10\.1\.2\./)
  })
})

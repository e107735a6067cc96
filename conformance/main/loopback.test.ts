import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { versions } from '../protocol/versions.js'

/** A container whose loopback is still down, as a runtime hands it over. */
async function fresh(host: Host): Promise<Container> {
  const container = await host.container()
  await container.output(['ip', 'link', 'set', 'lo', 'down'])
  return container
}

const call = (command: Verb, container: Container, more: object = {}): Call => ({
  plugin: 'loopback',
  command,
  config: { cniVersion: '1.1.0', name: 'lo', type: 'loopback', ...more },
  netns: container.netns,
  ifName: 'lo',
})

const isUp = async (container: Container): Promise<boolean> =>
  /<[^>]*\bUP\b/.test(await container.output(['ip', 'link', 'show', 'lo']))

describe('loopback', () => {
  test.for(versions)('version %s: ADD, CHECK where there is one, DEL twice', async (cniVersion, { host }) => {
    const container = await fresh(host)
    const list = { cniVersion, name: 'lo', plugins: [{ type: 'loopback' }] }
    const chain = new Chain(host, list, { netns: container.netns, ifName: 'lo' })
    expect((await chain.add()).cniVersion).toBe(cniVersion)
    expect(await isUp(container)).toBe(true)
    if (cniVersion >= '0.4.0') await chain.check()
    await chain.del()
    expect(await isUp(container)).toBe(false)
    await chain.del()
  })

  test('the result names both addresses', async ({ host }) => {
    const container = await fresh(host)
    expect(resultOf(await runPlugin(host, call('ADD', container)))).toEqual({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: container.netns }],
      ips: [
        { address: '127.0.0.1/8', interface: 0 },
        { address: '::1/128', interface: 0 },
      ],
    })
  })

  test('without IPv6 there is the one address', async ({ host }) => {
    const container = await fresh(host)
    await container.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
    expect(resultOf(await runPlugin(host, call('ADD', container))).ips).toEqual([
      { address: '127.0.0.1/8', interface: 0 },
    ])
  })

  test('a previous result is passed on, and loopback goes up all the same', async ({ host }) => {
    const container = await fresh(host)
    const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.2.3/24' }] }
    expect(resultOf(await runPlugin(host, call('ADD', container, { prevResult })))).toEqual(prevResult)
    expect(await isUp(container)).toBe(true)
  })

  test('CHECK finds a loopback that went down', async ({ host }) => {
    const container = await fresh(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    succeedSilently(await runPlugin(host, call('CHECK', container)))
    await container.output(['ip', 'link', 'set', 'lo', 'down'])
    expect(errorOf(await runPlugin(host, call('CHECK', container)))).toMatchObject({ code: 105 })
  })

  test('an address that is not loopback is refused', async ({ host }) => {
    const container = await fresh(host)
    await container.output(['ip', 'address', 'add', '10.0.0.1/8', 'dev', 'lo'])
    const error = errorOf(await runPlugin(host, call('ADD', container)))
    expect(`${error.msg} ${error.details}`).toContain('10.0.0.1')
  })

  test('without a namespace ADD fails and DEL does not', async ({ host }) => {
    const container = await fresh(host)
    await container.remove()
    expect(errorOf(await runPlugin(host, call('ADD', container))).code).toBe(104)
    succeedSilently(await runPlugin(host, call('DEL', container)))
    succeedSilently(await runPlugin(host, { ...call('DEL', container), env: { CNI_NETNS: '' } }))
  })
})

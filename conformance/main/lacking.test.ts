import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { ping } from '../harness/traffic.js'
import { uninstall } from '../harness/uninstall.js'

const config = { cniVersion: '1.1.0', name: 'network', type: 'bridge', bridge: 'br0', isDefaultGateway: true }
const four = { type: 'host-local', subnet: '10.1.2.0/24' }
const dual = { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]] }

const call = (command: Verb, { name, netns }: Container, more: object): Call => ({
  plugin: 'bridge',
  command,
  config: { ...config, ...more },
  containerID: name,
  netns,
})

/** The sysctl tree of a kernel that was built without IPv6. */
async function withoutIpv6(host: Host): Promise<void> {
  await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/proc/sys/net/ipv6'])
}

describe('a host that lacks something', () => {
  test('without nft: a network without masquerade works, one with it says what is missing', async ({ host }) => {
    await uninstall(host, 'nft')
    const container = await host.container()
    resultOf(await runPlugin(host, call('ADD', container, { ipam: four })))
    expect(await ping(container, '10.1.2.1')).toBe(true)
    succeedSilently(await runPlugin(host, call('DEL', container, { ipam: four })))

    const error = errorOf(await runPlugin(host, call('ADD', container, { ipam: four, ipMasq: true })))
    expect(`${error.msg}\n${error.details}`).toContain('nft')
    expect(error.code).toBeGreaterThanOrEqual(100)
    succeedSilently(await runPlugin(host, call('DEL', container, { ipam: four, ipMasq: true })))
    expect(await host.output(['ls', '/var/lib/cni/networks/network'])).not.toContain('10.1.2')
  })

  test('without nft: iptables masquerades when it is asked to', async ({ host }) => {
    await uninstall(host, 'nft')
    const masked = { ipam: four, ipMasq: true, ipMasqBackend: 'iptables' }
    const container = await host.container()
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, masked)))
    succeedSilently(await runPlugin(host, call('CHECK', container, { ...masked, prevResult })))
    succeedSilently(await runPlugin(host, call('DEL', container, masked)))
    expect(await host.output(['iptables-save', '-t', 'nat'])).not.toContain('CNI-')
  })

  test('without iptables: nothing is missed unless it is asked for', async ({ host }) => {
    await uninstall(host, 'iptables', 'iptables-save', 'iptables-restore')
    const container = await host.container()
    resultOf(await runPlugin(host, call('ADD', container, { ipam: four, ipMasq: true })))
    succeedSilently(await runPlugin(host, call('DEL', container, { ipam: four, ipMasq: true })))
    const asked = { ipam: four, ipMasq: true, ipMasqBackend: 'iptables' }
    const error = errorOf(await runPlugin(host, call('ADD', container, asked)))
    expect(`${error.msg}\n${error.details}`).toContain('iptables')
  })

  test('without IPv6: IPv4 networks work', async ({ host }) => {
    await withoutIpv6(host)
    const container = await host.container()
    const masked = { ipam: four, ipMasq: true }
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, masked)))
    expect(await ping(container, '10.1.2.1')).toBe(true)
    succeedSilently(await runPlugin(host, call('CHECK', container, { ...masked, prevResult })))
    succeedSilently(await runPlugin(host, call('DEL', container, masked)))
  })

  test('without IPv6: an IPv6 address fails plainly, and nothing is left of it', async ({ host }) => {
    await host.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
    await withoutIpv6(host)
    const container = await host.container()
    await container.output(['ip', 'link', 'set', 'lo', 'up'])
    const tried = await runPlugin(host, call('ADD', container, { ipam: dual }))
    expect(errorOf(tried).msg).toMatch(/ipv6|fd00:1:2::/i)
    expect(await container.output(['ip', '-o', 'link'])).not.toContain('eth0')
    expect(await host.output(['ls', '/var/lib/cni/networks/network'])).not.toMatch(/10\.1\.2|fd00/)
  })

  test('a container with IPv6 switched off gets it switched on for an IPv6 address only', async ({ host }) => {
    const container = await host.container()
    await container.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
    await container.output(['sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'])
    resultOf(await runPlugin(host, call('ADD', container, { ipam: dual })))
    expect(await container.output(['ip', '-6', '-o', 'address', 'show', 'dev', 'eth0'])).toContain('fd00:1:2::2/64')
    expect(await ping(container, 'fd00:1:2::1')).toBe(true)
  })
})

import { describe, expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { type Call, runPlugin } from '../harness/plugin.js'

const versions = ['0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
const addresses = { 4: '10.1.2.3/24', 6: 'fd00:1::3/64' } as const
const others = { 4: '10.9.0.0/16', 6: 'fd00:9::/32' } as const

interface Setting {
  readonly plugin: string
  readonly keys?: object
  /** What the host has before. */
  readonly links?: readonly (readonly string[])[]
}

const top = [
  ['link', 'add', 'top0', 'type', 'veth', 'peer', 'name', 'top1'],
  ['link', 'set', 'top0', 'up'],
  ['link', 'set', 'top1', 'up'],
]
const settings: readonly Setting[] = [
  { plugin: 'macvlan', keys: { master: 'top0' }, links: top },
  { plugin: 'bridge', keys: { bridge: 'br0' } },
  { plugin: 'tap' },
  { plugin: 'host-device', keys: { device: 'top0' }, links: top },
]

async function attach(host: Host, suite: Suite, call: Omit<Call, 'suite' | 'command'>) {
  const finished = await runPlugin(host, { ...call, suite, command: 'ADD' })
  expect(finished.status, `${suite}: ${finished.stdout}${finished.stderr}`).toBe(0)
  return resultOf(finished)
}

/** The routes of the container in the main table, without what a kernel adds by itself and the state of the link. */
async function routesOf(host: Host, name: string, family: 4 | 6): Promise<readonly string[]> {
  const container = host.containers.find((one) => one.name === name)
  const text = await container?.output(['ip', `-${family}`, 'route', 'show'])
  return (text ?? '')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('fe80::'))
    .map((line) =>
      line
        .replace(' linkdown', '')
        .replace(' scope link', '')
        .replace(' metric 1024', '')
        .replace(' pref medium', '')
        .trim(),
    )
    .toSorted()
}

describe.each(settings)('a gateway that is none, $plugin', ({ plugin, keys = {}, links = [] }) => {
  const gateways = [
    [4, '0.0.0.0'],
    [4, 'fe80::1'],
    [4, '::'],
  ] as const
  test.for(gateways)('IPv%d by %s', { timeout: 120_000 }, async ([family, gateway], { host }) => {
    const seen: Record<string, unknown>[] = []
    for (const suite of ['official', 'podwire'] as const) {
      const name = suite
      const container = await host.container(name)
      for (const argv of links) await host.output(['ip', ...argv])
      for (const cniVersion of versions) {
        const routes = [{ dst: others[family] }, { dst: family === 4 ? '0.0.0.0/0' : '::/0' }]
        const ipam = { type: 'static', addresses: [{ address: addresses[family], gateway }], routes }
        const config = { cniVersion, name: 'n', type: plugin, ...keys, ipam }
        const call = { plugin, netns: container.netns, containerID: name, ifName: 'eth0', config }
        const result = (await attach(host, suite, call)) as unknown as Record<string, unknown>
        const { ips, ip4, ip6 } = result
        seen.push({ suite, cniVersion, ips, ip4, ip6, routes: await routesOf(host, name, family) })
        if (suite === 'podwire' && !['0.2.0', '0.3.1'].includes(cniVersion)) {
          const check = await runPlugin(host, {
            ...call,
            suite,
            command: 'CHECK',
            config: { ...config, prevResult: result },
          })
          expect(check, check.stdout).toMatchObject({ status: 0 })
        }
        await runPlugin(host, { ...call, suite, command: 'DEL' })
      }
      await container.remove()
      if (links.length > 0) await host.output(['ip', 'link', 'delete', 'top0'])
      if (plugin === 'bridge') await host.output(['ip', 'link', 'delete', 'br0'])
    }
    const of = (suite: Suite) => seen.filter((one) => one['suite'] === suite).map(({ suite: _suite, ...rest }) => rest)
    expect(of('podwire')).toEqual(of('official'))
  })
})

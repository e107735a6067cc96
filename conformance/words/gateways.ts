import { describe, expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { type Call, runPlugin } from '../harness/plugin.js'

const versions = ['0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
const addresses = { 4: '10.1.2.3/24', 6: 'fd00:1::3/64' } as const
const others = { 4: '10.9.0.0/16', 6: 'fd00:9::/32' } as const

/** A plugin that gives an interface the addresses of IPAM. */
export interface Setting {
  readonly plugin: string
  readonly keys?: object
  /** What the host has before. */
  readonly links?: readonly (readonly string[])[]
}

/** A link of the host with another end that is up. */
export const top = [
  ['link', 'add', 'top0', 'type', 'veth', 'peer', 'name', 'top1'],
  ['link', 'set', 'top0', 'up'],
  ['link', 'set', 'top1', 'up'],
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

/** Holds addresses whose gateways are none to what the official plugins make of them. */
export function gatewaysOfAddresses(settings: readonly Setting[]): void {
  describe.each(settings)('a gateway that is none, $plugin', ({ plugin, keys = {}, links = [] }) => {
    const gateways = [
      [4, '0.0.0.0'],
      [4, 'fe80::1'],
      [4, '::'],
    ] as const
    test.for(gateways)('IPv%d by %s', { timeout: 240_000 }, async ([family, gateway], { host }) => {
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
            await expectComplete(host, { ...call, config: { ...config, prevResult: result } })
          }
          await runPlugin(host, { ...call, suite, command: 'DEL' })
        }
        await container.remove()
        if (links.length > 0) await host.output(['ip', 'link', 'delete', 'top0'])
        if (plugin === 'bridge') await host.output(['ip', 'link', 'delete', 'br0'])
      }
      const of = (suite: Suite) =>
        seen.filter((one) => one['suite'] === suite).map(({ suite: _suite, ...rest }) => rest)
      expect(of('podwire')).toEqual(of('official'))
    })
  })
}

/** Routes whose gateways are none, or may be one of the other family, and what the container has then. */
const routes: readonly (readonly [address: string, dst: string, gw: string, shown: string])[] = [
  [addresses[4], others[4], '0.0.0.0', '10.9.0.0/16 dev eth0'],
  [addresses[4], others[4], '::', '10.9.0.0/16 dev eth0'],
  [addresses[4], others[4], 'fe80::1', '10.9.0.0/16 via inet6 fe80::1 dev eth0'],
  [addresses[4], others[4], 'fd00:1::1', '10.9.0.0/16 dev eth0'],
  [addresses[6], others[6], '::', 'fd00:9::/32 dev eth0'],
  [addresses[6], others[6], '0.0.0.0', 'fd00:9::/32 dev eth0'],
  [addresses[6], others[6], '10.1.2.1', 'fd00:9::/32 dev eth0'],
]

/** In a route, and in its address: what the official plugins make of most is an error. */
export function gatewaysOfRoutes(settings: readonly Setting[]): void {
  test.for(settings)('a route by a gateway that is none, $plugin', { timeout: 240_000 }, async (setting, { host }) => {
    const { plugin, keys = {}, links = [] } = setting
    const container = await host.container('podwire')
    for (const argv of links) await host.output(['ip', ...argv])
    for (const [address, dst, gw, shown] of routes) {
      const family = address.includes(':') ? 6 : 4
      const places = [
        [{ addresses: [{ address }], routes: [{ dst, gw }] }, shown],
        [{ addresses: [{ address, gateway: gw }], routes: [{ dst }] }, `${dst} dev eth0`],
      ] as const
      for (const [ipam, route] of places) {
        const config = { cniVersion: '1.1.0', name: 'n', type: plugin, ...keys, ipam: { type: 'static', ...ipam } }
        const call = { plugin, netns: container.netns, containerID: 'podwire', ifName: 'eth0', config }
        const result = await attach(host, 'podwire', call)
        expect(result.routes).toEqual(ipam.routes)
        expect(await routesOf(host, 'podwire', family), JSON.stringify(ipam)).toContain(route)
        await expectComplete(host, { ...call, config: { ...config, prevResult: result } })
        await runPlugin(host, { ...call, suite: 'podwire', command: 'DEL' })
      }
    }
  })
}

async function expectComplete(host: Host, call: Omit<Call, 'suite' | 'command'>): Promise<void> {
  const check = await runPlugin(host, { ...call, suite: 'podwire', command: 'CHECK' })
  expect(check, check.stdout).toMatchObject({ status: 0 })
}

import { readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

const config = {
  cniVersion: '1.1.0',
  name: 'network',
  type: 'bridge',
  bridge: 'br0',
  isDefaultGateway: true,
  ipMasq: true,
  macspoofchk: true,
  ipam: { type: 'host-local', subnet: '10.1.2.0/24' },
}
const everything = { directories: ['/var/lib', '/run'] }

const call = (command: Verb, { name, netns }: Container, env: Record<string, string>, more: object = {}): Call => ({
  plugin: 'bridge',
  command,
  config: { ...config, ...more },
  containerID: name,
  netns,
  env,
})

describe('PODWIRE_DRY_RUN=1', () => {
  const dry = { PODWIRE_DRY_RUN: '1' }

  test('ADD prints the commands and the result, and changes nothing', async ({ host }) => {
    const container = await host.container()
    const before = await takeSnapshot(host, everything)
    const tried = await runPlugin(host, call('ADD', container, dry))
    expect(difference(before, await takeSnapshot(host, everything))).toBe('')
    for (const part of ['ip link add', 'br0', '10.1.2.2', 'nft add', 'ip_forward']) expect(tried.stderr).toContain(part)
    const real = resultOf(await runPlugin(host, call('ADD', container, {})))
    expect(resultOf(tried)).toEqual(real)
  })

  test('the printed commands are what a person could type: no line is JSON or has a stack', async ({ host }) => {
    const container = await host.container()
    const { stderr } = await runPlugin(host, call('ADD', container, dry))
    const first = stderr.split('\n').filter((line) => /^\S/.test(line))
    expect(first.length).toBeGreaterThan(5)
    expect(first.filter((line) => /^[{[]|^\s+at /.test(line))).toEqual([])
  })

  test('DEL, CHECK and GC change nothing and print nothing on stdout', async ({ host }) => {
    const container = await host.container()
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, {})))
    const before = await takeSnapshot(host, everything)
    const valid = { 'cni.dev/valid-attachments': [] }
    for (const [verb, more] of [
      ['DEL', { prevResult }],
      ['CHECK', { prevResult }],
      ['GC', valid],
    ] as const) {
      const tried = await runPlugin(host, call(verb, container, dry, more))
      succeedSilently(tried)
      if (verb === 'DEL') expect(tried.stderr).toContain('eth0')
    }
    expect(difference(before, await takeSnapshot(host, everything))).toBe('')
  })
})

describe('PODWIRE_TRACE=FILE', () => {
  test('appends one JSON line a process, and stdout stays what it is', async ({ host }) => {
    const container = await host.container()
    const traced = { PODWIRE_TRACE: '/run/trace' }
    resultOf(await runPlugin(host, call('ADD', container, traced)))
    const lines = () =>
      readFileSync(host.path('/run/trace'), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
    const added = lines()
    expect(added.length).toBeGreaterThan(0)
    for (const line of added) {
      expect(line).toMatchObject({ argv: expect.any(Array), status: expect.any(Number), stderr: expect.any(String) })
    }
    succeedSilently(await runPlugin(host, call('DEL', container, traced)))
    expect(lines().length).toBeGreaterThan(added.length)
  })

  test('a file that cannot be written does not fail the call', async ({ host }) => {
    const container = await host.container()
    const added = await runPlugin(host, call('ADD', container, { PODWIRE_TRACE: '/nonexistent/trace' }))
    resultOf(added)
    expect(added.stderr).toContain('PODWIRE_TRACE: ENOENT')
  })
})

describe('messages', () => {
  test('an unknown key warns on stderr, names the one that was meant, and fails nothing', async ({ host }) => {
    const added = await runPlugin(host, call('ADD', await host.container(), {}, { isGatway: true, hostNetwork: 1 }))
    resultOf(added)
    expect(added.stderr).toMatch(/isGatway.*did you mean "isGateway"/)
    expect(added.stderr).toContain('hostNetwork')
  })

  test('all mistakes of a configuration are reported at once, each with path, value and what was expected', async ({
    host,
  }) => {
    const wrong = { mtu: 'big', isGateway: 'yes', vlan: 5000, args: { cni: { mac: 'zz' } } }
    const error = errorOf(await runPlugin(host, call('ADD', await host.container(), {}, wrong)))
    expect(error.code).toBe(7)
    for (const part of ['mtu', '"big"', 'isGateway', '"yes"', 'vlan', '5000', '"zz"'])
      expect(error.details).toContain(part)
  })

  test('a command that failed is told with what it said', async ({ host }) => {
    const wrong = { ipam: { ...config.ipam, routes: [{ dst: '10.9.0.0/16', gw: '172.16.0.1' }] } }
    const error = errorOf(await runPlugin(host, call('ADD', await host.container(), {}, wrong)))
    expect(error.msg).toMatch(/^bridge: network "network": .*10\.9\.0\.0\/16/)
    expect(error.details).toMatch(/route .*10\.9\.0\.0\/16 .*via 172\.16\.0\.1/)
    expect(error.details).toMatch(/gateway|unreachable/)
  })
})

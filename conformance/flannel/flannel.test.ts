import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import { Chain, type Conflist, type PluginConfig } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { repository, suites } from '../harness/locations.js'
import { type Call, environment, runPlugin, runTraced } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

// flannel's plugin beside the official one (v0.9.1, the last of the suite): what it gives the delegate, what it keeps,
// and that either takes down what the other attached. The daemon is what it is to a plugin: a file.

const official = join(repository, 'dist/tools/flannel/flannel')
const lines = {
  FLANNEL_NETWORK: '10.244.0.0/16',
  FLANNEL_SUBNET: '10.244.3.1/24',
  FLANNEL_IPV6_NETWORK: 'fd44::/56',
  FLANNEL_IPV6_SUBNET: 'fd44:0:0:3::1/64',
  FLANNEL_MTU: '1400',
  FLANNEL_IPMASQ: 'false',
}

async function daemonWrites(host: Host, changes: Partial<Record<keyof typeof lines, string | undefined>> = {}) {
  const text = Object.entries({ ...lines, ...changes }).flatMap(([name, value]) =>
    value ? [`${name}=${value}\n`] : [],
  )
  await host.output(['sh', '-c', 'mkdir -p /run/flannel; cat >/run/flannel/subnet.env'], { stdin: text.join('') })
}

const daemonIsGone = (host: Host) => host.output(['rm', '-r', '/run/flannel'])
const delegate = { bridge: 'br7', hairpinMode: true, isDefaultGateway: true }
const listOf = (cniVersion: string, more: object = {}): Conflist => ({
  cniVersion,
  name: 'cbr0',
  plugins: [{ type: 'flannel', delegate, ...more }],
})
const callOf = (
  list: Conflist,
  command: Call['command'],
  netns: string,
  more: Partial<Call> & { prevResult?: Result } = {},
) => {
  const { prevResult, ...rest } = more
  const config = { ...(list.plugins[0] as PluginConfig), name: list.name, cniVersion: list.cniVersion }
  return {
    plugin: 'flannel',
    command,
    config: { ...config, ...(prevResult ? { prevResult } : {}) },
    netns,
    containerID: 'c1',
    ...rest,
  }
}

/** A call of the official plugin, with the official suite beside it. */
function runOfficial(host: Host, call: Call): Promise<Finished> {
  const stdin = JSON.stringify(call.config)
  return host.exec([official], { stdin, env: environment({ suite: 'official', ...call }) })
}

const look = async (host: Host) => {
  const all = await takeSnapshot(host, { directories: ['/var/lib/cni', '/run/podwire'] })
  return all.filter((line) => !/last_reserved_ip|\/lock |lock$/.test(line))
}

describe('a list with flannel', () => {
  test('attaches containers that reach each other, by every verb, and leaves nothing', async ({ host }) => {
    await daemonWrites(host)
    const [one, other] = [await host.container(), await host.container()]
    const list = listOf('1.1.0')
    list.plugins.push({ type: 'portmap', capabilities: { portMappings: true } })
    const chainOf = (netns: string, containerID: string) => new Chain(host, list, { netns, containerID })
    const settled = chainOf(one.netns, 'c0')
    await settled.add()
    await settled.del()
    const before = await look(host)
    const [first, second] = [chainOf(one.netns, 'c1'), chainOf(other.netns, 'c2')]
    await first.status()
    const result = await first.add()
    expect(result.routes?.map(({ dst }) => dst)).toEqual(expect.arrayContaining(['10.244.0.0/16', 'fd44::/56']))
    await second.add()
    for (const { address } of result.ips ?? []) {
      expect(address).toMatch(/^(10\.244\.3\.|fd44:0:0:3::)/)
      const [plain = ''] = address.split('/')
      await other.output(['ping', '-c', '1', '-W', '5', plain])
    }
    expect(await one.output(['ip', 'link', 'show', 'dev', 'eth0'])).toContain('mtu 1400')
    await first.check()
    await first.gc([
      { containerID: 'c1', ifname: 'eth0' },
      { containerID: 'c2', ifname: 'eth0' },
    ])
    await first.check()
    await second.gc([{ containerID: 'c1', ifname: 'eth0' }])
    await first.check()
    await daemonIsGone(host)
    for (const bare of [false, true]) for (const chain of [first, second]) await chain.del(bare)
    expect(difference(before, await look(host))).toBe('')
    expect(errorOf(await runPlugin(host, callOf(list, 'ADD', one.netns)))).toMatchObject({
      code: 11,
      msg: expect.stringContaining('open /run/flannel/subnet.env: no such file or directory'),
    })
    expect(errorOf(await runPlugin(host, callOf(list, 'STATUS', '')))).toMatchObject({ code: 50 })
  })

  test('starts no process for a delegate of ours, as a member of a chain too', async ({ host }) => {
    await daemonWrites(host)
    const { netns } = await host.container()
    const list = listOf('1.1.0')
    const chain: Call = {
      plugin: 'chain',
      command: 'ADD',
      config: { cniVersion: '1.1.0', name: 'cbr0', type: 'chain', plugins: list.plugins },
      netns,
      containerID: 'c2',
    }
    const calls = [callOf(list, 'ADD', netns), callOf(list, 'DEL', netns), chain, { ...chain, command: 'DEL' as const }]
    const traced = ['-f', '-e', 'trace=clone,clone3,fork,vfork,execve']
    // The bridge and the tables are made by now.
    for (const call of calls) expect((await runPlugin(host, call)).status).toBe(0)
    for (const call of calls) {
      const { status, stdout, stderr, calls: made } = await runTraced(host, call, traced)
      expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' })
      expect(made.match(/execve\(|clone|fork/g)).toEqual(['execve('])
    }
  })

  test('leaves nothing of an ADD whose delegate fails, here or as another program', async ({ host }) => {
    await daemonWrites(host)
    const { netns } = await host.container()
    const failing = `#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND" >>/run/calls
[ "$CNI_COMMAND" = ADD ] && { echo '{"code":150,"msg":"out of order"}'; exit 1; }
exit 0
`
    await host.output(['sh', '-c', 'mkdir /run/others; cat >/run/others/bad; chmod +x /run/others/bad'], {
      stdin: failing,
    })
    const path = `/run/others:${suites.podwire}`
    const settled = callOf(listOf('1.1.0'), 'ADD', netns)
    await runPlugin(host, settled)
    await runPlugin(host, { ...settled, command: 'DEL' })
    const before = await look(host)
    for (const [more, code] of [
      [{ delegate: { type: 'bad' } }, 150],
      [{ delegate: { ...delegate, vlan: 7, promiscMode: true, bridge: 'lo' } }, expect.any(Number)],
      [
        { delegate, ipam: { type: 'host-local', routes: [{ dst: '0.0.0.0/0', gw: '203.0.113.1' }] } },
        expect.any(Number),
      ],
    ] as const) {
      expect(errorOf(await runPlugin(host, callOf(listOf('1.1.0', more), 'ADD', netns, { path })))).toMatchObject({
        code,
      })
      expect(difference(before, await look(host)), JSON.stringify(more)).toBe('')
    }
    expect(await host.output(['cat', '/run/calls'])).toBe('ADD\nDEL\n')
  })
})

/** Stands where the delegate is looked for, and notes what it is given. */
const recorder = `#!/bin/sh
printf '%s %s %s %s\\n' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_IFNAME" "$(cat)" >>/run/calls
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"10.244.3.9/24"}],"dns":{}}'
`

describe('beside the official plugin', () => {
  const rows: [what: string, config: object, env?: Partial<Record<keyof typeof lines, string | undefined>>][] = [
    ['its defaults', { delegate: undefined }],
    ['the list of its manifest', { delegate: { hairpinMode: true, isDefaultGateway: true } }],
    ['a daemon that masquerades', {}, { FLANNEL_IPMASQ: 'true' }],
    ['IPv4 alone', {}, { FLANNEL_IPV6_NETWORK: undefined, FLANNEL_IPV6_SUBNET: undefined }],
    ['IPv6 alone', {}, { FLANNEL_NETWORK: undefined, FLANNEL_SUBNET: undefined }],
    [
      'keys that the delegate sets',
      { delegate: { mtu: 1300, ipMasq: true, isGateway: false, more: [1, { a: null }] } },
    ],
    ['another delegate', { delegate: { type: 'other', isDefaultGateway: false } }],
    ['ipam of its own', { ipam: { type: 'other-ipam', dataDir: '/run/leases', routes: [{ dst: '0.0.0.0/0' }] } }],
    ['capabilities', { capabilities: { mac: true }, runtimeConfig: { mac: '02:00:00:00:00:0b' } }],
    [
      'keys that are not passed on',
      { ipMasq: true, dns: { domain: 'x' }, args: { cni: { ips: [] } }, prevResult: { cniVersion: '0.4.0' } },
    ],
  ]
  test.for(rows)('gives the delegate the same, and keeps it: %s', async ([, config, env = {}], { host }) => {
    await daemonWrites(host, env)
    const { netns } = await host.container()
    await host.output(
      [
        'sh',
        '-c',
        'mkdir /run/others; cat >/run/others/bridge; chmod +x /run/others/bridge; ln /run/others/bridge /run/others/other',
      ],
      { stdin: recorder },
    )
    const call = callOf(listOf('0.4.0', config), 'ADD', netns, { path: `/run/others:${suites.podwire}` })
    const seen = async (run: (host: Host, call: Call) => Promise<Finished>) => {
      const result = resultOf(await run(host, call))
      const kept = JSON.parse(await host.output(['cat', '/var/lib/cni/flannel/c1']))
      succeedSilently(await run(host, { ...call, command: 'DEL' }))
      expect(await host.output(['find', '/var/lib/cni/flannel', '-type', 'f'])).toBe('')
      const calls = (await host.output(['cat', '/run/calls'])).trim().split('\n')
      await host.output(['rm', '/run/calls'])
      const { 'podwire.attachment': _, ...delegated } = kept
      return { result, delegated, calls: calls.map((line) => asObjects(line)) }
    }
    const ours = await seen(runPlugin)
    // Ours gives the delegate's DEL the result, too, where it has one.
    const without = ours.calls.map((one) => ({ ...one, stdin: withoutPrevious(one.stdin) }))
    expect({ ...ours, calls: without }).toEqual(await seen(runOfficial))
    expect(ours.calls.map(({ verb }) => verb)).toEqual(['ADD', 'DEL'])
  })

  const both = [
    ['ours', 'the official one', runPlugin, runOfficial],
    ['the official one', 'ours', runOfficial, runPlugin],
  ] as const
  test.for(both)('what %s attached is taken down by %s', async ([, , attach, detach], { host }) => {
    await daemonWrites(host)
    const { netns } = await host.container()
    const list = listOf('0.4.0')
    const settle = callOf(list, 'ADD', netns, { containerID: 'c0' })
    const path = suites.podwire
    // Both work with this suite's bridge: what is tried here is flannel.
    expect((await attach(host, { ...settle, path })).status).toBe(0)
    expect((await attach(host, { ...settle, path, command: 'DEL' })).status).toBe(0)
    const empty = await look(host)
    const result = resultOf(await attach(host, callOf(list, 'ADD', netns, { path })))
    expect(result.ips).toHaveLength(2)
    if (detach === runPlugin)
      succeedSilently(await detach(host, callOf(list, 'CHECK', netns, { path, prevResult: result })))
    await daemonIsGone(host)
    succeedSilently(await detach(host, callOf(list, 'DEL', netns, { path, prevResult: result })))
    expect(difference(empty, await look(host))).toBe('')
  })
})

function asObjects(line: string): { verb: string; of: string; stdin: Record<string, unknown> } {
  const [verb = '', id, ifName] = line.split(' ')
  return { verb, of: `${id} ${ifName}`, stdin: JSON.parse(line.slice(line.indexOf('{'))) }
}

function withoutPrevious({ prevResult: _, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return rest
}

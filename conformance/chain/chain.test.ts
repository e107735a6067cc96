import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import { Chain, type Conflist, type PluginConfig } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import { suites } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { ask, serve } from '../harness/traffic.js'
import {
  asChain,
  call,
  calls,
  failingAt,
  fourMembers,
  given,
  look,
  noting,
  ofAttachment,
  portMappings,
  withOthers,
} from './setting.js'

describe('a chain', () => {
  test('gives a container what its list gives, all verbs', async ({ host }) => {
    const { netns } = await host.container()
    const chain = new Chain(host, asChain(fourMembers()), {
      netns,
      containerID: 'c1',
      capabilityArgs: { portMappings },
    })
    const { stdout } = await runPlugin(host, { plugin: 'chain', command: 'VERSION' })
    expect(JSON.parse(stdout).supportedVersions).toEqual(expect.arrayContaining(['0.1.0', '1.1.0']))
    await chain.status()
    const result = await chain.add()
    expect(result.interfaces?.map(({ name }) => name)).toEqual(['br2', expect.stringMatching(/^veth/), 'eth0'])
    await chain.check()
    await chain.gc([{ containerID: 'c1', ifname: 'eth0' }])
    await chain.check()
    await chain.del()
    expect(await ofAttachment(host)).toEqual([])
    await chain.del(true)
  })

  test('publishes ports that answer', async ({ host }) => {
    const { container: outside } = await host.outside()
    const container = await host.container()
    await new Chain(host, asChain(fourMembers()), {
      netns: container.netns,
      containerID: 'c1',
      capabilityArgs: { portMappings },
    }).add()
    await serve(container, { protocol: 'tcp', port: 80, name: 'inside' })
    expect(await ask(outside, { protocol: 'tcp', address: '192.0.2.1', port: 8080 })).toMatchObject({
      server: 'inside',
    })
  })

  test.for([
    ['a list is taken down by the chain', (list: Conflist) => list, asChain],
    ['a chain by its list', asChain, (list: Conflist) => list],
  ] as const)('%s: a node changes under running containers', async ([, before, after], { host }) => {
    const { netns } = await host.container()
    const attachment = { netns, containerID: 'c1', capabilityArgs: { portMappings } }
    const settled = new Chain(host, before(fourMembers()), { ...attachment, containerID: 'c0' })
    await settled.add()
    await settled.del()
    const empty = await look(host)
    const [one, other] = [before, after].map((form) => new Chain(host, form(fourMembers()), attachment)) as [
      Chain,
      Chain,
    ]
    other.result = await one.add()
    await other.check()
    await other.del()
    expect(difference(empty, await look(host))).toBe('')
  })

  test('works in a list, before and behind others', async ({ host }) => {
    const { netns } = await host.container()
    const [bridge, portmap, firewall, tuning] = fourMembers().plugins as [
      PluginConfig,
      PluginConfig,
      PluginConfig,
      PluginConfig,
    ]
    const inner = asChain({ cniVersion: '1.1.0', name: 'network', plugins: [portmap, firewall] }).plugins
    const list = { cniVersion: '1.1.0', name: 'network', plugins: [bridge, ...inner, tuning] }
    const chain = new Chain(host, list, { netns, containerID: 'c1', capabilityArgs: { portMappings } })
    await chain.status()
    await chain.add()
    await chain.check()
    await chain.del()
  })
})

describe('a member that fails', () => {
  const taken = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] }

  test('takes back all before it, the lease too, and is named', async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers({ type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.none': '1' } }))
    const error = errorOf(await runPlugin(host, call(list, 'ADD', netns, { given: { runtimeConfig: taken } })))
    expect(error.msg).toMatch(/^plugins\[4\] tuning: network "network": /)
    expect(await ofAttachment(host)).toEqual([])
  })

  test('that is another program is taken back by its own DEL, and those before it by theirs', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { good: noting(), bad: failingAt('ADD') })
    const list = asChain(fourMembers({ type: 'good' }, { type: 'bad' }))
    const error = errorOf(await runPlugin(host, call(list, 'ADD', netns, { path })))
    expect(error).toMatchObject({ code: 150, msg: 'plugins[5] bad: out of order', details: 'why' })
    const seen = await calls(host)
    expect(seen.map(([verb]) => verb)).toEqual(['VERSION', 'VERSION', 'ADD', 'ADD', 'DEL', 'DEL'])
    // Each with the result so far: the failed one with that of the one before it, which is its own for that.
    expect(
      seen.slice(4).map(([, { type, prevResult }]) => [type, (prevResult as Result).interfaces?.[0]?.name]),
    ).toEqual([
      ['bad', 'other'],
      ['good', 'other'],
    ])
    expect(await ofAttachment(host)).toEqual([])
  })

  test('at DEL does not keep the others from theirs; all are reported', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { one: failingAt('DEL'), two: failingAt('DEL') })
    const list = asChain(fourMembers({ type: 'one' }, { type: 'two' }))
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { path })))
    const error = errorOf(await runPlugin(host, call(list, 'DEL', netns, { path, given: { prevResult } })))
    expect(error.details).toContain('plugins[5] two: out of order')
    expect(error.details).toContain('plugins[4] one: out of order')
    expect(await ofAttachment(host)).toEqual([])
  })

  test('of ours at DEL keeps the lease until a DEL gets through', async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers())
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { given: { runtimeConfig: taken } })))
    const leases = async () =>
      (await host.output(['sh', '-c', 'ls /var/lib/cni/networks/network/ | grep ^10 || true'])).trim()
    expect(await leases()).toBe('10.1.2.2')
    await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
    await host.output([
      'sh',
      '-c',
      'echo "#!/bin/sh\necho broken >&2; exit 1" >/usr/local/sbin/nft; chmod +x /usr/local/sbin/nft',
    ])
    const broken = { env: { PODWIRE_NO_NETLINK: '1' } }
    const error = errorOf(await runPlugin(host, call(list, 'DEL', netns, broken)))
    expect(error.msg + error.details).toMatch(/plugins\[1\] portmap/)
    expect(await leases()).toBe('10.1.2.2')
    await host.output(['umount', '/usr/local/sbin'])
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns)))
    expect(await leases()).toBe('')
  })
})

describe('a member of another file', () => {
  test('gets what the specification says: its configuration, its capabilities, its predecessor', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { other: noting() })
    const other = {
      type: 'other',
      capabilities: { bandwidth: true },
      name: 'wrong',
      cniVersion: '0.1.0',
      key: { a: 1 },
    }
    const list = asChain(fourMembers(other), { deviceID: '0000:00:01.0', key: 'not this one' })
    const bandwidth = { ingressRate: 1 }
    const given = { runtimeConfig: { portMappings, bandwidth, mac: '02:00:00:00:00:01' } }
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { path, given })))
    expect(prevResult.interfaces).toEqual([{ name: 'other' }])
    const alone = asChain(
      { ...fourMembers(), plugins: [other] },
      { deviceID: '0000:00:01.0', capabilities: { bandwidth: true } },
    )
    for (const verb of ['CHECK', 'DEL'] as const)
      await runPlugin(host, call(alone, verb, netns, { path, given: { ...given, prevResult } }))
    const valid = [{ containerID: 'c1', ifname: 'eth0' }]
    const collected = { 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid }
    succeedSilently(
      await runPlugin(host, call(list, 'GC', '', { path, given: collected, containerID: '', ifName: '' })),
    )
    const seen = (await calls(host)).filter(([verb]) => verb !== 'VERSION')
    const common = { ...other, name: 'network', cniVersion: '1.1.0', deviceID: '0000:00:01.0' }
    const [[, add], [, check], [, del], [, gc]] = seen as [
      [string, object],
      [string, object],
      [string, object],
      [string, object],
    ]
    expect(seen.map(([verb]) => verb)).toEqual(['ADD', 'CHECK', 'DEL', 'GC'])
    expect(add).toMatchObject({
      ...common,
      runtimeConfig: { bandwidth },
      prevResult: { interfaces: [{ name: 'br2' }, {}, {}] },
    })
    for (const one of [check, del]) expect(one).toEqual({ ...common, runtimeConfig: { bandwidth }, prevResult })
    expect(gc).toEqual({ ...common, ...collected })
  })

  test('that is the official plugin works beside ours', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, {
      firewall: `${suites.official}/firewall`,
      portmap: `${suites.official}/portmap`,
    })
    const list = asChain(fourMembers())
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { path, given })))
    succeedSilently(await runPlugin(host, call(list, 'CHECK', netns, { path, given: { ...given, prevResult } })))
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { path, given: { ...given, prevResult } })))
    expect(await ofAttachment(host)).toEqual([])
  })

  test('that does not know the version is refused before anything is done', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { old: noting().replace('"1.0.0","1.1.0"', '"0.4.0"') })
    const before = await look(host)
    for (const verb of ['ADD', 'STATUS'] as const) {
      const error = errorOf(await runPlugin(host, call(asChain(fourMembers({ type: 'old' })), verb, netns, { path })))
      expect(error.msg).toBe('plugins[4] old: plugin old does not support config version "1.1.0"')
    }
    expect(difference(before, await look(host))).toBe('')
  })

  test('is told of at STATUS, whose first error comes as it is', async ({ host }) => {
    const path = await withOthers(host, { fine: noting(), ill: failingAt('STATUS') })
    const fine = await runPlugin(host, call(asChain(fourMembers({ type: 'fine' })), 'STATUS', '', { path }))
    expect([fine.status, fine.stdout]).toEqual([0, ''])
    expect(fine.stderr).toContain('plugins[4] fine is executed')
    const ill = await runPlugin(host, call(asChain(fourMembers({ type: 'ill' })), 'STATUS', '', { path }))
    expect(errorOf(ill)).toMatchObject({ code: 150, msg: 'plugins[4] ill: out of order' })
    for (const [, config] of await calls(host)) expect(config).not.toHaveProperty('runtimeConfig')
  })

  test('that is gone: ADD says so first, STATUS in its code, DEL does the others', async ({ host }) => {
    const { netns } = await host.container()
    const before = await look(host)
    const gone = asChain(fourMembers({ type: 'gone' }))
    expect(errorOf(await runPlugin(host, call(gone, 'ADD', netns)))).toMatchObject({
      code: 107,
      msg: expect.stringMatching(/^plugins\[4\] gone: failed to find plugin "gone" in path \[/),
    })
    expect(difference(before, await look(host))).toBe('')
    expect(errorOf(await runPlugin(host, call(gone, 'STATUS', '')))).toMatchObject({ code: 50 })
    resultOf(await runPlugin(host, call(asChain(fourMembers()), 'ADD', netns)))
    expect(errorOf(await runPlugin(host, call(gone, 'DEL', netns))).msg).toMatch(/plugins\[4\] gone/)
    expect(await ofAttachment(host)).toEqual([])
  })
})

describe('what is refused', () => {
  const [bridge] = fourMembers().plugins as [PluginConfig]
  const of = (plugins: object[], more: object = {}): Conflist =>
    ({ cniVersion: '1.1.0', name: 'network', plugins: [{ type: 'chain', plugins, ...more }] }) as Conflist
  const rows: Record<string, [list: Conflist, place: string]> = {
    'an empty chain': [of([]), 'plugins'],
    'a chain in a chain': [of([bridge, { type: 'chain', plugins: [bridge] }]), 'plugins[1].type'],
    'disableCheck, which a list has': [of([bridge], { disableCheck: true }), 'disableCheck'],
    disableGC: [of([bridge], { disableGC: false }), 'disableGC'],
    'a member without a type': [of([{ bridge: 'br2' }]), 'plugins[0].type'],
    'a capability that the chain does not declare': [
      of([bridge, { type: 'portmap', capabilities: { portMappings: true } }]),
      'plugins[1].capabilities.portMappings',
    ],
    'plugins that are no list': [of({} as object[]), 'plugins'],
  }

  test.for(Object.entries(rows))('%s', async ([, [list, place]], { host }) => {
    const { netns } = await host.container()
    const before = await look(host)
    const error = errorOf(await runPlugin(host, call(list, 'ADD', netns)))
    expect(error.code).toBe(7)
    expect(error.details).toContain(`${place}: found`)
    expect(difference(before, await look(host))).toBe('')
  })

  test('a capability that is not declared is 50 at STATUS, and nothing at DEL and GC', async ({ host }) => {
    const { netns } = await host.container()
    const [list] = rows['a capability that the chain does not declare'] as [Conflist, string]
    expect(errorOf(await runPlugin(host, call(list, 'STATUS', ''))).code).toBe(50)
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns)))
    const given = { 'cni.dev/valid-attachments': [] }
    succeedSilently(await runPlugin(host, call(list, 'GC', '', { given, containerID: '', ifName: '' })))
  })
})

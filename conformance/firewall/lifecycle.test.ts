import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { flattenRuleset } from '../harness/nftables.js'
import { readFiles } from '../harness/observe.js'
import { runPlugin } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { dropping, fakeTools, firewalled, join, type Member, onlyFirewall } from './networks.js'

const backends = ['', 'nftables', 'iptables']

/** Every element, rule and note of the plugin that speaks of an attachment. */
async function traces(host: Host): Promise<string[]> {
  const [ruleset, v4, v6] = await Promise.all([
    host.output(['nft', 'list', 'ruleset']),
    host.output(['iptables-save', '-t', 'filter']),
    host.output(['ip6tables-save', '-t', 'filter']),
  ])
  const elements = flattenRuleset(ruleset).filter((line) => /firewall_\w+: elements = /.test(line))
  const rules = [...v4.split('\n'), ...v6.split('\n')].filter((line) =>
    /^-A CNI-(FORWARD -[ds]|ISOL.* -[io]) /.test(line),
  )
  const notes = Object.keys(readFiles(host, '/run/podwire')).filter((name) => /^firewall.*[0-9a-f]{16}$/.test(name))
  return [...elements, ...rules, ...notes]
}

describe('every version', () => {
  test.for(['0.4.0', '1.0.0', '1.1.0'])(
    '%s: ADD, CHECK, DEL and the result is the one before',
    async (cniVersion, { host }) => {
      const network = firewalled({}, { cniVersion })
      const { chain, container } = await join(host, network)
      const bare = { ...network, plugins: network.plugins.slice(0, 1) }
      const prevResult = chain.result
      expect(bare.plugins).toHaveLength(1)
      expect(prevResult?.interfaces?.map(({ name }) => name)).toEqual(['br2', expect.stringMatching(/^veth/), 'eth0'])
      await chain.check()
      await chain.del()
      await chain.del(true)
      expect(await traces(host)).toEqual([])
      expect(container.name).toBe('container0')
    },
  )

  test.for(['0.1.0', '0.3.1'])('%s is refused, as the official plugin does', async (cniVersion, { host }) => {
    const config = { cniVersion, name: 'net', type: 'firewall' }
    const call = { plugin: 'firewall', command: 'ADD', config, netns: '/run/netns/x' } as const
    const answers = [await runPlugin(host, call), await runPlugin(host, { ...call, suite: 'official' })].map(errorOf)
    expect(answers[0]).toEqual(answers[1])
  })
})

/** Two members of a bridge with a policy; `policy` is what the kernel has of it, whoever is there. */
async function policed(host: Host, backend: string) {
  const network = firewalled({ backend, ingressPolicy: 'same-bridge' })
  const [first, last] = [await join(host, network), await join(host, network)]
  const policy = async () => (await traces(host)).filter((line) => line.includes('br2') && !/[0-9a-f]{16}$/.test(line))
  expect(await policy()).not.toEqual([])
  return { network, first, last, policy }
}

describe('DEL', () => {
  test.for(backends)('backend "%s" needs no result, no namespace, and may come again', async (backend, { host }) => {
    const network = firewalled({ backend, ingressPolicy: 'isolated' })
    const before = await join(host, network)
    const { chain } = await join(host, network)
    const left = await traces(host)
    const third = await join(host, network)
    await third.container.remove()
    await third.chain.del(true)
    expect(await traces(host)).toEqual(left)
    await chain.del(true)
    await chain.del(true)
    await before.chain.del()
    expect(await traces(host)).toEqual([])
  })

  test.for(backends)('backend "%s": what was never ADDed is no error', async (backend, { host }) => {
    const config = { cniVersion: '1.1.0', name: 'net', type: 'firewall', backend }
    succeedSilently(await runPlugin(host, { plugin: 'firewall', command: 'DEL', config }))
  })

  test('finds its rules by the owner when the notes are lost', async ({ host }) => {
    const network = firewalled({ ingressPolicy: 'isolated' })
    const lost = await join(host, network)
    const kept = await join(host, network)
    await host.output(['rm', '-rf', '/run/podwire/firewall'])
    await onlyFirewall(host, lost, network).del(true)
    const left = (await traces(host)).join('\n')
    expect(left).not.toContain(`"network2/eth0/${lost.container.name}"`)
    expect(left).toContain(`${kept.v4} comment "network2/eth0/${kept.container.name}"`)
  })

  test.for(backends)(
    'backend "%s": of a garbled record leaves a bridge its policy while others want it, and no longer',
    async (backend, { host }) => {
      const { network, first, last, policy } = await policed(host, backend)
      const before = await policy()
      const delGarbled = async (member: Member) => {
        const [record = ''] = (await host.output(['grep', '-rl', member.v4, '/run/podwire/firewall'])).split('\n')
        await host.output(['truncate', '-s', '0', record])
        await onlyFirewall(host, member, network).del()
      }
      await delGarbled(first)
      expect(await policy()).toEqual(before)
      await delGarbled(last)
      expect(await traces(host)).toEqual([])
      expect(await host.output(['find', '/run/podwire/firewall-holders', '-mindepth', '2'])).toBe('')
    },
  )

  test.for(backends)(
    'backend "%s": leaves a bridge its policy while all records are garbled',
    async (backend, { host }) => {
      const { network, first, last, policy } = await policed(host, backend)
      const before = await policy()
      await host.output(['find', '/run/podwire/firewall', '-type', 'f', '-exec', 'truncate', '-s', '0', '{}', '+'])
      await onlyFirewall(host, first, network).del()
      expect(await policy()).toEqual(before)
      await onlyFirewall(host, last, network).del()
      expect(await traces(host)).toEqual([])
    },
  )

  test('removes what the official plugin left for the attachment, and no more', async ({ host }) => {
    const network = firewalled({ backend: 'iptables' })
    const member = await join(host, network, { suite: 'official' })
    const other = await join(host, network, { suite: 'official' })
    await onlyFirewall(host, member, network).del()
    const saved = await host.output(['iptables-save', '-t', 'filter'])
    expect(saved).not.toContain(`${member.v4}/32`)
    expect(saved).toContain(`${other.v4}/32`)
  })

  test('of a dead owner leaves the address to the container that has it now', async ({ host }) => {
    for (const command of dropping['iptables-nft'] ?? []) await host.output(command)
    for (const backend of ['', 'iptables']) {
      const network = firewalled({ backend })
      const member = await join(host, network)
      const late = onlyFirewall(host, member, network, { containerID: 'dead' })
      await late.add()
      await onlyFirewall(host, member, network).add()
      await late.del()
      await member.chain.check()
      await member.chain.del()
    }
    expect(await traces(host)).toEqual([])
  })

  test('and the official plugin cleans up after ours', async ({ host }) => {
    const network = firewalled({ backend: 'iptables' })
    const member = await join(host, network)
    await onlyFirewall(host, member, network, { suite: 'official' }).check()
    await onlyFirewall(host, member, network, { suite: 'official' }).del()
    expect(await host.output(['iptables-save', '-t', 'filter'])).not.toContain(`${member.v4}/32`)
  })
})

describe('CHECK', () => {
  test.for([
    { backend: '', flush: ['nft', 'flush', 'set', 'ip', 'podwire', 'firewall_addresses'], says: /firewall_addresses/ },
    { backend: 'iptables', flush: ['iptables', '-F', 'CNI-FORWARD'], says: /CNI-FORWARD -s 10\.1\.2\.2\/32 -j ACCEPT/ },
    { backend: 'iptables', flush: ['iptables', '-F'], says: /CNI-ISOLATION-STAGE-1 -i br2/ },
    { backend: '', flush: ['nft', 'flush', 'ruleset'], says: /firewall_bridges/ },
    {
      backend: '',
      flush: ['nft', 'flush', 'set', 'bridge', 'podwire', 'firewall_isolated_ports'],
      says: /isolated_ports/,
    },
  ])(
    'backend "$backend" after "$flush": says what is missing and makes nothing',
    async ({ backend, flush, says }, { host }) => {
      const network = firewalled({ backend, ingressPolicy: 'isolated' })
      const member = await join(host, network)
      const alone = onlyFirewall(host, member, network)
      await alone.check()
      await host.output(flush)
      const before = await takeSnapshot(host)
      await expect(alone.check()).rejects.toThrow(says)
      expect(difference(before, await takeSnapshot(host))).toBe('')
      await alone.add()
      await alone.check()
    },
  )
})

describe('GC', () => {
  test.for(backends)('backend "%s" removes what no valid attachment owns', async (backend, { host }) => {
    const network = firewalled({ backend, ingressPolicy: 'same-bridge' })
    const [live, dead] = [await join(host, network), await join(host, network)]
    const other = await join(host, firewalled({ backend }, { number: 3 }))
    const alone = onlyFirewall(host, live, network)
    await alone.gc()
    await onlyFirewall(host, dead, network).check()
    await alone.gc([{ containerID: live.container.name, ifname: 'eth0' }])
    await alone.check()
    await onlyFirewall(host, other, firewalled({ backend }, { number: 3 })).check()
    expect((await traces(host)).join('\n')).not.toContain(dead.v4)
    await expect(onlyFirewall(host, dead, network).check()).rejects.toThrow()
  })
})

describe('STATUS', () => {
  test.for(backends)('backend "%s" is ready here', async (backend, { host }) => {
    const config = { cniVersion: '1.1.0', name: 'net', type: 'firewall', backend }
    succeedSilently(await runPlugin(host, { plugin: 'firewall', command: 'STATUS', config }))
  })

  test('firewalld is not', async ({ host }) => {
    const config = { cniVersion: '1.1.0', name: 'net', type: 'firewall', backend: 'firewalld' }
    const env = { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/run/no-bus' }
    const answer = errorOf(await runPlugin(host, { plugin: 'firewall', command: 'STATUS', config, env }))
    expect(answer).toMatchObject({ code: 50, msg: expect.stringContaining('firewalld does not answer') })
  })
})

describe('a failed ADD leaves nothing', () => {
  test.for([
    { config: { backend: 'firewalld' }, says: /no D-Bus system bus: system bus not found/ },
    { config: { backend: 'ipfw' }, says: /backend: found .*ipfw.*, expected one of .*nftables.*iptables.*firewalld/ },
    {
      config: { ingressPolicy: 'closed' },
      says: /ingressPolicy: found .*closed.*, expected one of .*open.*same-bridge.*isolated/,
    },
    { config: { iptablesAdminChainName: 'a b' }, says: /name of an iptables chain/ },
  ])('$config', async ({ config, says }, { host }) => {
    const network = firewalled()
    const member = await join(host, { ...network, plugins: network.plugins.slice(0, 1) })
    const before = await takeSnapshot(host, { directories: ['/run'] })
    const refused = onlyFirewall(host, member, firewalled(config))
    await expect(refused.add()).rejects.toThrow(says)
    expect(difference(before, await takeSnapshot(host, { directories: ['/run'] }))).toBe('')
  })

  test('also when the foreign chain cannot be changed', async ({ host }) => {
    const member = await join(host, { ...firewalled(), plugins: firewalled().plugins.slice(0, 1) })
    await host.output(['iptables-nft', '-P', 'FORWARD', 'DROP'])
    await fakeTools(host, { 'iptables-restore': 'echo "out of rules" >&2; exit 4' })
    await expect(onlyFirewall(host, member, firewalled()).add()).rejects.toThrow(/out of rules/)
    expect(await traces(host)).toEqual([])
  })
})

describe('many at once', () => {
  test.for(backends)('backend "%s": 30 ADDs leave each rule once, 30 DELs none', async (backend, { host }) => {
    const network = firewalled({ backend, ingressPolicy: 'isolated' })
    await host.output(['iptables', '-P', 'FORWARD', 'DROP'])
    const bridged = { ...network, plugins: network.plugins.slice(0, 1) }
    const members = []
    for (let index = 0; index < 30; index++) members.push(await join(host, bridged))
    const alone = members.map((member) => onlyFirewall(host, member, network))
    await Promise.all(alone.map((one) => one.add()))
    const rules = (await host.output(['iptables-save', '-t', 'filter']))
      .split('\n')
      .filter((line) => line.startsWith('-A'))
    expect(rules.length).toBe(new Set(rules).size)
    await alone[17]?.check()
    await Promise.all(alone.map((one) => one.del()))
    expect(await traces(host)).toEqual([])
  })
})

describe('the rules of the iptables backend', () => {
  test('are those of the official plugin, in its order', async ({ host }) => {
    const network = firewalled({ backend: 'iptables', ingressPolicy: 'isolated' })
    const save = async () =>
      (
        await Promise.all([
          host.output(['iptables-save', '-t', 'filter']),
          host.output(['ip6tables-save', '-t', 'filter']),
        ])
      )
        .join('')
        .replaceAll(/^#.*\n|\[\d+:\d+\]/gm, '')
    const member = await join(host, { ...network, plugins: network.plugins.slice(0, 1) })
    const second = await join(host, { ...network, plugins: network.plugins.slice(0, 1) })
    const saved: Record<string, string> = {}
    for (const suite of ['official', 'podwire'] as const) {
      for (const one of [member, second]) await onlyFirewall(host, one, network, { suite }).add()
      saved[suite] = await save()
      for (const tool of ['iptables', 'ip6tables']) for (const verb of ['-F', '-X']) await host.output([tool, verb])
    }
    expect(saved['podwire']).toBe(saved['official'])
    expect(saved['podwire']).toContain('-A CNI-ISOLATION-STAGE-1 -i br2 -o br2')
  })

  test('need no ip6tables without an IPv6 address', async ({ host }) => {
    await fakeTools(host, { 'ip6tables-save': 'exit 1', 'ip6tables-restore': 'exit 1', ip6tables: 'exit 1' })
    const { chain } = await join(host, firewalled({ backend: 'iptables' }, { ranges: 1 }))
    await chain.check()
    await chain.del()
  })
})

describe('processes', () => {
  const rows = [
    { what: 'nftables', config: { backend: 'nftables' }, ranges: 2, ADD: 0, CHECK: 2, DEL: 0 },
    { what: 'nftables, IPv4', config: { backend: 'nftables' }, ranges: 1, ADD: 0, CHECK: 1, DEL: 0 },
    { what: 'iptables, IPv4', config: { backend: 'iptables' }, ranges: 1, ADD: 2, CHECK: 1, DEL: 2 },
    { what: 'iptables', config: { backend: 'iptables' }, ranges: 2, ADD: 4, CHECK: 2, DEL: 4 },
  ] as const
  test.for(rows)('$what: ADD $ADD, CHECK $CHECK, DEL $DEL', async ({ config, ranges, ...expected }, { host }) => {
    const network = firewalled(config, { ranges })
    await join(host, network)
    const member = await join(host, { ...network, plugins: network.plugins.slice(0, 1) })
    const counts: Record<string, number> = {}
    for (const verb of ['ADD', 'CHECK', 'DEL'] as const) {
      const env = { PODWIRE_TRACE: `/run/trace-${verb}` }
      const input = { ...network.plugins[1], cniVersion: '1.1.0', name: 'network2', prevResult: member.chain.result }
      const { container } = member
      const call = { plugin: 'firewall', config: input, netns: container.netns, containerID: container.name }
      expect((await runPlugin(host, { ...call, command: verb, env })).status).toBe(0)
      const lines = readFileSync(host.path(env.PODWIRE_TRACE), 'utf8').trim().split('\n')
      counts[verb] = lines.filter((line) => !(JSON.parse(line) as { netlink?: boolean }).netlink).length
    }
    expect(counts).toEqual({ ADD: expected.ADD, CHECK: expected.CHECK, DEL: expected.DEL })
  })

  test('a result without addresses costs none', async ({ host }) => {
    const config = { cniVersion: '1.1.0', name: 'net', type: 'firewall', prevResult: { cniVersion: '1.1.0' } }
    const env = { PODWIRE_TRACE: '/run/trace', DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/run/no-bus' }
    const { netns } = await host.container()
    expect((await runPlugin(host, { plugin: 'firewall', command: 'ADD', config, env, netns })).status).toBe(0)
    expect(existsSync(host.path('/run/trace'))).toBe(false)
    expect(readdirSync(host.path('/run'))).not.toContain('podwire')
  })
})

import { execFileSync } from 'node:child_process'
import {
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { placeOf } from '../frame/place.js'
import type { ClusterNode } from './cluster.js'
import type { AgentKernel } from './kernel.js'
import type { Seen } from './look.js'
import { AgentNode } from './node.js'
import { readSettings, type Settings, usualSettings } from './settings.js'
import { writeWhole } from './state.js'

// The node that the agent keeps, in a root of its own and beside a kernel that does as it is told.

const own: ClusterNode = {
  name: 'own',
  podCIDRs: ['10.244.0.0/24', 'fd44::/64'],
  addresses: ['172.18.0.2', 'fc00::2'],
  garbled: [],
  isUnavailable: false,
}

const usual: Seen = {
  links: [
    { name: 'lo', mtu: 65_536, addresses: ['127.0.0.1', '::1'] },
    { name: 'eth0', mtu: 1500, addresses: ['172.18.0.2', 'fc00::2'] },
    { name: 'eth1', mtu: 1500, addresses: ['192.0.2.2'] },
  ],
  routes: [],
}

const all = '/proc/sys/net/ipv6/conf/all/forwarding'

function host() {
  const root = mkdtempSync(path.join(tmpdir(), 'podwire-node-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  const write = (file: string, text: string) => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
    writeFileSync(path.join(root, file), text)
  }
  const read = (file: string) => readFileSync(path.join(root, file), 'utf8').trim()
  for (const name of ['chain', 'ptp', 'bridge', 'host-local', 'portmap']) write(`/opt/cni/bin/${name}`, '')
  mkdirSync(path.join(root, '/etc/cni/net.d'), { recursive: true })
  write('/proc/sys/net/ipv4/ip_forward', '0\n')
  write(all, '0\n')
  for (const link of ['eth0', 'eth1']) write(`/proc/sys/net/ipv6/conf/${link}/accept_ra`, '1\n')
  const calls: string[] = []
  /** The last table of each family. */
  const tables: Record<string, string> = {}
  let seen = usual
  let generation = 1
  const kernel = {
    look: () => seen,
    apply: (plan: readonly { argv: readonly string[] }[]) => {
      calls.push(...plan.map(({ argv }) => argv.slice(0, 3).join(' ')))
      return []
    },
    changeRuleset: (plan: readonly { argv: readonly string[] }[]) => {
      const [[verb = '', kind = '', family = '', , ...words] = []] = plan.map(({ argv }) => argv)
      generation++
      if (plan.length === 1) calls.push([verb, kind, family, ...words].join(' '))
      else {
        calls.push('ruleset')
        tables[family] = plan.map(({ argv }) => argv.join(' ')).join('\n')
      }
      return 0
    },
    rulesetNow: () => 'table',
    generation: () => generation,
  } as unknown as AgentKernel
  const node = () => new AgentNode(kernel, placeOf({ root }), '/var/lib/podwire')
  const see = (now: Partial<Seen>) => {
    seen = { ...usual, ...now }
  }
  const changeRules = () => {
    generation++
  }
  return { root, write, read, calls, tables, node, see, changeRules }
}

async function keep(node: AgentNode, own: ClusterNode, nodes: readonly ClusterNode[], settings: Settings) {
  return await node.keep({ own, nodes: () => nodes, settings, pause: async () => undefined })
}

const reasons = ({ problems }: { readonly problems: readonly { readonly reason: string; readonly text: string }[] }) =>
  problems.map(({ reason, text }) => `${reason}: ${text}`)

describe('a place of the configuration that cannot be used holds up nothing else', () => {
  const conflist = '/etc/cni/net.d/10-podwire.conflist'
  for (const [what, plant, words] of [
    ['a folder in its place', (root: string) => mkdirSync(path.join(root, conflist)), /conflist: .*there is a folder/],
    [
      'a folder with something in it',
      (root: string) => mkdirSync(path.join(root, conflist, 'x'), { recursive: true }),
      /conflist: .*there is a folder of that name, remove it/,
    ],
    [
      'a file for the folder',
      (root: string) => {
        rmSync(path.join(root, '/etc/cni/net.d'), { recursive: true })
        writeFileSync(path.join(root, '/etc/cni/net.d'), '')
      },
      /net\.d cannot be looked at: .*it has to be a folder/,
    ],
    [
      'links in a circle',
      (root: string) => {
        rmSync(path.join(root, '/etc/cni/net.d'), { recursive: true })
        symlinkSync('net.d', path.join(root, '/etc/cni/net.d'))
      },
      /net\.d cannot be looked at: .*circle/,
    ],
    ['no folder', (root: string) => rmSync(path.join(root, '/etc/cni'), { recursive: true }), /cannot write .*ENOENT/],
  ] as const) {
    test(what, async () => {
      const { root, calls, node } = host()
      plant(root)
      const other = { ...own, name: 'two', podCIDRs: ['10.244.1.0/24'], addresses: ['172.18.0.3'] }
      const outcome = await keep(node(), own, [own, other], usualSettings)
      expect(
        reasons(outcome)
          .filter((one) => one.startsWith('ConflistRefused'))
          .join(),
      ).toMatch(words)
      expect(outcome.isReady).toBe(false)
      expect(calls.filter((one) => one === 'ruleset')).toHaveLength(2)
      expect(reasons(outcome).join()).toContain('NotOnLink: node two')
    })
  }

  for (const [what, plant] of [
    ['garbled', (file: string) => writeFileSync(file, '{"plugins":')],
    ['empty', (file: string) => writeFileSync(file, '')],
    ['too large', (file: string) => writeFileSync(file, 'x'.repeat(5_000_000))],
    ['a link', (file: string) => symlinkSync('/etc/hostname', file)],
    ['a pipe', (file: string) => execFileSync('mkfifo', [file])],
  ] as const) {
    test(`a file that is ${what} is written anew`, async () => {
      const { root, read, node } = host()
      plant(path.join(root, conflist))
      const outcome = await keep(node(), own, [own], usualSettings)
      expect(outcome.isReady).toBe(true)
      expect(JSON.parse(read(conflist))).toMatchObject({ name: 'podwire' })
    })
  }

  test('state that cannot be written is said, and kept by the agent that runs', async () => {
    const { root, write, node } = host()
    write('/var/lib/podwire', 'a file')
    const kept = node()
    expect(reasons(await keep(kept, own, [own], usualSettings)).join()).toMatch(
      /^StateRefused: .*agent\.json cannot be written/,
    )
    const { news } = await keep(kept, { ...own, podCIDRs: ['10.244.9.0/24'] }, [own], usualSettings)
    expect(news.map(({ reason }) => reason)).toEqual(['PodCIDRChanged'])
    rmSync(path.join(root, '/var/lib/podwire'))
    expect(reasons(await keep(kept, own, [own], usualSettings))).toEqual([])
    expect(readdirSync(path.join(root, '/var/lib/podwire'))).toEqual(['agent.json'])
  })
})

describe('a node that comes behind a plan', () => {
  const near = ['172.18.0.0/16', 'fc00::/64'].map((destination) => ({
    family: destination.includes(':') ? (6 as const) : (4 as const),
    destination,
    link: 'eth0',
    metric: 0,
    protocol: 2,
    isUnicast: true,
  }))
  const member = (name: string, number: number): ClusterNode => ({
    ...own,
    name,
    podCIDRs: [`10.244.${number}.0/24`, `fd44:0:0:${number}::/64`],
    addresses: [`172.18.0.${number}`, `fc00::${number}`],
  })
  const [two, three] = [member('two', 12), member('three', 14)]
  const atOnce = [
    'add element ip inside { 10.244.14.0-10.244.14.255 }',
    'add element ip inside { 172.18.0.14 }',
    'add element ip6 inside { fc00::14 }',
    'add element ip6 inside { fd44:0:0:14::-fd44::14:ffff:ffff:ffff:ffff }',
    'route add 10.244.14.0/24',
    'route add fd44:0:0:14::/64',
  ]
  const pauses = 4

  for (let at = 0; at < pauses; at++) {
    test(`in pause ${at} of a look gets all of it at once, and that look takes nothing of it away`, async () => {
      const { calls, tables, node, see } = host()
      see({ routes: near })
      const kept = node()
      await keep(kept, own, [own, two], usualSettings)
      calls.length = 0
      const nodes = [own, two]
      const made: string[] = []
      let count = 0
      const pause = async () => {
        if (count++ !== at) return
        const before = calls.length
        nodes.push(three)
        kept.keepSoon(own, [three])
        made.push(...calls.slice(before))
      }
      await kept.keep({ own, nodes: () => [...nodes], settings: usualSettings, pause })
      expect(count).toBe(pauses)
      expect(made).toEqual(atOnce)
      const behind = calls.slice(calls.indexOf(atOnce.at(-1) ?? '') + 1)
      expect(behind.filter((one) => one.startsWith('route del'))).toEqual([])
      // What the look makes anew behind it has it, too.
      const isMadeAnew = behind.includes('ruleset')
      expect(isMadeAnew).toBe(at < pauses - 1)
      expect([tables['ip']?.includes(' 172.18.0.14 '), tables['ip6']?.includes('14:ffff:ffff')]).toEqual([
        isMadeAnew,
        isMadeAnew,
      ])
    })
  }

  test('is excepted before its route stands, and the next look makes the tables anew, also without it', async () => {
    const { calls, tables, node, see, changeRules } = host()
    see({ routes: near })
    const kept = node()
    await keep(kept, own, [own, two], usualSettings)
    const before = { ...tables }
    calls.length = 0
    kept.keepSoon(own, [three])
    expect(calls).toEqual(atOnce)
    // The agent's own changes are no reason to look at everything; others' are.
    expect(kept.hasOtherRules()).toBe(false)
    changeRules()
    expect(kept.hasOtherRules()).toBe(true)
    calls.length = 0
    await keep(kept, own, [own, two], usualSettings)
    expect(calls.filter((one) => one === 'ruleset')).toHaveLength(2)
    expect(tables).toEqual(before)
  })

  test('gets nothing by a plan for this node as it was, or that has no masquerade', async () => {
    const { calls, node, see } = host()
    see({ routes: near })
    const kept = node()
    kept.keepSoon(own, [three])
    expect(calls).toEqual([])
    await keep(kept, own, [own, two], { ...usualSettings, masquerade: false })
    calls.length = 0
    kept.keepSoon({ ...own, podCIDRs: three.podCIDRs }, [three])
    expect(calls).toEqual([])
    kept.keepSoon(own, [three])
    expect(calls).toEqual(atOnce.slice(4))
  })
})

describe('drafts', () => {
  test('of two agents are two, and none is left where a file cannot be written', () => {
    const { root } = host()
    const file = path.join(root, 'etc/cni/net.d/10-podwire.conflist')
    // The draft that another agent is writing, by the one name that all had.
    mkdirSync(`${file}.new`)
    writeWhole(file, 'one')
    writeWhole(file, 'two')
    expect(readdirSync(path.dirname(file)).sort()).toEqual(['10-podwire.conflist', '10-podwire.conflist.new'])
    rmSync(file)
    mkdirSync(path.join(file, 'full'), { recursive: true })
    expect(() => writeWhole(file, 'three')).toThrow()
    expect(readdirSync(path.dirname(file)).sort()).toEqual(['10-podwire.conflist', '10-podwire.conflist.new'])
  })

  test('of the dead are removed, those of a moment ago are not, and nothing of others', async () => {
    const { root, node } = host()
    const folder = path.join(root, 'etc/cni/net.d')
    const plant = (name: string, age: number) => {
      writeFileSync(path.join(folder, name), '')
      const at = Date.now() / 1000 - age
      utimesSync(path.join(folder, name), at, at)
    }
    plant('10-podwire.conflist.new', 3600)
    plant('10-podwire.conflist.0123456789abcdef.new', 3600)
    plant('10-podwire.conflist.future.new', -3600)
    plant('10-podwire.conflist.young.new', 5)
    plant('10-podwire.conflist.bak', 3600)
    plant('11-other.conflist.new', 3600)
    symlinkSync('/etc/hostname', path.join(folder, '10-podwire.conflist.link.new'))
    lutimesSync(path.join(folder, '10-podwire.conflist.link.new'), 1, 1)
    await keep(node(), own, [own], usualSettings)
    const left = ['10-podwire.conflist', '10-podwire.conflist.bak', '11-other.conflist.new']
    expect(readdirSync(folder).sort()).toEqual([...left, '10-podwire.conflist.young.new'].sort())
    expect(node().remove()).toEqual([])
    expect(readdirSync(folder).sort()).toEqual(left.slice(1).sort())
  })
})

describe('forwarding of IPv6', () => {
  const byRa = { family: 6, destination: '::/0', gateway: 'fe80::1', metric: 1024, isUnicast: true } as const
  const ra = (link: string) => ({ ...byRa, link, protocol: 9 })
  const acceptRa = (link: string) => `/proc/sys/net/ipv6/conf/${link}/accept_ra`

  test('has links with a default route by router advertisements, and those of the node, hear them still', async () => {
    const { read, node, see } = host()
    see({ routes: [ra('eth1')] })
    expect(reasons(await keep(node(), own, [own], usualSettings))).toEqual([])
    expect([read(all), read(acceptRa('eth0')), read(acceptRa('eth1'))]).toEqual(['1', '2', '2'])
  })

  test('leaves alone who hears none, and all links where somebody else turned it on', async () => {
    const first = host()
    first.write(acceptRa('eth0'), '0\n')
    first.see({ routes: [ra('eth0')] })
    await keep(first.node(), own, [own], usualSettings)
    expect([first.read(all), first.read(acceptRa('eth0')), first.read(acceptRa('eth1'))]).toEqual(['1', '0', '1'])
    const second = host()
    second.write(all, '1\n')
    second.see({ routes: [{ ...ra('eth0'), protocol: 3 }] })
    await keep(second.node(), own, [own], usualSettings)
    expect(second.read(acceptRa('eth0'))).toBe('1')
    const third = host()
    third.see({ routes: [ra('eth0')] })
    await keep(third.node(), { ...own, podCIDRs: ['10.244.0.0/24'] }, [own], usualSettings)
    expect([third.read(all), third.read(acceptRa('eth0'))]).toEqual(['0', '1'])
  })

  test('has a link hear them that gets the address of the node later, also by an agent that starts then', async () => {
    const { read, node, see } = host()
    await keep(node(), own, [own], usualSettings)
    expect(read(acceptRa('eth1'))).toBe('1')
    const moved = { ...own, addresses: ['192.0.2.2'] }
    see({ links: usual.links.filter(({ name }) => name !== 'eth0') })
    await keep(node(), moved, [moved], usualSettings)
    expect(read(acceptRa('eth1'))).toBe('2')
  })

  test('after a reboot comes behind them, too', async () => {
    const { read, write, node } = host()
    await keep(node(), own, [own], usualSettings)
    // No advertisement has come yet.
    for (const [file, text] of [
      [all, '0\n'],
      [acceptRa('eth0'), '1\n'],
    ] as const)
      write(file, text)
    await keep(node(), own, [own], usualSettings)
    expect([read(all), read(acceptRa('eth0'))]).toEqual(['1', '2'])
  })

  test('stays off where that is refused, and an Event names the link', async () => {
    const { root, write, read, node, see } = host()
    const conflist = '/etc/cni/net.d/10-podwire.conflist'
    const refuse = (link: string) => {
      rmSync(path.join(root, acceptRa(link)))
      mkdirSync(path.join(root, acceptRa(link)))
    }
    // The plugin that attaches a pod turns forwarding on: the first one would take the route.
    see({ routes: [ra('eth1')] })
    refuse('eth1')
    const agent = node()
    const outcome = await keep(agent, own, [own], usualSettings)
    expect(reasons(outcome).join()).toMatch(
      /^Prerequisite: net\/ipv6\/conf\/eth1\/accept_ra .*stays 0, and no configuration is written: .*default route.*: set it/,
    )
    expect([read(all), outcome.isReady, existsSync(path.join(root, conflist))]).toEqual(['0', false, false])
    // One that is there stays.
    write(conflist, '{}')
    expect((await keep(agent, own, [own], usualSettings)).isReady).toBe(true)
    rmSync(path.join(root, conflist))
    rmSync(path.join(root, acceptRa('eth1')), { recursive: true })
    write(acceptRa('eth1'), '1\n')
    expect(await keep(agent, own, [own], usualSettings)).toMatchObject({ problems: [], isReady: true })
    expect([read(all), read(acceptRa('eth1'))]).toEqual(['1', '2'])

    // Of a link that no default route has come by there is none to be lost now.
    write(all, '0\n')
    write(acceptRa('eth1'), '2\n')
    refuse('eth0')
    rmSync(path.join(root, conflist))
    const other = await keep(node(), own, [own], usualSettings)
    expect(reasons(other).join()).toMatch(/^Prerequisite: net\/ipv6\/conf\/eth0\/accept_ra .*stays 0: with it/)
    expect([read(all), other.isReady]).toEqual(['0', true])
  })
})

test('leases in a folder that the agent does not see are said', async () => {
  const { root, node } = host()
  const read = readSettings('dataDir: /run/cni-ipam-state')
  if (!('settings' in read)) throw new Error('they are settings')
  expect(reasons(await keep(node(), own, [own], read.settings))).toEqual([
    expect.stringMatching(/^Prerequisite: .*leases \/run\/cni-ipam-state.*metrics miss them: mount it at /),
  ])
  mkdirSync(path.join(root, 'run/cni-ipam-state'), { recursive: true })
  expect(reasons(await keep(node(), own, [own], read.settings))).toEqual([])
})

test('a pod range of its own that can be no pods is not used, and what stands stays', async () => {
  const { read, node } = host()
  const kept = node()
  await keep(kept, own, [own], usualSettings)
  const before = read('/etc/cni/net.d/10-podwire.conflist')
  const outcome = await keep(kept, { ...own, podCIDRs: ['0.0.0.0/0', '127.0.0.0/8'] }, [own], usualSettings)
  expect(reasons(outcome).filter((one) => one.startsWith('RangeRefused: the pod range '))).toHaveLength(2)
  expect(read('/etc/cni/net.d/10-podwire.conflist')).toBe(before)
  expect(outcome.news).toEqual([])
})

test('is not ready where the plugins of its configuration are gone, and is where another stands', async () => {
  const { root, write, read, node } = host()
  const kept = node()
  const conflist = '/etc/cni/net.d/10-podwire.conflist'
  expect((await keep(kept, own, [own], usualSettings)).isReady).toBe(true)
  const before = read(conflist)
  rmSync(path.join(root, '/opt/cni/bin/host-local'))
  const outcome = await keep(kept, own, [own], usualSettings)
  expect([reasons(outcome), outcome.isReady]).toEqual([
    [expect.stringMatching(/^Prerequisite: .* has no host-local/)],
    false,
  ])
  write('/opt/cni/bin/host-local', '')
  expect((await keep(kept, own, [own], usualSettings)).isReady).toBe(true)
  // There is no firewall beside the others.
  expect((await keep(kept, own, [own], { ...usualSettings, firewall: true })).isReady).toBe(true)
  expect(read(conflist)).toBe(before)
})

test('knows the addresses that it has', async () => {
  const { node, see } = host()
  const kept = node()
  expect(kept.hasAddress('172.18.0.2')).toBeUndefined()
  await keep(kept, own, [own], usualSettings)
  expect([kept.hasAddress('172.18.0.2'), kept.hasAddress('fc00::2')]).toEqual([true, true])
  see({ links: [] })
  await keep(kept, own, [own], usualSettings)
  expect(kept.hasAddress('172.18.0.2')).toBe(false)
})

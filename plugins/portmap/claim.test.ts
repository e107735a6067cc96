import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stateRoot } from '../../shared/exec/state.js'
import type { Host } from '../../shared/plan/host.js'
import type { Row } from '../../shared/testing/golden.js'
import { openStage, type Stage } from '../../shared/testing/live.js'
import { createMemory, type Memory, secondNetns } from '../../shared/testing/memory.js'
import { clearAddresses } from './claim.js'

// Two who want one port, on a machine that remembers: the states that claim.ts draws.

const port = (hostPort: number, more: object = {}) => ({ hostPort, containerPort: 80, protocol: 'tcp', ...more })
const ranges = [0, 1, 2, 3].map((one) => port(9000 + one, { containerPort: 9000 + one }))

interface Who {
  readonly container?: string
  readonly ifName?: string
  readonly address?: string
  readonly ports?: readonly object[]
  readonly config?: object
  readonly files?: Readonly<Record<string, string>>
  readonly answers?: Row['answers']
}

const row = (verb: Row['verb'], who: Who = {}): Row => {
  const { container = 'c1', ifName = 'eth0', address = '10.1.2.3', ports = [port(8080)], config, answers } = who
  return {
    plugin: 'portmap',
    verb,
    config: {
      prevResult: {
        cniVersion: '1.1.0',
        interfaces: [{ name: 'cni0' }, { name: ifName, sandbox: '/proc/self/ns/net' }],
        ips: [{ address: `${address}/24`, interface: 1 }],
      },
      runtimeConfig: { portMappings: ports },
      ...config,
    },
    env: { CNI_CONTAINERID: container, CNI_IFNAME: ifName, ...(container === 'c1' ? {} : { CNI_NETNS: secondNetns }) },
    files: {
      ...Object.fromEntries(['tcp', 'tcp6', 'udp', 'udp6'].map((name) => [`/proc/net/${name}`, ''])),
      '/proc/net/route': 'Iface\n',
      '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
      '/proc/net/fib_trie': '  |-- 192.0.2.1\n     /32 host LOCAL\n',
      ...who.files,
    },
    ...(answers ? { answers } : {}),
  }
}

let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
beforeEach(() => {
  memory = createMemory()
  stage = openStage(memory)
})
afterEach(() => stage.close())

const succeed = (asked: Row) => stage.succeed(asked)

/** What leads packets to a container's address. */
const leadingTo = (address: string) =>
  memory.things().filter((thing) => thing.includes(address) && !thing.includes(' podwire rule '))
const records = () => stage.state().filter((file) => !file.endsWith('lock'))

/** Lets a container be dead: what is on record of its namespace is of another boot. */
function bury(container: string): void {
  for (const file of records()) {
    const path = join(stateRoot, file)
    const record = JSON.parse(readFileSync(path, 'utf8'))
    if (record.attachment.containerID !== container) continue
    writeFileSync(path, JSON.stringify({ ...record, netns: { ...record.netns, boot: 'before' } }))
  }
}

/** Two interfaces of one container may have what two containers may not: the kernel keeps it apart. */
const together = ['a port of one address and of every one', 'a port in a range', 'a port by iptables, then by nftables']

const kinds: [what: string, first: Who, second: Who][] = [
  ['a port of every address', {}, {}],
  [
    'a port of one address',
    { ports: [port(8080, { hostIP: '192.0.2.1' })] },
    { ports: [port(8080, { hostIP: '192.0.2.1' })] },
  ],
  ['a port of one address and of every one', { ports: [port(8080, { hostIP: '192.0.2.1' })] }, {}],
  ['a port of every address and of one', {}, { ports: [port(8080, { hostIP: '192.0.2.1' })] }],
  ['a range', { ports: ranges }, { ports: ranges }],
  ['a port in a range', { ports: ranges }, { ports: [port(9002)] }],
  ['a port by iptables', { config: { backend: 'iptables' } }, { config: { backend: 'iptables' } }],
  ['a port by iptables, then by nftables', { config: { backend: 'iptables' } }, {}],
  ['a port by nftables, then by iptables', {}, { config: { backend: 'iptables' } }],
]

describe.each(kinds)('%s', (what, first, second) => {
  const other = { container: 'c2', address: '10.1.2.4', ...second }

  test('is refused to a second container as long as the first one lives, and then its', async () => {
    await succeed(row('ADD', first))
    const [things, files] = [memory.things().filter((thing) => thing.includes('10.1.2.3')), records()]
    const { status, json } = await stage.perform(row('ADD', other))
    expect([status, json.code]).toEqual([1, 106])
    expect(json.msg).toMatch(
      /cannot publish host port .*(8080|900\d)\/tcp: it is published by container "c1" \(network "net"/,
    )
    expect([leadingTo('10.1.2.3'), leadingTo('10.1.2.4'), records()]).toEqual([things, [], files])
    await succeed(row('DEL', first))
    expect([leadingTo('10.1.2.3'), records()]).toEqual([[], []])
    await succeed(row('ADD', other))
    expect(leadingTo('10.1.2.4').length).toBeGreaterThan(0)
    await succeed(row('CHECK', other))
  })

  test('is taken over from a container that is dead', async () => {
    await succeed(row('ADD', first))
    bury('c1')
    const { said } = await succeed(row('ADD', other))
    expect(said).toContain(
      'portmap: took over what container "c1" (network "net", interface eth0) published: it is gone',
    )
    expect(leadingTo('10.1.2.3')).toEqual([])
    await succeed(row('CHECK', other))
    await succeed(row('DEL', first))
    await succeed(row('CHECK', other))
  })

  test('of another interface of the same container waits for it, and is inherited', async () => {
    const waiting = { ...other, container: 'c1', ifName: 'net1' }
    await succeed(row('ADD', first))
    await succeed(row('ADD', waiting))
    expect(leadingTo('10.1.2.4').length > 0).toBe(together.includes(what))
    await succeed(row('CHECK', first))
    await succeed(row('CHECK', waiting))
    await succeed(row('DEL', first))
    expect(leadingTo('10.1.2.3')).toEqual([])
    expect(leadingTo('10.1.2.4').length).toBeGreaterThan(0)
    await succeed(row('CHECK', waiting))
    await succeed(row('DEL', waiting))
    expect([leadingTo('10.1.2.4'), records()]).toEqual([[], []])
  })

  test("whose heir goes first is nobody else's", async () => {
    const waiting = { ...other, container: 'c1', ifName: 'net1' }
    await succeed(row('ADD', first))
    await succeed(row('ADD', waiting))
    await succeed(row('DEL', waiting))
    await succeed(row('CHECK', first))
    await succeed(row('DEL', first))
    expect([leadingTo('10.1.2.'), records()]).toEqual([[], []])
  })
})

test.each([
  ['another port', { ports: [port(8081)] }],
  ['another protocol', { ports: [port(8080, { protocol: 'udp' })] }],
  ['another address', { ports: [port(8080, { hostIP: '192.0.2.2' })] }],
])('%s is free', async (_, second) => {
  const first = { ports: [port(8080, { hostIP: '192.0.2.1' })] }
  await succeed(row('ADD', first))
  await succeed(row('ADD', { container: 'c2', address: '10.1.2.4', ...second }))
  await succeed(row('CHECK', first))
})

test.each(['nftables', 'iptables'])(
  'two interfaces of one container have ports of their own by %s',
  async (backend) => {
    const [first, second]: [Who, Who] = [
      { config: { backend } },
      { config: { backend }, ifName: 'net1', address: '10.1.2.4', ports: [port(8081)] },
    ]
    for (const [gone, left] of [
      [first, second],
      [second, first],
    ] as const) {
      await succeed(row('ADD', first))
      await succeed(row('ADD', second))
      await succeed(row('DEL', gone))
      expect(leadingTo(gone.address ?? '10.1.2.3')).toEqual([])
      await succeed(row('CHECK', left))
      await succeed(row('DEL', left))
      expect([leadingTo('10.1.2.'), leadingTo('CNI-DN-'), records()]).toEqual([[], [], []])
    }
  },
)

test('an address that a dead container had, and still leads to it, is cleared for one that publishes nothing', async () => {
  await succeed(row('ADD'))
  await succeed(row('ADD', { container: 'c3', address: '10.1.2.9', ports: [port(8090)] }))
  bury('c1')
  const { said } = await succeed(row('ADD', { container: 'c2', ports: [] }))
  expect(said).toContain('took over what container "c1"')
  expect(leadingTo('10.1.2.3')).toEqual([])
  expect(leadingTo('10.1.2.9').length).toBeGreaterThan(0)
})

test('what is published anew under another port gives the first one back', async () => {
  await succeed(row('ADD'))
  await succeed(row('ADD', { ports: [port(8081)] }))
  expect(memory.things().filter((thing) => thing.includes('8080'))).toEqual([])
  await succeed(row('CHECK', { ports: [port(8081)] }))
})

test("a record whose elements are another one's by now: only what bears the own name goes", async () => {
  await succeed(row('ADD'))
  for (const thing of leadingTo('10.1.2.3')) memory.remove(thing)
  memory.run({
    argv: ['nft', '-f', '-'],
    stdin: 'create element ip podwire portmap_ports { tcp . 8080 comment "net/eth0/c9" : 10.1.2.9 . 80 }',
  })
  await succeed(row('DEL'))
  expect(leadingTo('10.1.2.9')).toEqual([
    'nft ip podwire element portmap_ports tcp . 8080 "net/eth0/c9" : 10.1.2.9 . 80',
  ])
})

describe('UDP flows of before', () => {
  const dns = [port(53, { containerPort: 5353, protocol: 'udp' })]
  const flow = (destination: string, answerer: string, [to, from] = [53, 5353]) =>
    `udp 17 29 src=192.0.2.9 dst=${destination} sport=4 dport=${to} src=${answerer} dst=192.0.2.9 sport=${from} dport=4`
  const forgotten = async (verb: Row['verb'], ports: readonly object[], ...flows: string[]) => {
    const answers = { 'conntrack -L -f ipv4 -p udp': `${flows.join('\n')}\n` }
    if (verb === 'DEL') await succeed(row('ADD', { ports }))
    const { changes, said } = await succeed(row(verb, { ports, answers }))
    expect(said).toBe('')
    return changes
      .filter((line) => line.startsWith('conntrack'))
      .map((line) =>
        line
          .split(' ')
          .filter((word) => /\d/.test(word))
          .join(' '),
      )
  }
  const rows: [what: string, verb: Row['verb'], flow: string, isForgotten: boolean][] = [
    ['to the host, answered by another', 'ADD', flow('192.0.2.1', '10.1.2.9'), true],
    ['to the host, answered by the host', 'ADD', flow('192.0.2.1', '192.0.2.1', [53, 53]), true],
    ['answered by the container', 'ADD', flow('192.0.2.1', '10.1.2.3'), false],
    ['to another machine', 'ADD', flow('198.51.100.1', '198.51.100.1', [53, 53]), false],
    ['to another port', 'ADD', flow('192.0.2.1', '10.1.2.9', [54, 5353]), false],
    ['answered by the container', 'DEL', flow('192.0.2.1', '10.1.2.3'), true],
    ['answered by the container from another port', 'DEL', flow('192.0.2.1', '10.1.2.3', [53, 5354]), false],
    ['answered by another', 'DEL', flow('192.0.2.1', '10.1.2.9'), false],
  ]
  test.each(rows)('%s: at %s', async (_, verb, line, isForgotten) => {
    expect((await forgotten(verb, dns, line)).length).toBe(isForgotten ? 1 : 0)
  })

  test('of several ports are those of each, and of no other', async () => {
    const ports = [...dns, port(69, { containerPort: 6969, protocol: 'udp' })]
    const own = flow('192.0.2.1', '10.1.2.3', [69, 6969])
    expect(await forgotten('DEL', ports, own, flow('192.0.2.1', '10.1.2.3'))).toHaveLength(2)
    const crossed = flow('192.0.2.1', '10.1.2.3', [53, 6969])
    expect(await forgotten('DEL', ports, crossed)).toEqual([])
    expect(await forgotten('ADD', ports, flow('192.0.2.1', '10.1.2.9', [69, 6969]))).toHaveLength(1)
  })

  test('of one address are those to it alone', async () => {
    const ports = [port(53, { containerPort: 5353, protocol: 'udp', hostIP: '192.0.2.1' })]
    const files = {
      '/proc/net/fib_trie': '  |-- 192.0.2.1\n     /32 host LOCAL\n  |-- 192.0.2.2\n     /32 host LOCAL\n',
    }
    const answers = {
      'conntrack -L -f ipv4 -p udp': `${flow('192.0.2.1', '10.1.2.9')}\n${flow('192.0.2.2', '10.1.2.9')}\n`,
    }
    const { changes } = await succeed(row('ADD', { ports, files, answers }))
    const lines = changes.filter((line) => line.startsWith('conntrack'))
    expect(lines).toEqual([expect.stringContaining('--orig-dst 192.0.2.1 ')])
  })

  test('are not asked for where no port is of UDP', async () => {
    const answers = { 'conntrack *': { status: 1, stderr: 'asked' } }
    expect((await succeed(row('ADD', { answers }))).said).toBe('')
  })

  test('are told of where they cannot be asked for', async () => {
    const answers = { 'conntrack *': { status: null, failure: 'ENOENT' } }
    const { said } = await succeed(row('ADD', { ports: dns, answers }))
    expect(said).toContain(
      'portmap: UDP clients that keep sending may go on to where they went: the program "conntrack"',
    )
  })
})

test('an address is asked for by what every publication has of it', () => {
  const asked: unknown[] = []
  const observer = { holdsDirectly: (wanted: readonly unknown[]) => asked.push(...wanted) > 0 && [false, false] }
  const attachment = { network: 'net', containerID: 'c2', ifName: 'eth0' }
  clearAddresses({ observer } as unknown as Host, attachment, ['10.1.2.3', 'fd00::3'])
  expect(asked).toEqual([
    { family: 'ip', collection: 'portmap_hairpin', key: ['10.1.2.3'] },
    { family: 'ip6', collection: 'portmap_hairpin', key: ['fd00::3'] },
  ])
})

describe('of two families', () => {
  const both = (six: string, ips = ['10.1.2.3/24', six]) => ({
    config: {
      prevResult: {
        cniVersion: '1.1.0',
        interfaces: [{ name: 'cni0' }, { name: 'eth0', sandbox: '/proc/self/ns/net' }],
        ips: ips.map((address) => ({ address, interface: 1 })),
      },
    },
  })
  const open = (...addr_info: object[]) => {
    stage.close()
    memory = createMemory({ container: [{ ifname: 'eth0', addr_info }] })
    stage = openStage(memory)
  }
  const six = { family: 'inet6', local: 'fd00::3', prefixlen: 64, scope: 'global' }

  test('who has one of its addresses still has lost none', async () => {
    open(six)
    await succeed(row('ADD', both('fd00::3/64')))
    const { said } = await succeed(row('ADD', { container: 'c2', ports: [], ...both('fd00::3/64') }))
    expect(said).toBe('')
    expect(leadingTo('10.1.2.3').length).toBeGreaterThan(0)
  })

  test('who has lost the one that another has by now gives way', async () => {
    open()
    await succeed(row('ADD', both('fd00::3/64')))
    const { said } = await succeed(row('ADD', { container: 'c2', ...both('fd00::4/64') }))
    expect(said).toContain('took over what container "c1"')
    expect(leadingTo('fd00::3')).toEqual([])
  })

  test.each(['nftables', 'iptables'])('everybody is everybody of the family: %s', async (backend) => {
    const asked = { ...both('fd00::3/64').config, backend, masqAll: true, markMasqBit: 5 }
    await succeed(row('ADD', { config: asked }))
    const all = memory.things()
    const own = (text: string) => all.filter((thing) => thing.includes(text))
    if (backend === 'iptables') {
      expect(own('-s ::/0').every((thing) => thing.startsWith('ip6tables '))).toBe(true)
      expect(own('0x20/0x20').length).toBeGreaterThan(0)
      expect(own('0x2000/0x2000')).toEqual([])
    } else expect(own('jump portmap_masquerade_all')).toHaveLength(2)
  })
})

test('whose namespace no record tells of lives, for all that is known', async () => {
  await succeed(row('ADD'))
  for (const file of records()) {
    const path = join(stateRoot, file)
    const { netns: _, ...record } = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify(record))
  }
  const { status, json } = await stage.perform(row('ADD', { container: 'c2' }))
  expect([status, json.code]).toEqual([1, 106])
})

describe('who has lost the address that leads to it', () => {
  const address = { family: 'inet', local: '10.1.2.3', prefixlen: 24, scope: 'global' }
  const other = { ...address, local: '10.1.2.4' }
  const heir = (more: Who = {}) => stage.perform(row('ADD', { container: 'c2', ...more }))

  test.each<[string, object[], boolean]>([
    ['nothing inside', [], true],
    ['another address', [other], true],
    ['the address', [other, address], false],
  ])('by a namespace with %s', async (_, addresses, isLost) => {
    stage.close()
    memory = createMemory({ container: [{ ifname: 'eth0', addr_info: addresses }] })
    stage = openStage(memory)
    await succeed(row('ADD'))
    const { status, json, said } = await heir()
    if (isLost) expect([status, said]).toEqual([0, expect.stringContaining('took over what')])
    else expect([status, json.code]).toEqual([1, 106])
  })

  test('keeps its ports where they alone are wanted', async () => {
    await succeed(row('ADD'))
    const { status, json } = await heir({ address: '10.1.2.9' })
    expect([status, json.code]).toEqual([1, 106])
  })
})

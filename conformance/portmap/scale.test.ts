import { writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { Killer } from '../harness/killer.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { programsOf, readTrace, type Step } from '../harness/trace.js'
import { call, elementCount, type Mapping, tcp, udp } from './setting.js'

/** Runs a call and returns the processes it started, and its changes by netlink. */
async function traced(host: Host, one: Call): Promise<Step[]> {
  const file = '/run/trace'
  writeFileSync(host.path(file), '')
  const { status, stdout, stderr } = await runPlugin(host, { ...one, env: { PODWIRE_TRACE: file } })
  if (status !== 0) throw new Error(stdout + stderr)
  return readTrace(host, file)
}

/** Fills the maps with so many mappings of others, in one transaction. */
async function fill(host: Host, count: number): Promise<void> {
  const elements = Array.from({ length: count }, (_, index) => {
    return `tcp . ${10_000 + index} : 10.9.${index >> 8}.${index & 255} . 80`
  })
  await host.output(['nft', '-f', '-'], { stdin: `add element ip podwire portmap_ports { ${elements.join(', ')} }\n` })
}

describe('what an ADD and a DEL cost', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => tcp(5000 + index * 2))

  test.for([0, 10_000])(
    'with %d mappings present: no process, and three changes however many ports',
    async (present, { host }) => {
      const container = await host.container()
      await traced(host, call('ADD', container, [tcp(4999)], { number: 9 }))
      if (present > 0) await fill(host, present)

      const one = await traced(host, call('ADD', container, [tcp(4000)], { number: 2 }))
      const many = await traced(host, call('ADD', container, hundred, { number: 3 }))
      expect(programsOf([...one, ...many])).toEqual([])
      expect(one).toHaveLength(3)
      expect(many).toHaveLength(3)
      // No flow is there that would have to be forgotten.
      const alone = { number: 4 }
      expect(programsOf(await traced(host, call('ADD', container, [udp(4001)], alone)))).toEqual([])
      expect(programsOf(await traced(host, call('CHECK', container, hundred, { number: 3 })))).toEqual([])
      for (const number of [2, 3, 4])
        expect(programsOf(await traced(host, call('DEL', container, [], { number })))).toEqual([])
      expect(await elementCount(host)).toBe(3 + present)
    },
  )

  test('iptables: a save and a restore, however many ports', async ({ host }) => {
    const container = await host.container()
    const portmap = { backend: 'iptables' }
    await traced(host, call('ADD', container, [tcp(4999)], { number: 9, portmap }))
    for (const mappings of [[tcp(4000)], hundred]) {
      const added = await traced(host, call('ADD', container, mappings, { portmap }))
      expect(programsOf(added)).toEqual(['iptables-save', 'iptables-save', 'iptables-restore'])
      const removed = await traced(host, call('DEL', container, [], { portmap }))
      expect(programsOf(removed)).toEqual(['iptables-save', 'ip6tables-save', 'iptables-restore'])
    }
  })
})

describe.each(['nftables', 'iptables'])('thirty at once, by %s', (backend) => {
  const portmap = { backend }
  const numbers = Array.from({ length: 30 }, (_, index) => index + 10)
  const many = (host: Host, command: Verb, container: Container) =>
    Promise.all(
      numbers.map((number) => {
        const mappings = [tcp(20_000 + number), udp(20_000 + number)]
        return runPlugin(host, call(command, container, mappings, { number, portmap }))
      }),
    )

  test('ADDs make exactly the rules that one after the other make, DELs leave none', async ({ host }) => {
    const container = await host.container()
    await traced(host, call('ADD', container, [tcp(4999)], { number: 9, portmap }))
    succeedSilently(await runPlugin(host, call('DEL', container, [], { number: 9, portmap })))
    const empty = await takeSnapshot(host)
    expect((await many(host, 'ADD', container)).map(({ status }) => status)).toEqual(numbers.map(() => 0))
    const together = await takeSnapshot(host)
    for (const finished of await many(host, 'DEL', container)) succeedSilently(finished)
    expect(difference(empty, await takeSnapshot(host))).toBe('')
    for (const number of numbers) {
      const mappings = [tcp(20_000 + number), udp(20_000 + number)]
      await runPlugin(host, call('ADD', container, mappings, { number, portmap }))
    }
    expect(difference(sorted(await takeSnapshot(host)), sorted(together))).toBe('')
  })

  test('first ADDs of a fresh host share what all share', async ({ host }) => {
    const container = await host.container()
    expect((await many(host, 'ADD', container)).every(({ status }) => status === 0)).toBe(true)
    const lines = await takeSnapshot(host)
    expect(lines.filter((line, index) => lines.indexOf(line) !== index && /portmap|CNI-/.test(line))).toEqual([])
  })

  test.for([
    ['one port', [tcp(8080)]],
    ['one port of one address', [tcp(8080, 80, '127.0.0.1')]],
    ['a range', Array.from({ length: 8 }, (_, index) => tcp(8080 + index, 8080 + index))],
  ] as [string, Mapping[]][])('all want %s: one gets it', async ([, mappings], { host }) => {
    const container = await host.container()
    const ended = await Promise.all(
      numbers.slice(0, 10).map((number) => runPlugin(host, call('ADD', container, mappings, { number, portmap }))),
    )
    expect(ended.filter(({ status }) => status === 0)).toHaveLength(1)
    const codes = ended.filter(({ status }) => status !== 0).map(({ stdout }) => JSON.parse(stdout).code)
    expect(new Set(codes)).toEqual(new Set([106]))
  })
})

describe.each(['nftables', 'iptables'])('killed at a random moment, by %s', (backend) => {
  const mappings = [
    tcp(8080),
    tcp(8081, 80, '127.0.0.1'),
    ...Array.from({ length: 5 }, (_, at) => tcp(9000 + at, 9000 + at)),
  ]

  test('an ADD followed by DEL leaves nothing', { timeout: 240_000 }, async ({ host }) => {
    const container = await host.container()
    const portmap = { backend }
    const del = () => runPlugin(host, call('DEL', container, [], { portmap }))
    const killer = await Killer.timing(() => traced(host, call('ADD', container, mappings, { portmap })))
    succeedSilently(await del())
    const before = await takeSnapshot(host)
    for (let round = 0; round < 40; round++) {
      await killer.kill(host, call('ADD', container, mappings, { portmap }))
      succeedSilently(await del())
      if (round % 10 === 9) expect(difference(before, await takeSnapshot(host)), `round ${round}`).toBe('')
    }
    killer.expectHits()
    expect(await host.output(['find', '/run/podwire/portmap', '/run/podwire/portmap-special', '-type', 'f'])).toBe('')
  })
})

/** Elements come in the order of a hash table. */
function sorted(lines: string[]): string[] {
  return lines
    .map((line) =>
      line.includes('elements = {')
        ? line
            .split(/[{},]/)
            .map((part) => part.trim())
            .sort()
            .join(',')
        : line,
    )
    .sort()
}

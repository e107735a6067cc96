import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { versions } from '../protocol/versions.js'

const both = { ingressRate: 8_000_000, ingressBurst: 80_000, egressRate: 16_000_000, egressBurst: 160_000 }
const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }] }

/** Gives the container a veth pair; the result is the prevResult of bandwidth. */
async function connect(
  host: Host,
  container: Container,
  more: { cniVersion?: string; ifName?: string; ipam?: object } = {},
): Promise<Result> {
  const { cniVersion = '1.1.0', ifName = 'eth0' } = more
  const config = { cniVersion, name: 'network', type: 'ptp', ipam: more.ipam ?? ipam }
  return resultOf(await runPlugin(host, { ...who(container), plugin: 'ptp', command: 'ADD', config, ifName }))
}

const who = (container: Container) => ({ containerID: container.name, netns: container.netns })

function call(command: Verb, container: Container, config: object, more: Partial<Call> = {}): Call {
  const whole = { cniVersion: '1.1.0', name: 'network', type: 'bandwidth', ...config }
  return { ...who(container), plugin: 'bandwidth', command, config: whole, ...more }
}

/** The kernel gives a link with a qdisc a queue length and leaves it when the qdisc goes: none of our doing. */
async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/run/podwire/bandwidth'] })
  return lines.map((line) => line.replace(/^(host: link veth.*) txqlen 1000/, '$1')).sort()
}

const withoutLink = async (host: Host) => (await state(host)).filter((line) => !/ bwp\w+/.test(line))

describe.each(versions.filter((version) => version >= '0.3.0'))('version %s', (cniVersion) => {
  test('ADD, ADD again, CHECK, DEL, DEL again', async ({ host }) => {
    const container = await host.container()
    const prevResult = await connect(host, container, { cniVersion })
    const before = await state(host)
    const config = { ...both, cniVersion, prevResult }

    const result = resultOf(await runPlugin(host, call('ADD', container, config)))
    expect(result.cniVersion).toBe(cniVersion)
    const { name, ...ifb } = result.interfaces?.[2] ?? { name: '' }
    expect(name).toMatch(/^bwp[0-9a-f]{12}$/)
    expect(ifb).toEqual({ mac: JSON.parse(await host.output(['ip', '-j', 'link', 'show', 'dev', name]))[0].address })
    const attached = await state(host)
    expect(resultOf(await runPlugin(host, call('ADD', container, config)))).toEqual(result)
    expect(difference(attached, await state(host))).toBe('')

    const checked = await runPlugin(host, call('CHECK', container, { ...config, prevResult: result }))
    if (cniVersion < '0.4.0') expect(errorOf(checked)).toMatchObject({ code: 1 })
    else succeedSilently(checked)
    for (let round = 0; round < 2; round++) {
      succeedSilently(await runPlugin(host, call('DEL', container, { ...config, prevResult: undefined })))
      expect(difference(before, await state(host))).toBe('')
    }
  })
})

test('version 0.2.0 has no chains: refused as by the official plugin', async ({ host }) => {
  const container = await host.container()
  const [ours, theirs] = await Promise.all(
    (['podwire', 'official'] as const).map((suite) =>
      runPlugin(host, call('ADD', container, { cniVersion: '0.2.0' }, { suite })),
    ),
  )
  expect(ours).toMatchObject({ status: 1, stdout: theirs?.stdout })
})

describe('between the suites', () => {
  test('either CHECK is content with what the other made, and either DEL removes its ifb', async ({ host }) => {
    const container = await host.container()
    const prevResult = await connect(host, container)
    for (const [maker, other] of [
      ['podwire', 'official'],
      ['official', 'podwire'],
    ] as const) {
      const result = resultOf(await runPlugin(host, call('ADD', container, { ...both, prevResult }, { suite: maker })))
      const config = { ...both, prevResult: result }
      succeedSilently(await runPlugin(host, call('CHECK', container, config, { suite: other })))
      succeedSilently(await runPlugin(host, call('DEL', container, config, { suite: other })))
      expect((await state(host)).filter((line) => /link bwp/.test(line))).toEqual([])
      succeedSilently(await runPlugin(host, call('DEL', container, config)))
    }
  })
})

describe('CHECK finds what somebody changed:', () => {
  const changes: Record<string, { argv: (end: string, ifb: string) => string[]; says: RegExp }> = {
    'no limit towards the container': {
      argv: (end) => ['tc', 'qdisc', 'del', 'dev', end, 'root'],
      says: /qdisc on veth\w+: found "noqueue", expected tbf/,
    },
    'another rate from it': {
      argv: (_, ifb) => [
        'tc',
        'qdisc',
        'replace',
        'dev',
        ifb,
        'root',
        'handle',
        '1:',
        'tbf',
        'rate',
        '1mbit',
        'burst',
        '20000',
        'limit',
        '70000',
      ],
      says: /tbf on bwp\w+ rate: found 125000, expected 2000000/,
    },
    'no ifb': { argv: (_, ifb) => ['ip', 'link', 'del', ifb], says: /qdisc on bwp\w+: found "none"/ },
    'no redirection': {
      argv: (end) => ['tc', 'qdisc', 'del', 'dev', end, 'ingress'],
      says: /redirection from veth\w+: found \[\], expected bwp/,
    },
  }
  for (const [name, { argv, says }] of Object.entries(changes)) {
    test(name, async ({ host }) => {
      const container = await host.container()
      const prevResult = resultOf(
        await runPlugin(host, call('ADD', container, { ...both, prevResult: await connect(host, container) })),
      )
      const [end, , ifb] = (prevResult.interfaces ?? []).map((one) => one.name)
      await host.output(argv(end ?? '', ifb ?? ''))
      const error = errorOf(await runPlugin(host, call('CHECK', container, { ...both, prevResult })))
      expect(error.code).toBe(105)
      expect(error.details).toMatch(says)
    })
  }
})

describe('an ADD that fails leaves nothing:', () => {
  test('the interface is no veth, or not there', async ({ host }) => {
    const container = await host.container()
    const prevResult = await connect(host, container)
    const before = await state(host)
    for (const ifName of ['lo', 'eth9']) {
      const error = errorOf(await runPlugin(host, call('ADD', container, { ...both, prevResult }, { ifName })))
      expect(error.msg).toContain(`container interface ${ifName} has no veth peer`)
    }
    expect(difference(before, await state(host))).toBe('')
  })

  test('the other end is not among the interfaces', async ({ host }) => {
    const container = await host.container()
    const { interfaces: _, ...prevResult } = await connect(host, container)
    const error = errorOf(await runPlugin(host, call('ADD', container, { ...both, prevResult })))
    expect(error).toMatchObject({ code: 7, msg: expect.stringContaining('no veth peer of container interface found') })
  })

  // Another qdisc stands where the redirection has to go: the last step but one fails, behind the ifb and both limits.
  test('a step in the middle: what came before is taken back', async ({ host }) => {
    const container = await host.container()
    const prevResult = await connect(host, container)
    const end = prevResult.interfaces?.[0]?.name ?? ''
    await host.output(['tc', 'qdisc', 'add', 'dev', end, 'clsact'])
    const before = await withoutLink(host)
    const error = errorOf(await runPlugin(host, call('ADD', container, { ...both, prevResult })))
    expect(error.msg).toContain(`redirect what comes in at ${end}`)
    expect(await withoutLink(host)).toEqual(before)
    expect((await state(host)).filter((line) => / bwp\w+/.test(line))).toEqual([])
  })
})

test('neither prevResult nor limits: an error, where the official plugin crashes', async ({ host }) => {
  const container = await host.container()
  expect(errorOf(await runPlugin(host, call('ADD', container, {}))).msg).toContain('Required prevResult missing')
  expect((await runPlugin(host, call('ADD', container, {}, { suite: 'official' }))).status).toBe(2)
})

test('top-level zeros do not take the runtime its limits, as in the official plugin', async ({ host }) => {
  const container = await host.container()
  const config = { prevResult: await connect(host, container), ingressRate: 0, runtimeConfig: { bandwidth: both } }
  resultOf(await runPlugin(host, call('ADD', container, config, { suite: 'official' })))
  expect((await state(host)).filter((line) => / tbf /.test(line))).toEqual([])
  resultOf(await runPlugin(host, call('ADD', container, config)))
  expect((await state(host)).filter((line) => / tbf /.test(line))).toHaveLength(2)
})

describe('DEL', () => {
  test.for(['a rate that is none', 'a namespace that is gone', 'no CNI_NETNS'])('%s', async (way, { host }) => {
    const container = await host.container()
    const prevResult = await connect(host, container)
    resultOf(await runPlugin(host, call('ADD', container, { ...both, prevResult })))
    if (way !== 'a rate that is none') await container.remove()
    const config = way === 'a rate that is none' ? { ingressRate: 5, egressBurst: 'x', prevResult: {} } : {}
    const env = way === 'no CNI_NETNS' ? { CNI_NETNS: '' } : {}
    succeedSilently(await runPlugin(host, call('DEL', container, config, { env })))
    expect((await state(host)).filter((line) => /bwp|tbf|bandwidth/.test(line))).toEqual([])
  })

  test("of one interface leaves the limits of the container's other one", async ({ host }) => {
    const container = await host.container()
    const first = { ...both, prevResult: await connect(host, container) }
    const addresses = [{ address: '10.9.2.3/24', gateway: '10.9.2.1' }]
    const second = {
      ...both,
      prevResult: await connect(host, container, { ifName: 'net1', ipam: { type: 'static', addresses } }),
    }
    const made = resultOf(await runPlugin(host, call('ADD', container, first)))
    const other = resultOf(await runPlugin(host, call('ADD', container, second, { ifName: 'net1' })))
    expect(made.interfaces?.[2]?.name).not.toBe(other.interfaces?.[2]?.name)
    succeedSilently(await runPlugin(host, call('DEL', container, {}, { ifName: 'net1' })))
    succeedSilently(await runPlugin(host, call('DEL', container, {}, { ifName: 'net1' })))
    succeedSilently(await runPlugin(host, call('CHECK', container, { ...both, prevResult: made })))
  })
})

test('GC removes what no valid attachment owns, and nothing without a list', async ({ host }) => {
  const [kept, dead] = [await host.container(), await host.container()]
  const addresses = [{ address: '10.9.2.3/24', gateway: '10.9.2.1' }]
  const config = { ...both, prevResult: await connect(host, kept) }
  const result = resultOf(await runPlugin(host, call('ADD', kept, config)))
  const prevResult = await connect(host, dead, { ipam: { type: 'static', addresses } })
  const before = await state(host)
  resultOf(await runPlugin(host, call('ADD', dead, { ...both, prevResult })))
  succeedSilently(await runPlugin(host, call('GC', kept, {})))
  expect((await state(host)).filter((line) => /link bwp/.test(line))).toHaveLength(2)
  const valid = { 'cni.dev/valid-attachments': [{ containerID: kept.name, ifname: 'eth0' }] }
  succeedSilently(await runPlugin(host, call('GC', kept, valid)))
  expect(difference(before, await state(host))).toBe('')
  succeedSilently(await runPlugin(host, call('CHECK', kept, { ...both, prevResult: result })))
})

test('STATUS is content on this kernel', async ({ host }) => {
  succeedSilently(await runPlugin(host, call('STATUS', await host.container(), both)))
})

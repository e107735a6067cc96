import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference } from '../harness/snapshot.js'
import { call as callOf, hostLocal, leased, linkNames, linkOf, state } from './calls.js'

// The root of a container makes links that pass for the device that was lent. None of them may come onto the host.

const mac = '02:00:00:00:aa:01'
const call = (verb: Verb, container: Container, more: object = {}, env = {}): Call =>
  callOf('host-device', verb, container, { device: 'hd0', ipam: hostLocal, ...more }, { env })

interface Numbered {
  ifindex: number
  link_index?: number
}

async function numbers(place: Pick<Host, 'output'>, name: string): Promise<Numbered> {
  return (JSON.parse(await place.output(['ip', '-j', 'link', 'show', 'dev', name])) as [Numbered])[0]
}

/** Kinds of devices, by what makes one called hd0. The other end of the first is in a third namespace. */
const devices: Record<string, string[]> = {
  'a veth of another container': ['link add hd0 type veth peer name far0 netns third'],
  'a veth of the host': ['link add hd0 type veth peer name far0'],
  'a macvlan': ['link add hd0 link uplink type macvlan mode bridge'],
}

async function lent(host: Host, lines: readonly string[], flags = 'up', env = {}) {
  await host.outside()
  await host.container('third')
  const container = await host.container('c1')
  const made = [...lines, `link set hd0 address ${mac}`, `link set hd0 ${flags}`]
  await host.output(['ip', '-batch', '-'], { stdin: `${made.join('\n')}\n` })
  const before = await state(host)
  resultOf(await runPlugin(host, call('ADD', container, {}, env)))
  return { before, container }
}

/**
 * Moves the device away, and makes another veth like it: name, alias, address, its own number, and that of the link at
 * its other end.
 */
async function replace(host: Host, container: Container): Promise<void> {
  await host.container('nested')
  const { ifindex, link_index } = await numbers(container, 'eth0')
  await container.output(['ip', 'link', 'set', 'eth0', 'netns', 'nested'])
  await host.output(['ip', '-n', 'nested', 'link', 'add', 'spare', 'type', 'veth', 'peer', 'name', 'spare2'])
  const peer = ['peer', 'name', 'far9', ...(link_index ? ['index', String(link_index + 1000)] : []), 'netns', 'nested']
  const made = ['ip', 'link', 'add', 'eth0', 'index', String(ifindex), 'address', mac, 'type', 'veth', ...peer]
  await container.output(made)
  await container.batch(['link set eth0 alias hd0', 'link set eth0 up'])
}

const ways = { netlink: {}, tools: { PODWIRE_NO_NETLINK: '1' } }

describe.for(Object.entries(devices))('%s', ([, lines]) => {
  test.for(Object.entries(ways))('is told from one with its marks, by %s', async ([, env], { host }) => {
    const { before, container } = await lent(host, lines, 'up', env)
    await container.batch([
      'link set eth0 down',
      'link set eth0 name real',
      'link set real alias nobody',
      'link set real address 02:00:00:00:bb:bb',
      `link add eth0 address ${mac} type veth peer name peer0`,
      'link set eth0 alias hd0',
      'link set eth0 up',
    ])
    succeedSilently(await runPlugin(host, call('DEL', container, {}, env)))
    expect(await linkNames(container)).toEqual(['lo', 'peer0', 'eth0'])
    await container.output(['ip', 'link', 'del', 'eth0'])
    await host.output(['ip', 'link', 'set', 'hd0', 'address', mac])
    expect(difference(before, await state(host))).toBe('')
  })

  const calls = (['DEL', 'GC'] as const).flatMap((verb) =>
    Object.entries(ways).map(([way, env]) => ({ verb, way, env })),
  )
  test.for(calls)(
    'that was taken away is not fetched in the shape of another: $verb by $way',
    async ({ verb, env }, { host }) => {
      const { container } = await lent(host, lines, 'up', env)
      await replace(host, container)
      const own = await linkNames(host)
      const more = verb === 'GC' ? { 'cni.dev/valid-attachments': [] } : {}
      const finished = await runPlugin(host, call(verb, container, more, env))
      succeedSilently(finished)
      expect(finished.stderr).toContain('eth0 in the container passes for hd0')
      expect(await linkNames(host)).toEqual(own)
      expect(await linkNames(container)).toContain('eth0')
      expect(leased(host)).toEqual([])
    },
  )
})

/** What the container's root does in an ADD, before another IPAM plugin fails: commands of `ip` in the container. */
const moments: Record<string, { lines: readonly string[]; names: readonly string[] }> = {
  'renames it': { lines: ['link set eth0 down', 'link set eth0 name real'], names: ['lo'] },
  'takes its marks away': {
    lines: ['link set eth0 alias nobody', 'link set eth0 down', 'link set eth0 address 02:00:00:00:bb:bb'],
    names: ['lo'],
  },
  'puts another in its place': {
    lines: [
      'link set eth0 down',
      'link set eth0 name real',
      'link set real alias nobody',
      'link set real address 02:00:00:00:bb:bb',
      `link add eth0 address ${mac} type veth peer name peer0`,
      'link set eth0 alias hd0',
    ],
    names: ['lo', 'peer0', 'eth0'],
  },
}

const rollbacks = Object.keys(devices).flatMap((device) =>
  Object.keys(moments).flatMap((moment) => Object.keys(ways).map((way) => ({ device, moment, way }))),
)
test.for(rollbacks)(
  "a failing ADD takes $device back when the container's root $moment, by $way",
  async (row, { host }) => {
    const { lines, names } = moments[row.moment] as (typeof moments)[string]
    await host.outside()
    await host.container('third')
    const container = await host.container('c1')
    const made = [...(devices[row.device] as string[]), `link set hd0 address ${mac}`, 'link set hd0 up']
    await host.output(['ip', '-batch', '-'], { stdin: `${made.join('\n')}\n` })
    const rename = `ip -n c1 -batch - <<END\n${lines.join('\n')}\nEND`
    installScripts(host, { failing: `test $CNI_COMMAND = ADD || exit 0\n${rename}\ntouch /run/renamed\nexit 1` })
    const before = await state(host)
    const env = { ...(ways[row.way as keyof typeof ways] as Record<string, string>), CNI_PATH: scriptDirectory }
    expect(errorOf(await runPlugin(host, call('ADD', container, { ipam: { type: 'failing' } }, env))).code).toBe(107)
    expect(existsSync(host.path('/run/renamed'))).toBe(true)
    expect(await linkNames(container)).toEqual(names)
    await host.output(['ip', 'link', 'set', 'hd0', 'address', mac])
    for (const name of names.filter((one) => one === 'eth0')) await container.output(['ip', 'link', 'del', name])
    expect(difference(before, await state(host))).toBe('')
  },
)

describe('without a record', () => {
  test.for(Object.entries(ways))('what may be made in the container stays there, by %s', async ([, env], { host }) => {
    const { container } = await lent(host, devices['a veth of the host'] as string[], 'up', env)
    succeedSilently(await runPlugin(host, call('DEL', container, {}, env)))
    await host.output(['ip', 'link', 'del', 'hd0'])
    for (const make of [
      ['link add eth0 type dummy'],
      ['link add eth0 type veth peer name peer0'],
      ['link add eth0 type veth peer name peer0 netns third'],
      ['tuntap add eth0 mode tap'],
    ]) {
      const made = await container.exec(['ip', '-batch', '-'], { stdin: `${make}\n` })
      // A kind that the kernel lacks is none that it can be fooled with.
      if (made.stderr.includes('Unknown device type')) continue
      await container.batch(['link set eth0 alias hd0'])
      const own = await linkNames(host)
      const finished = await runPlugin(host, call('DEL', container, {}, env))
      succeedSilently(finished)
      expect(finished.stderr).toContain('eth0 in the container passes for hd0')
      expect(await linkNames(host)).toEqual(own)
      await container.output(['ip', 'link', 'del', 'eth0'])
    }
  })
})

test('what was down comes back down, whatever the container did', async ({ host }) => {
  const { before, container } = await lent(host, devices['a veth of the host'] as string[], 'down')
  await container.output(['ip', 'link', 'set', 'eth0', 'up'])
  succeedSilently(await runPlugin(host, call('DEL', container)))
  expect((await linkOf(host, 'hd0'))?.flags).not.toContain('UP')
  expect(difference(before, await state(host))).toBe('')
})

test('where two could be the device, as behind a killed ADD, nothing moves', async ({ host }) => {
  const { before, container } = await lent(host, devices['a veth of the host'] as string[])
  // The ADD had moved the device, and not yet noted where to.
  const file = host.path((await host.output(['find', '/run/podwire/host-device', '-type', 'f'])).trim())
  const record = JSON.parse(readFileSync(file, 'utf8'))
  expect(record.data.inside).toMatchObject({ index: expect.any(Number), netnsID: expect.any(Number) })
  delete record.data.inside
  writeFileSync(file, JSON.stringify(record))
  await container.batch([`link add twin address ${mac} type veth peer name peer0`, 'link set twin alias hd0'])
  const refused = errorOf(await runPlugin(host, call('DEL', container)))
  expect(refused).toMatchObject({ code: 100, msg: expect.stringMatching(/hd0.*(eth0 and twin|twin and eth0)/) })
  expect(await linkNames(host)).not.toContain('hd0')
  expect(leased(host)).toHaveLength(2)
  await container.output(['ip', 'link', 'del', 'twin'])
  succeedSilently(await runPlugin(host, call('DEL', container)))
  expect(difference(before, await state(host))).toBe('')
})

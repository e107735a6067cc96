import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, startPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call, hostLocal, state } from './calls.js'

type Shape = (verb: Verb, container: Container) => Call

const prevResult = {
  ips: [
    { address: '10.2.0.5/24', gateway: '10.2.0.1' },
    { address: 'fd02::5/64', gateway: 'fd02::1' },
  ],
}

const plugins: Record<string, { shape: Shape; prepare?: (host: Host, container: Container) => Promise<unknown> }> = {
  'host-device': {
    shape: (verb, container) => call('host-device', verb, container, { device: 'hd0', ipam: hostLocal }),
    prepare: async (host) => {
      await host.output(['ip', 'link', 'add', 'hd0', 'alias', 'as before', 'type', 'veth', 'peer', 'name', 'hd1'])
      await host.output(['ip', 'link', 'set', 'hd0', 'up'])
    },
  },
  tap: { shape: (verb, container) => call('tap', verb, container, { ipam: hostLocal }) },
  sbr: {
    shape: (verb, container) => call('sbr', verb, container, { prevResult }),
    prepare: (_, container) =>
      container.batch([
        'link add eth0 type veth peer name peer0',
        'addr add 10.2.0.5/24 dev eth0',
        'addr add fd02::5/64 dev eth0 nodad',
        'link set eth0 up',
        'link set peer0 up',
        'route add 172.16.0.0/16 via 10.2.0.7 dev eth0',
        'route add default via fd02::1 dev eth0',
      ]),
  },
}

async function prepared(host: Host, { prepare }: (typeof plugins)[string]) {
  const container = await host.container('c1')
  await prepare?.(host, container)
  return { container, before: await state(host) }
}

/** Starts a call and kills it after some milliseconds; what it had started may still end. */
async function killed(host: Host, one: Call, milliseconds: number): Promise<void> {
  const started = startPlugin(host, one)
  // The moment is what is being tested: spread evenly over the whole run.
  await delay(milliseconds)
  started.child.kill('SIGKILL')
  await started.finished
  await host.quiet()
}

async function duration(host: Host, one: Call): Promise<number> {
  const began = performance.now()
  resultOf(await runPlugin(host, one))
  return performance.now() - began
}

const rounds = 24

describe.for(Object.keys(plugins))('%s killed at any moment', (name) => {
  const plugin = plugins[name] as (typeof plugins)[string]
  const { shape } = plugin

  test('of an ADD: DEL leaves everything as it was', { timeout: 180_000 }, async ({ host }) => {
    const { container, before } = await prepared(host, plugin)
    const whole = await duration(host, shape('ADD', container))
    succeedSilently(await runPlugin(host, shape('DEL', container)))
    for (let round = 0; round < rounds; round++) {
      await killed(host, shape('ADD', container), (whole * round) / rounds)
      succeedSilently(await runPlugin(host, shape('DEL', container)))
      expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
  })

  test('of a DEL: the next one finishes it', { timeout: 180_000 }, async ({ host }) => {
    const { container, before } = await prepared(host, plugin)
    for (let round = 0; round < rounds; round++) {
      const whole = await duration(host, shape('ADD', container))
      await killed(host, shape('DEL', container), (whole * round) / rounds)
      succeedSilently(await runPlugin(host, shape('DEL', container)))
      expect(difference(before, await state(host)), `round ${round}`).toBe('')
    }
  })
})

test('eight devices at once go into eight containers, and come back', { timeout: 120_000 }, async ({ host }) => {
  const containers: Container[] = []
  for (let index = 0; index < 8; index++) {
    await host.output(['ip', 'link', 'add', `hd${index}`, 'type', 'veth', 'peer', 'name', `far${index}`])
    containers.push(await host.container())
  }
  const before = await state(host)
  const all = (verb: Verb) =>
    Promise.all(
      containers.map((one, index) =>
        runPlugin(host, call('host-device', verb, one, { device: `hd${index}`, ipam: hostLocal })),
      ),
    )
  for (const finished of await all('ADD')) resultOf(finished)
  for (const finished of await all('DEL')) succeedSilently(finished)
  expect(difference(before, await state(host))).toBe('')
})

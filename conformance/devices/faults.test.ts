import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { runPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { refuseInTurn } from '../lan/breaking.js'
import { call, hostLocal, state } from './calls.js'
import { diesAtAnyMoment, type Victim } from './killing.js'

const prevResult = {
  ips: [
    { address: '10.2.0.5/24', gateway: '10.2.0.1' },
    { address: 'fd02::5/64', gateway: 'fd02::1' },
  ],
}

const victims: Record<string, Victim> = {
  'host-device': {
    shape: (verb, container) => call('host-device', verb, container, { device: 'hd0', ipam: hostLocal }),
    prepare: async (host) => {
      await host.output(['ip', 'link', 'add', 'hd0', 'alias', 'as before', 'type', 'veth', 'peer', 'name', 'hd1'])
      await host.output(['ip', 'link', 'set', 'hd0', 'up'])
      return host.container('c1')
    },
    look: state,
  },
  tap: {
    shape: (verb, container) => call('tap', verb, container, { ipam: hostLocal }),
    prepare: (host) => host.container('c1'),
    look: state,
  },
  sbr: {
    shape: (verb, container) => call('sbr', verb, container, { prevResult }),
    prepare: async (host) => {
      const container = await host.container('c1')
      await container.batch([
        'link add eth0 type veth peer name peer0',
        'addr add 10.2.0.5/24 dev eth0',
        'addr add fd02::5/64 dev eth0 nodad',
        'link set eth0 up',
        'link set peer0 up',
        'route add 172.16.0.0/16 via 10.2.0.7 dev eth0',
        'route add default via fd02::1 dev eth0',
      ])
      return container
    },
    look: state,
  },
}

for (const [name, victim] of Object.entries(victims)) diesAtAnyMoment(name, victim)

describe.for(Object.entries(victims))('%s', ([, { shape, prepare, look }]) => {
  test('each operation of an ADD refused in turn leaves nothing', { timeout: 180_000 }, async ({ host }) => {
    const container = await prepare(host)
    expect(await refuseInTurn(host, shape('ADD', container), look)).toBeGreaterThan(3)
  })
})

test('eight devices at once go into eight containers, and come back', { timeout: 240_000 }, async ({ host }) => {
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

import { afterAll, beforeAll, describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { installScripts } from '../harness/scripts.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { expectAnswer, type Row } from './row.js'
import { chainedRows } from './rows.chained.js'
import { delegateRows, delegates } from './rows.delegate.js'
import { environmentRows } from './rows.environment.js'
import { inputRows } from './rows.input.js'
import { pluginRows } from './rows.plugin.js'

const tables = {
  environment: environmentRows,
  input: inputRows,
  plugin: pluginRows,
  delegate: delegateRows,
  chain: chainedRows,
}
const standard = {
  cniVersion: '1.1.0',
  name: 'n',
  type: 'static',
  ipam: { type: 'static', addresses: [{ address: '10.1.2.3/24' }] },
}

/** Gives a host what the rows speak of: a container and delegates. */
async function furnish(host: Host): Promise<void> {
  await host.container('x')
  installScripts(host, delegates)
  installScripts(host, { notExecutable: '' }, 0o644)
}

let host: Host

beforeAll(async () => {
  host = await Host.create()
  await furnish(host)
})

afterAll(() => host.dispose())

async function answer(suite: 'official' | 'podwire', row: Row): Promise<void> {
  const call: Call = {
    suite,
    plugin: 'static',
    command: 'ADD',
    containerID: 'c1',
    netns: '/run/netns/x',
    config: standard,
    ...row.call,
  }
  const finished = await runPlugin(host, call)
  expectAnswer(finished, row[suite], call.plugin, 'n')
  // Whatever was left behind by a plugin that leaves things behind must not reach the next row.
  await runPlugin(host, { ...call, command: 'DEL', netns: '/run/netns/x', args: '' })
}

for (const suite of ['official', 'podwire'] as const) {
  for (const [table, rows] of Object.entries(tables)) {
    describe(`${suite}, malformed ${table}`, () => {
      for (const row of rows) {
        const plugin = row.call.plugin ?? 'static'
        test(`${plugin}: ${row.name}`, () => answer(suite, row))
      }
    })
  }
}

describe('podwire, refusing', () => {
  const refusals = [...pluginRows, ...delegateRows, ...chainedRows].filter(
    ({ podwire }) => podwire.is === 'own' || podwire.is === 'error',
  )
  for (const row of refusals) {
    const plugin = row.call.plugin ?? 'static'
    test(`changes nothing: ${plugin}: ${row.name}`, async ({ host: fresh }) => {
      await furnish(fresh)
      const before = await state(fresh)
      const call: Call = { plugin, command: 'ADD', containerID: 'c1', netns: '/run/netns/x', config: standard }
      const { status } = await runPlugin(fresh, { ...call, ...row.call })
      expect(status).toBe(1)
      const changes = difference(before, await state(fresh)).split('\n')
      // A bridge belongs to its network: what was begun for one container never takes it away.
      const ofDelegate = tables.delegate.includes(row)
      expect(changes.filter((line) => line !== '' && !(ofDelegate && /\bbr0\b/.test(line)))).toEqual([])
    })
  }
})

const state = (place: Host) => takeSnapshot(place, { directories: ['/var/lib', '/run'] })

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stateRoot } from '../../shared/exec/state.js'
import type { Row } from '../../shared/testing/golden.js'
import { openStage, type Stage } from '../../shared/testing/live.js'
import { createMemory, type Memory, secondNetns } from '../../shared/testing/memory.js'

// Several who were given one address, and who has no record, on a machine that remembers.

interface Who {
  readonly container?: string
  readonly ifName?: string
  readonly addresses?: readonly string[]
  readonly config?: object
}

const row = (verb: Row['verb'], who: Who = {}): Row => {
  const { container = 'c1', ifName = 'eth0', addresses = ['10.1.2.3'], config } = who
  return {
    plugin: 'firewall',
    verb,
    config: {
      prevResult: {
        cniVersion: '1.1.0',
        interfaces: [{ name: 'br0' }, { name: `veth${container}` }, { name: ifName, sandbox: '/proc/self/ns/net' }],
        ips: addresses.map((address) => ({ address: `${address}/24`, interface: 2 })),
      },
      backend: 'nftables',
      ingressPolicy: 'isolated',
      ...config,
    },
    env: {
      ...{ CNI_CONTAINERID: container, CNI_IFNAME: ifName, DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=127.0.0.1,port=9' },
      ...(container === 'c1' ? {} : { CNI_NETNS: secondNetns }),
    },
  }
}

let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
beforeEach(() => {
  memory = createMemory()
  stage = openStage(memory)
})
afterEach(() => stage.close())

const succeed = (asked: Row) => stage.succeed(asked)

const forgetRecords = () => rmSync(stateRoot, { recursive: true })
const records = () => stage.state().filter((file) => file.startsWith('firewall/'))
const elements = (text: string) => memory.things().filter((thing) => / element /.test(thing) && thing.includes(text))

describe('an address that another container had', () => {
  test('is its own alone by the next ADD, with all that the other left', async () => {
    await succeed(row('ADD'))
    await succeed(row('ADD', { container: 'c2' }))
    expect(records()).toHaveLength(1)
    expect(['vethc1', '10.1.2.3 ', 'vethc2'].map((text) => elements(text).length)).toEqual([0, 1, 1])
    await succeed(row('CHECK', { container: 'c2' }))
    await succeed(row('DEL'))
    await succeed(row('CHECK', { container: 'c2' }))
    await succeed(row('DEL', { container: 'c2' }))
    expect([elements('10.1.2.3'), elements('veth'), elements('br0'), records()]).toEqual([[], [], [], []])
  })

  test('takes nothing from who had others', async () => {
    await succeed(row('ADD', { addresses: ['10.1.2.4'] }))
    await succeed(row('ADD', { container: 'c2', addresses: ['10.1.2.9'] }))
    await succeed(row('ADD', { container: 'c3', addresses: ['10.1.2.9'] }))
    expect(records()).toHaveLength(2)
    await succeed(row('CHECK', { addresses: ['10.1.2.4'] }))
  })

  test('stays with both interfaces of one container until the last one goes', async () => {
    const second = { ifName: 'net1', config: { ingressPolicy: 'open' } }
    await succeed(row('ADD'))
    await succeed(row('ADD', second))
    expect(records()).toHaveLength(2)
    await succeed(row('DEL'))
    expect(elements('10.1.2.3 ')).toHaveLength(1)
    await succeed(row('CHECK', second))
    await succeed(row('DEL', second))
    expect(elements('10.1.2.3')).toEqual([])
  })
})

test('a bridge has the strictest policy that any of its attachments wants', async () => {
  const verdicts = () => elements('firewall_within').map((thing) => thing.split(' ').at(-1))
  const lax = { container: 'c2', addresses: ['10.1.2.4'], config: { ingressPolicy: 'same-bridge' } }
  // nft(8) itself misses what is not declared before the kernel sees what is in the way: so all is declared before.
  await succeed(row('ADD'))
  await succeed(row('DEL'))
  await succeed(row('ADD', lax))
  expect(verdicts()).toEqual(['return', 'return'])
  await succeed(row('ADD'))
  expect(verdicts()).toEqual(['drop', 'drop'])
  await succeed(row('ADD', { ...lax, container: 'c3', addresses: ['10.1.2.5'] }))
  expect(verdicts()).toEqual(['drop', 'drop'])
  await succeed(row('DEL'))
  expect(verdicts()).toEqual(['return', 'return'])
  await succeed(row('DEL', lax))
  expect(verdicts()).toEqual(['return', 'return'])
  await succeed(row('DEL', { ...lax, container: 'c3', addresses: ['10.1.2.5'] }))
  expect([verdicts(), elements('firewall_bridges')]).toEqual([[], []])
})

describe('CHECK without a record', () => {
  const official = { config: { backend: 'iptables' } }

  test.each(['nftables', 'iptables', 'firewalld'])('looks for what ADD makes: %s', async (backend) => {
    await succeed(row('ADD', { config: { backend } }))
    forgetRecords()
    await succeed(row('CHECK', { config: { backend } }))
  })

  test.each(['nftables', 'firewalld'])('takes rules of the official plugin for as good: %s', async (backend) => {
    const asked = row('CHECK', { config: { backend } })
    await succeed(row('ADD', official))
    if (backend === 'firewalld') await succeed(row('ADD', { config: { backend, ingressPolicy: 'open' } }))
    forgetRecords()
    await succeed(asked)
    const drop = memory.things().find((thing) => thing.includes('-o br0') && thing.endsWith('-j DROP')) ?? ''
    memory.remove(drop)
    const { status, json } = await stage.perform(asked)
    expect([status, json.details]).toEqual([1, expect.stringContaining('iptables filter')])
    expect(json.details).not.toContain('nftables set')
  })

  test.each(['nftables', 'firewalld'])(
    'names what is missing of ours where there is more of that: %s',
    async (backend) => {
      await succeed(row('ADD', { config: { backend } }))
      forgetRecords()
      const [port = ''] = elements('vethc1')
      memory.remove(port)
      const { json } = await stage.perform(row('CHECK', { config: { backend } }))
      expect(json.details).toContain(
        'nftables set bridge firewall_isolated_ports: found "no element", expected "vethc1"',
      )
      expect(json.details).not.toContain('iptables')
    },
  )

  test('names each address of a set, and what to do', async () => {
    const both = { addresses: ['10.1.2.3', '10.1.2.4'] }
    await succeed(row('ADD', both))
    for (const thing of elements('10.1.2.')) memory.remove(thing)
    const { json } = await stage.perform(row('CHECK', both))
    for (const address of both.addresses) {
      expect(json.details).toContain(`nftables set firewall_addresses: found "no element", expected ${address};`)
    }
    expect(json.details).toContain('something flushed its rules')
  })
})

test('a container without a bridge before it is let through where no policy is asked for', async () => {
  const { prevResult } = row('ADD').config as { prevResult: object }
  const alone = (verb: Row['verb'], more: object) =>
    row(verb, { config: { prevResult: { ...prevResult, interfaces: [], ips: [{ address: '10.1.2.3/24' }] }, ...more } })
  await succeed(alone('ADD', { ingressPolicy: '' }))
  expect(elements('10.1.2.3 ')).toHaveLength(1)
  await succeed(alone('DEL', { ingressPolicy: '' }))
  await succeed(row('DEL', { config: { prevResult: undefined } }))
})

test('who adds nothing that others share needs no lock', async () => {
  const open = { config: { ingressPolicy: 'open' } }
  const lock = join(stateRoot, 'firewall-holders/lock')
  await succeed(row('ADD', open))
  expect(existsSync(lock)).toBe(true)
  rmSync(lock)
  await succeed(row('ADD', { ...open, container: 'c2', addresses: ['10.1.2.4'] }))
  expect(existsSync(lock)).toBe(false)
})

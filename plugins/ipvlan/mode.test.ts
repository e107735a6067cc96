import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stateRoot } from '../../shared/exec/state.js'
import type { Row } from '../../shared/testing/golden.js'
import { openStage, type Stage } from '../../shared/testing/live.js'
import { createMemory, secondNetns } from '../../shared/testing/memory.js'

// All children of a master have one mode: who is refused another one, on a machine that remembers.

const CNI_PATH = mkdtempSync(join(tmpdir(), 'mode-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => rmSync(CNI_PATH, { recursive: true }))

const lan = { ifname: 'lan0', address: '02:00:00:00:00:0a', flags: ['UP'] }
let stage: Stage = undefined as unknown as Stage
beforeEach(() => {
  stage = openStage(createMemory({ host: [lan, { ...lan, ifname: 'lan1' }] }))
})
afterEach(() => stage.close())

const row = (verb: Row['verb'], config: object, container = 'c1'): Row => ({
  ...{ plugin: 'ipvlan', verb },
  config: { master: 'lan0', ipam: { type: 'static', addresses: [{ address: '10.1.2.3/24' }] }, ...config },
  env: { CNI_PATH, CNI_CONTAINERID: container, ...(container === 'c1' ? {} : { CNI_NETNS: secondNetns }) },
})
const succeed = (asked: Row) => stage.succeed(asked)
const records = () => stage.state().filter((file) => file.startsWith('ipvlan/') && !file.endsWith('lock'))

/** Changes what is on record. */
function rewrite(change: (record: { netns: object }) => object): void {
  for (const file of records()) {
    const path = join(stateRoot, file)
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))))
  }
}

describe('a container on the master has another mode', () => {
  beforeEach(() => succeed(row('ADD', { mode: 'l2' })))
  const second = () => stage.perform(row('ADD', { mode: 'l3' }, 'c2'))

  test('which is refused, and says whose; nothing is noted of it', async () => {
    const { status, json } = await second()
    expect([status, json.code, records().length]).toEqual([1, 7, 1])
    expect(json.details).toContain(
      'mode: found "l3", expected "l2", as container c1, interface eth0, network net has on lan0',
    )
  })

  test('and the same one is fine, or another master', async () => {
    await succeed(row('ADD', { mode: 'l2' }, 'c2'))
    await succeed(row('DEL', { mode: 'l2' }, 'c2'))
    await succeed(row('ADD', { mode: 'l3', master: 'lan1' }, 'c2'))
    expect(records()).toHaveLength(2)
  })

  test.each<[string, () => unknown]>([
    ['its DEL', () => succeed(row('DEL', { mode: 'l2' }))],
    ['a GC without it', () => succeed(row('GC', { 'cni.dev/valid-attachments': [] }))],
    ['a boot', () => rewrite((record) => ({ ...record, netns: { ...record.netns, boot: 'before' } }))],
    ['the end of its namespace', () => rewrite((record) => ({ ...record, netns: { path: '/run/netns/none-such' } }))],
    [
      'another thing in the place of its namespace',
      () => rewrite((record) => ({ ...record, netns: { path: '/etc' } })),
    ],
    ['a record without a namespace', () => rewrite(({ netns: _, ...record }) => record)],
  ])('until %s', async (_, end) => {
    await end()
    expect((await second()).status).toBe(0)
  })

  test('and stays so at a GC with it, or without a list', async () => {
    await succeed(row('GC', { 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }))
    await succeed(row('GC', {}))
    expect((await second()).status).toBe(1)
  })
})

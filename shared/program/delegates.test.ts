import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Row } from '../testing/golden.js'
import { openStage, type Stage } from '../testing/live.js'
import { createMemory, type Memory, secondNetns } from '../testing/memory.js'

// Our own IPAM plugins, loaded ahead of a call: by their names, by other names that lead to them, and where a DEL or GC
// may have something to give back that its configuration does not name.

let [CNI_PATH, dataDir] = ['', '']
let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
beforeEach(() => {
  CNI_PATH = mkdtempSync(join(tmpdir(), 'delegates-'))
  dataDir = mkdtempSync(join(tmpdir(), 'delegates-data-'))
  for (const name of ['host-local', 'my-host-local', 'static']) symlinkSync(process.execPath, join(CNI_PATH, name))
  memory = createMemory()
  stage = openStage(memory)
})
afterEach(() => {
  stage.close()
  for (const folder of [CNI_PATH, dataDir]) rmSync(folder, { recursive: true })
})

const ipam = (type = 'host-local') => ({ ipam: { type, dataDir, ranges: [[{ subnet: '10.1.2.0/24' }]] } })
const row = (verb: Row['verb'], config: object, container = 'c1'): Row => ({
  ...{ plugin: 'dummy', verb, config },
  env: { CNI_PATH, CNI_CONTAINERID: container, ...(container === 'c1' ? {} : { CNI_NETNS: secondNetns }) },
})
const leases = () => {
  const folder = join(dataDir, 'net')
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('10.')) : []
}
const records = () => stage.state().filter((file) => file.startsWith('ipam/'))

const succeed = (asked: Row) => stage.succeed(asked)

test.each(['host-local', 'my-host-local'])('%s runs in the process', async (type) => {
  const { json } = await succeed(row('ADD', ipam(type)))
  expect([json.ips[0].address, leases()]).toEqual(['10.1.2.2/24', ['10.1.2.2']])
  await succeed(row('CHECK', { ...ipam(type), prevResult: json }))
  const { said } = await succeed(row('DEL', ipam(type)))
  expect([said, leases(), records()]).toEqual(['', [], []])
})

test.each<[string, object]>([
  ['none', {}],
  ['another one', { ipam: { type: 'static', addresses: [{ address: '10.9.9.9/24' }] } }],
  ['another directory of it', { ipam: { type: 'host-local', dataDir: '/run/none-such' } }],
])('a DEL whose configuration names %s gives back what ADD got, and says so', async (_, config) => {
  await succeed(row('ADD', ipam()))
  await succeed(row('ADD', ipam(), 'c2'))
  const { said } = await succeed(row('DEL', config))
  expect(said).toContain(
    `dummy: addresses are given back to where ADD got them, which the configuration does not name: host-local in ${dataDir}`,
  )
  expect([leases(), records().length]).toEqual([['10.1.2.3'], 1])
})

test('a GC whose configuration names none frees what nobody valid has', async () => {
  await succeed(row('ADD', ipam()))
  await succeed(row('ADD', ipam(), 'c2'))
  const valid = { 'cni.dev/valid-attachments': [{ containerID: 'c2', ifname: 'eth0' }] }
  await succeed(row('GC', valid))
  expect([leases(), records().length]).toEqual([['10.1.2.3'], 1])
  await succeed(row('GC', { 'cni.dev/valid-attachments': [] }))
  expect([leases(), records()]).toEqual([[], []])
})

test('an ADD that fails later gives its lease back', async () => {
  const { status, json } = await stage.perform(row('ADD', ipam()), 2)
  expect([status, json.msg]).toEqual([1, expect.stringContaining('10.1.2.2')])
  expect([leases(), records()]).toEqual([[], []])
})

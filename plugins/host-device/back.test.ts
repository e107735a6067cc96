import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stateRoot } from '../../shared/exec/state.js'
import type { Row } from '../../shared/testing/golden.js'
import { openStage, type Stage } from '../../shared/testing/live.js'
import { createMemory, type Link, type Memory } from '../../shared/testing/memory.js'

// The way back of a device, whatever became of it in the container, on a machine that remembers.

const CNI_PATH = mkdtempSync(join(tmpdir(), 'back-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => rmSync(CNI_PATH, { recursive: true }))

const hardware = {
  ...{ ifname: 'hd0', address: '02:00:00:00:aa:01', flags: ['UP'], ifalias: 'uplink' },
  ...{ permaddr: '02:00:00:00:aa:01', parentbus: 'pci', parentdev: '0000:01:00.0' },
}
const dummy = { ifname: 'hd0', address: '02:00:00:00:aa:01', flags: [], linkinfo: { info_kind: 'dummy' } }

let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
const open = (...host: Partial<Link>[]) => {
  memory = createMemory({ host })
  stage = openStage(memory)
}
beforeEach(() => open(hardware))
afterEach(() => stage.close())

const row = (verb: Row['verb'], config: object = {}): Row => ({
  ...{ plugin: 'host-device', verb, config: { device: 'hd0', ...config }, env: { CNI_PATH } },
})

const succeed = (asked: Row) => stage.succeed(asked)

const inside = (...lines: string[]) =>
  expect(
    memory.run({ argv: ['nsenter', '--net=/proc/self/ns/net', 'ip', '-batch', '-'], stdin: lines.join('\n') }),
  ).toEqual({})
const onHost = (...lines: string[]) =>
  expect(memory.run({ argv: ['ip', '-batch', '-'], stdin: lines.join('\n') })).toEqual({})
const links = () => memory.things().filter((thing) => / link /.test(thing))
const before = ['host link hd0 UP 1500 02:00:00:00:aa:01 uplink']
const records = () => stage.state().filter((file) => !file.endsWith('lock'))

describe('DEL gives the device back', () => {
  const rows: [what: string, change: () => void][] = [
    ['as it was left', () => undefined],
    ['whatever it is called by then', () => inside('link set dev eth0 name other')],
    ['without its alias', () => inside('link set dev eth0 alias ""')],
    [
      'under another address',
      () => inside('link set dev eth0 address 02:00:00:00:aa:99', 'link set dev eth0 address 02:00:00:00:aa:01'),
    ],
    [
      'beside a link that has its alias and its address',
      () =>
        inside('link add name x address 02:00:00:00:aa:01 type dummy', 'link set dev x alias hd0', 'link del dev x'),
    ],
  ]
  test.each(rows)('%s', async (_, change) => {
    await succeed(row('ADD'))
    expect(links()).toEqual(['container link eth0 UP 1500 02:00:00:00:aa:01 hd0'])
    change()
    const { said } = await succeed(row('DEL'))
    expect([links(), records(), said]).toEqual([before, [], ''])
    await succeed(row('DEL'))
    expect(links()).toEqual(before)
  })

  test('and leaves the link that took its name', async () => {
    await succeed(row('ADD'))
    inside('link set dev eth0 name other', 'link add name eth0 address 02:00:00:00:00:05 type dummy')
    await succeed(row('DEL'))
    expect(links()).toEqual(['container link eth0 1500 02:00:00:00:00:05 dummy', ...before])
  })

  test('where the kernel has moved it already', async () => {
    await succeed(row('ADD'))
    inside('link set dev eth0 netns /proc/1/ns/net')
    onHost('link set dev eth0 down')
    await succeed(row('DEL'))
    expect(links()).toEqual(before)
  })

  test('unless it was unplugged', async () => {
    await succeed(row('ADD'))
    inside('link del dev eth0')
    await succeed(row('DEL'))
    expect([links(), records()]).toEqual([[], []])
  })

  test('where the host has another link of its name it stays, and comes back with a later DEL', async () => {
    await succeed(row('ADD'))
    onHost('link add name hd0 address 02:00:00:00:00:06 type dummy')
    const there = links()
    const { status, json } = await stage.perform(row('DEL'))
    expect([status, json.code, links()]).toEqual([1, 103, there])
    expect(json.msg).toContain('cannot give eth0 its name hd0 back: the host has another link of it')
    expect(records()).toHaveLength(1)
    onHost('link del dev hd0')
    await succeed(row('DEL'))
    expect([links(), records()]).toEqual([before, []])
  })

  test("where the kernel has moved it, and its name is another one's", async () => {
    await succeed(row('ADD'))
    inside('link set dev eth0 netns /proc/1/ns/net')
    onHost('link add name hd0 address 02:00:00:00:00:06 type dummy')
    const { status, json } = await stage.perform(row('DEL'))
    expect([status, json.code]).toEqual([1, 103])
  })
})

describe('without a record', () => {
  const forget = () => rmSync(stateRoot, { recursive: true })

  test('hardware with an alias comes back under that', async () => {
    await succeed(row('ADD'))
    forget()
    await succeed(row('DEL'))
    expect(links()).toEqual(['host link hd0 1500 02:00:00:00:aa:01'])
  })

  test('a link that may be made in the container stays, which is told', async () => {
    inside('link add name eth0 address 02:00:00:00:00:05 type dummy', 'link set dev eth0 alias hd9')
    const { said } = await succeed(row('DEL'))
    expect(said).toContain('host-device: eth0 in the container passes for hd9, and may be made there: it stays')
    expect(links()).toContain('container link eth0 1500 02:00:00:00:00:05 hd9 dummy')
  })

  test.each([
    ['no alias', '""'],
    ["an alias that is no link's name", '"a/b"'],
  ])('a link with %s stays', async (_, alias) => {
    inside('link add name eth0 address 02:00:00:00:00:05 type dummy', `link set dev eth0 alias ${alias}`)
    expect((await succeed(row('DEL'))).said).toBe('')
    expect(links().some((line) => line.startsWith('container link eth0 '))).toBe(true)
  })
})

describe('a device that is no hardware', () => {
  beforeEach(() => {
    stage.close()
    open(dummy)
  })
  const made = ['host link hd0 1500 02:00:00:00:aa:01 dummy']

  test('is known by its number', async () => {
    await succeed(row('ADD'))
    inside(
      'link set dev eth0 name other',
      'link add name eth0 address 02:00:00:00:aa:01 type dummy',
      'link set dev eth0 alias hd0',
    )
    await succeed(row('DEL'))
    expect(links()).toEqual(['container link eth0 1500 02:00:00:00:aa:01 hd0 dummy', ...made])
  })

  test('is not what only looks like it, which is told', async () => {
    await succeed(row('ADD'))
    inside(
      'link del dev eth0',
      'link add name eth0 address 02:00:00:00:aa:01 type dummy',
      'link set dev eth0 alias hd0',
    )
    const { said } = await succeed(row('DEL'))
    expect(said).toContain('host-device: eth0 in the container passes for hd0, and is not: it stays')
    expect(links()).toEqual(['container link eth0 1500 02:00:00:00:aa:01 hd0 dummy'])
  })
})

describe('with addresses of IPAM and its own', () => {
  const own = [{ family: 'inet', local: '192.0.2.3', prefixlen: 24, scope: 'global' }]
  const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }] }
  const config = { useInterfaceNetwork: true, ipam }

  test('the result has both, the leases first, and CHECK asks for each where it is from', async () => {
    stage.close()
    open({ ...hardware, addr_info: own })
    const { json } = await succeed(row('ADD', config))
    expect(json.ips).toEqual([
      { address: '10.1.2.3/24', gateway: '10.1.2.1', interface: 0 },
      { address: '192.0.2.3/24', interface: 0 },
    ])
    await succeed(row('CHECK', { ...config, prevResult: json }))
    inside('addr del 192.0.2.3/24 dev eth0')
    const { status } = await stage.perform(row('CHECK', { ...config, prevResult: json }))
    expect(status).toBe(1)
    await succeed(row('DEL', config))
    expect(memory.things()).toContain('host address 192.0.2.3/24 hd0')
  })

  test('an address of both is in it once', async () => {
    stage.close()
    open({ ...hardware, addr_info: [{ family: 'inet', local: '10.1.2.3', prefixlen: 24, scope: 'global' }] })
    const { json } = await succeed(row('ADD', config))
    expect(json.ips).toEqual([{ address: '10.1.2.3/24', gateway: '10.1.2.1', interface: 0 }])
  })
})

describe('GC', () => {
  test('gives back what no valid attachment has', async () => {
    await succeed(row('ADD'))
    const valid = { 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }
    await succeed(row('GC', valid))
    expect(links()).toEqual(['container link eth0 UP 1500 02:00:00:00:aa:01 hd0'])
    await succeed(row('GC', { 'cni.dev/valid-attachments': [] }))
    expect([links(), records()]).toEqual([before, []])
  })
})

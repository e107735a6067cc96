import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { writeRecord } from '../shared/exec/records.js'
import { keepStateIn, stateRoot } from '../shared/exec/state.js'
import { link, type Row, show } from '../shared/testing/golden.js'

// What STATUS says of what an ADD would need: the kernel, a link of the host, addresses.

const usual = stateRoot
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'status-'))
  keepStateIn(join(folder, 'state'))
  symlinkSync(process.execPath, join(folder, 'static'))
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(folder, { recursive: true })
})

const none = { status: 1, stderr: 'Device "lan0" does not exist.\n' }
const lan0 = link('lan0', { address: '02:00:00:00:00:0a' })
const other = link('lan1', { address: '02:00:00:00:00:0b' })
const trial = 'unshare --net ip -batch -'
const looks = {
  'ip -j -d addr show dev lan0': lan0,
  'ip -j -d addr show': lan0,
  'ip -N -j -d -4 -batch -': '[]\n[]\n',
  'ip -N -j -d -6 -batch -': '[]\n[]\n',
  [trial]: '',
}
const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24' }] }

function status(plugin: string, config: object, answers: NonNullable<Row['answers']> = {}, env = {}) {
  const row: Row = {
    plugin,
    verb: 'STATUS',
    config,
    answers: { ...looks, ...answers },
    env: { CNI_PATH: folder, ...env },
  }
  return show(row)
}

describe.each([
  ['macvlan', { master: 'lan0', ipam }],
  ['ipvlan', { master: 'lan0', ipam }],
  ['vlan', { master: 'lan0', vlanId: 5, ipam }],
])('of %s', (plugin, config) => {
  test('all is there', async () => {
    expect(await status(plugin, config)).toEqual({ plan: '', status: 0, json: undefined })
  })

  test('the kernel has no such links', async () => {
    const refused = { status: 1, stderr: 'Error: Unknown device type.\nCommand failed -:2\n' }
    const { json } = await status(plugin, config, { [trial]: refused })
    const message = `missing for ADD: ${plugin}: cannot create probe-${plugin}: Error: Unknown device type.`
    expect(json).toMatchObject({ code: 50, msg: expect.stringContaining(message) })
  })

  test('there is no master, or it may be in the container alone', async () => {
    const gone = { 'ip -j -d addr show dev lan0': none, 'ip -j -d addr show': other }
    const { json } = await status(plugin, config, gone)
    expect(json).toMatchObject({ code: 50, msg: expect.stringContaining('there is no such master') })
    expect(json.details).toContain('lan1 (02:00:00:00:00:0b)')
    expect((await status(plugin, { ...config, linkInContainer: true }, gone)).status).toBe(0)
  })

  test('nothing names the master, and there is no default route', async () => {
    const { json, status: ended } = await status(plugin, { ...config, master: undefined })
    // An ipvlan may learn of it from prevResult.
    if (plugin === 'ipvlan') expect(ended).toBe(0)
    else expect(json).toMatchObject({ code: plugin === 'vlan' ? 7 : 50 })
  })

  test('its MTU is none, or more than the master takes, which only an ipvlan may have', async () => {
    const of = async (mtu: number) => (await status(plugin, { ...config, mtu })).json?.code
    expect([await of(-1), await of(1500), await of(9000)]).toEqual([
      50,
      undefined,
      plugin === 'ipvlan' ? undefined : 50,
    ])
  })

  test('its IPAM plugin is not there, or none', async () => {
    const missing = await status(plugin, { ...config, ipam: { type: 'none' } })
    expect(missing.json).toMatchObject({ code: 50, msg: expect.stringContaining('failed to find plugin "none"') })
    expect((await status(plugin, { ...config, ipam: { type: 'bridge' } })).json.code).toBe(7)
  })

  test('several things are missing: all are named', async () => {
    const { json } = await status(
      plugin,
      { ...config, ipam: { type: 'none' } },
      { 'ip -j -d addr show dev lan0': none, 'ip -j -d addr show': other },
    )
    expect(json.msg).toContain('there is no such master')
    expect(json.msg).toContain('failed to find plugin "none"')
  })
})

describe('of host-device', () => {
  const hardware = link('hd0', { address: '02:00:00:00:aa:01' })
  const gone = { 'ip -j -d addr show dev hd0': none, 'ip -j -d addr show': other }
  const there = { 'ip -j -d addr show dev hd0': hardware }
  const lent = (network: string, data: object) =>
    writeRecord(
      {
        dryRun: false,
        change: (_, body) => body(),
        warn: (text) => expect.fail(text),
        journal: { note: () => undefined },
      },
      'host-device',
      { network, containerID: 'c9', ifName: 'eth0' },
      { up: true, ...data },
    )

  test('the device is there, or the runtime names it with the container', async () => {
    for (const config of [{ device: 'hd0' }, { hwaddr: '02:00:00:00:aa:01' }, {}]) {
      const answers = { ...there, 'ip -j -d addr show': hardware }
      expect(await status('host-device', config, answers)).toEqual({ plan: '', status: 0, json: undefined })
    }
  })

  test('nobody has it', async () => {
    for (const config of [{ device: 'hd0' }, { hwaddr: '02:00:00:00:aa:01' }]) {
      const { json } = await status('host-device', config, gone)
      expect([json.code, json.msg]).toEqual([50, expect.stringContaining('failed to find')])
    }
    lent('other', { device: 'hd7', mac: '02:00:00:00:aa:07' })
    expect((await status('host-device', { device: 'hd0' }, gone)).json.code).toBe(50)
  })

  test.each([
    ['of this network', 'net', { device: 'hd7' }, { device: 'hd0' }],
    ['of its name', 'other', { device: 'hd0' }, { device: 'hd0' }],
    ['of its address', 'other', { device: 'hd7', mac: '02:00:00:00:aa:01' }, { hwaddr: '02:00:00:00:aa:01' }],
  ])('a container has one %s, which comes back', async (_, network, data, config) => {
    lent(network, data)
    const { plan, status: ended } = await status('host-device', config, gone)
    expect([ended, plan]).toEqual([0, `host-device: ${data.device} is with container c9: no other can be attached\n`])
  })

  test('a device that a program drives has no link', async () => {
    expect((await status('host-device', { device: 'hd0', dpdkMode: true }, gone)).status).toBe(0)
  })

  test('its records cannot be written', async () => {
    keepStateIn('/dev/null/state')
    const { json } = await status('host-device', { device: 'hd0' }, there)
    expect(json).toMatchObject({ code: 50, msg: expect.stringContaining('/dev/null') })
  })

  test('its IPAM plugin is not there', async () => {
    const { json } = await status('host-device', { device: 'hd0', ipam: { type: 'none' } }, there)
    expect(json).toMatchObject({ code: 50, msg: expect.stringContaining('failed to find plugin "none"') })
  })
})

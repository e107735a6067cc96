import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { link, type Row, show } from '../shared/testing/golden.js'

// Where ipam.type leads to this very program, static answers within the process, as in the one binary.
const CNI_PATH = mkdtempSync(join(tmpdir(), 'vlan-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => rmSync(CNI_PATH, { recursive: true }))

const answers = { 'ip -j -d addr show dev lan0': link('lan0', { address: '02:00:00:00:00:0a', mtu: 1200 }) }
const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24' }] }

function call(verb: Row['verb'], config: object, more: Partial<Row> = {}) {
  const row = { plugin: 'vlan', verb, config: { master: 'lan0', vlanId: 5, ipam, ...config }, answers, ...more }
  return show({ ...row, env: { CNI_PATH, ...more.env } })
}

const without: [what: string, ipam: object | null | undefined][] = [
  ['absent', undefined],
  ['null', null],
  ['empty', {}],
  ['without type', { type: '' }],
]

describe.each(without)('with ipam %s it is a link of layer 2', (_, none) => {
  const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'eth0', sandbox: '/proc/self/ns/net' }] }
  const child = link('eth0', { link_index: 7, linkinfo: { info_kind: 'vlan', info_data: { id: 5 } } })
  const inside = { ...answers, 'container# ip -j -d addr show dev eth0': child }

  test.each(['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'])('that ADD sets up, in version %s', async (cniVersion) => {
    const { plan, json, status } = await call('ADD', { ipam: none, cniVersion, dns: { nameservers: ['10.0.0.1'] } })
    expect(status).toBe(0)
    const lines = plan.split('\n')
    expect(lines).toContain('ip link add name eth0 link lan0 netns /proc/self/ns/net type vlan id 5')
    expect(lines).toContain('container# ip link set dev eth0 up')
    expect(plan).not.toContain('addr add')
    expect(json).toMatchObject({ interfaces: [{ name: 'eth0' }], dns: { nameservers: ['10.0.0.1'] } })
    expect(json.ips).toBeUndefined()
  })

  test('with which CHECK is content, without any IPAM plugin', async () => {
    expect(await call('CHECK', { ipam: none, prevResult }, { answers: inside })).toMatchObject({ status: 0 })
  })

  test('that DEL removes, and STATUS and GC ask nobody for', async () => {
    const { plan, status } = await call('DEL', { ipam: none })
    expect([status, plan.includes('container# ip link del dev eth0\n')]).toEqual([0, true])
    expect(await call('GC', { ipam: none, 'cni.dev/valid-attachments': [] })).toMatchObject({ status: 0, plan: '' })
  })
})

describe('ADD', () => {
  test('the VLAN with the MAC address of its master', async () => {
    const { plan, json } = await call('ADD', {})
    expect(plan.split('\n')).toEqual(
      expect.arrayContaining([
        'ip link add name eth0 link lan0 netns /proc/self/ns/net type vlan id 5',
        'container# sysctl -w net/ipv4/conf/eth0/arp_notify=1',
        'container# ip addr add 10.1.2.3/24 brd + dev eth0',
        'container# ip link set dev eth0 up',
      ]),
    )
    expect(json.interfaces).toEqual([{ name: 'eth0', mac: '02:00:00:00:00:0a', sandbox: '/proc/self/ns/net' }])
  })

  test.each<[string, object, number, string]>([
    ['no master', { master: '' }, 7, 'master: found "", expected the link that carries the VLAN'],
    ['no master, nor IPAM', { master: null, ipam: {} }, 7, 'master: found nothing'],
    ['no IPAM in 0.2.0', { ipam: {}, cniVersion: '0.2.0' }, 7, 'cannot convert: no valid IP addresses'],
    ['no IPAM to ask for another address', { ipam: {}, addressConflictDetection: true }, 7, 'without an IPAM plugin'],
    ['a VLAN out of range', { vlanId: 4095 }, 7, 'vlanId: found 4095, expected an integer from 0 to 4094'],
    ["an MTU above the master's", { mtu: 1201 }, 7, 'invalid MTU 1201, must be [0, master MTU(1200)]'],
  ])('%s is refused before anything is touched', async (_, config, code, text) => {
    const { plan, json } = await call('ADD', config)
    expect({ plan, code: json.code }).toEqual({ plan: '', code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })
})

test('CHECK finds another VLAN', async () => {
  const interfaces = [{ name: 'eth0', sandbox: '/proc/self/ns/net' }]
  const prevResult = { cniVersion: '1.1.0', interfaces, ips: [{ address: '10.1.2.3/24', interface: 0 }] }
  const addr_info = [{ family: 'inet', local: '10.1.2.3', prefixlen: 24 }]
  const child = link('eth0', { addr_info, link_index: 7, linkinfo: { info_kind: 'vlan', info_data: { id: 6 } } })
  const all = { ...answers, 'container# ip -j -d addr show dev eth0': child }
  const { json } = await call('CHECK', { prevResult }, { answers: all })
  expect(json).toMatchObject({ code: 105, details: 'interface eth0 id: found 6, expected 5' })
})

test('DEL needs neither master nor VLAN nor IPAM', async () => {
  const { plan, status } = await call('DEL', { master: '', vlanId: 'x', ipam: {} }, { answers: {} })
  expect(status).toBe(0)
  expect(plan).toContain('container# ip link del dev eth0\n')
})

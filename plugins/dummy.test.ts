import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { link, type Row, show } from '../shared/testing/golden.js'

// Where ipam.type leads to this very program, static answers within the process, as in the one binary.
const CNI_PATH = mkdtempSync(join(tmpdir(), 'dummy-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => rmSync(CNI_PATH, { recursive: true }))

const ipam = { type: 'static', addresses: [{ address: '10.1.2.3/24' }], dns: { nameservers: ['10.1.2.53'] } }
// A hash of the golden boot ID, network "net", container "c1", interface "eth0".
const mac = '02:d7:c1:40:5e:e6'

function call(verb: Row['verb'], config: object = {}, answers: Row['answers'] = {}) {
  return show({ plugin: 'dummy', verb, config: { ipam, ...config }, answers, env: { CNI_PATH } })
}

test('ADD: born in the container, with the DNS of IPAM and no other', async () => {
  const { plan, json } = await call('ADD', { dns: { nameservers: ['192.0.2.53'] } })
  expect(plan).toBe(
    `container# ip link add name eth0 address ${mac} type dummy\n` +
      'container# sysctl -w net/ipv6/conf/eth0/accept_ra=0\n' +
      'container# sysctl -w net/ipv6/conf/eth0/autoconf=0\n' +
      'container# sysctl -w net/ipv6/conf/eth0/disable_ipv6=1\n' +
      'container# ip addr add 10.1.2.3/24 brd + dev eth0\n' +
      'container# ip link set dev eth0 up\n',
  )
  expect(json).toEqual({
    cniVersion: '1.1.0',
    dns: { nameservers: ['10.1.2.53'] },
    interfaces: [{ name: 'eth0', mac, sandbox: '/proc/self/ns/net' }],
    ips: [{ address: '10.1.2.3/24', interface: 0 }],
  })
})

test('keepIPv6 leaves IPv6 on', async () => {
  expect((await call('ADD', { keepIPv6: true })).plan).not.toContain('disable_ipv6')
})

test.each(['ADD', 'STATUS'] as const)('%s without IPAM is refused before anything is touched', async (verb) => {
  const { plan, json } = await call(verb, { ipam: {} })
  expect({ plan, json }).toMatchObject({ plan: '', json: { code: 7 } })
  expect(json.details).toContain('dummy interface requires an IPAM configuration')
})

test('CHECK finds it down, or of another kind', async () => {
  const interfaces = [{ name: 'eth0', sandbox: '/proc/self/ns/net' }]
  const prevResult = { cniVersion: '1.1.0', interfaces, ips: [{ address: '10.1.2.3/24', interface: 0 }] }
  const addr_info = [{ family: 'inet', local: '10.1.2.3', prefixlen: 24 }]
  const check = (more: object) =>
    call('CHECK', { prevResult }, { 'container# ip -j -d addr show dev eth0': link('eth0', { addr_info, ...more }) })
  expect((await check({ linkinfo: { info_kind: 'dummy' }, flags: ['UP'] })).status).toBe(0)
  const { json } = await check({ linkinfo: { info_kind: 'veth' } })
  expect(json.details.split('\n')).toEqual([
    'interface eth0 kind: found "veth", expected dummy',
    'interface eth0: found [], expected the flag UP',
  ])
})

test('DEL removes it, without IPAM, too', async () => {
  expect((await call('DEL', { ipam: {} })).plan).toContain('container# ip link del dev eth0\n')
})

test('GC asks the IPAM plugin, and needs no answer about links', async () => {
  const config = { ipam: { type: 'true' }, 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }
  expect(await show({ plugin: 'dummy', verb: 'GC', config, env: { CNI_PATH: '/bin' } })).toEqual({
    plan: '# CNI_COMMAND=GC /bin/true\n',
    status: 0,
    json: undefined,
  })
})

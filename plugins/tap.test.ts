import { describe, expect, test } from 'vitest'
import { link, type Row, show } from '../shared/testing/golden.js'

// The MAC address is a hash of the golden boot ID, network "net", container "c1", interface "eth0".
const mac = '02:08:82:53:c8:f9'
const call = (verb: Row['verb'], config: object = {}, more: Partial<Row> = {}) =>
  show({ plugin: 'tap', verb, config, ...more })
const planOf = async (config: object, more: Partial<Row> = {}) => {
  const { plan, status, json } = await call('ADD', config, more)
  expect(status, JSON.stringify(json)).toBe(0)
  return plan.trimEnd().split('\n')
}

describe('ADD', () => {
  test('makes the device under its final name and brings it up', async () => {
    expect(await planOf({})).toEqual([
      'container# ip tuntap add mode tap name eth0',
      `container# ip link set dev eth0 address ${mac}`,
      'container# sysctl -w net/ipv6/conf/eth0/accept_ra=0',
      'container# sysctl -w net/ipv6/conf/eth0/autoconf=0',
      'container# ip link set dev eth0 up',
    ])
  })

  const device: [what: string, config: object, made: string, set: string][] = [
    ['a user', { owner: 0 }, 'user 0', ''],
    ['a group', { group: 9 }, 'group 9', ''],
    ['both', { owner: 5, group: 6 }, 'user 5 group 6 vnet_hdr', ''],
    ['several queues', { multiQueue: true, owner: 5, group: 6 }, 'multi_queue user 5 group 6 vnet_hdr', ''],
    ['size and both', { mtu: 1400, owner: 5, group: 6 }, 'user 5 group 6 vnet_hdr', 'mtu 1400'],
  ]
  test.each(device)('with %s', async (_, config, made, set) => {
    const [first, second] = await planOf(config)
    expect([first, second]).toEqual([
      `container# ip tuntap add mode tap name eth0 ${made}`,
      `container# ip link set dev eth0 address ${mac} ${set}`.trim(),
    ])
  })

  test('under another SELinux context, by a process of its own', async () => {
    const context = 'system_u:system_r:container_t:s0:c1,c2'
    const [first] = await planOf({ selinuxContext: context, owner: 5, group: 6 })
    expect(first).toBe(`container# runcon ${context} ip tuntap add mode tap name eth0 user 5 group 6`)
  })

  test('as the port of a bridge in the container', async () => {
    const answers = { 'container# ip -j -d addr show dev br0': link('br0', { linkinfo: { info_kind: 'bridge' } }) }
    const [, second] = await planOf({ bridge: 'br0' }, { answers })
    expect(second).toBe(`container# ip link set dev eth0 address ${mac} master br0`)
  })

  test.each([
    ['the configuration', { mac: '02-00-00-00-00-0A' }, '', '02:00:00:00:00:0a'],
    ['CNI_ARGS over it', { mac: '02:00:00:00:00:0a' }, 'MAC=02:00:00:00:00:0b', '02:00:00:00:00:0b'],
    [
      'runtimeConfig over both',
      { mac: '02:00:00:00:00:0a', runtimeConfig: { mac: '02:00:00:00:00:0c' } },
      'MAC=02:00:00:00:00:0b',
      '02:00:00:00:00:0c',
    ],
  ])('takes its MAC address from %s', async (_, config, CNI_ARGS, expected) => {
    const { plan, json } = await call('ADD', config, { env: { CNI_ARGS } })
    expect(plan).toContain(`ip link set dev eth0 address ${expected}\n`)
    expect(json.interfaces).toEqual([{ name: 'eth0', mac: expected, sandbox: '/proc/self/ns/net' }])
  })

  test('announces its addresses when a program attaches, and waits for none', async () => {
    const dns = { nameservers: ['192.0.2.53'] }
    const { plan, json } = await call('ADD', { dns, ipam: { type: 'true' } }, { env: { CNI_PATH: '/bin' } })
    expect(plan).toContain('container# sysctl -w net/ipv4/conf/eth0/arp_notify=1\n')
    expect(plan).toContain('container# ip addr add 192.0.2.2/24 brd + dev eth0\n')
    expect(json).toMatchObject({ dns, ips: [{ address: '192.0.2.2/24', gateway: '192.0.2.1', interface: 0 }] })
  })
})

describe('what is refused before anything is touched', () => {
  const rows: [what: string, config: object, code: number, text: string, args?: string][] = [
    ['a bad MAC address', { mac: 'zz' }, 7, 'mac: found "zz"'],
    ['a bad MAC address in CNI_ARGS', {}, 7, 'CNI_ARGS MAC: found "zz"', 'MAC=zz'],
    ['an unknown argument', {}, 4, 'unknown args ["FOO=bar"]', 'FOO=bar'],
    ['a user that is no number', { owner: -1 }, 7, 'owner: found -1'],
    ['a context that is not one word', { selinuxContext: 'a b' }, 7, 'selinuxContext: found "a b"'],
    ['a context that is an option', { selinuxContext: '--help' }, 7, 'selinuxContext: found "--help"'],
    ['a bridge that is not there', { bridge: 'nobr' }, 100, 'failed to get bridge nobr'],
    ['a bridge that is none', { bridge: 'lo' }, 100, 'failed to get bridge lo'],
    ['an IPAM plugin that is not there', { ipam: { type: 'none-such' } }, 107, 'none-such'],
    ['a version without a word for it', { cniVersion: '0.2.0' }, 7, 'no valid IP addresses'],
  ]
  test.each(rows)('%s', async (_, config, code, text, CNI_ARGS = '') => {
    const answers = {
      'container# ip -j -d addr show dev nobr': { status: 1, stderr: 'Device "nobr" does not exist.' },
      'container# ip -j -d addr show dev lo': link('lo'),
    }
    const { plan, status, json } = await call('ADD', config, { answers, env: { CNI_ARGS } })
    expect({ plan, status, code: json.code }, JSON.stringify(json)).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })
})

describe('CHECK', () => {
  const prevResult = { interfaces: [{ name: 'eth0', mac, sandbox: '/proc/self/ns/net' }] }
  const device = (more: object = {}, data: object = {}) => ({
    address: mac,
    flags: ['UP'],
    linkinfo: { info_kind: 'tun', info_data: { type: 'tap', multi_queue: false, ...data } },
    ...more,
  })
  const check = (config: object, inside: object) =>
    call(
      'CHECK',
      { prevResult, ...config },
      { answers: { 'container# ip -j -d addr show dev eth0': link('eth0', inside) } },
    )

  test('is content with what ADD made', async () => {
    expect(await check({}, device())).toMatchObject({ status: 0, json: undefined })
    const port = device({ mtu: 1400, master: 'br0' }, { multi_queue: true })
    expect(await check({ mtu: 1400, bridge: 'br0', multiQueue: true }, port)).toMatchObject({ status: 0 })
  })

  test.each([
    ['another kind', {}, { ...device(), linkinfo: { info_kind: 'veth' } }, 'kind: found "veth", expected tun'],
    ['a tun', {}, device({}, { type: 'tun' }), 'type: found "tun", expected tap'],
    ['another size', { mtu: 1400 }, device(), 'mtu: found 1500, expected 1400'],
    ['no bridge', { bridge: 'br0' }, device(), 'master: found "none", expected br0'],
    ['one queue', { multiQueue: true }, device(), 'multi_queue: found false, expected true'],
    ['down', {}, device({ flags: [] }), 'expected the flag UP'],
  ])('%s', async (_, config, inside, text) => {
    expect((await check(config, inside)).json).toMatchObject({ code: 105, details: expect.stringContaining(text) })
  })
})

test('DEL removes the device, and is content without a namespace or with bad arguments', async () => {
  expect((await call('DEL')).plan).toContain('container# ip link del dev eth0\n')
  expect(await call('DEL', {}, { env: { CNI_NETNS: '', CNI_ARGS: 'what=is=this' } })).toMatchObject({ status: 0 })
  expect((await call('DEL', {}, { env: { CNI_NETNS: '/run/netns/none-such' } })).plan).toBe('')
})

test('STATUS asks the kernel for a tap device; GC has nothing of its own', async () => {
  const probe = 'unshare --net ip -batch -'
  expect((await call('STATUS', {}, { answers: { [probe]: '' } })).status).toBe(0)
  const { json } = await call(
    'STATUS',
    {},
    { answers: { [probe]: { status: 1, stderr: 'No such file or directory' } } },
  )
  expect(json).toMatchObject({ code: 50, msg: expect.stringContaining('tap') })
  expect(await call('GC', { 'cni.dev/valid-attachments': [] })).toMatchObject({ plan: '', status: 0 })
})

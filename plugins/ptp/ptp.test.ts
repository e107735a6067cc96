import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { link, type Row, show } from '../../shared/testing/golden.js'

// Where ipam.type leads to this very program, static answers within the process, as in the one binary.
const CNI_PATH = mkdtempSync(join(tmpdir(), 'ptp-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => rmSync(CNI_PATH, { recursive: true }))

// veth names and MAC addresses are hashes of the golden boot ID, network "net", container "c1", interface "eth0".
const end = 'vethdd6ccc806f7'
const four = { address: '10.1.2.3/24', gateway: '10.1.2.1' }
const six = { address: 'fd00::9/64', gateway: 'fd00::1' }

function call(verb: Row['verb'], addresses: readonly object[], config: object = {}, more: Partial<Row> = {}) {
  const ipam = { type: 'static', addresses, ...('routes' in config ? { routes: config.routes } : {}) }
  const row = { plugin: 'ptp', verb, config: { ipam, ...config }, ...more }
  return show({ ...row, env: { CNI_PATH, ...more.env } })
}

/** The plan without the record and the keys of other tests. */
async function planOf(addresses: readonly object[], config: object = {}): Promise<string[]> {
  const { plan, status, json } = await call('ADD', addresses, config, { answers: { 'iptables-save -t nat': '' } })
  expect(status, JSON.stringify(json)).toBe(0)
  return plan.split('\n').filter((line) => line !== '' && !line.includes('unknown key "routes"'))
}

describe('ADD', () => {
  test('both families, from the pair to the routes', async () => {
    expect(
      await planOf([four, six], { mtu: 1400, routes: [{ dst: '0.0.0.0/0' }, { dst: '10.9.0.0/16', gw: '10.1.2.7' }] }),
    ).toEqual([
      '# note ptp of net/c1 in /run/podwire/ptp/net/dd6ccc806f763e1c',
      'sysctl -w net/ipv4/ip_forward=1',
      'sysctl -w net/ipv6/conf/all/forwarding=1',
      `ip link add name ${end} address 02:dd:6c:cc:80:6f txqueuelen 0 mtu 1400 type veth peer name eth0 address 02:08:33:8d:32:e9 mtu 1400 netns /proc/self/ns/net`,
      `sysctl -w net/ipv6/conf/${end}/accept_ra=0`,
      `sysctl -w net/ipv6/conf/${end}/accept_dad=0`,
      `ip link set dev ${end} up`,
      `ip addr add 10.1.2.1/32 dev ${end}`,
      `ip addr add fd00::1/128 dev ${end} nodad`,
      `ip route add 10.1.2.3/32 dev ${end} scope 254`,
      `ip route add fd00::9/128 dev ${end}`,
      'container# sysctl -w net/ipv6/conf/eth0/accept_ra=0',
      'container# sysctl -w net/ipv6/conf/eth0/accept_dad=0',
      'container# sysctl -w net/ipv6/conf/lo/disable_ipv6=0',
      'container# sysctl -w net/ipv6/conf/eth0/disable_ipv6=0',
      'container# sysctl -w net/ipv6/conf/eth0/keep_addr_on_down=1',
      'container# ip addr add 10.1.2.3/24 brd + dev eth0',
      'container# ip addr add fd00::9/64 dev eth0 nodad',
      'container# ip link set dev eth0 up',
      'container# ip route add 10.1.2.1/32 dev eth0 scope 253 src 10.1.2.3',
      'container# ip route add fd00::1/128 dev eth0 src fd00::9',
      'container# ip route prepend 0.0.0.0/0 via 10.1.2.1 dev eth0',
      'container# ip route prepend 10.9.0.0/16 via 10.1.2.7 dev eth0',
      'container# ip route del 10.1.2.0/24 dev eth0 proto kernel',
      'container# ip route add 10.1.2.0/24 via 10.1.2.1 dev eth0 src 10.1.2.3',
      'container# ip route del fd00::/64 dev eth0 proto kernel',
      'container# ip route add fd00::/64 via fd00::1 dev eth0 src fd00::9',
    ])
  })

  const lines: [what: string, addresses: object[], config: object, expected: (string | RegExp)[]][] = [
    ['IPv4 alone leaves IPv6 alone', [four], {}, [/^(?!.*(accept_dad|disable_ipv6|forwarding=1))/]],
    [
      'a /32 has no subnet',
      [{ address: '10.1.2.3/32', gateway: '10.9.9.9' }],
      { routes: [{ dst: '0.0.0.0/0' }] },
      [
        `ip addr add 10.9.9.9/32 dev ${end}`,
        'container# ip route prepend 0.0.0.0/0 via 10.9.9.9 dev eth0',
        /^(?!.*route del)/,
      ],
    ],
    [
      'two addresses of a subnet share gateway and route',
      [four, { ...four, address: '10.1.2.4/24' }],
      {},
      [
        `ip route add 10.1.2.4/32 dev ${end} scope 254`,
        'container# ip route add 10.1.2.0/24 via 10.1.2.1 dev eth0 src 10.1.2.3',
        /^(?!.*src 10\.1\.2\.4)/,
      ],
    ],
    [
      'no gateway: the first address of the subnet',
      [{ address: '10.1.2.3/24' }],
      {},
      [`ip addr add 10.1.2.1/32 dev ${end}`],
    ],
    [
      'masquerade',
      [four],
      { ipMasq: true },
      [/^nft 'add element ip podwire masqueraded \{ 10\.1\.2\.3 comment "net\/eth0\/c1" : jump/],
    ],
    [
      'masquerade by iptables',
      [four],
      { ipMasq: true, ipMasqBackend: 'iptables' },
      [/^iptables -t nat -A POSTROUTING -s 10\.1\.2\.3 /],
    ],
  ]
  test.each(lines)('%s', async (_, addresses, config, expected) => {
    const plan = await planOf(addresses, config)
    for (const one of expected) {
      if (typeof one === 'string') expect(plan).toContain(one)
      else if (one.source.startsWith('^(?!')) expect(plan.filter((line) => !one.test(line))).toEqual([])
      else
        expect(
          plan.some((line) => one.test(line)),
          plan.join('\n'),
        ).toBe(true)
    }
  })

  test('the result names both ends, and the gateway that was chosen', async () => {
    const { json } = await call('ADD', [{ address: '10.1.2.3/24' }], { dns: { nameservers: ['10.1.2.53'] } })
    expect(json).toEqual({
      cniVersion: '1.1.0',
      dns: { nameservers: ['10.1.2.53'] },
      interfaces: [
        { name: end, mac: '02:dd:6c:cc:80:6f' },
        { name: 'eth0', mac: '02:08:33:8d:32:e9', sandbox: '/proc/self/ns/net' },
      ],
      ips: [{ address: '10.1.2.3/24', gateway: '10.1.2.1', interface: 1 }],
    })
  })
})

describe('what is refused before anything is touched', () => {
  const rows: [what: string, addresses: object[], config: object, code: number, text: string][] = [
    ['no IPAM plugin', [], { ipam: {} }, 7, 'ipam.type: found nothing'],
    ['an IPAM plugin that is not there', [], { ipam: { type: 'none-such' } }, 107, 'install the plugin "none-such"'],
    ['no address', [], {}, 107, 'IPAM plugin returned missing IP config'],
    ['a /32 without a gateway', [{ address: '10.1.2.3/32' }], {}, 107, 'no gateway for 10.1.2.3/32'],
    ['a container that is its own gateway', [{ address: 'fd00::1/64' }], {}, 107, 'no gateway for fd00::1/64'],
    ['an unknown backend', [four], { ipMasqBackend: 'foo' }, 7, 'ipMasqBackend: found "foo"'],
    ['two mistakes', [four], { mtu: -1, ipMasq: 'yes' }, 7, '2 mistakes'],
  ]
  test.each(rows)('%s', async (_, addresses, config, code, text) => {
    const { plan, status, json } = await call('ADD', addresses, config)
    expect({ plan, status, code: json.code }).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })

  test('STATUS misses an IPAM plugin, too', async () => {
    const { json } = await call('STATUS', [], { ipam: {} })
    expect(json).toMatchObject({ code: 7, details: expect.stringContaining('ipam.type') })
  })
})

describe('CHECK', () => {
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{ name: end }, { name: 'eth0', mac: '02:08:33:8d:32:e9', sandbox: '/proc/self/ns/net' }],
    ips: [{ ...four, interface: 1 }],
  }
  const inside = link('eth0', {
    ifindex: 2,
    address: '02:08:33:8d:32:e9',
    link_index: 9,
    linkinfo: { info_kind: 'veth' },
    addr_info: [{ family: 'inet', local: '10.1.2.3', prefixlen: 24 }],
  })
  const gateway = { addr_info: [{ family: 'inet', local: '10.1.2.1', prefixlen: 32 }] }
  const check = (host: object, routes: object[]) =>
    call(
      'CHECK',
      [four],
      { prevResult },
      {
        answers: {
          'container# ip -j -d addr show dev eth0': inside,
          [`ip -j -d addr show dev ${end}`]: link(end, { ifindex: 9, link_index: 2, ...host }),
          'ip -N -j -d -6 -batch -': '[]\n[]\n',
          'ip -N -j -d -4 -batch -': `[]\n${JSON.stringify(routes)}\n`,
        },
      },
    )

  test('is content with what ADD made', async () => {
    expect(await check(gateway, [{ dst: '10.1.2.3', dev: end }])).toMatchObject({ status: 0, json: undefined })
  })

  test.each([
    [
      'another end',
      { ...gateway, ifindex: 10 },
      [],
      'prevResult.interfaces: found ["vethdd6ccc806f7"], expected the other end of eth0',
    ],
    ['no gateway', {}, [{ dst: '10.1.2.3', dev: end }], `interface ${end} addresses: found [], expected 10.1.2.1`],
    [
      'no route',
      gateway,
      [{ dst: '10.1.2.3', dev: 'other' }],
      `routes on ${end}: found "none", expected a route to 10.1.2.3`,
    ],
  ])('%s', async (_, host, routes, text) => {
    const { json } = await check(host, routes)
    expect(json).toMatchObject({ code: 105, details: expect.stringContaining(text) })
  })
})

describe('DEL', () => {
  const forget = ['masquerade', 'ptp'].map((kind) => `# forget /run/podwire/${kind}/net/dd6ccc806f763e1c\n`).join('')

  test("removes our end by its name, else the container's", async () => {
    expect((await call('DEL', [four], {}, { links: [end] })).plan).toBe(`ip link del dev ${end}\n${forget}`)
    expect((await call('DEL', [four])).plan).toBe(`container# ip link del dev eth0\n${forget}`)
  })

  test('is content without a namespace, without IPAM and with a broken configuration', async () => {
    const { plan, status } = await call('DEL', [], { ipam: {}, mtu: 'x' }, { env: { CNI_NETNS: '' } })
    expect({ status, plan }).toEqual({ status: 0, plan: expect.stringMatching(/DEL goes on without mtu.*\n# forget/) })
  })
})

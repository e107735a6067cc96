import { describe, expect, test } from 'vitest'
import { link, type Row, show } from '../../shared/testing/golden.js'

// veth names and MAC addresses are hashes of the golden boot ID, network "net", container "c1", interface "eth0".
const port = 'vethdd6ccc806f7'
const look = 'ip -j -d addr show dev cni0'
const note = '# note bridge of net/c1 in /run/podwire/bridge/net/dd6ccc806f763e1c\n'
const pair = `ip link add name ${port} address 02:dd:6c:cc:80:6f txqueuelen 0 master cni0 type veth peer name eth0 address 02:08:33:8d:32:e9 netns /proc/self/ns/net`
const openPort = `sysctl -w net/ipv6/conf/${port}/accept_ra=0\nip link set dev ${port} up\n`

const bridge = (more: object = {}) =>
  link('cni0', {
    flags: ['UP'],
    address: '02:aa:00:00:00:01',
    linkinfo: { info_kind: 'bridge', info_data: {} },
    ...more,
  })

/** What sysfs tells of a bridge: its number, and that somebody has set its address. */
const fixed = (ifindex: number, assigned = '3') => ({
  '/sys/class/net/cni0/addr_assign_type': `${assigned}\n`,
  '/sys/class/net/cni0/ifindex': `${ifindex}\n`,
})

/** A plan for a network whose bridge is there. */
function row(config: object, more: Partial<Row> = {}): Row {
  return { plugin: 'bridge', verb: 'ADD', config, links: ['cni0'], answers: { [look]: bridge() }, ...more }
}

describe('ADD without addresses', () => {
  const wholePlan = `${note}ip link set dev cni0 up\n${pair}\nsysctl -w net/ipv6/conf/cni0/accept_ra=0\n${openPort}container# sysctl -w net/ipv6/conf/eth0/accept_ra=0\ncontainer# ip link set dev eth0 up\n`

  test('on a bridge that is there', async () => {
    const { plan, json } = await show(row({}, { files: fixed(7) }))
    expect(plan).toBe(wholePlan)
    expect(json.interfaces).toEqual([
      { name: 'cni0', mac: '02:aa:00:00:00:01' },
      { name: port, mac: '02:dd:6c:cc:80:6f' },
      { name: 'eth0', mac: '02:08:33:8d:32:e9', sandbox: '/proc/self/ns/net' },
    ])
  })

  const own = '02:2f:1d:32:9e:e0'
  const addresses: [what: string, address: string, files: Record<string, string>, fixedAs: string | undefined][] = [
    ['one that follows its ports gets the one it has', '02:aa:00:00:00:01', fixed(7, '1'), '02:aa:00:00:00:01'],
    ['one without ports, too, gets its random one', '7e:aa:00:00:00:01', fixed(7, '1'), '7e:aa:00:00:00:01'],
    ['one that lost its last port gets ours', '00:00:00:00:00:00', fixed(7, '1'), own],
    ['also where it had been set', '00:00:00:00:00:00', fixed(7), own],
    ['where sysfs is of another namespace it is set again', '02:aa:00:00:00:01', fixed(8), '02:aa:00:00:00:01'],
    ['where there is no sysfs, too', '02:aa:00:00:00:01', {}, '02:aa:00:00:00:01'],
    ['one of ours needs no look', own, {}, undefined],
  ]
  test.each(addresses)('the address of a bridge that is there: %s', async (_, address, files, fixedAs) => {
    for (const isGateway of [false, true]) {
      const { plan, json } = await show(row({ isGateway }, { files, answers: { [look]: bridge({ address }) } }))
      const line = `ip link set dev cni0 address ${fixedAs}\n`
      expect(plan.includes(`${note}${line}ip link set dev cni0 up\n${pair}\n`)).toBe(fixedAs !== undefined)
      expect(plan.includes(`${note}ip link set dev cni0 up\n${pair}\n`)).toBe(fixedAs === undefined)
      expect(json.interfaces[0]).toEqual({ name: 'cni0', mac: fixedAs ?? address })
    }
  })

  const firstLines: [string, object, string][] = [
    [
      'makes an absent bridge with a MAC address of its own',
      {},
      'ip link add name cni0 address 02:2f:1d:32:9e:e0 type bridge',
    ],
    ['gives it the MTU', { mtu: 1400 }, 'ip link add name cni0 address 02:2f:1d:32:9e:e0 mtu 1400 type bridge'],
    [
      'makes it look at tags',
      { vlan: 5 },
      'ip link add name cni0 address 02:2f:1d:32:9e:e0 type bridge vlan_filtering 1',
    ],
  ]
  test.each(firstLines)('%s', async (_, config, line) => {
    const { plan } = await show(row(config, { links: [] }))
    expect(plan.split('\n')).toContain(line)
  })

  const portLines: [string, object, string[]][] = [
    ['hairpinMode', { hairpinMode: true }, [`ip link set dev ${port} type bridge_slave hairpin on`]],
    ['portIsolation', { portIsolation: true }, [`ip link set dev ${port} type bridge_slave isolated on`]],
    ['promiscMode', { promiscMode: true }, ['ip link set dev cni0 promisc on']],
    [
      'mtu on both ends',
      { mtu: 1400 },
      [pair.replace('master', 'mtu 1400 master').replace(' netns', ' mtu 1400 netns')],
    ],
    ['vlan', { vlan: 100 }, [`bridge vlan del dev ${port} vid 1`, `bridge vlan add dev ${port} vid 100 pvid untagged`]],
    ['vlan on a bridge that ignores tags', { vlan: 100 }, ['ip link set dev cni0 type bridge vlan_filtering 1']],
    [
      'a trunk with the native VLAN 1',
      { vlanTrunk: [{ minID: 101, maxID: 102 }, { id: 200 }, { id: 101 }] },
      [
        `bridge vlan add dev ${port} vid 101`,
        `bridge vlan add dev ${port} vid 102`,
        `bridge vlan add dev ${port} vid 200`,
        `bridge vlan add dev ${port} vid 1 pvid untagged`,
      ],
    ],
  ]
  test.each(portLines)('%s', async (_, config, lines) => {
    const { plan } = await show(row(config))
    const found = plan.split('\n')
    for (const line of lines) expect(found).toContain(line)
  })

  const portVlans: [what: string, config: object, data: object, vlans: string[]][] = [
    ['none', {}, {}, []],
    ['one', { vlan: 7 }, {}, ['del 1', 'add 7 pvid untagged']],
    ['VLAN 1', { vlan: 1 }, {}, ['add 1 pvid untagged']],
    ['one, and the default one is kept', { vlan: 7, preserveDefaultVlan: true }, {}, ['add 7 pvid untagged']],
    ['one on a bridge with another default', { vlan: 7 }, { vlan_default_pvid: 9 }, ['del 9', 'add 7 pvid untagged']],
    ['one on a bridge without a default', { vlan: 7 }, { vlan_default_pvid: 0 }, ['add 7 pvid untagged']],
    [
      'a trunk, each once and in order',
      { vlanTrunk: [{ id: 12 }, { minID: 2, maxID: 3 }, { id: 3 }] },
      {},
      ['add 2', 'add 3', 'add 12', 'add 1 pvid untagged'],
    ],
    [
      'a trunk with the own one',
      { vlan: 3, vlanTrunk: [{ minID: 2, maxID: 3 }] },
      {},
      ['del 1', 'add 2', 'add 3 pvid untagged'],
    ],
    ['a trunk of none', { vlanTrunk: [] }, {}, []],
    ['a trunk that says nothing', { vlanTrunk: [{}] }, {}, []],
  ]
  test.each(portVlans)('VLANs of a port: %s', async (_, config, info_data, vlans) => {
    const answers = { [look]: bridge({ linkinfo: { info_kind: 'bridge', info_data } }) }
    const { plan } = await show(row(config, { answers }))
    const found = [...plan.matchAll(new RegExp(`^bridge vlan (add|del) dev ${port} vid (.*)$`, 'gm'))]
    expect(found.map(([, verb, words]) => `${verb} ${words}`)).toEqual(vlans)
  })

  test('disableContainerInterface leaves the container end down', async () => {
    const { plan } = await show(row({ disableContainerInterface: true }))
    expect(plan).not.toContain('eth0 up')
  })

  const macs: [string, Partial<Row>, object][] = [
    ['CNI_ARGS', { env: { CNI_ARGS: 'MAC=02:00:00:00:00:0A' } }, {}],
    [
      'args over CNI_ARGS',
      { env: { CNI_ARGS: 'MAC=02:00:00:00:00:01' } },
      { args: { cni: { mac: '02-00-00-00-00-0a' } } },
    ],
    [
      'runtimeConfig over args',
      {},
      { args: { cni: { mac: '02:00:00:00:00:01' } }, RuntimeConfig: { Mac: '0200.0000.000a' } },
    ],
  ]
  test.each(macs)('the MAC address by %s', async (_, more, config) => {
    const { json } = await show(row(config, more))
    expect(json.interfaces[2].mac).toBe('02:00:00:00:00:0a')
  })

  test('macspoofchk lets only the own MAC address out of the port', async () => {
    const { plan } = await show(row({ macspoofchk: true }))
    expect(plan).toContain(
      `nft 'add element bridge podwire allowed_macs { "${port}" . 02:08:33:8d:32:e9 comment "net/eth0/c1" }'\n` +
        `nft 'add element bridge podwire guarded_ports { "${port}" comment "net/eth0/c1" }'\n`,
    )
    expect(plan).toContain('iifname @guarded_ports iifname . ether saddr != @allowed_macs drop')
  })
})

describe('what ADD refuses before anything is touched', () => {
  const rows: [string, object, number, string][] = [
    ['hairpin with promiscuous', { hairpinMode: true, promiscMode: true }, 7, 'promiscMode: found true'],
    ['a VLAN out of range', { vlan: 4095 }, 7, 'vlan: found 4095, expected an integer from 0 to 4094'],
    ['a trunk without its end', { vlanTrunk: [{ minID: 3 }] }, 7, 'maxID is missing'],
    ['a trunk without its beginning', { vlanTrunk: [{ maxID: 3 }] }, 7, 'minID is missing'],
    ['a trunk upside down', { vlanTrunk: [{ minID: 3, maxID: 2 }] }, 7, 'not greater than maxID'],
    ['null in a trunk', { vlanTrunk: [null] }, 7, 'vlanTrunk[0]: found null, expected an object'],
    ['addresses for an interface that stays down', { disableContainerInterface: true, ipam: { type: 'x' } }, 7, 'ipam'],
    ['an unknown masquerade backend', { ipMasqBackend: 'foo' }, 7, 'one of "nftables", "iptables"'],
    ['a MAC address that is none', { runtimeConfig: { mac: 'zz' } }, 7, 'runtimeConfig.mac: found "zz"'],
    ['a version that needs an address', { cniVersion: '0.2.0' }, 7, 'cniVersion: found "0.2.0"'],
    ['a bridge name that injects', { bridge: 'a\nlink del b' }, 7, 'bridge: found'],
    ['a gateway name that is too long', { bridge: 'a-long-name0', vlan: 1000, isGateway: true }, 7, 'at most 15 bytes'],
  ]
  test.each(rows)('%s', async (_, config, code, details) => {
    const { plan, status, json } = await show(row(config))
    expect({ plan, status, code: json.code }).toEqual({ plan: '', status: 1, code })
    expect(json.details).toContain(details)
    expect(json.msg).toMatch(/^bridge: network "net": |^cannot convert/)
  })

  test('all mistakes at once', async () => {
    const { json } = await show(row({ mtu: 'x', isGateway: 1, vlan: -1 }))
    expect(json.msg).toContain('3 mistakes')
    expect(json.details.split('\n')).toHaveLength(3)
  })

  test('a link of the bridge name that is no bridge', async () => {
    const answers = { [look]: link('cni0', { linkinfo: { info_kind: 'dummy' } }) }
    const { json } = await show(row({}, { answers }))
    expect(json).toMatchObject({ code: 103, msg: expect.stringContaining('"cni0" already exists but is not a bridge') })
  })

  test('a misspelt key only warns', async () => {
    const { plan, status } = await show(row({ isGatway: true }))
    expect(status).toBe(0)
    expect(plan).toContain('unknown key "isGatway" is ignored; did you mean "isGateway"?')
  })
})

describe('DEL', () => {
  const forget =
    '# forget /run/podwire/masquerade/net/dd6ccc806f763e1c\n# forget /run/podwire/bridge/net/dd6ccc806f763e1c\n'
  const del = (config: object, more: Partial<Row> = {}) => show({ plugin: 'bridge', verb: 'DEL', config, ...more })

  test('removes our port by its name', async () => {
    expect((await del({}, { links: [port] })).plan).toBe(`ip link del dev ${port}\n${forget}`)
  })

  test("removes another suite's pair by the container's end", async () => {
    expect((await del({})).plan).toBe(`container# ip link del dev eth0\n${forget}`)
  })

  test('is content with nothing there and no namespace', async () => {
    for (const CNI_NETNS of ['', '/run/netns/none-such']) {
      expect(await del({}, { env: { CNI_NETNS } })).toEqual({ plan: forget, status: 0, json: undefined })
    }
  })

  test('goes on with a broken configuration and broken CNI_ARGS', async () => {
    const { status, plan } = await del({ vlan: 'x', mtu: {} }, { env: { CNI_ARGS: 'A=B=C' }, links: [port] })
    expect(status).toBe(0)
    expect(plan).toContain(`ip link del dev ${port}\n`)
    expect(plan).toContain('DEL goes on without vlan')
  })

  test('without a record looks for masquerade rules by their owner, also those of the official suite', async () => {
    const element = { elem: { val: '10.1.0.2', comment: 'net/eth0/c1' } }
    const answers = {
      'nft -j list map ip podwire masqueraded': { nftables: [{ map: { elem: [[element, 'jump']] } }] },
      'nft -j list map ip6 podwire masqueraded': { status: 1, stderr: 'Error: No such file or directory' },
      'iptables-save -t nat': '*nat\n:CNI-64d0 - [0:0]\nCOMMIT\n',
      'ip6tables-save -t nat': '',
      'nft -j list chain inet cni_plugins_masquerade masq_checks': { status: 1, stderr: 'No such file or directory' },
    }
    const listed = {
      ...answers,
      'nft -j list map ip podwire masqueraded': JSON.stringify(answers['nft -j list map ip podwire masqueraded']),
    }
    const { plan } = await del({ ipMasq: true }, { answers: listed, links: [port] })
    expect(plan).toContain("nft 'delete element ip podwire masqueraded { 10.1.0.2 }'\n")
  })
})

import { describe, expect, test } from 'vitest'
import type { Files } from '../../shared/exec/files.js'
import { forgetFlows } from '../../shared/net/conntrack.js'
import { netns, type Row, show } from '../../shared/testing/golden.js'
import { createObserver } from '../../shared/tools/observer.js'
import { type Address, parseAddress } from '../../shared/values/address.js'

const note = '# note portmap of net/c1 in /run/podwire/portmap/net/dd6ccc806f763e1c\n'
const special = (folder: number) =>
  `# note portmap-special of net/c1 in /run/podwire/portmap-special/${folder}/dd6ccc806f763e1c\n`
const comment = 'comment "net/eth0/c1"'
const owner = (family = 'ip') =>
  `nft 'create element ${family} podwire portmap_owners { "dd6ccc806f763e1" ${comment} }'`
const hairpin = `nft 'create element ip podwire portmap_hairpin { 10.9.0.2 ${comment} : jump portmap_hairpin_10.9.0.0/24 }'`
const localnet = 'sysctl -w net/ipv4/conf/br0/route_localnet=1\n'

const routes = [
  'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
  'eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
  'br0\t0000090A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
  'veth1\t0500090A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0',
  '',
].join('\n')

const prevResult = (...addresses: string[]) => ({
  cniVersion: '1.1.0',
  interfaces: [{ name: 'br0' }, { name: 'eth0', sandbox: netns }],
  ips: addresses.map((address) => ({ address, interface: 1 })),
})

const port = (hostPort: number, containerPort: number, protocol = 'tcp', hostIP?: string) => ({
  hostPort,
  containerPort,
  protocol,
  ...(hostIP === undefined ? {} : { hostIP }),
})

function row(mappings: object[], config: object = {}, more: Partial<Row> = {}): Row {
  return {
    plugin: 'portmap',
    verb: 'ADD',
    config: { prevResult: prevResult('10.9.0.2/24'), runtimeConfig: { portMappings: mappings }, ...config },
    ...more,
    answers: { 'nft list chains': '', ...more.answers },
    files: {
      '/proc/net/route': routes,
      '/proc/net/tcp': '',
      '/proc/net/udp': '',
      '/proc/net/fib_trie': '  |-- 192.0.2.1\n     /32 host LOCAL\n',
      '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
      ...more.files,
    },
  }
}

/** The plan without its declarations, which only a first ADD sends. */
async function elements(one: Row): Promise<string> {
  const { plan } = await show(one)
  const isDeclaration = (line: string) => /^nft ('?add |flush )/.test(line)
  return plan
    .split('\n')
    .filter((line) => !isDeclaration(line))
    .join('\n')
}

const element = (map: string, ...texts: string[]) => `nft 'create element ip podwire ${map} { ${texts.join(' , ')} }'`
const reserved = (...keys: string[]) =>
  `${element('portmap_ports', ...keys.map((key) => `${key} : 0.0.0.0 . 0`))}\nnft 'delete element ip podwire portmap_ports { ${keys.join(' , ')} }'`

describe('ADD by nftables', () => {
  const rows: [string, object[], string[]][] = [
    ['one port', [port(8080, 80)], [element('portmap_ports', `tcp . 8080 ${comment} : 10.9.0.2 . 80`), hairpin]],
    [
      'protocols in any case, the same mapping once',
      [port(8080, 80, 'TCP'), port(53, 5353, 'Udp'), port(9000, 9001, 'sctp'), port(8080, 80)],
      [
        element(
          'portmap_ports',
          `sctp . 9000 ${comment} : 10.9.0.2 . 9001`,
          `tcp . 8080 ${comment} : 10.9.0.2 . 80`,
          `udp . 53 ${comment} : 10.9.0.2 . 5353`,
        ),
        hairpin,
      ],
    ],
    [
      'hostIP: unspecified is every address, the other family is not ours',
      [port(8080, 80, 'tcp', '0.0.0.0'), port(8081, 80, 'tcp', '::'), port(8082, 80, 'tcp', '')],
      [
        element('portmap_ports', `tcp . 8080 ${comment} : 10.9.0.2 . 80`, `tcp . 8082 ${comment} : 10.9.0.2 . 80`),
        hairpin,
      ],
    ],
  ]
  test.each(rows)('%s', async (_, mappings, lines) => {
    expect(await elements(row(mappings))).toBe(`${note}${owner()}\n${lines.join('\n')}\n${localnet}`)
  })

  test('a port of one address: nobody may have it for all', async () => {
    expect(await elements(row([port(8080, 80, 'tcp', '127.0.0.1')]))).toBe(
      [
        `${note}${special(31)}${owner()}`,
        element('portmap_addresses', `127.0.0.1 . tcp . 8080 ${comment} : 10.9.0.2 . 80`),
        hairpin,
        reserved('tcp . 8080'),
        localnet,
      ].join('\n'),
    )
  })

  test('ports in a row that keep their numbers are a range, fewer than four and shifted ones are not', async () => {
    const mappings = [7, 5, 6, 4].map((number) => port(8000 + number, 8000 + number))
    const others = [
      port(9000, 9000),
      port(9001, 9001),
      ...[1, 2, 3, 4].map((number) => port(100 + number, 200 + number)),
    ]
    const plan = await elements(row([...mappings, ...others]))
    expect(plan).toContain(element('portmap_ranges', `tcp . 8004-8007 ${comment} : 10.9.0.2`))
    expect(plan).toContain(reserved('tcp . 8004', 'tcp . 8005', 'tcp . 8006', 'tcp . 8007'))
    for (const single of ['101', '104', '9000', '9001']) expect(plan).toContain(`tcp . ${single} ${comment} :`)
  })

  test('both families in one plan', async () => {
    const both = prevResult('10.9.0.2/24', 'fd09::2/64')
    const plan = await elements(row([port(8080, 80)], { prevResult: both }))
    expect(plan).toContain(
      `${owner('ip6')}\nnft 'create element ip6 podwire portmap_ports { tcp . 8080 ${comment} : fd09::2 . 80 }'`,
    )
    expect(plan).toContain(`portmap_hairpin { fd09::2 ${comment} : jump portmap_hairpin_fd09--/64 }`)
  })

  const without: [string, object, string[]][] = [
    ['snat false: no masquerade, loopback stays closed', { snat: false }, ['jump portmap_hairpin', 'route_localnet']],
    [
      'another interface has the address',
      { prevResult: { ...prevResult('10.9.0.2/24'), interfaces: [] } },
      ['nothing'],
    ],
  ]
  test.each(without)('%s', async (_, config, absent) => {
    const plan = await elements(row([port(8080, 80)], config))
    for (const text of absent) expect(plan).not.toContain(text)
    expect(plan).toContain('portmap_ports')
  })

  test('masqAll and conditions', async () => {
    const conditionsV4 = ['ip saddr', '10.0.0.0/8']
    const { plan } = await show(row([port(8080, 80)], { masqAll: true, conditionsV4 }))
    expect(plan).toContain('jump portmap_masquerade_all')
    const [, chain = ''] = /portmap_conditions \{ tcp \. 8080 .* : jump (\S+) \}/.exec(plan) ?? []
    expect(plan).toContain(
      `nft add rule ip podwire ${chain} ip saddr 10.0.0.0/8 return\nnft add rule ip podwire ${chain} accept\n`,
    )
  })

  test('what a first ADD declares', async () => {
    const { plan } = await show(row([port(8080, 80)]))
    const lines = plan.split('\n')
    expect(lines.filter((line) => /^nft '?add rule/.test(line))).toEqual([
      'nft add rule ip podwire portmap_hairpin_10.9.0.0/24 ip saddr 127.0.0.0/8 masquerade',
      'nft add rule ip podwire portmap_hairpin_10.9.0.0/24 ip saddr 10.9.0.0/24 masquerade',
      'nft add rule ip podwire portmap ip daddr . meta l4proto . th dport vmap @portmap_address_conditions',
      'nft add rule ip podwire portmap dnat ip to ip daddr . meta l4proto . th dport map @portmap_addresses',
      'nft add rule ip podwire portmap meta l4proto . th dport vmap @portmap_conditions',
      'nft add rule ip podwire portmap dnat ip to meta l4proto . th dport map @portmap_ports',
      'nft add rule ip podwire portmap dnat ip to meta l4proto . th dport map @portmap_ranges',
      'nft add rule ip podwire portmap_prerouting fib daddr type local jump portmap',
      'nft add rule ip podwire portmap_output fib daddr type local jump portmap',
      'nft add rule ip podwire portmap_postrouting ct status dnat ip daddr vmap @portmap_hairpin',
      `nft 'add rule ip podwire portmap_guard ip daddr 127.0.0.0/8 iifname != "lo" drop'`,
      `nft 'add rule ip podwire portmap_guard ip saddr 127.0.0.0/8 iifname != "lo" drop'`,
    ])
  })

  test('an address that is its own subnet has no chain of its own', async () => {
    const { plan } = await show(row([port(8080, 80)], { prevResult: prevResult('10.9.0.2/32', 'fd09::2/128') }))
    const lines = plan.split('\n')
    expect(lines.filter((line) => /portmap_hairpin_(?!alone)/.test(line))).toEqual([])
    for (const family of ['ip', 'ip6']) {
      expect(lines).toContain(
        `nft add rule ${family} podwire portmap_hairpin_alone ${family} saddr . ${family} daddr @portmap_alone masquerade`,
      )
    }
  })

  test('what another plugin lists and is no link comes back as it is', async () => {
    const given = {
      cniVersion: '1.1.0',
      interfaces: [
        { name: 'eni9381c30abed' },
        { mac: '254', name: 'eth0', sandbox: netns },
        { mac: '0', name: 'dummy9381c30abed', sandbox: '0' },
      ],
      ips: [{ address: '10.9.0.2/32', interface: 1 }],
    }
    const { plan, json } = await show(row([port(8080, 80)], { prevResult: given }))
    expect(plan).toContain('portmap_ports { tcp . 8080')
    expect(json).toEqual(given)
  })

  test('nothing to publish: prevResult comes back', async () => {
    const { plan, json } = await show(row([]))
    expect([plan, json]).toEqual(['', prevResult('10.9.0.2/24')])
  })
})

describe('ADD refuses', () => {
  const rows: [string, object[], object, string][] = [
    ['a port of 0', [port(0, 80)], {}, 'portMappings[0].hostPort: found 0, expected an integer from 1 to 65535'],
    ['a port too big', [port(1, 65536)], {}, 'portMappings[0].containerPort: found 65536'],
    ['no protocol', [{ hostPort: 1, containerPort: 1 }], {}, 'portMappings[0].protocol: found "", expected one of'],
    ['a bad hostIP', [port(1, 1, 'tcp', 'lo')], {}, 'portMappings[0].hostIP: found "lo"'],
    ['a contradiction', [port(1, 1), port(1, 2)], {}, 'portMappings[1].containerPort: found 2, expected 1'],
    ['another backend', [], { backend: 'ebpf' }, 'backend: found "ebpf", expected one of "nftables", "iptables"'],
    ['two marks', [], { externalSetMarkChain: 'X', markMasqBit: 1 }, 'markMasqBit: found 1, expected nothing'],
    ['a bit too high', [], { markMasqBit: 32 }, 'markMasqBit: found 32, expected an integer from 0 to 31'],
    ["iptables' words", [], { backend: 'nftables', conditionsV4: ['-s', '1.2.3.4'] }, 'conditionsV4: found ["-s"'],
    ["nftables' words", [], { backend: 'iptables', conditionsV6: ['ip6', 'saddr'] }, 'conditionsV6: found ["ip6"'],
    ['a second command', [], { conditionsV4: ['ip saddr 1.2.3.4 ; flush ruleset'] }, 'expected words of one match'],
  ]
  test.each(rows)('%s', async (_, mappings, config, text) => {
    const { status, json } = await show(row(mappings, config))
    expect(status).toBe(1)
    expect(json.code).toBe(7)
    expect(json.details).toContain(text)
  })

  test('a chain without prevResult', async () => {
    const { json } = await show(row([port(1, 1)], { prevResult: undefined }))
    expect(json).toMatchObject({
      code: 7,
      msg: 'portmap: network "net": Required prevResult missing: must be called as chained plugin',
    })
  })

  const socket = (local: string, state: string) =>
    `head\n 0: ${local} 00000000:0000 ${state} 0:0 0:0 0 0 0 99999999 1\n`
  const heads: [string, Record<string, string>, string, number][] = [
    ['a listener', { '/proc/net/tcp': socket('00000000:1F90', '0A') }, '8080/tcp', 106],
    ['one on every IPv6 address', { '/proc/net/tcp6': socket(`${'0'.repeat(32)}:1F90`, '0A') }, '8080/tcp', 106],
    [
      'one on a mapped address of the host',
      { '/proc/net/tcp6': socket(`0000000000000000FFFF0000010200C0:1F90`, '0A') },
      '8080/tcp',
      106,
    ],
  ]
  test.each(heads)('%s', async (_, files, text, code) => {
    const { json } = await show(row([port(8080, 80)], {}, { files }))
    expect(json).toMatchObject({ code })
    expect(json.msg).toContain(text)
  })

  const harmless: [string, Record<string, string>, object][] = [
    ['a connection', { '/proc/net/tcp': socket('00000000:1F90', '01') }, port(8080, 80)],
    ['another protocol', { '/proc/net/udp': socket('00000000:1F90', '07') }, port(8080, 80)],
    ['another address', { '/proc/net/tcp': socket('0100007F:1F90', '0A') }, port(8080, 80, 'tcp', '192.0.2.1')],
    ['the loopback', { '/proc/net/tcp': socket('0100007F:1F90', '0A') }, port(8080, 80)],
    ['a UDP client', { '/proc/net/udp': socket('00000000:8000', '07') }, port(32768, 80, 'udp')],
    ['one IPv6 address', { '/proc/net/tcp6': socket('00000000000000000000000001000000:1F90', '0A') }, port(8080, 80)],
  ]
  test.each(harmless)('but not %s', async (_, files, mapping) => {
    expect((await show(row([mapping], {}, { files }))).status).toBe(0)
  })
})

describe('beside listeners', () => {
  const socket = (local: string) => ` 0: ${local} 00000000:0000 07 0:0 0:0 0 0 0 99999999 1\n`
  const resolver = { '/proc/net/udp': `head\n${socket('3500007F:0035')}${socket('3500007F:0035')}` }

  test('a port of a loopback address is left to its listener, one element more', async () => {
    const spared = element('portmap_address_conditions', `127.0.0.53 . udp . 53 ${comment} : accept`)
    expect(await elements(row([port(53, 5353, 'udp')], {}, { files: resolver }))).toBe(
      [
        `${note}${owner()}`,
        element('portmap_ports', `udp . 53 ${comment} : 10.9.0.2 . 5353`),
        spared,
        hairpin,
        localnet,
      ].join('\n'),
    )
  })

  test('by iptables it is the first rule of the chain', async () => {
    const answers = { 'iptables-save -t nat': '', 'iptables-save -t raw': '' }
    const config = { backend: 'iptables' }
    const { plan } = await show(row([port(53, 5353, 'udp')], config, { files: resolver, answers }))
    const own = plan.split('\n').filter((line) => line.startsWith('iptables -t nat -A CNI-DN-'))
    expect(own.map((line) => line.split(' ').slice(5).join(' '))).toEqual([
      '-p udp --dport 53 -d 127.0.0.53 -j RETURN',
      '-p udp --dport 53 -s 10.9.0.2/24 -j CNI-HOSTPORT-SETMARK',
      '-p udp --dport 53 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK',
      '-p udp --dport 53 -j DNAT --to-destination 10.9.0.2:5353',
    ])
  })

  test('who asks for that very address is refused', async () => {
    const mappings = [port(53, 5353, 'udp'), port(53, 5353, 'udp', '127.0.0.53')]
    const { json } = await show(row(mappings, {}, { files: resolver }))
    expect(json).toMatchObject({ code: 106, details: expect.stringContaining('bound to 127.0.0.53:53/udp') })
    expect(json.details).toContain('give a hostIP that is not 127.0.0.53, or conditions that exclude it')
  })

  test.each([
    [['!', '-d', '192.0.2.1'], 0],
    [['!', '-d', '192.0.2.3'], 1],
    [['ip', 'daddr', '!=', '192.0.2.1'], 0],
    [['ip', 'daddr', '!=', '192.0.2.3'], 1],
  ])('conditions %j and a listener on 192.0.2.1: status %d', async (conditionsV4, expected) => {
    const answers = { 'iptables-save -t nat': '', 'iptables-save -t raw': '' }
    const files = { '/proc/net/udp': `head\n${socket('010200C0:0035')}` }
    const { status, plan } = await show(row([port(53, 53, 'udp')], { conditionsV4 }, { files, answers }))
    expect(status).toBe(expected)
    expect(plan).not.toMatch(/: accept|RETURN/)
  })

  const endpoint = (state: number, ...at: string[]) =>
    ` ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\nffff0001 ffff0002 2   ${state}  40   9000      0 99999999 ${at.join(' ')} \n`
  test.each([
    [10, ['0.0.0.0'], 1],
    [10, ['0000:0000:0000:0000:0000:0000:0000:0000'], 1],
    [10, ['127.0.0.1', '192.0.2.1'], 1],
    [10, ['127.0.0.1'], 0],
    [7, ['0.0.0.0'], 0],
  ])('an SCTP endpoint in state %d on %j: status %d', async (state, at, expected) => {
    const files = { '/proc/net/sctp/eps': endpoint(state, ...at) }
    const { status, json } = await show(row([port(9000, 9000, 'sctp')], {}, { files }))
    expect(status).toBe(expected)
    if (expected === 1) expect(json.msg).toContain('cannot publish host port 9000/sctp')
  })

  test('a UDP socket on a port for clients is told of', async () => {
    const files = { '/proc/net/udp': `head\n${socket('00000000:8000')}` }
    const { plan, status } = await show(row([port(32768, 53, 'udp')], {}, { files }))
    expect(status).toBe(0)
    expect(plan).toContain('portmap: a process of the host is bound to 0.0.0.0:32768/udp; if it is a server')
  })
})

describe('ADD by iptables', () => {
  const saves = { 'iptables-save -t nat': '', 'iptables-save -t raw': '' }
  const chain = 'CNI-DN-db98e2e4b6cb2a4a6c6a5'
  const plan = async (mappings: object[], config: object = {}, answers: Row['answers'] = saves) =>
    (await show(row(mappings, { backend: 'iptables', ...config }, { answers }))).plan.replaceAll(
      /CNI-DN-[0-9a-f]{21}/g,
      chain,
    )

  test('the whole plan', async () => {
    expect(await plan([port(8080, 80)])).toBe(`${note}${special(31)}iptables -t nat -N CNI-HOSTPORT-SETMARK
iptables -t nat -N CNI-HOSTPORT-MASQ
iptables -t nat -N ${chain}
iptables -t nat -N CNI-HOSTPORT-DNAT
iptables -t nat -A CNI-HOSTPORT-SETMARK -m comment --comment 'CNI portfwd masquerade mark' -j MARK --set-xmark 0x2000/0x2000
iptables -t nat -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
iptables -t nat -I POSTROUTING 1 -m comment --comment 'CNI portfwd requiring masquerade' -j CNI-HOSTPORT-MASQ
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
iptables -t nat -A ${chain} -p tcp --dport 8080 -s 10.9.0.2/24 -j CNI-HOSTPORT-SETMARK
iptables -t nat -A ${chain} -p tcp --dport 8080 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK
iptables -t nat -A ${chain} -p tcp --dport 8080 -j DNAT --to-destination 10.9.0.2:80
iptables -t nat -A CNI-HOSTPORT-DNAT -m comment --comment 'dnat name: "net" id: "c1"' -m multiport -p tcp --destination-ports 8080 -j ${chain}
iptables -t raw -N PODWIRE-GUARD
iptables -t raw -A PODWIRE-GUARD '!' -i lo -d 127.0.0.0/8 -j DROP
iptables -t raw -A PODWIRE-GUARD '!' -i lo -s 127.0.0.0/8 -j DROP
iptables -t raw -A PREROUTING -j PODWIRE-GUARD
${localnet}`)
  })
})

describe('the tables of the kernel', () => {
  const files = { read: () => routes }
  const unasked = () => expect.unreachable('a process was started')
  test.each([
    ['10.9.0.2', 'br0'],
    ['10.9.0.5', 'veth1'],
    ['8.8.8.8', undefined],
  ])('%s is reached by %s', (address, link) => {
    const { linkTo } = createObserver({ run: unasked, files: files as unknown as Files })
    expect(linkTo(parseAddress(address) as Address)).toBe(link)
  })

  const line =
    'udp      17 29 src=192.0.2.2 dst=192.0.2.1 sport=4 dport=53 [UNREPLIED] src=10.9.0.2 dst=192.0.2.2 sport=5353 dport=4 mark=0'
  test('a flow is read and forgotten by where it was sent and who answers', () => {
    const outcome = { status: 0, signal: null, stdout: `${line}\nudp 17 broken\n`, stderr: '' }
    const flows = createObserver({ run: () => outcome, files: files as unknown as Files }).udpFlows('ip')
    expect(flows).toEqual([{ destination: '192.0.2.1', destinationPort: 53, answerer: '10.9.0.2', answererPort: 5353 }])
    expect(forgetFlows('ip', [...flows, ...flows]).map(({ argv }) => argv.join(' '))).toEqual([
      '-D -f ipv4 -p udp --orig-dst 192.0.2.1 --orig-port-dst 53 --reply-src 10.9.0.2 --reply-port-src 5353',
    ])
  })
})

import { describe, expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import type { Observer } from '../plan/observer.js'
import { thrownBy } from '../testing/thrown.js'
import { parseAddress } from '../values/address.js'
import { codes } from '../values/errors.js'
import { createObserver } from './observer.js'

// Every question as tools and the kernel's files answer it: command or path, what is printed, what is observed.

interface Answers {
  /** By command, with its input behind " <<< ": a text, or how it ended. */
  readonly commands?: Readonly<Record<string, string | Partial<Outcome>>>
  /** By path; absent, there is none. */
  readonly files?: Readonly<Record<string, string>>
}

/** An observer that gets these answers; it fails for any other command. */
function observing({ commands = {}, files = {} }: Answers): Observer {
  const run = ({ argv, stdin }: { argv: readonly string[]; stdin?: string }): Outcome => {
    const line = stdin === undefined ? argv.join(' ') : `${argv.join(' ')} <<< ${stdin}`
    expect(Object.keys(commands)).toContain(line)
    const answer = commands[line] as string | Partial<Outcome>
    const ended = typeof answer === 'string' ? { stdout: answer } : answer
    return { status: 0, signal: null, stdout: '', stderr: '', ...ended }
  }
  const read = (path: string) => {
    const text = files[path]
    if (text === undefined) throw failing('ENOENT')
    if (text.startsWith('!')) throw failing(text.slice(1))
    return text
  }
  const failing = (code: string) => Object.assign(new Error(`${code}: as told`), { code })
  return createObserver({ run, files: { read } as unknown as Files })
}

const absent = { status: 1, stderr: 'Device "eth9" does not exist.\n' }
const link = { ifindex: 2, ifname: 'eth0', mtu: 1500 }
const seen = { ...link, flags: [], addr_info: [] }

describe('links', () => {
  test('one of the host, one of a namespace, all of either', () => {
    const { link: look, links } = observing({
      commands: {
        'ip -j -d addr show dev eth0': JSON.stringify([link]),
        'ip -j -d addr show dev eth9': absent,
        'nsenter --net=/n ip -j -d addr show dev eth0': JSON.stringify([{ ...link, ifindex: 5 }]),
        'ip -j -d addr show': JSON.stringify([link, { ...link, ifindex: 3 }]),
        'nsenter --net=/n ip -j -d addr show': '',
      },
    })
    expect(look('eth0')).toEqual(seen)
    expect(look('eth9')).toBeUndefined()
    expect(look('eth0', '/n')).toEqual({ ...seen, ifindex: 5 })
    expect(links().map(({ ifindex }) => ifindex)).toEqual([2, 3])
    expect(links('/n')).toEqual([])
  })

  test('whether there is one is asked of its folder, and only then is it looked at', () => {
    const conf = (name: string) => `/proc/sys/net/ipv4/conf/${name}/forwarding`
    const { hasLink, linkIfThere } = observing({
      commands: { 'ip -j -d addr show dev eth0': JSON.stringify([link]) },
      files: {
        [conf('eth0')]: '0\n',
        [conf('all')]: '1\n',
        [conf('default')]: '1\n',
        [conf('odd')]: '',
        [conf('no')]: '!EIO',
      },
    })
    expect(['eth0', 'eth9', 'all', 'default', 'odd'].map(hasLink)).toEqual([true, false, false, false, false])
    expect(() => hasLink('no')).toThrow('EIO')
    expect(linkIfThere('eth0')).toEqual(seen)
    expect(linkIfThere('eth9')).toBeUndefined()
  })

  test('an address is fixed where both files say so', () => {
    const of = (type: string, ifindex: string) =>
      observing({
        files: { '/sys/class/net/eth0/addr_assign_type': type, '/sys/class/net/eth0/ifindex': ifindex },
      }).hasFixedAddress(seen)
    expect([of('3\n', '2\n'), of('0\n', '2\n'), of('3\n', '7\n'), of('!EINVAL', '2\n')]).toEqual([
      true,
      false,
      false,
      false,
    ])
  })

  test('what cannot be asked, or answers nonsense, is an error that names the command', () => {
    const failing = (answer: string | Partial<Outcome>) =>
      thrownBy(() => observing({ commands: { 'ip -j -d addr show dev eth0': answer } }).link('eth0'))
    expect(failing({ status: null, failure: 'ENOENT' })).toMatchObject({
      code: codes.toolMissing,
      message: 'the program "ip" is not installed',
      details: expect.stringContaining('iproute2 and util-linux'),
    })
    expect(failing({ status: 2, stderr: '\nRTNETLINK answers: Oh\nmore' })).toMatchObject({
      code: codes.operationFailed,
      message: 'cannot ask "ip -j -d addr show dev eth0": Oh',
      details: expect.stringContaining('more'),
    })
    expect(failing('[{]')).toMatchObject({ message: 'cannot read an answer about links' })
    expect(failing('[{]').details).toContain('found "[{]", expected JSON')
    expect(failing('[{"ifindex": "2", "ifname": "eth0", "mtu": 1500}]').details).toContain('[0].ifindex')
  })
})

describe('routes', () => {
  const tableOf = (...lines: string[]) => ({ '/proc/net/route': ['Iface\tDestination', ...lines, ''].join('\n') })
  const line = (name: string, destination: string, gateway: string, mask: string) =>
    [name, destination, gateway, '0001', '0', '0', '0', mask, '0', '0', '0'].join('\t')
  const to = (text: string, ...lines: string[]) =>
    observing({ files: tableOf(...lines) }).linkTo(parseAddress(text) as NonNullable<ReturnType<typeof parseAddress>>)
  const everywhere = line('eth0', '00000000', '0101A8C0', '00000000')
  const net = line('cni0', '0000010A', '00000000', '0000FFFF')
  const one = line('veth1', '0500010A', '00000000', 'FFFFFFFF')
  const beside = line('veth2', '0600010A', '0100010A', 'FFFFFFFF')

  test('the link to an address is that of the longest prefix, in any order, unless a gateway is between', () => {
    expect(to('10.1.0.7', everywhere, net, one)).toBe('cni0')
    expect(to('10.1.0.5', everywhere, net, one)).toBe('veth1')
    expect(to('10.1.0.5', one, net, everywhere)).toBe('veth1')
    expect(to('10.1.0.6', net, beside)).toBeUndefined()
    expect(to('192.0.2.1', everywhere, net)).toBeUndefined()
    expect(to('192.0.2.1')).toBeUndefined()
    expect(to('200.1.0.1', line('a', '000001C8', '00000000', '0000FFFF'))).toBe('a')
  })

  test('rules and routes of one namespace, of IPv6 where there is any', () => {
    const asked = '-batch - <<< rule show\nroute show table all\n'
    const commands = {
      [`ip -N -j -d -4 ${asked}`]: '[{"src": "all", "table": "254"}]\n[{"dst": "default"}]\n',
      [`ip -N -j -d -6 ${asked}`]: '[]\n[{"dst": "::/0", "flags": ["onlink"]}]\n',
      [`nsenter --net=/n ip -N -j -d -4 ${asked}`]: '[{"src": "10.1.0.5"}]\n',
    }
    const all = observing({ commands, files: { '/proc/net/if_inet6': '' } }).routing()
    expect(all).toEqual({
      rules: [{ src: 'all', table: '254' }],
      routes: [
        { dst: 'default', flags: [], family: 4 },
        { dst: '::/0', flags: ['onlink'], family: 6 },
      ],
    })
    expect(observing({ commands }).routing('/n')).toEqual({ rules: [{ src: '10.1.0.5' }], routes: [] })
    const failing = observing({ commands: { [`ip -N -j -d -4 ${asked}`]: { status: 1, stderr: 'oh' } } })
    expect(() => failing.routing()).toThrow('cannot ask "ip -N -j -d -4 -batch -": oh')
  })
})

test('queueing disciplines, and where a filter sends what comes in', () => {
  const shown = 'tc -j filter show dev eth0 parent ffff:'
  const action = (mirred_action: string, to_dev?: string) => ({ mirred_action, to_dev })
  const filters = [
    { protocol: 'all' },
    { options: { actions: [action('mirror', 'a'), action('redirect', 'ifb0'), action('redirect')] } },
    { options: {} },
  ]
  const { qdiscs, redirects } = observing({
    commands: {
      'tc -j -r qdisc show dev eth0': '[{"kind": "tbf", "root": true, "options": {"rate": 125}}]',
      'tc -j -r qdisc show dev eth9': { status: 1, stderr: 'Cannot find device "eth9"' },
      [shown]: JSON.stringify(filters),
      'tc -j filter show dev eth9 parent ffff:': { status: 1, stderr: 'Cannot find device "eth9"' },
    },
  })
  expect(qdiscs('eth0')).toEqual([{ kind: 'tbf', root: true, options: { rate: 125 } }])
  expect(qdiscs('eth9')).toBeUndefined()
  expect([redirects('eth0'), redirects('eth9')]).toEqual([['ifb0'], []])
})

test('settings of a namespace, without those that cannot be read', () => {
  const command = 'nsenter --net=/n grep -sH  /proc/sys/net/a /proc/sys/net/b /proc/sys/net/ab'
  const paths = ['net/a', 'net/b', 'net/ab']
  const asking = (answer: string | Partial<Outcome>) => observing({ commands: { [command]: answer } })
  const told = asking({ status: 2, stdout: '/proc/sys/net/ab:2\n/proc/sys/net/a:1:1\n' })
  expect([...told.settings('/n', paths)]).toEqual([
    ['net/a', '1:1'],
    ['net/ab', '2'],
  ])
  expect(thrownBy(() => asking({ status: null, failure: 'ENOENT' }).settings('/n', paths))).toMatchObject({
    code: codes.toolMissing,
    message: 'the program "nsenter" is not installed',
    details: expect.stringContaining('util-linux'),
  })
})

describe('nftables', () => {
  const listing = `table ip podwire {
	chain portmap {
		type nat hook prerouting priority dstnat; policy accept;
	}
	chain pw-1 {
	}
	chain other {
	}
}
table inet filter {
	chain pw-2 {
	}
}
`
  const chain = (family: string, table: string, name: string) => ({ family, table, name })
  const base = { ...chain('ip', 'podwire', 'portmap'), hook: 'prerouting', policy: 'accept' }

  test('every chain, and those of ours that nothing leads to', () => {
    const { chains, unusedChains } = observing({ commands: { 'nft list chains': listing } })
    const [ours, others] = [chain('ip', 'podwire', 'pw-1'), chain('inet', 'filter', 'pw-2')]
    expect(chains()).toEqual([base, ours, chain('ip', 'podwire', 'other'), others])
    expect(unusedChains((name) => name.startsWith('p'))).toEqual({ unused: [ours], along: undefined })
  })

  test('where nft, or nf_tables, is absent there are none; a nft that died says nothing of that', () => {
    const asking = (answer: Partial<Outcome>) => observing({ commands: { 'nft list chains': answer } })
    expect(asking({ status: null, failure: 'ENOENT' }).chains()).toEqual([])
    expect(asking({ status: 1, stderr: 'Error: Could not process rule: No such file or directory' }).chains()).toEqual(
      [],
    )
    expect(asking({ status: 1, stderr: 'Error: Operation not supported' }).chains()).toEqual([])
    const failures: [Partial<Outcome>, string][] = [
      [{ status: 1, stderr: 'oh' }, 'stderr: oh'],
      [{ status: null, signal: 'SIGKILL' }, 'killed by SIGKILL\nstderr: '],
      [{ status: null, signal: 'SIGKILL', stderr: 'No such file or directory' }, 'killed by SIGKILL\nstderr: No'],
      [{ status: null, failure: 'EACCES' }, 'it did not start: EACCES\nstderr: '],
    ]
    for (const [answer, details] of failures) {
      expect(thrownBy(() => asking(answer).chains())).toMatchObject({
        code: codes.operationFailed,
        message: 'cannot ask "nft list chains"',
        details: expect.stringContaining(details),
      })
    }
  })

  test('an answer that is no list of objects cannot be read', () => {
    const asking = (answer: string) =>
      observing({ commands: { 'nft -j list table ip podwire': answer } }).rules({ family: 'ip', table: 'podwire' })
    expect(asking('')).toEqual([])
    for (const answer of ['null', '{}', '{"nftables": 5}', 'text']) {
      expect(() => asking(answer)).toThrow('cannot read an answer about nftables')
    }
  })

  const held = {
    family: 'ip',
    collection: 'ports',
    key: ['tcp', '.', '80'],
    value: ['10.1.0.2', '.', '80'],
    comment: 'c',
  }
  const owner = { family: 'ip', collection: 'owners', key: ['10.1.0.2'] }
  const later = { family: 'ip6', collection: 'owners', key: ['2001:db8::2'], comment: 'd' }
  const wanted = [held, owner, later] as never
  const get = `nft -f - <<< ${[
    'get element ip podwire ports { tcp . 80 }',
    'get element ip podwire owners { 10.1.0.2 }',
    'get element ip6 podwire owners { 2001:db8::2 }',
  ].join('\n')}\n`
  const shown = (family: string, kind: string, name: string, ...elements: string[]) =>
    [
      `table ${family} podwire {`,
      `${kind} ${name} {`,
      'type t',
      `elements = { ${elements.join(',\n')} }`,
      '}',
      '}',
      '',
    ].join('\n')
  const port = 'tcp . 80 comment "c" : 10.1.0.2 . 80'

  test('elements are held with the value and comment that are asked for', () => {
    const holding = (...texts: string[]) => observing({ commands: { [get]: texts.join('') } }).holds(wanted)
    const [owners, owners6] = [
      shown('ip', 'set', 'owners', '10.1.0.2 comment "x"'),
      shown('ip6', 'set', 'owners', '2001:db8::2 comment "d"'),
    ]
    expect(holding(shown('ip', 'map', 'ports', port), owners, owners6)).toEqual([true, true, true])
    expect(holding(shown('ip', 'map', 'ports', port.replace('"c"', '"e"')), owners, owners6)[0]).toBe(false)
    expect(holding(shown('ip', 'map', 'ports', port.replace(': 10', ': 11')), owners, owners6)[0]).toBe(false)
    expect(holding(shown('ip', 'map', 'ports', port), owners, owners6.replace('"d"', '"e"'))[2]).toBe(false)
    expect(() => holding(shown('ip', 'map', 'ports', port), owners)).toThrow('cannot read what nft shows of elements')
    expect(observing({}).holds([])).toEqual([])
  })

  test('where one is absent the maps and sets are listed', () => {
    const gone = { status: 1, stderr: 'Error: No such file or directory' }
    const { holds } = observing({
      commands: {
        [get]: gone,
        'nft list map ip podwire ports': shown('ip', 'map', 'ports', 'udp . 53 : 10.1.0.9 . 53', port),
        'nft list set ip podwire owners': shown('ip', 'set', 'owners', '10.1.0.3'),
        'nft list set ip6 podwire owners': gone,
      },
    })
    expect(holds(wanted)).toEqual([true, false, false])
    const odd = observing({ commands: { [get]: gone, 'nft list map ip podwire ports': 'oh' } })
    expect(() => odd.holds(wanted)).toThrow('cannot read what nft shows of elements')
    const missing = observing({ commands: { [get]: { status: null, failure: 'ENOENT' } } })
    expect(thrownBy(() => missing.holds(wanted))).toMatchObject({ code: codes.toolMissing })
  })

  test('many elements are asked for by several commands', () => {
    const many = Array.from({ length: 130 }, (_, at) => ({ ...owner, key: [`10.1.0.${at}`] }))
    const keys = many.map(({ key: [text] }) => text as string)
    const parts = [keys.slice(0, 64), keys.slice(64, 128), keys.slice(128)]
    const asked = parts.map((part) => `get element ip podwire owners { ${part.join(', ')} }\n`).join('')
    const { holds } = observing({ commands: { [`nft -f - <<< ${asked}`]: shown('ip', 'set', 'owners', ...keys) } })
    expect(holds(many as never)).toEqual(keys.map(() => true))
  })
})

describe('sockets', () => {
  const header = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
  const line = (local: string, state: string, inode: string) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0\n`
  const socket = (address: string, port: number, inode: string) => ({ address, port, inode, isIPv6Only: false })

  test('those that listen, of each protocol and family', () => {
    const { listening } = observing({
      files: {
        '/proc/net/tcp': header + line('0100007F:1F90', '0A', '77') + line('00000000:0050', '01', '78'),
        '/proc/net/tcp6':
          header +
          line('00000000000000000000000000000000:0016', '0A', '80') +
          line('0000000000000000FFFF00000100007F:0017', '0A', '81') +
          line('B80D0120000000000000000001000000:0018', '0A', '82'),
        '/proc/net/udp': header + line('00000000:0035', '07', '90') + line('00000000:0036', '01', '91'),
        '/proc/net/sctp/eps':
          ' ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n' +
          'ffff1 ffff2 2   10  29   36412     0 95 127.0.0.1 2001:DB8:0::1 \nffff1 ffff2 2   7  29   1     0 96 ::1 \n',
      },
    })
    expect(listening({ family: 4, protocol: 'tcp' })).toEqual([socket('127.0.0.1', 8080, '77')])
    expect(listening({ family: 6, protocol: 'tcp' })).toEqual([
      socket('::', 22, '80'),
      socket('127.0.0.1', 23, '81'),
      socket('2001:db8::1', 24, '82'),
    ])
    expect(listening({ family: 4, protocol: 'udp' })).toEqual([socket('0.0.0.0', 53, '90')])
    expect(listening({ family: 6, protocol: 'udp' })).toEqual([])
    const sctp = [socket('127.0.0.1', 36412, '95'), socket('2001:db8::1', 36412, '95')]
    expect(listening({ family: 6, protocol: 'sctp' })).toEqual(sctp)
    expect(() => observing({ files: { '/proc/net/udp': '!EIO' } }).listening({ family: 4, protocol: 'udp' })).toThrow(
      'EIO',
    )
  })

  test('the addresses of the host, the ports of its clients, its boot', () => {
    const trie = [
      'Main:',
      '  +-- 0.0.0.0/0 3 0 5',
      '     |-- 10.0.0.0',
      '        /8 universe UNICAST',
      '     |-- 10.1.0.1',
      '        /32 host LOCAL',
      '     |-- 10.1.0.255',
      '        /32 link BROADCAST',
    ].join('\n')
    const { localAddresses, clientPorts, bootID, hasIPv6 } = observing({
      files: {
        '/proc/net/fib_trie': trie,
        '/proc/net/if_inet6': '20010db8000000000000000000000001 02 40 00 80     eth0\n',
        '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
        '/proc/sys/kernel/random/boot_id': 'boot\n',
      },
    })
    expect([...localAddresses(4)]).toEqual(['10.1.0.1'])
    expect([...localAddresses(6)]).toContain('2001:db8::1')
    expect(clientPorts()).toEqual([32768, 60999])
    expect([bootID(), bootID(), hasIPv6()]).toEqual(['boot', 'boot', true])
  })

  test('flows that go elsewhere than they were sent', () => {
    const command = 'conntrack -L -f ipv4 -p udp'
    const flow = 'udp 17 29 src=192.0.2.9 dst=192.0.2.1 sport=40000 dport=53'
    const back = '[UNREPLIED] src=10.1.0.2 dst=192.0.2.9 sport=5353 dport=40000 mark=0 use=1'
    const asking = (answer: string | Partial<Outcome>) =>
      observing({ commands: { [command]: answer, [command.replace('4', '6')]: '' } })
    const { udpFlows } = asking(`${flow} ${back}\n${flow}\nodd\n`)
    expect(udpFlows('ip')).toEqual([
      { destination: '192.0.2.1', destinationPort: 53, answerer: '10.1.0.2', answererPort: 5353 },
    ])
    expect(udpFlows('ip6')).toEqual([])
    const missing = thrownBy(() => asking({ status: null, failure: 'ENOENT' }).udpFlows('ip'))
    expect(missing).toMatchObject({ code: codes.toolMissing, details: expect.stringContaining('install conntrack') })
    expect(thrownBy(() => asking({ status: 1, stderr: ' oh\n' }).udpFlows('ip'))).toMatchObject({
      code: codes.operationFailed,
      details: expect.stringContaining('stderr: oh'),
    })
  })
})

test('what only the kernel tells is not known without it', () => {
  const { ruleTexts, holdsDirectly, cookie, hostNumberIn, tryLock } = observing({})
  expect([ruleTexts({} as never), holdsDirectly([]), cookie('/n'), hostNumberIn('/n'), tryLock(3)]).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
    false,
  ])
})

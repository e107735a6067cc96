import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createNetlink } from '../../shared/netlink/driver.js'
import { linkKinds } from '../../shared/netlink/links.js'
import type { Netlink } from '../../shared/plan/netlink.js'
import { type Libc, loadLibc } from '../../shared/system/libc.js'

// Records what a kernel answers, for shared/netlink/recorded*.txt. Run it in namespaces of its own, as root:
//
//   esbuild conformance/netlink/record.ts --bundle --platform=node --format=esm --outfile=dist/record.mjs
//   unshare --net --mount sh -c 'mount -t tmpfs none /run && node --expose-internals dist/record.mjs FILE [full|lists]'
//
// "full" is for a kernel with dummy, vlan and ipvlan (conformance/vm/run), "lists" records what is listed. A line "#
// CALL" is followed by what `ip` shows of it (=), what was sent (>) and what came (<), datagram by datagram, sequence
// and port numbers as they were.

const [file = '', kernel] = process.argv.slice(2)
const lines: string[] = []

const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' })
const batch = (tool: string, words: string[], script: string) => execFileSync(tool, words, { input: script })

function recording(): Libc | undefined {
  const libc = loadLibc()
  if (!libc) throw new Error('this Node cannot call C')
  let sent: Buffer = Buffer.alloc(0)
  return {
    ...libc,
    address: (bytes) => {
      sent = bytes
      return libc.address(bytes)
    },
    send: (...words) => {
      lines.push(`> ${sent.toString('hex')}`)
      return libc.send(...words)
    },
    read: (fd, into) => {
      const length = libc.read(fd, into)
      lines.push(`< ${length < 0 ? length : into.toString('hex', 0, length)}`)
      return length
    },
  }
}

/** One call of a driver made for it, so that each recording begins with nothing known. */
function record<T>(what: string, call: (netlink: Netlink) => T, shown?: unknown): T {
  lines.push(`# ${what}`)
  if (shown !== undefined) lines.push(`= ${JSON.stringify(shown)}`)
  const answer = call(createNetlink(undefined, recording))
  console.error(what, JSON.stringify(answer))
  return answer
}

const keys = ['ifindex', 'ifname', 'flags', 'mtu', 'operstate', 'address', 'txqlen', 'promiscuity', 'master', 'link']
const moreKeys = ['ifalias', 'link_index', 'link_netnsid', 'permaddr', 'parentbus', 'parentdev']
const details = ['vlan_default_pvid', 'mode', 'bcqueuelen', 'id', 'type', 'multi_queue', 'table']
const addressKeys = [
  ...['family', 'local', 'prefixlen', 'scope', 'broadcast'],
  ...['tentative', 'dadfailed', 'dynamic', 'nodad'],
]

function only(object: Record<string, unknown>, wanted: string[]): Record<string, unknown> {
  return Object.fromEntries(wanted.flatMap((key) => (key in object ? [[key, object[key]]] : [])))
}

/** What podwire reads of what `ip` shows (observe.schema.ts). */
function shown(name: string): unknown {
  const [link] = JSON.parse(ip('-j', '-d', 'addr', 'show', 'dev', name))
  const linkinfo = link.linkinfo && {
    info_kind: link.linkinfo.info_kind,
    info_data: link.linkinfo.info_kind in linkKinds ? only(link.linkinfo.info_data ?? {}, details) : {},
  }
  const addr_info = link.addr_info.map((one: Record<string, unknown>) => only(one, addressKeys))
  return { ...only(link, [...keys, ...moreKeys]), ...(linkinfo ? { linkinfo } : {}), addr_info }
}

const look = (name: string) => record(`look ${name}`, (netlink) => netlink.look(name), shown(name))

/** Lists, with what the tools show of the same; of flows and elements as they were made here. */
async function recordLists(): Promise<void> {
  const script = `
link set lo up
link add br0 address 02:00:00:00:00:01 type bridge
link add veth0 address 02:00:00:00:00:02 master br0 type veth peer name eth0 address 02:00:00:00:00:03 netns other
link add here0 address 02:00:00:00:00:04 type veth peer name there0 address 02:00:00:00:00:05
link add vx0 address 02:00:00:00:00:06 type vxlan id 7 dstport 4789 dev br0
link set br0 up
link set here0 up
link set there0 up
addr add 10.1.2.1/24 brd + dev br0
addr add 10.1.3.1/32 dev here0
addr add fd00::1/64 dev br0 nodad
route add 10.9.0.0/16 nexthop via 10.1.2.3 dev br0 weight 3 nexthop via 10.1.2.4 dev br0
route add 10.10.0.0/16 via 10.1.2.9 dev br0 onlink mtu 1400 advmss 1300 table 9
route add 10.8.0.0/16 via inet6 fd00::7 dev br0 metric 5
route add 10.7.0.1 dev here0 scope link src 10.1.3.1 table 300
route add default via 10.1.2.254
route add blackhole 10.6.0.0/16
rule add from 10.0.0.0/8 fwmark 0x1/0xff iif br0 table 7
rule add from 10.0.0.1 to 10.3.0.0/16 oif here0 table 300 suppress_prefixlength 8
`
  batch('ip', ['-batch', '-'], script)
  batch(
    'ip',
    ['-6', '-batch', '-'],
    'route add default via fd00::2 dev br0 pref high metric 5\nrule add from fd00::5 table 100\n',
  )
  await new Promise((done) => setTimeout(done, 4000))
  const json = (words: string) => JSON.parse(ip(...words.split(' ')))
  const links = (json('-j addr show') as { ifname: string }[]).map(({ ifname }) => shown(ifname))
  record('links', (netlink) => netlink.links(), links)
  const listed = (family: 4 | 6) => ({
    rules: json(`-N -j -d -${family} rule show`),
    routes: json(`-N -j -d -${family} route show table all`).map((one: object) => ({ ...one, family })),
  })
  const routing = () => {
    const [four, six] = [listed(4), listed(6)]
    return { rules: [...four.rules, ...six.rules], routes: [...four.routes, ...six.routes] }
  }
  record('routing', (netlink) => netlink.routing([4, 6]), routing())
  ip('route', 'add', '10.11.0.0/16', 'via', '10.1.2.9', 'mtu', 'lock', '1400')
  record('routing with a metric that only ip reads', (netlink) => netlink.routing([4]))
  ip('route', 'del', '10.11.0.0/16')
  ip('rule', 'add', 'from', '10.0.0.2', 'ipproto', 'tcp', 'table', '7')
  record('routing with a rule that only ip reads', (netlink) => netlink.routing([4]))
  record('elements without a table', (netlink) => netlink.elements('ip'))
  batch('nft', ['-f', '-'], tables)
  for (const family of ['ip', 'ip6', 'bridge'] as const) {
    record(`elements ${family}`, (netlink) => netlink.elements(family))
  }
  record('elements ip of portmap_ranges', (netlink) => netlink.elements('ip', { name: 'portmap_ranges' }))
  record('elements ip of none', (netlink) => netlink.elements('ip', { name: 'none' }))
  batch('nft', ['-f', '-'], 'add set ip podwire foreign { type mark ; }\n')
  record('elements of a type that we have not', (netlink) => netlink.elements('ip'))
  const flow = (words: string) => execFileSync('conntrack', `-I -t 600 ${words}`.split(' '), { stdio: 'ignore' })
  flow(
    '-p udp -s 10.0.0.1 -d 192.0.2.1 -r 10.1.2.9 -q 10.0.0.1 --sport 1000 --dport 53 --reply-port-src 5353 --reply-port-dst 1000',
  )
  flow('-p udp -s fd00::8 -d fd00::1 --sport 2000 --dport 54')
  flow('-p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1000 --dport 80 --state ESTABLISHED -u ASSURED')
  for (const family of ['ip', 'ip6'] as const) record(`udpFlows ${family}`, (netlink) => netlink.udpFlows(family))
}

const tables = `
add table ip podwire
add chain ip podwire inside
add map ip podwire portmap_ports { type inet_proto . inet_service : ipv4_addr . inet_service ; }
add map ip podwire portmap_ranges { type inet_proto . inet_service : ipv4_addr ; flags interval ; }
add map ip podwire masqueraded { type ipv4_addr : verdict ; }
add set ip podwire portmap_owners { type ifname ; }
add set ip podwire empty { type ipv4_addr ; }
add rule ip podwire inside tcp dport { 80, 443 } accept
add table bridge podwire
add set bridge podwire allowed_macs { type ifname . ether_addr ; }
add table ip6 podwire
add set ip6 podwire firewall_addresses { type ipv6_addr ; }
add element ip podwire portmap_ports { tcp . 8080 comment "net/eth0/c1" : 10.9.0.2 . 80 }
add element ip podwire portmap_ports { sctp . 8080 : 10.9.0.2 . 80 }
add element ip podwire portmap_ranges { udp . 5000-5009 comment "net/eth0/c1" : 10.9.0.2 }
add element ip podwire masqueraded { 10.9.0.2 comment "net/eth0/c1" : jump inside }
add element ip podwire portmap_owners { "0123456789abcde" comment "net/eth0/c1" }
add element bridge podwire allowed_macs { "veth0" . 02:00:00:00:00:01 comment "net/eth0/c1" }
add element ip6 podwire firewall_addresses { fd00::5 comment "net/eth0/c1" }
`

function recordFull(): void {
  const script = `
link add dum0 address 02:00:00:00:00:31 type dummy
link set dum0 up
link add vlan5 link dum0 type vlan id 5
link add ipv0 link dum0 type ipvlan mode l3s
link add ipv1 link dum0 type ipvlan mode l3s
link add red0 type vrf table 7
`
  batch('ip', ['-batch', '-'], script)
  for (const name of ['dum0', 'vlan5', 'ipv0', 'red0']) look(name)
}

async function recordUsual(): Promise<void> {
  const script = `
link set lo up
link add br0 address 02:00:00:00:00:01 mtu 1400 type bridge
link add veth0 txqueuelen 0 address 02:00:00:00:00:02 master br0 type veth peer name eth0 address 02:00:00:00:00:03 netns other
link add here0 address 02:00:00:00:00:04 type veth peer name there0 address 02:00:00:00:00:05
link set dev here0 alias somebody
link set dev here0 promisc on
link property add dev here0 altname another0
link set dev veth0 up
link set dev here0 up
link set dev there0 up
link set dev br0 up
addr add 10.1.2.1/24 brd + dev br0
addr add 10.1.2.9/24 dev br0 valid_lft 90000 preferred_lft 90000
addr add 10.1.2.3 peer 10.1.2.4/32 dev here0
addr add fd00::1/64 dev br0 nodad
addr add 169.254.1.1/16 scope link dev here0
link add mac0 link here0 address 02:00:00:00:00:06 type macvlan mode bridge bcqueuelen 500
link add mac1 link there0 address 02:00:00:00:00:07 type macvlan mode passthru
tuntap add tap0 mode tap multi_queue
tuntap add tun0 mode tun
link add ifb7 address 02:00:00:00:00:08 type ifb
route add 10.9.0.0/16 via 10.1.2.7
route add 10.8.0.0/16 via inet6 fd00::7 dev br0
route add unreachable 10.7.0.0/16
`
  batch('ip', ['-batch', '-'], script)
  batch('ip', ['-n', 'other', '-batch', '-'], 'link set eth0 up\nlink set lo up\n')
  // Until carriers are reported and addresses tested.
  await new Promise((done) => setTimeout(done, 4000))
  for (const name of ['lo', 'br0', 'veth0', 'here0', 'there0', 'mac0', 'mac1', 'tap0', 'tun0', 'ifb7']) look(name)
  record('look absent0', (netlink) => netlink.look('absent0'))
  for (const name of ['here0', 'another0', 'absent0']) record(`has ${name}`, (netlink) => netlink.has(name))
  for (const address of ['10.1.2.77', '10.9.0.1', '10.8.0.1', '10.7.0.1', '10.1.2.1', '203.0.113.1']) {
    const value = address.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
    record(`linkTo ${address}`, (netlink) => netlink.linkTo({ family: 4, value }))
  }
  record('hostNumberIn other', (netlink) => netlink.hostNumberIn('/run/netns/other'))
  const third = '/run/netns/third'
  record('hostNumberIn third', (netlink) => netlink.hostNumberIn(third))
  const setting = (words: string, netns?: string) =>
    record(`run ${netns ? 'in other ' : ''}sysctl -w ${words}`, (netlink) =>
      netlink.run(
        [{ tool: 'sysctl', argv: ['-w', words], why: 'record', ...(netns ? { netns } : {}) }],
        () => undefined,
      ),
    )
  for (const words of ['net/ipv4/ip_forward=0', 'net/ipv6/conf/all/forwarding=0', 'net/ipv6/conf/br0/accept_ra=1']) {
    setting(words)
  }
  for (const words of ['net/ipv4/conf/br0/route_localnet=0', 'net/ipv4/conf/br0/forwarding=0']) setting(words)
  setting('net/ipv4/conf/eth0/arp_notify=1', '/run/netns/other')
  const operation = (line: string, netns?: string) =>
    record(`run ${netns ? 'in other ' : ''}${line}`, (netlink) =>
      netlink.run(
        [{ tool: 'ip', argv: line.split(' ').slice(1), why: 'record', ...(netns ? { netns } : {}) }],
        () => undefined,
      ),
    )
  operation('ip link add name br1 type bridge')
  operation('ip link add name br1 type bridge')
  operation('ip link set dev br0 master br0')
  operation('ip link set dev br0 mtu 70000')
  operation('ip link del dev absent0')
  operation('ip route add 10.66.0.0/16 via 192.0.2.1 dev br0')
  operation('ip addr add 10.1.2.1/24 dev br0')
  await recordSockets()
  recordTables()
}

async function recordSockets(): Promise<void> {
  const listeners = ['TCP4-LISTEN:1001', 'TCP6-LISTEN:1002,ipv6only=1', 'TCP6-LISTEN:1007,ipv6only=0']
  const more = [
    'TCP6-LISTEN:1006,bind=[::ffff:127.0.0.1]',
    'TCP4-LISTEN:1003,bind=127.0.0.1',
    'UDP4-RECV:1004',
    'UDP6-RECV:1005',
  ]
  const started = [...listeners, ...more].map((one) =>
    spawn('socat', [one, 'STDOUT'], { stdio: ['pipe', 'pipe', 'inherit'] }),
  )
  await new Promise((done) => setTimeout(done, 2000))
  for (const protocol of ['tcp', 'udp'] as const) {
    for (const family of [4, 6] as const) {
      record(`listening ${protocol} ${family}`, (netlink) => netlink.listening({ protocol, family }))
    }
  }
  for (const one of started) one.kill()
}

function recordTables(): void {
  record('chains of none', (netlink) => netlink.chains())
  const held = (what: string) =>
    record(what, (netlink) =>
      netlink.held([
        {
          family: 'ip',
          collection: 'portmap_ports',
          key: ['tcp', '.', '8080'],
          value: ['10.9.0.2', '.', '80'],
          comment: 'net/eth0/c1',
        },
        {
          family: 'ip',
          collection: 'portmap_ports',
          key: ['tcp', '.', '8080'],
          value: ['10.9.0.2', '.', '80'],
          comment: 'net/eth0/c2',
        },
        {
          family: 'ip',
          collection: 'portmap_ports',
          key: ['tcp', '.', '8080'],
          value: ['10.9.0.3', '.', '80'],
          comment: 'net/eth0/c1',
        },
        { family: 'ip', collection: 'portmap_ports', key: ['tcp', '.', '8080'] },
        { family: 'ip', collection: 'portmap_ports', key: ['tcp', '.', '8081'] },
        { family: 'ip', collection: 'portmap_ranges', key: ['udp', '.', '5000-5009'], value: ['10.9.0.2'] },
        { family: 'ip', collection: 'portmap_ranges', key: ['udp', '.', '5000-5008'] },
        {
          family: 'ip',
          collection: 'masqueraded',
          key: ['10.9.0.2'],
          value: ['jump', 'inside'],
          comment: 'net/eth0/c1',
        },
        { family: 'ip', collection: 'masqueraded', key: ['10.9.0.2'], value: ['jump', 'other'] },
        { family: 'ip', collection: 'masqueraded', key: ['10.9.0.2'], value: ['accept'] },
        { family: 'bridge', collection: 'allowed_macs', key: ['"veth0"', '.', '02:00:00:00:00:01'] },
        { family: 'ip6', collection: 'firewall_addresses', key: ['fd00::5'], comment: 'net/eth0/c1' },
      ]),
    )
  held('held without a table')
  const script = `
add table ip podwire
add chain ip podwire inside
add chain ip podwire other
add map ip podwire portmap_ports { type inet_proto . inet_service : ipv4_addr . inet_service ; }
add map ip podwire portmap_ranges { type inet_proto . inet_service : ipv4_addr ; flags interval ; }
add map ip podwire masqueraded { type ipv4_addr : verdict ; }
add table bridge podwire
add set bridge podwire allowed_macs { type ifname . ether_addr ; }
add table ip6 podwire
add set ip6 podwire firewall_addresses { type ipv6_addr ; }
add element ip podwire portmap_ports { tcp . 8080 comment "net/eth0/c1" : 10.9.0.2 . 80 }
add element ip podwire portmap_ranges { udp . 5000-5009 comment "net/eth0/c1" : 10.9.0.2 }
add element ip podwire masqueraded { 10.9.0.2 comment "net/eth0/c1" : jump inside }
add element bridge podwire allowed_macs { "veth0" . 02:00:00:00:00:01 comment "net/eth0/c1" }
add element ip6 podwire firewall_addresses { fd00::5 comment "net/eth0/c1" }
add chain ip podwire before { type filter hook prerouting priority -300 ; policy accept ; }
add chain ip podwire after { type nat hook postrouting priority 100 ; }
add table inet site
add chain inet site forward { type filter hook forward priority 0 ; policy drop ; }
add chain inet site in { type filter hook input priority 0 ; }
add chain inet site out { type filter hook output priority 0 ; }
add table netdev edge
add chain netdev edge first { type filter hook ingress device "br0" priority 0 ; }
add table arp who
add chain arp who has { type filter hook input priority 0 ; }
`
  batch('nft', ['-f', '-'], script)
  held('held')
  record('chains', (netlink) => netlink.chains())
  const change = (line: string) =>
    record(`run ${line}`, (netlink) =>
      netlink.run([{ tool: 'nft', argv: line.split(' ').slice(1), why: 'record' }], () => undefined),
    )
  change('nft create element ip podwire portmap_ports { tcp . 90 : 10.9.0.2 . 90 , udp . 90 : 10.9.0.2 . 90 }')
  change('nft create element ip podwire portmap_ports { tcp . 90 : 10.9.0.2 . 90 }')
  change('nft delete element ip podwire portmap_ports { tcp . 91 }')
  change('nft delete element ip podwire portmap_ports { tcp . 90 , udp . 90 }')
}

ip('netns', 'add', 'other')
ip('netns', 'add', 'third')
if (kernel === 'full') recordFull()
else if (kernel === 'lists') await recordLists()
else await recordUsual()
writeFileSync(file, `${lines.join('\n')}\n`)

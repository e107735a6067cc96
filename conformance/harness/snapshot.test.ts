import { describe, expect, test as plain } from 'vitest'
import { test } from './fixture.js'
import { flattenRuleset } from './nftables.js'
import { difference, normalise, takeSnapshot } from './snapshot.js'

const fresh = ['link', 'add', 'veth12ab34cd', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'container0']

describe('a snapshot', () => {
  test('is equal when nothing happened, and names what did', async ({ host }) => {
    const container = await host.container()
    const before = await takeSnapshot(host)
    expect(difference(before, await takeSnapshot(host))).toBe('')

    await host.output(['ip', ...fresh])
    await host.output(['ip', 'link', 'set', 'veth12ab34cd', 'up'])
    await container.batch([
      'link set eth0 up mtu 1400',
      'addr add 10.1.2.3/24 dev eth0',
      'route add 10.9.0.0/16 dev eth0',
    ])
    await container.output(['iptables', '-t', 'nat', '-A', 'POSTROUTING', '-s', '10.1.2.3', '-j', 'MASQUERADE'])
    await host.output(['nft', 'add table inet t { chain c { iifname "veth12ab34cd" counter drop; }; }'])
    await host.output(['sh', '-c', 'mkdir -p /run/leases && printf c1 >/run/leases/10.1.2.3'])

    const seen = difference(before, await takeSnapshot(host, { directories: ['/run/leases'] })).split('\n')
    expect(seen).toContain('+ host: link veth#0 veth up mtu 1500 txqlen 1000 promiscuity 0 allmulti 0 address <mac>')
    expect(seen).toContain('+ host: nft table inet t chain c: iifname "veth#0" counter drop')
    expect(seen).toContain('+ host: sysctl ipv6/conf/veth#0/accept_ra 1')
    expect(seen).toContain('+ container0: address eth0 local 10.1.2.3 prefixlen 24 scope global')
    expect(seen).toContain(
      '+ container0: route type unicast dst 10.9.0.0/16 dev eth0 table main protocol boot scope link',
    )
    expect(seen).toContain('+ container0: iptables nat -A POSTROUTING -s 10.1.2.3/32 -j MASQUERADE')
    expect(seen).toContain('+ file /run/leases/10.1.2.3 "c1"')
    expect(seen.filter((line) => line.startsWith('-'))).toEqual([])
  })

  plain('tells two equal rules from one', () => {
    expect(difference(['a', 'a'], ['a'])).toBe('- a')
  })

  plain('keeps a MAC that was asked for and hides the others', () => {
    const lines = ['link 02:00:00:00:00:01', 'link 02:00:00:00:00:02 veth00000001 veth00000002']
    expect(normalise(lines, ['veth00000002'], { knownMacs: ['02:00:00:00:00:01'] })).toEqual([
      'link 02:00:00:00:00:01',
      'link <mac> veth#gone veth#0',
    ])
  })
})

describe('a rule set', () => {
  plain('is flattened, multi-line elements joined, tables of iptables left out', () => {
    const text = `table ip nat {
\tchain POSTROUTING {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip saddr 10.0.0.1 jump X
\t}
}
table inet podwire {
\tmap m {
\t\ttype inet_service : ipv4_addr
\t\telements = { 80 : 10.0.0.1,
\t\t             81 : 10.0.0.2 }
\t}
\tchain c {
\t\ttcp dport { 80, 81 } accept
\t}
}`
    expect(flattenRuleset(text)).toEqual([
      'nft table inet podwire',
      'nft table inet podwire map m',
      'nft table inet podwire map m: type inet_service : ipv4_addr',
      'nft table inet podwire map m: elements = { 80 : 10.0.0.1, 81 : 10.0.0.2 }',
      'nft table inet podwire chain c',
      'nft table inet podwire chain c: tcp dport { 80, 81 } accept',
    ])
  })
})

import { expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { type Kind, Member, networkOf, prepare } from './swap.js'

// CHECK of what the official suite attached is content only where its rules do the job. Each row takes something away,
// the last plugin's first, because a chain's CHECK ends at the first that finds a difference.

const rows: [Kind, [what: RegExp, command: string[]][]][] = [
  [
    'iptables everywhere',
    [
      [/^firewall: .*CNI-ISOLATION-STAGE-1 -i br2/s, ['iptables', '-F', 'CNI-ISOLATION-STAGE-1']],
      [/^firewall: .*CNI-FORWARD -s 10\.1\.2\.2/s, ['iptables', '-F', 'CNI-FORWARD']],
      [/^portmap: .*CNI-HOSTPORT-DNAT .*8080/s, ['ip6tables', '-t', 'nat', '-F', 'CNI-HOSTPORT-DNAT']],
      [/^portmap: .*PREROUTING/s, ['iptables', '-t', 'nat', '-F', 'PREROUTING']],
      [/^bridge: .*masquerades 10\.1\.2\.2/s, ['iptables', '-t', 'nat', '-F', 'POSTROUTING']],
    ],
  ],
  [
    'nftables where both suites have it',
    [
      [/^firewall: .*CNI-ISOLATION-STAGE-1 -i br2 -o br2/s, ['ip6tables', '-F', 'CNI-ISOLATION-STAGE-1']],
      [/^portmap: .*masquerades for fd00:1:2::2/s, ['nft', 'flush', 'chain', 'ip6', 'cni_hostport', 'masquerading']],
      [/^portmap: .*host port 8080\/tcp to 10/s, ['nft', 'flush', 'chain', 'ip', 'cni_hostport', 'output']],
      [
        /^bridge: .*masquerades 10\.1\.2\.2/s,
        ['nft', 'flush', 'chain', 'inet', 'cni_plugins_masquerade', 'masq_checks'],
      ],
    ],
  ],
]

test.for(rows)(
  'CHECK finds what is gone of what the official suite attached, with %s',
  async ([kind, gone], { host }) => {
    await prepare(host)
    const network = networkOf(kind, ['official', 'podwire'])
    const member = new Member(host, network, await host.container('member1'), 8080)
    await member.add('official')
    expect(await member.check('podwire')).toBeUndefined()
    for (const [what, command] of gone) {
      await host.output(command)
      expect(await member.check('podwire')).toMatch(what)
    }
  },
)

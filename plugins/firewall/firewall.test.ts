import { describe, expect, test } from 'vitest'
import { type Row, show } from '../../shared/testing/golden.js'

const v4 = { address: '10.1.2.3/24', interface: 2 }
const v6 = { address: 'fd00::3/64', interface: 2 }

/** The result of bridge, with the host's end of the link. */
const bridged = (...ips: object[]) => ({
  cniVersion: '1.1.0',
  interfaces: [{ name: 'br0' }, { name: 'vethabc' }, { name: 'eth0', sandbox: '/run/netns/c1' }],
  ips,
})

function row(config: object, answers: Row['answers'] = {}, more: Partial<Row> = {}): Row {
  const env = { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nonexistent' }
  return { plugin: 'firewall', verb: 'ADD', config: { prevResult: bridged(v4), ...config }, answers, env, ...more }
}

/** What `nft list chains` answers: each chain as "family table name", a base chain with its policy. */
function chains(...listed: string[]): string {
  const all = listed.map((line) => {
    const [family, table, name, policy] = line.split(' ')
    const hook = policy ? `\t\ttype filter hook forward priority filter; policy ${policy};\n` : ''
    return `table ${family} ${table} {\n\tchain ${name} {\n${hook}\t}\n}\n`
  })
  return all.join('')
}

const none = { status: null, failure: 'ENOENT' }
const plainHost = { 'nft list chains': chains(), 'iptables-save -t filter': none, 'ip6tables-save -t filter': none }
const emptyFilter = '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n'

/** The commands of a plan that add something: notes, declarations and comments left out. */
async function additions(asked: Row): Promise<string> {
  const { plan, status, json } = await show(asked)
  expect(status, JSON.stringify(json)).toBe(0)
  const isAddition = (line: string) => /element|^ip6?tables|insert rule|^# busctl/.test(line)
  return plan.split('\n').filter(isAddition).join('\n')
}

describe('ADD', () => {
  test('nftables: an element an address, and the result as it came', async () => {
    const { plan, json } = await show(row({}, plainHost))
    expect(plan).toBe(`# note firewall of net/c1 in /run/podwire/firewall/net/dd6ccc806f763e1c
# hold address-10.1.2.3
nft add table ip podwire
nft 'add set ip podwire firewall_addresses { type ipv4_addr ; }'
nft 'add chain ip podwire firewall_first { type filter hook forward priority -400 ; policy accept ; }'
nft flush chain ip podwire firewall_first
nft add rule ip podwire firewall_first ip saddr @firewall_addresses meta mark set meta mark or 0x20000000
nft add rule ip podwire firewall_first ip daddr @firewall_addresses ct state established,related meta mark set meta mark or 0x20000000
nft 'add chain ip podwire firewall_last { type filter hook forward priority 400 ; policy accept ; }'
nft flush chain ip podwire firewall_last
nft add rule ip podwire firewall_last meta mark set meta mark and 0xdfffffff
nft 'add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }'
`)
    expect(json).toEqual(bridged(v4))
  })

  test('both families', async () => {
    expect(
      await additions(row({ prevResult: bridged(v4, v6) }, plainHost)),
    ).toBe(`nft 'add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }'
nft 'add element ip6 podwire firewall_addresses { fd00::3 comment "net/eth0/c1" }'`)
  })

  test('FORWARD of iptables gets the official jumps and one rule for all containers', async () => {
    const answers = {
      'nft list chains': chains('ip filter FORWARD drop'),
      'iptables-save -t filter': emptyFilter,
    }
    expect(
      await additions(row({}, answers)),
    ).toBe(`nft 'add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }'
iptables -t filter -N CNI-FORWARD
iptables -t filter -N CNI-ADMIN
iptables -t filter -I FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD
iptables -t filter -I CNI-FORWARD -m comment --comment 'CNI firewall plugin admin overrides' -j CNI-ADMIN
iptables -t filter -N PODWIRE-ADMITTED
iptables -t filter -A PODWIRE-ADMITTED -m mark --mark 0x20000000/0x20000000 -m comment --comment 'podwire: admitted by the firewall plugin' -j ACCEPT
iptables -t filter -A CNI-FORWARD -m comment --comment 'podwire: admitted by the firewall plugin' -j PODWIRE-ADMITTED`)
  })

  test('FORWARD of iptables gets them before anybody sets its policy', async () => {
    const answers = { ...plainHost, 'iptables-save -t filter': emptyFilter.replace('DROP', 'ACCEPT') }
    const { plan } = await show(row({}, answers))
    expect(plan.split('\n').filter((line) => line.startsWith('iptables'))).toHaveLength(7)
  })

  test.for(['accept', 'drop'])(
    'with our chains there, FORWARD is read only where its policy is drop: %s',
    async (policy) => {
      const settled = chains(`ip filter FORWARD ${policy}`, 'ip filter PODWIRE-ADMITTED', 'ip filter CNI-ADMIN')
      const { json, plan } = await show(row({}, { 'nft list chains': settled }))
      if (policy === 'accept') expect(plan).not.toContain('iptables')
      else expect(json).toMatchObject({ details: expect.stringContaining('no answer for: iptables-save -t filter') })
    },
  )

  test("iptables that cannot read its table is nobody's who could set that policy", async () => {
    const answers = { ...plainHost, 'iptables-save -t filter': { status: 1, stderr: 'Table does not exist' } }
    const { plan, status } = await show(row({}, answers))
    expect(status).toBe(0)
    expect(plan).toContain('firewall: should the policy of iptables FORWARD turn to DROP, ADD again: cannot read')
  })

  test('FORWARD of iptables-legacy too, by its own tool', async () => {
    const answers = { ...plainHost, 'iptables-legacy-save -t filter': emptyFilter }
    const files = { '/proc/net/ip_tables_names': 'filter\n' }
    expect(
      await additions(row({ iptablesAdminChainName: 'SITE' }, answers, { files })),
    ).toBe(`nft 'add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }'
iptables-legacy -t filter -N CNI-FORWARD
iptables-legacy -t filter -N SITE
iptables-legacy -t filter -I FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD
iptables-legacy -t filter -I CNI-FORWARD -m comment --comment 'CNI firewall plugin admin overrides' -j SITE
iptables-legacy -t filter -N PODWIRE-ADMITTED
iptables-legacy -t filter -A PODWIRE-ADMITTED -m mark --mark 0x20000000/0x20000000 -m comment --comment 'podwire: admitted by the firewall plugin' -j ACCEPT
iptables-legacy -t filter -A CNI-FORWARD -m comment --comment 'podwire: admitted by the firewall plugin' -j PODWIRE-ADMITTED`)
  })

  test('an nftables chain that drops gets the rule, one that accepts does not, nor one of the other family', async () => {
    const answers = {
      ...plainHost,
      'nft list chains': chains('inet site fwd drop', 'ip other fwd accept', 'ip6 six fwd drop', 'ip podwire x drop'),
      'nft -j list chain inet site fwd': '{"nftables": []}',
    }
    expect(
      await additions(row({}, answers)),
    ).toBe(`nft 'add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }'
nft 'insert rule inet site fwd meta mark and 0x20000000 == 0x20000000 accept comment "podwire: admitted by the firewall plugin"'`)
  })

  test('iptables: the official rules', async () => {
    expect(
      await additions(row({ backend: 'iptables' }, { 'iptables-save -t filter': '' })),
    ).toBe(`iptables -t filter -N CNI-FORWARD
iptables -t filter -N CNI-ADMIN
iptables -t filter -I FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD
iptables -t filter -I CNI-FORWARD -m comment --comment 'CNI firewall plugin admin overrides' -j CNI-ADMIN
iptables -t filter -A CNI-FORWARD -d 10.1.2.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -t filter -A CNI-FORWARD -s 10.1.2.3/32 -j ACCEPT`)
  })

  test('isolated', async () => {
    expect(
      await additions(row({ ingressPolicy: 'isolated' }, plainHost)),
    ).toBe(`nft 'add element ip podwire firewall_addresses { 10.1.2.3 comment "net/eth0/c1" }'
nft 'add element ip podwire firewall_bridges { "br0" }'
nft 'add element ip podwire firewall_within { "br0" . "br0" : drop }'
nft 'add element ip6 podwire firewall_bridges { "br0" }'
nft 'add element ip6 podwire firewall_within { "br0" . "br0" : drop }'
nft 'add element bridge podwire firewall_isolated_ports { "vethabc" comment "net/eth0/c1" }'`)
  })

  test('firewalld', async () => {
    expect(
      await additions(row({ backend: 'firewalld', prevResult: bridged(v4, v6) })),
    ).toBe(`# busctl call org.fedoraproject.FirewallD1 addSource ss trusted 10.1.2.3/32
# busctl call org.fedoraproject.FirewallD1 addSource ss trusted fd00::3/128`)
  })
})

describe('nothing to do', () => {
  test.for([
    { what: 'no addresses', config: { prevResult: bridged() } },
    { what: 'the policy open', config: { prevResult: bridged(), ingressPolicy: 'open' } },
  ])('$what', async ({ config }) => {
    expect(await show(row(config))).toMatchObject({ plan: '', status: 0 })
  })

  test.for(['nftables', 'iptables', ''])('what stands already is not added again: backend "%s"', async (backend) => {
    const saved = `*filter
:FORWARD DROP [0:0]
:CNI-ADMIN - [0:0]
:CNI-FORWARD - [0:0]
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
:PODWIRE-ADMITTED - [0:0]
-A PODWIRE-ADMITTED -m mark --mark 0x20000000/0x20000000 -m comment --comment "podwire: admitted by the firewall plugin" -j ACCEPT
-A CNI-FORWARD -m comment --comment "podwire: admitted by the firewall plugin" -j PODWIRE-ADMITTED
-A CNI-FORWARD -d 10.1.2.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.1.2.3/32 -j ACCEPT
COMMIT
`
    const answers = { 'nft list chains': chains('ip filter FORWARD drop'), 'iptables-save -t filter': saved }
    const { plan } = await show(row({ backend }, answers))
    expect(plan.split('\n').filter((line) => line.startsWith('iptables'))).toEqual([])
  })
})

describe('refused', () => {
  test.for([
    {
      what: 'another backend',
      config: { backend: 'ipset' },
      says: 'backend: found "ipset", expected one of "", "nftables", "iptables", "ip6tables", "firewalld"',
    },
    {
      what: 'another policy',
      config: { ingressPolicy: 'no' },
      says: 'ingressPolicy: found "no", expected one of "", "open", "same-bridge", "isolated"',
    },
    {
      what: 'a chain name that ends the line',
      config: { iptablesAdminChainName: 'A\nCOMMIT' },
      says: 'iptablesAdminChainName: found',
    },
    { what: 'a zone that is an option', config: { firewalldZone: '--help' }, says: 'firewalldZone: found "--help"' },
    {
      what: 'a policy without a bridge',
      config: { ingressPolicy: 'isolated', prevResult: { cniVersion: '1.1.0' } },
      says: 'chain firewall behind bridge',
    },
    ...['dummy9381c30abed', 'br0 accept', 'br0\n'].map((name) => ({
      what: `a policy whose bridge is called ${JSON.stringify(name)}`,
      config: { ingressPolicy: 'same-bridge', prevResult: { cniVersion: '1.1.0', interfaces: [{ name }] } },
      says: 'chain firewall behind bridge',
    })),
    {
      what: 'no result before',
      config: { prevResult: undefined },
      says: 'the result of the plugin before in the chain',
    },
  ])('$what', async ({ config, says }) => {
    const { plan, status, json } = await show(row(config))
    expect({ plan, status, code: json.code }).toEqual({ plan: '', status: 1, code: 7 })
    expect(json.details).toContain(says)
  })

  test('iptables that is not installed', async () => {
    const { json } = await show(row({ backend: 'iptables' }, { 'iptables-save -t filter': none }))
    expect(json).toMatchObject({ code: 101, msg: expect.stringContaining('"iptables-save" is not installed') })
  })
})

describe('DEL', () => {
  test('without a record looks for the owner, and for official rules of the addresses it is told', async () => {
    const listed = {
      nftables: [{ set: { elem: [{ elem: { val: '10.1.2.3', comment: 'net/eth0/c1' } }, '10.1.2.9'] } }],
    }
    const answers = {
      'nft -j list set ip podwire firewall_addresses': { stdout: JSON.stringify(listed) },
      'nft -j list set *': { status: 1, stderr: 'Error: No such file or directory' },
      'iptables-save -t filter': ':CNI-FORWARD - [0:0]\n-A CNI-FORWARD -s 10.1.2.3/32 -j ACCEPT\n',
    }
    const asked = row({}, answers, { verb: 'DEL' })
    expect((await show(asked)).plan).toBe(`nft 'delete element ip podwire firewall_addresses { 10.1.2.3 }'
# no longer hold address-10.1.2.3
iptables -t filter -D CNI-FORWARD -s 10.1.2.3/32 -j ACCEPT
# forget /run/podwire/firewall/net/dd6ccc806f763e1c
`)
  })
})

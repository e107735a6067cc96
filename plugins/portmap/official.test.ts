import { describe, expect, test } from 'vitest'
import { netns, type Row, show } from '../../shared/testing/golden.js'

// What the official plugin's nftables backend made, and no record of ours tells of.

interface Rule {
  readonly chain: string
  readonly comment?: string
  readonly expr: readonly object[]
}

const dport = (right: number, protocol = 'tcp') => ({
  match: { left: { payload: { protocol, field: 'dport' } }, right },
})
const address = (field: string, right: string) => ({ match: { left: { payload: { protocol: 'ip', field } }, right } })
const dnat = (addr: string, to: number) => ({ dnat: { addr, port: to } })
const jump = (target: string) => ({ jump: { target } })

const hooks: readonly Rule[] = [
  { chain: 'prerouting', expr: [jump('hostip_hostports')] },
  { chain: 'prerouting', expr: [jump('hostports')] },
  { chain: 'output', expr: [jump('hostip_hostports')] },
  { chain: 'output', expr: [jump('hostports')] },
]
const published: Rule = { chain: 'hostports', comment: 'c1', expr: [dport(8080), dnat('10.9.0.2', 80)] }
const ofAddress: Rule = {
  chain: 'hostip_hostports',
  comment: 'c1',
  expr: [address('daddr', '192.0.2.1'), dport(53, 'udp'), dnat('10.9.0.2', 5353)],
}
const masked: Rule = {
  chain: 'masquerading',
  comment: 'c1',
  expr: [address('saddr', '10.9.0.2'), address('daddr', '10.9.0.2')],
}
const ofOthers: readonly Rule[] = [
  { chain: 'hostports', comment: 'c2', expr: [dport(8081), dnat('10.9.0.3', 80)] },
  { chain: 'masquerading', comment: 'c2', expr: [address('saddr', '10.9.0.3')] },
]
const whole = [...hooks, published, ofAddress, masked, ...ofOthers]

const mappings = [
  { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
  { hostPort: 53, containerPort: 5353, protocol: 'udp', hostIP: '192.0.2.1' },
]

function call(verb: Row['verb'], rules: readonly Rule[], config: object = {}, answers: Row['answers'] = {}) {
  const listed = rules.map((rule, index) => ({ rule: { ...rule, handle: index + 1 } }))
  return show({
    plugin: 'portmap',
    verb,
    config: {
      prevResult: {
        cniVersion: '1.1.0',
        interfaces: [{ name: 'br0' }, { name: 'eth0', sandbox: netns }],
        ips: [{ address: '10.9.0.2/24', interface: 1 }],
      },
      runtimeConfig: { portMappings: mappings },
      ...config,
    },
    answers: {
      ...answers,
      'nft -j list table ip cni_hostport': JSON.stringify({ nftables: listed }),
      'nft -j list tables': JSON.stringify({ nftables: [{ table: { family: 'ip', name: 'cni_hostport' } }] }),
      'nft *': { status: 1, stderr: 'Error: No such file or directory' },
      'iptables-save *': '',
      'ip6tables-save *': '',
    },
  })
}

describe('CHECK', () => {
  const without = (gone: Rule) => whole.filter((rule) => rule !== gone)
  const instead = (old: Rule, expr: readonly object[], more: Partial<Rule> = {}) =>
    whole.map((rule) => (rule === old ? { ...old, expr, ...more } : rule))
  const nothing = 'portmap, ip: found "nothing"'
  const port = 'host port 8080/tcp to 10.9.0.2:80'
  const other = 'host port 192.0.2.1:53/udp to 10.9.0.2:5353'
  const rows: [what: string, rules: readonly Rule[], missing: readonly string[]][] = [
    ['all is there', whole, []],
    ["nothing is the container's", [...hooks, ...ofOthers], [nothing, nothing]],
    ['a port is missing', without(published), [port]],
    ['a port of an address is missing', without(ofAddress), [other]],
    ['masquerade is missing', without(masked), ['a rule that masquerades for 10.9.0.2']],
    ['nothing leads in from outside', whole.filter(({ chain }) => chain !== 'prerouting'), [port, other]],
    ['nothing leads in from the host', whole.filter(({ chain }) => chain !== 'output'), [port, other]],
    [
      'one chain is left out',
      whole.filter(({ expr }) => !('jump' in (expr[0] ?? {}) && JSON.stringify(expr).includes('"hostports"'))),
      [port],
    ],
    ['another port', instead(published, [dport(8082), dnat('10.9.0.2', 80)]), [port]],
    ['another protocol', instead(published, [dport(8080, 'udp'), dnat('10.9.0.2', 80)]), [port]],
    ['another target', instead(published, [dport(8080), dnat('10.9.0.9', 80)]), [port]],
    ['another port of the target', instead(published, [dport(8080), dnat('10.9.0.2', 81)]), [port]],
    ['no target', instead(published, [dport(8080)]), [port]],
    [
      'one address instead of all',
      instead(published, [address('daddr', '192.0.2.1'), dport(8080), dnat('10.9.0.2', 80)]),
      [port],
    ],
    [
      'another address',
      instead(ofAddress, [address('daddr', '192.0.2.2'), dport(53, 'udp'), dnat('10.9.0.2', 5353)]),
      [other],
    ],
    [
      'masquerade of another',
      instead(masked, [address('saddr', '10.9.0.9')]),
      ['a rule that masquerades for 10.9.0.2'],
    ],
    [
      'masquerade in another chain',
      instead(masked, masked.expr, { chain: 'hostports' }),
      ['a rule that masquerades for 10.9.0.2'],
    ],
  ]
  test.each(rows)('%s', async (_, rules, missing) => {
    const { status, json } = await call('CHECK', rules)
    expect([status, json?.code], JSON.stringify(json)).toEqual(missing.length === 0 ? [0, undefined] : [1, 105])
    const lines = missing.length === 0 ? [] : json.details.split('\n')
    expect(lines.length, JSON.stringify(lines)).toBe(
      missing.length === 2 && missing[0] === nothing ? 1 : missing.length,
    )
    for (const [index, line] of lines.entries()) expect(line).toContain(missing[index])
  })

  test('without masquerade there is none to be missing', async () => {
    expect((await call('CHECK', without(masked), { snat: false })).status).toBe(0)
  })

  test('a chain that is reached by way of another counts', async () => {
    const around = [
      { chain: 'prerouting', expr: [jump('first')] },
      { chain: 'output', expr: [jump('first')] },
      { chain: 'first', expr: [jump('hostports')] },
      { chain: 'first', expr: [jump('hostip_hostports')] },
    ]
    expect((await call('CHECK', [...around, published, ofAddress, masked])).status).toBe(0)
  })
})

describe('DEL', () => {
  const removed = async (rules: readonly Rule[], config: object = {}) => {
    const { plan, status, json } = await call('DEL', rules, config)
    expect(status, JSON.stringify(json)).toBe(0)
    return plan.split('\n').filter((line) => line.startsWith('nft delete rule'))
  }

  test("removes the container's rules by their handles", async () => {
    expect(await removed(whole)).toEqual([
      'nft delete rule ip cni_hostport hostports handle 5',
      'nft delete rule ip cni_hostport hostip_hostports handle 6',
      'nft delete rule ip cni_hostport masquerading handle 7',
    ])
  })

  test('leaves rules for addresses of the container on another network, and all that only look alike', async () => {
    const elsewhere = { chain: 'hostports', comment: 'c1', expr: [dport(9090), dnat('10.8.0.2', 80)] }
    const strange = { chain: 'forward', comment: 'c1', expr: [address('saddr', '10.9.0.2')] }
    expect(await removed([elsewhere, published, strange])).toEqual([
      'nft delete rule ip cni_hostport hostports handle 2',
    ])
  })

  test('of a container whose addresses nobody tells takes all', async () => {
    const elsewhere = { chain: 'hostports', comment: 'c1', expr: [dport(9090), dnat('10.8.0.2', 80)] }
    expect(await removed([elsewhere, published], { prevResult: undefined })).toHaveLength(2)
  })
})

describe('ADD', () => {
  const chains = (...names: string[]) =>
    `table ip cni_hostport {\n${names.map((name) => `\tchain ${name} {\n\t}\n`).join('')}}\n`
  const files = {
    '/proc/net/route': 'Iface\n',
    '/proc/net/fib_trie': '',
    '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
    ...Object.fromEntries(['tcp', 'tcp6', 'udp', 'udp6'].map((name) => [`/proc/net/${name}`, ''])),
  }
  const add = (rules: readonly Rule[], listed: string) =>
    show({
      plugin: 'portmap',
      verb: 'ADD',
      config: {
        prevResult: {
          cniVersion: '1.1.0',
          interfaces: [{ name: 'br0' }, { name: 'eth0', sandbox: netns }],
          ips: [{ address: '10.9.0.2/24', interface: 1 }],
        },
        runtimeConfig: { portMappings: mappings.slice(0, 1) },
      },
      files,
      answers: {
        'nft list chains': listed,
        'nft -j list chain ip cni_hostport hostports': JSON.stringify({
          nftables: rules.map((rule, index) => ({ rule: { ...rule, handle: index } })),
        }),
      },
    })
  const taken = (comment: string | undefined, ...expr: object[]): Rule => ({
    chain: 'hostports',
    ...(comment === undefined ? {} : { comment }),
    expr,
  })
  const target = dnat('10.9.0.9', 80)
  const rows: [what: string, rule: Rule, says: string | undefined][] = [
    ['of another', taken('c2', dport(8080), target), 'published by container "c2"'],
    [
      'of nobody that is named',
      taken(undefined, dport(8080), target),
      'published by a container that no comment names',
    ],
    ['of one address', taken('c2', address('daddr', '192.0.2.1'), dport(8080), target), 'published by container "c2"'],
    ['of the container itself', taken('c1', dport(8080), target), undefined],
    ['of another number', taken('c2', dport(8081), target), undefined],
    ['of another protocol', taken('c2', dport(8080, 'udp'), target), undefined],
    ['none', taken('c2', target), undefined],
  ]
  test.each(rows)('a port %s', async (_, rule, says) => {
    const { status, json } = await add([rule], chains('hostports'))
    expect([status, json.code]).toEqual(says === undefined ? [0, undefined] : [1, 106])
    if (says !== undefined) expect(json.msg).toContain(says)
  })

  test('asks for no rules where the chain is not there', async () => {
    expect((await add([taken('c2', dport(8080), target)], chains('others'))).status).toBe(0)
  })
})

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { command } from '../../shared/testing/program.js'
import { type Finding, rules } from './finding.js'

const here = import.meta.dirname
const publicFiles = readdirSync(path.join(here, 'public')).sort()

/** A folder of its own with these files. */
function folder(files: Readonly<Record<string, string | object>>): string {
  const made = mkdtempSync(path.join(tmpdir(), 'podwire-lint-'))
  onTestFinished(() => rmSync(made, { recursive: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(made, name)), { recursive: true })
    writeFileSync(path.join(made, name), typeof content === 'string' ? content : JSON.stringify(content, null, 2))
  }
  return made
}

/** What lint says of words, as JSON. */
async function lint(...words: string[]) {
  const { status, stdout, stderr } = await command(['lint', ...words, '--json'])
  const { findings, files } = JSON.parse(stdout) as { findings: Finding[]; files: { file: string; does: object }[] }
  const shown = findings.map(({ rule, severity, path: at = '', message, line, column }) => {
    return { kind: `${severity} ${rule}`, at, message, place: `${line}:${column}` }
  })
  return { status, stderr, findings: shown, files }
}

const lease = { type: 'host-local', subnet: '10.5.0.0/24' }
const bridge = { type: 'bridge', bridge: 'br5', isGateway: true, hairpinMode: true, ipam: lease }
const ports = { type: 'portmap', capabilities: { portMappings: true } }
const list = (...plugins: object[]) => ({ cniVersion: '1.0.0', name: 'net', plugins })
const conf = (plugin: object) => ({ cniVersion: '1.0.0', name: 'net', ...plugin })

test('there are forty public configurations and more', () => {
  expect(publicFiles.length).toBeGreaterThanOrEqual(40)
})

test.each(publicFiles)('%s raises no alarm', async (file) => {
  const { status, findings } = await lint(path.join(here, 'public', file))
  expect(findings.filter(({ kind }) => !kind.startsWith('note'))).toEqual([])
  expect(status).toBe(0)
})

test('the examples raise none', async () => {
  const { findings } = await lint(
    ...readdirSync('examples')
      .filter((one) => one.endsWith('.conflist'))
      .map((one) => `examples/${one}`),
  )
  expect(
    findings.filter(({ kind, message }) => !kind.startsWith('note') && !message.includes('the name taken')),
  ).toEqual([])
})

/** One mistake a row: the file's name and content, where it is found, and what is said of it. */
const mistakes: [string, string | object, string, string, RegExp][] = [
  // The file.
  [
    'a.conf',
    '{\n  "name": "net",\n  "type": "bridge",\n}',
    'error json-syntax',
    '4:1',
    /no JSON: a comma stands before "}"/,
  ],
  ['a.conf', '{"name": "net"', 'error json-syntax', '1:15', /no JSON/],
  ['a.conf', '{\n  // a comment\n  "name": "net"\n}', 'error json-syntax', '2:3', /no JSON/],
  ['a.conf', '', 'error json-syntax', '1:1', /no JSON: it ends too early/],
  ['a.conf', '\ufeff{"name":"net","type":"bridge"}', 'error json-syntax', '1:1', /no JSON/],
  ['a.conf', '[]', 'error not-a-configuration', '1:1', /a JSON object/],
  ['a.conf', { name: 'net' }, 'error not-a-configuration', '1:1', /neither "plugins" nor "type"/],
  ['a.conflist', { name: 'net', Plugins: [bridge] }, 'error not-a-configuration', '3:3', /neither/],
  ['a.conflist', { ...list(), plugins: {} }, 'error value', '4:3', /"plugins" is no list/],
  ['a.conflist', { ...list(), plugins: ['bridge'] }, 'error value', '5:5', /a plugin is an object/],
  ['a.conflist', list(), 'error value', '4:3', /has no plugin/],
  ['a.conflist', conf(bridge), 'error extension', '4:3', /one plugin in a \.conflist/],
  ['a.conf', list(bridge), 'error extension', '4:3', /a list in a \.conf/],
  ['a.json', list(bridge), 'error extension', '4:3', /a list in a \.json/],
  [
    'a.conf',
    '{"name":"net","type":"bridge","bridge":"x","mtu":1400,"mtu":1500}',
    'warning duplicate-key',
    '1:55',
    /"mtu" stands twice/,
  ],
  ['a.yaml', 'kind: ConfigMap\n data: [', 'error yaml-syntax', '1:7', /no YAML/],
  ['a.conflist', { name: 'net', loadOnlyInlinedPlugins: true }, 'error value', '3:3', /there is no "plugins"/],
  ['a.conflist', { name: 'net', loadOnlyInlinedPlugins: 'TRUE' }, 'error value', '3:3', /there is no "plugins"/],
  ['a.conflist', { name: 'net', loadOnlyInlinedPlugins: false }, 'error not-a-configuration', '1:1', /neither/],
  ...['disableCheck', 'disableGC', 'loadOnlyInlinedPlugins'].flatMap((key) =>
    ['yes', 1, null].map((value): (typeof mistakes)[number] => [
      'a.conflist',
      { ...list(bridge), cniVersion: '1.1.0', [key]: value },
      'error value',
      '16:3',
      /is neither true nor false: libcni refuses the list/,
    ]),
  ),
  // What Multus hands on.
  ['a.conf', conf({ type: 'multus', delegates: {} }), 'error value', '5:3', /"delegates" is no list/],
  ['a.conf', conf({ type: 'multus', delegates: ['x'] }), 'error value', '6:5', /a delegate is a configuration/],
  ['a.conf', conf({ type: 'multus', delegates: [{}] }), 'error not-a-configuration', '6:5', /neither "plugins" nor/],
  [
    'a.conf',
    conf({ type: 'multus', delegates: [{ type: 'calico' }, { ...bridge, mtu: '1500' }] }),
    'error value',
    '18:7',
    /mtu: "1500" is wrong/,
  ],
  [
    'a.conf',
    conf({ type: 'multus', delegates: [list(ports, bridge)] }),
    'error order',
    '11:11',
    /bridge, which makes it, comes later/,
  ],
  [
    'a.conflist',
    list({ type: 'multus', delegates: [{ type: 'multus', delegates: [{ type: 'macvlan', mode: 'bride' }] }] }),
    'error value',
    '13:15',
    /one of "bridge", "private"/,
  ],
  // Its name and version.
  ['a.conf', { ...conf(bridge), name: 'my net' }, 'error name', '3:3', /"my net" is no name/],
  ['a.conf', { ...conf(bridge), name: '../x' }, 'error name', '3:3', /is no name/],
  ['a.conflist', { cniVersion: '1.0.0', plugins: [bridge] }, 'error name', '1:1', /has no name/],
  ['a.conf', { ...conf(bridge), cniVersion: '1.0' }, 'error cni-version', '2:3', /no CNI version "1\.0"/],
  ['a.conf', { ...conf(bridge), cniVersion: 1 }, 'error cni-version', '2:3', /no text/],
  [
    'a.conflist',
    { ...list(bridge), disableGC: true },
    'warning version-needed',
    '16:3',
    /only from cniVersion 1\.1\.0 on/,
  ],
  [
    'a.conf',
    conf({ ...bridge, ipam: { ...lease, statusOnFullRange: true } }),
    'warning version-needed',
    '11:5',
    /STATUS and GC/,
  ],
  // Plugins, their keys and values.
  ['a.conflist', list(bridge, {}), 'error type', '15:5', /has no type/],
  ['a.conf', conf({ ...bridge, type: '../bridge' }), 'error type', '4:3', /no name of a file/],
  ['a.conf', conf({ ...bridge, isGatway: true }), 'warning unknown-key', '12:3', /did you mean "isGateway"\?/],
  ['a.conf', conf({ ...bridge, ipMask: true }), 'warning unknown-key', '12:3', /did you mean "ipMasq"\?/],
  ['a.conf', conf({ ...bridge, brigde: 'x' }), 'warning unknown-key', '12:3', /did you mean "bridge"\?/],
  [
    'a.conf',
    conf({ ...bridge, ipam: { ...lease, rangestrat: '10.5.0.9' } }),
    'warning unknown-key',
    '11:5',
    /did you mean "rangeStart"/,
  ],
  [
    'a.conf',
    conf({ ...bridge, master: 'eth0' }),
    'warning other-plugins-key',
    '12:3',
    /a key of ipvlan, macvlan, vlan/,
  ],
  ['a.conflist', list(bridge, { ...ports, sysctl: {} }), 'warning other-plugins-key', '20:7', /a key of tuning/],
  [
    'a.conflist',
    { ...list(bridge), isGateway: true },
    'warning other-plugins-key',
    '16:3',
    /beside "plugins".*bridge has a key/,
  ],
  ['a.conflist', { ...list(bridge), disablecheck: true }, 'warning unknown-key', '16:3', /did you mean "disableCheck"/],
  ['a.conf', conf({ ...bridge, mtu: '1500' }), 'error value', '12:3', /mtu: "1500" is wrong; expected an integer/],
  ['a.conf', conf({ ...bridge, vlan: 4095 }), 'error value', '12:3', /from 0 to 4094/],
  ['a.conf', conf({ ...bridge, promiscMode: true }), 'error value', '12:3', /exclude each other/],
  [
    'a.conf',
    conf({ ...bridge, ipam: { ...lease, subnet: '10.5.0.1/24' } }),
    'error value',
    '10:5',
    /without host bits/,
  ],
  ['a.conf', conf({ ...bridge, ipam: { ...lease, rangeStart: '10.6.0.1' } }), 'error value', '11:5', /rangeStart/],
  ['a.conf', conf({ ...bridge, ipam: { type: 'host-local' } }), 'error value', '8:3', /at least one range/],
  [
    'a.conf',
    conf({ ...bridge, ipam: { ...lease, routes: [{ dst: 'default' }] } }),
    'error value',
    '13:9',
    /an address with its prefix/,
  ],
  ['a.conf', conf({ ...bridge, ipam: { type: 'bridge' } }), 'error value', '9:5', /bridge is no IPAM plugin/],
  ['a.conf', conf({ type: 'macvlan', mode: 'bride' }), 'error value', '5:3', /one of "bridge", "private"/],
  ['a.conflist', list(bridge, { type: 'firewall', backend: 'nft' }), 'error value', '17:7', /one of "", "nftables"/],
  ['a.conflist', list(bridge, { type: 'vrf' }), 'error value', '15:5', /vrfname is missing/],
  // A list in one process.
  [
    'a.conflist',
    list({ type: 'chain', plugins: [bridge, { type: 'tuning', mut: 1 }] }),
    'warning unknown-key',
    '20:11',
    /did you mean "mtu"/,
  ],
  [
    'a.conflist',
    list({ type: 'chain', capabilities: { portMappings: true }, plugins: [ports, bridge] }),
    'error order',
    '12:11',
    /comes later/,
  ],
  // The chain.
  ['a.conflist', list(ports, bridge), 'error order', '6:7', /bridge, which makes it, comes later/],
  ['a.conflist', list(ports), 'error order', '6:7', /no plugin makes it/],
  [
    'a.conflist',
    list(bridge, { ...bridge, type: 'ptp', bridge: undefined, isGateway: undefined, hairpinMode: undefined }),
    'error order',
    '16:7',
    /finds the name taken/,
  ],
  [
    'a.conflist',
    list({ type: 'ptp', ipam: lease }, { type: 'firewall', ingressPolicy: 'same-bridge' }),
    'error order',
    '14:7',
    /no bridge comes before/,
  ],
  [
    'a.conflist',
    list({ ...bridge, hairpinMode: false }, ports),
    'warning hairpin',
    '6:7',
    /does not reach its own published ports/,
  ],
  ['a.conflist', list(bridge, { type: 'portmap' }), 'warning capability', '16:7', /nobody declares portMappings/],
  ['a.conflist', list(bridge, { type: 'bandwidth' }), 'warning capability', '16:7', /nothing is limited/],
  [
    'a.conflist',
    list({ ...bridge, capabilities: { portMappings: true } }, { type: 'firewall' }),
    'warning capability',
    '15:9',
    /bridge does not take.*"portMappings"/,
  ],
  [
    'a.conflist',
    list(bridge, { ...ports, capabilities: { portMappings: true, bandwidth: true } }),
    'warning capability',
    '19:9',
    /portmap does not take/,
  ],
  [
    'a.conflist',
    list(bridge, { ...ports, capabilities: { portMappings: true, portMapping: true } }),
    'warning capability',
    '19:9',
    /did you mean "portMappings"/,
  ],
]

test.each(mistakes)('%s with %j: %s at %s', async (file, content, kind, place, message) => {
  const made = folder({ [file]: content })
  const { status, findings } = await lint(path.join(made, file))
  expect(findings).toContainEqual({ kind, at: expect.anything(), message: expect.stringMatching(message), place })
  expect(findings.filter((one) => !one.kind.startsWith('note'))).toHaveLength(1)
  expect(status).toBe(1)
})

test.each([
  ['1.1.0', ['note cni-version']],
  ['1.0.0', []],
])('a list of %s is told whom it is too new for', async (cniVersion, kinds) => {
  const made = folder({ 'a.conflist': { ...list(bridge), cniVersion } })
  const { status, findings } = await lint(path.join(made, 'a.conflist'))
  expect([status, findings.map(({ kind }) => kind)]).toEqual([0, kinds])
  for (const { message } of findings) expect(message).toContain('containerd before 2.0 and Podman 4')
})

describe('in YAML', () => {
  const nad = (style: string, lines: string[]) =>
    [
      'apiVersion: k8s.cni.cncf.io/v1',
      'kind: NetworkAttachmentDefinition',
      'metadata:',
      '  name: second',
      'spec:',
      `  config: ${style}`,
      ...lines,
      '',
    ].join('\n')

  test('a mistake in a block stands at its line and column', async () => {
    const made = folder({
      'nad.yaml': nad('|-', [
        '    {',
        '      "cniVersion": "1.0.0",',
        '      "type": "macvlan",',
        '      "mastr": "eth0"',
        '    }',
      ]),
    })
    const { findings } = await lint(path.join(made, 'nad.yaml'))
    expect(findings).toMatchObject([
      { kind: 'warning unknown-key', place: '10:7', message: expect.stringContaining('did you mean "master"') },
    ])
  })

  test('a mistake in a quoted text stands where that begins, and one of several objects is found', async () => {
    const text = `kind: List\nitems:\n- kind: Pod\n- kind: NetworkAttachmentDefinition\n  spec:\n    config: '{ "type": "vlan", "vlanId": 5000 }'\n`
    const { findings } = await lint(path.join(folder({ 'list.yml': text }), 'list.yml'))
    expect(findings).toMatchObject([{ kind: 'error value', place: '6:13' }])
  })

  test('what is no JSON inside is said there', async () => {
    const made = folder({ 'nad.yaml': nad('|', ['    {', '      "type": "vlan",', '    }']) })
    const { findings } = await lint(path.join(made, 'nad.yaml'))
    expect(findings).toMatchObject([{ kind: 'error json-syntax', place: '9:5' }])
  })

  test('an object as JSON is one, too', async () => {
    const object = {
      apiVersion: 'k8s.cni.cncf.io/v1',
      kind: 'NetworkAttachmentDefinition',
      spec: { config: '{"type":"vlan","vlanId":5000}' },
    }
    const { findings } = await lint(path.join(folder({ 'nad.json': object }), 'nad.json'))
    expect(findings).toMatchObject([{ kind: 'error value' }])
  })

  test.each([
    [
      'a bomb of aliases',
      `a: &a [${'x,'.repeat(9)}x]\nb: &b [${'*a,'.repeat(9)}*a]\nc: &c [${'*b,'.repeat(9)}*b]\nitems: [${'*c,'.repeat(9)}*c]\n`,
    ],
    ['no object', '- 1\n- 2\n'],
    ['nothing', ''],
  ])('%s holds nobody up', async (_, text) => {
    const { stderr, status } = await lint(path.join(folder({ 'x.yaml': text }), 'x.yaml'))
    expect([stderr, status === 0 || status === 1]).toEqual(['', true])
  })
})

describe("of the folder of a network's name", () => {
  const more = (files: Readonly<Record<string, string | object>>, network: object = list(bridge)) =>
    folder({
      'a.conflist': network,
      ...Object.fromEntries(Object.entries(files).map(([at, one]) => [`net/${at}`, one])),
    })
  const found = async (made: string, words = [path.join(made, 'a.conflist')]) => {
    const { stdout } = await command(['lint', ...words, '--json'])
    const { findings } = JSON.parse(stdout) as { findings: Finding[] }
    return findings.map(({ severity, rule, file, path: at = '', line }) => {
      return `${severity} ${rule} ${path.relative(made, file)}:${line} ${at}`.trimEnd()
    })
  }
  const appended = 'note plugin-folder a.conflist:4 plugins'

  test('plugins are those of the list, after its own, in the order of their names', async () => {
    const tuning = { type: 'tuning', mut: 1 }
    const made = more({ '20.conf': tuning, '10.conf': ports, 'x.json': '{', 'x.conflist': '{', 'y.conf/z.conf': '{' })
    expect(await found(made)).toEqual([appended, 'warning unknown-key net/20.conf:3 mut'])
    expect(await found(more({ '10.conf': ports }, list({ ...bridge, hairpinMode: false })))).toEqual([
      appended,
      'warning hairpin a.conflist:6 plugins[0].type',
    ])
    expect(await found(more({ '10.conf': { type: 'ptp', ipam: lease } }))).toEqual([
      appended,
      'error order net/10.conf:2 type',
    ])
  })

  test('a list may have no others', async () => {
    const made = more({ '10.conf': bridge, '20.conf': ports }, { cniVersion: '1.0.0', name: 'net' })
    expect(await found(made)).toEqual(['note plugin-folder a.conflist:1 plugins'])
    const { files } = await lint(made)
    expect(files).toMatchObject([{ does: { containerd: 'uses', crio: 'default', podman: 'skips', libcni: 'by name' } }])
  })

  test.each([
    ['no JSON', '{', 'error json-syntax net/10.conf:1'],
    ['no type', {}, 'error not-a-configuration net/10.conf:1'],
    ['a list', list(bridge), 'error value net/10.conf:4 plugins'],
    ['what Multus hands on', { type: 'multus', delegates: {} }, 'error value net/10.conf:3 delegates'],
  ])('%s in it is found, and stops what loads the list', async (_, content, kind) => {
    const made = more({ '10.conf': content })
    expect(await found(made)).toContain(kind)
    expect((await lint(made)).files).toMatchObject([{ does: { libcni: 'stops here' } }])
  })

  test('with loadOnlyInlinedPlugins nobody reads it', async () => {
    const made = more({ '10.conf': '{' }, { ...list(bridge), loadOnlyInlinedPlugins: true })
    expect(await found(made)).toEqual(['note plugin-folder a.conflist:16 loadOnlyInlinedPlugins'])
  })

  test('it is that of lists with a name alone, and never one beyond', async () => {
    const other = { '../x/10.conf': '{', '10.conf': '{' }
    expect(await found(more(other, { ...list(bridge), name: '../x' }))).toEqual(['error name a.conflist:3 name'])
    const made = folder({ 'b.conf': conf(bridge), 'net/10.conf': '{' })
    expect(await found(made, [path.join(made, 'b.conf')])).toEqual([])
  })
})

describe('of a folder', () => {
  const network = (name: string, more: object = {}) => ({ ...list({ ...bridge, bridge: name, ...more }), name })

  test('it says what each runtime does with each file', async () => {
    const made = folder({
      '20-b.conf': { ...conf({ type: 'loopback' }), name: 'b' },
      '10-a.conflist': '{',
      '30-c.conflist': network('c'),
      '40-c.conflist': network('c'),
      '50-d.json': { ...conf({ type: 'loopback' }), name: 'd' },
      README: 'x',
      '60-e.conflist.bak': 'x',
      '70-f.yaml': '',
    })
    const { status, files, findings } = await lint(made)
    const rows = files.map(({ file, does }) => [path.basename(file), ...Object.values(does)])
    expect(rows).toEqual([
      ['10-a.conflist', 'has no network', 'skips', 'skips', 'stops here'],
      ['20-b.conf', 'ignores', 'default', 'ignores', 'stops before'],
      ['30-c.conflist', 'ignores', 'by name', 'by name', 'stops before'],
      ['40-c.conflist', 'ignores', 'skips (name taken)', 'skips (name taken)', 'stops before'],
      ['50-d.json', 'ignores', 'by name', 'ignores', 'stops before'],
      ['70-f.yaml', 'ignores', 'ignores', 'ignores', 'ignores'],
    ])
    expect(status).toBe(1)
    expect(findings.map(({ kind }) => kind)).toContain('error duplicate-name')
  })

  test('two networks on one bridge need one subnet', async () => {
    const other = { ipam: { ...lease, subnet: '10.6.0.0/24' } }
    const shared = folder({
      'a.conflist': network('a', { bridge: 'br' }),
      'b.conflist': network('b', { bridge: 'br', ...other }),
    })
    expect((await lint(shared)).findings).toMatchObject([
      { kind: 'error bridge-shared', message: expect.stringContaining('10.5.0.0/24 instead of 10.6.0.0/24') },
    ])
    const same = folder({ 'a.conflist': network('a', { bridge: 'br' }), 'b.conflist': network('b', { bridge: 'br' }) })
    expect((await lint(same)).findings).toEqual([])
  })

  test('two networks need subnets of their own', async () => {
    const wide = { ipam: { type: 'host-local', ranges: [[{ subnet: '10.0.0.0/8' }], [{ subnet: 'fd00::/64' }]] } }
    const made = folder({ 'a.conflist': network('a'), 'b.conflist': network('b', wide) })
    expect((await lint(made)).findings).toMatchObject([
      { kind: 'warning subnet-overlap', message: expect.stringContaining('"a"') },
    ])
  })

  test('what cannot be read, or lasts for ever, is said and stops nothing', async () => {
    const made = folder({ 'a.conflist': network('a') })
    symlinkSync('/dev/zero', path.join(made, 'b.conflist'))
    symlinkSync('c.conflist', path.join(made, 'c.conflist'))
    const { findings, status } = await lint(made)
    expect(findings.map(({ kind, message }) => [kind, message])).toEqual([
      ['error file-unreadable', 'the file is no regular file'],
      ['error file-unreadable', 'the file is a circle of symbolic links'],
    ])
    expect(status).toBe(1)
  })
})

describe('of a host', () => {
  const hex = (text: string) =>
    text
      .split('.')
      .reverse()
      .map((one) => Number(one).toString(16).padStart(2, '0').toUpperCase())
      .join('')
  const route = (link: string, to: string, mask: string) =>
    [link, hex(to), '00000000', '0001', '0', '0', '0', hex(mask), '0', '0', '0'].join('\t')
  const routes = [
    'Iface\tDestination',
    route('eth0', '0.0.0.0', '0.0.0.0'),
    route('eth0', '192.168.1.0', '255.255.255.0'),
    route('tun0', '10.5.0.0', '255.255.0.0'),
  ]

  /** A host as files: two links, routes, programs. */
  function host(config: object, files: Readonly<Record<string, string>> = {}): string {
    const root = folder({
      'etc/cni/net.d/a.conflist': config,
      'proc/net/route': `${routes.join('\n')}\n`,
      'sys/class/net/eth0/mtu': '1500\n',
      'sys/class/net/lo/mtu': '65536\n',
      ...Object.fromEntries(
        ['bridge', 'ptp', 'macvlan', 'host-local'].map((name) => [`opt/cni/bin/${name}`, '#!/bin/sh\n']),
      ),
      ...files,
    })
    for (const name of readdirSync(path.join(root, 'opt/cni/bin'))) {
      if (name !== 'plain') chmodSync(path.join(root, 'opt/cni/bin', name), 0o755)
    }
    return root
  }

  const free = { ...bridge, ipam: { ...lease, subnet: '10.9.0.0/24' } }
  const lan = { type: 'macvlan', master: 'eth0', ipam: { ...lease, subnet: '192.168.1.0/24' } }

  test.each<[string, object, Record<string, string>]>([
    ['a bridge with addresses of its own', free, {}],
    ["the LAN's own subnet on macvlan", lan, {}],
    [
      "a route by the network's own bridge",
      free,
      { 'proc/net/route': `x\n${route('br5', '10.9.0.0', '255.255.255.0')}\n` },
    ],
    [
      'a route of ptp to one container',
      { type: 'ptp', ipam: free.ipam },
      { 'proc/net/route': `x\n${route('veth1', '10.9.0.4', '255.255.255.255')}\n` },
    ],
    ['a master by a pattern', { ...lan, master: 'e*0' }, {}],
  ])('%s is fine', async (_, plugin, files) => {
    expect(await lint('--root', host(list(plugin), files))).toMatchObject({ status: 0, findings: [], stderr: '' })
  })

  test.each<[string, object, RegExp, Record<string, string>?]>([
    ['error binary-missing', { type: 'flannel' }, /there is no \/opt\/cni\/bin\/flannel/],
    ['error binary-missing', { ...free, ipam: { type: 'whereabouts' } }, /there is no \/opt\/cni\/bin\/whereabouts/],
    ['error binary-missing', { type: 'plain' }, /may not be executed/, { 'opt/cni/bin/plain': '' }],
    ['error master', { ...lan, master: 'eth9' }, /no link "eth9", only eth0, lo/],
    ['error master', { ...lan, master: 'wl*' }, /no link "wl\*"/],
    ['warning subnet-overlap', bridge, /overlaps 10\.5\.0\.0\/16, a route by tun0/],
    ['warning subnet-overlap', free, /Docker's/, { 'etc/docker/daemon.json': '{"bip":"10.9.0.1/16"}' }],
    [
      'warning subnet-overlap',
      free,
      /Docker's/,
      { 'etc/docker/daemon.json': '{"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}' },
    ],
    [
      'warning subnet-overlap',
      free,
      /libvirt's network in .*default\.xml/,
      {
        'etc/libvirt/qemu/networks/default.xml': "<network><ip address='10.9.0.1' netmask='255.255.255.0'/></network>",
      },
    ],
    [
      'warning subnet-overlap',
      { ...free, ipam: { ...lease, subnet: 'fd09::/64' } },
      /a route by wg0/,
      {
        'proc/net/ipv6_route':
          'fd090000000000000000000000000000 30 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001      wg0\n',
      },
    ],
    ['warning mtu', { ...free, mtu: 9000 }, /mtu 9000 is above that of eth0, 1500/],
    ['error mtu', { ...lan, mtu: 1501 }, /mtu 1501 is above that of eth0/],
  ])('%s: %j', async (kind, plugin, message, files) => {
    const { status, findings } = await lint('--root', host(list(plugin), files))
    expect(findings).toMatchObject([{ kind, message: expect.stringMatching(message) }])
    expect(status).toBe(1)
  })

  test('--host never looks at none, and a file that is named is not held against it', async () => {
    const root = host(list({ type: 'flannel' }))
    expect((await lint('--root', root, '--host', 'never')).findings).toEqual([])
    const file = path.join(root, 'etc/cni/net.d/a.conflist')
    expect((await lint(file)).findings).toEqual([])
    expect((await lint(file, '--root', root, '--host', 'always')).findings).toMatchObject([
      { kind: 'error binary-missing' },
    ])
  })

  test('programs of this host are asked for VERSION', async () => {
    const root = folder({
      'conf/a.conflist': { ...list({ type: 'good' }, { type: 'old' }, { type: 'mute' }) },
      'bin/good': '#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && echo \'{"supportedVersions":["0.4.0","1.0.0"]}\'',
      'bin/old': '#!/bin/sh\necho \'{"supportedVersions":["0.3.1"]}\'',
      'bin/mute': '#!/bin/sh\nexit 1',
    })
    for (const name of ['good', 'old', 'mute']) chmodSync(path.join(root, 'bin', name), 0o755)
    const { findings } = await lint('--conf', path.join(root, 'conf'), '--bin', path.join(root, 'bin'))
    expect(findings.map(({ kind, at }) => [kind, at])).toEqual([
      ['error binary-version', 'plugins[1].type'],
      ['error binary-missing', 'plugins[2].type'],
    ])
  })
})

describe('the answer', () => {
  const bad = () => path.join(folder({ 'a.conf': conf({ ...bridge, isGatway: '\x1b[31m[x](y)' }) }), 'a.conf')

  test('for people shows the line, the place and the fix', async () => {
    const file = bad()
    const { status, stdout } = await command(['lint', file])
    expect(status).toBe(1)
    expect(stdout).toBe(
      [
        `${file}:12:3: warning: bridge does not know "isGatway" and ignores it; did you mean "isGateway"? [unknown-key]`,
        '      "isGatway": "\\u001b[31m[x](y)"',
        '      ^',
        '    fix: write "isGateway"',
        '',
        '0 errors, 1 warning, 0 notes',
        '',
      ].join('\n'),
    )
  })

  test('has no control codes of a file', async () => {
    const file = path.join(folder({ 'a.conf': '{"name":"\x1b[2J\u202e' }), 'a.conf')
    const { stdout } = await command(['lint', file])
    expect(stdout.replaceAll('\n', '')).toMatch(/^[ -~]+$/)
  })

  test('in colours on a terminal alone', async () => {
    expect((await command(['lint', bad()], { hasColors: true })).stdout).toContain('\x1b[33mwarning\x1b[0m')
  })

  test('as SARIF names rules and places, without markup', async () => {
    const file = bad()
    const { status, stdout } = await command(['lint', '--format', 'sarif', file])
    const { version, runs } = JSON.parse(stdout)
    expect([status, version]).toEqual([1, '2.1.0'])
    expect(runs[0].tool.driver.rules).toEqual([{ id: 'unknown-key', shortDescription: { text: rules['unknown-key'] } }])
    expect(runs[0].results).toMatchObject([
      {
        ruleId: 'unknown-key',
        level: 'warning',
        locations: [
          {
            physicalLocation: {
              artifactLocation: { uri: `file://${file}` },
              region: { startLine: 12, startColumn: 3 },
            },
          },
        ],
      },
    ])
  })

  test('of nothing that is there is 2', async () => {
    expect(await command(['lint', '/none/a.conf'])).toEqual({
      status: 2,
      stdout: '',
      stderr: 'podwire: there is no /none/a.conf\n',
    })
    expect(await command(['lint', '--format', 'xml'])).toMatchObject({ status: 2, stdout: '' })
  })
})

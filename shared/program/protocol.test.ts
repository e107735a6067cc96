import { describe, expect, test } from 'vitest'
import { thrownBy } from '../testing/thrown.js'
import { parseArgs } from '../values/args.js'
import { isLinkName, macOf } from '../values/checks.js'
import { isIdentifier, readEnvironment } from '../values/environment.js'
import { attributed, CniError, codes, goJson, invalidConfiguration, printError } from '../values/errors.js'
import { parseDelegateResult, parseResult, printResult } from '../values/result.js'
import { negotiate, type Version, versions, versionsSince } from '../values/version.js'

describe('the environment', () => {
  const good = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/c1',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
  }

  const needed: Record<string, string> = {
    ADD: 'CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH',
    CHECK: 'CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH',
    DEL: 'CNI_CONTAINERID,CNI_IFNAME,CNI_PATH',
    STATUS: 'CNI_PATH',
    GC: 'CNI_PATH',
  }
  test.each(Object.entries(needed))('%s needs %s', (CNI_COMMAND, names) => {
    expect(thrownBy(() => readEnvironment({ CNI_COMMAND })).message).toBe(`required env variables [${names}] missing`)
  })

  test('VERSION needs nothing, and looks at nothing', () => {
    expect(readEnvironment({ CNI_COMMAND: 'VERSION', CNI_CONTAINERID: '../x' }).command).toBe('VERSION')
  })

  const invalid: [string, object, string][] = [
    ['a container ID that leaves its directory', { CNI_CONTAINERID: '../x' }, 'invalid characters in containerID'],
    ['a newline behind the container ID', { CNI_CONTAINERID: 'a\n' }, 'invalid characters in containerID'],
    ['a name of 16 bytes', { CNI_IFNAME: 'é'.repeat(8) }, 'interface name is too long'],
    ['a name that is a directory', { CNI_IFNAME: '..' }, 'interface name is . or ..'],
    [
      'a name with white space of Unicode',
      { CNI_IFNAME: 'a\u0085b' },
      'interface name contains / or : or whitespace characters',
    ],
    ['the container ID first', { CNI_CONTAINERID: '_a', CNI_IFNAME: 'a/b' }, 'invalid characters in containerID'],
    [
      'an invalid name before a missing ID',
      { CNI_CONTAINERID: '', CNI_IFNAME: 'a/b' },
      'interface name contains / or : or whitespace characters',
    ],
  ]
  test.each(invalid)('%s', (_, env, message) => {
    expect(thrownBy(() => readEnvironment({ ...good, ...env }))).toMatchObject({ code: 4, message })
  })

  test('the override is "1" or "true", and nothing else', () => {
    const overrides = ['1', 'true', 'TRUE', '0', 'yes', ' true'].map(
      (CNI_NETNS_OVERRIDE) => readEnvironment({ ...good, CNI_NETNS_OVERRIDE }).netnsOverride,
    )
    expect(overrides).toEqual([true, true, true, false, false, false])
  })

  test('names of links are safe words', () => {
    const names = ['eth0', 'a.b', 'a@b', 'é', '-x', 'a%d', 'a"b', '#a', 'a#b', 'a;b', 'a{b', '{', ';', 'a\\b', 'a\x01b']
    expect(names.filter(isLinkName)).toEqual(['eth0', 'a.b', 'a@b', 'é', '-x'])
    expect(['a', '9', 'a_b.c-d', '', '_a', '-a', '.a', 'é'].filter(isIdentifier)).toEqual(['a', '9', 'a_b.c-d'])
  })

  test('MAC addresses in every form Go takes', () => {
    const forms = ['02:00:5E:10:00:01', '02-00-5e-10-00-01', '0200.5e10.0001']
    expect(forms.map(macOf)).toEqual(Array(3).fill('02:00:5e:10:00:01'))
    expect(['02:00:5e:10:00', '02:00:5e:10:00:01:02:03', '0200.5e10.00', 'zz:00:5e:10:00:01', ''].map(macOf)).toEqual(
      Array(5).fill(undefined),
    )
  })
})

describe('CNI_ARGS', () => {
  const good: [string, object][] = [
    ['', {}],
    ['MAC=02:00:00:00:00:01', { MAC: '02:00:00:00:00:01' }],
    ['IgnoreUnknown=1;K8S_POD_NAME=x;MAC=a', { MAC: 'a' }],
    ['X=1;IgnoreUnknown=TRUE', {}],
    ['MAC=a;MAC=b', { MAC: 'b' }],
  ]
  test.each(good)('%s', (text, expected) => {
    expect(Object.fromEntries(parseArgs(text, ['MAC']))).toEqual(expected)
  })

  const bad: [string, string][] = [
    ['A', 'ARGS: invalid pair "A"'],
    ['A=B=C', 'ARGS: invalid pair "A=B=C"'],
    ['MAC=a;', 'ARGS: invalid pair ""'],
    ['A=B;C=D', 'ARGS: unknown args ["A=B" "C=D"]'],
    ['mac=a', 'ARGS: unknown args ["mac=a"]'],
    [
      'IgnoreUnknown=yes;A=B',
      'ARGS: error parsing value of pair "IgnoreUnknown=yes": boolean unmarshal error: invalid input yes',
    ],
  ]
  test.each(bad)('%s', (text, message) => {
    expect(thrownBy(() => parseArgs(text, ['MAC'])).message).toBe(message)
  })
})

describe('versions', () => {
  const all = versionsSince()
  const cells: [string, string, string | null][] = [
    ['', 'ADD', '0.1.0'],
    ['1.1', 'ADD', null],
    ['v1.1.0', 'DEL', null],
    ['0.3.1', 'CHECK', null],
    ['0.4.0', 'CHECK', '0.4.0'],
    ['1.0.0', 'GC', null],
    ['1.0.0', 'STATUS', null],
    ['1.1.0', 'GC', '1.1.0'],
    ['1.1.1', 'STATUS', null],
    ['1.0', 'CHECK', null],
  ]
  test.each(cells)('"%s" for %s gives %s', (asked, verb, expected) => {
    const act = () => negotiate(asked, verb as 'ADD', all)
    if (expected === null) expect(thrownBy(act).code).toBe(codes.incompatibleVersion)
    else expect(act()).toBe(expected)
  })

  const messages: [string, number, string][] = [
    ['0.3.1', 1, 'config version does not allow CHECK'],
    ['2.0.0', 1, 'plugin version does not allow CHECK'],
    ['0.5.0', 1, 'incompatible CNI versions'],
    ['abc', 6, 'failed to convert major version part "abc": strconv.Atoi: parsing "abc": invalid syntax'],
    ['1.1.0.0', 6, 'invalid version "1.1.0.0": too many parts'],
  ]
  test.each(messages)('CHECK under "%s"', (asked, code, message) => {
    expect(thrownBy(() => negotiate(asked, 'CHECK', all))).toMatchObject({ code, message })
  })

  test('a plugin may support only the newer ones', () => {
    expect(versionsSince('0.4.0')).toEqual(['0.4.0', '1.0.0', '1.1.0'])
    expect(thrownBy(() => negotiate('0.3.1', 'ADD', versionsSince('0.4.0'))).details).toBe(
      'config is "0.3.1", plugin supports ["0.4.0" "1.0.0" "1.1.0"]',
    )
  })
})

describe('results', () => {
  const full = {
    cniVersion: '1.1.0',
    interfaces: [
      { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1400, sandbox: '/x', socketPath: '/s', pciID: 'p', more: 1 },
    ],
    ips: [
      { address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 0 },
      { address: '2001:DB8::5/64', gateway: '' },
      { address: '::ffff:10.0.0.1/104' },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400, table: 0 },
      { dst: '::/0', priority: 5 },
    ],
    dns: { nameservers: ['10.1.0.1'], search: [] },
  }

  test('survive a parse and print in their own version, without unknown keys', () => {
    expect(JSON.parse(printResult(parseResult(full, '1.1.0', 'prevResult'), '1.1.0'))).toEqual({
      cniVersion: '1.1.0',
      dns: { nameservers: ['10.1.0.1'] },
      interfaces: [{ mac: '02:00:00:00:00:01', mtu: 1400, name: 'eth0', pciID: 'p', sandbox: '/x', socketPath: '/s' }],
      ips: [
        { address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 0 },
        { address: '2001:db8::5/64' },
        { address: '10.0.0.1/8' },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400, table: 0 },
        { dst: '::/0', priority: 5 },
      ],
    })
  })

  test('lose in older versions only what those cannot say', () => {
    const result = parseResult(full, '1.1.0', 'prevResult')
    const older = JSON.parse(printResult(result, '0.4.0'))
    expect(older.interfaces).toEqual([{ name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/x' }])
    expect(older.ips.map(({ version }: { version: string }) => version)).toEqual(['4', '6', '4'])
    expect(JSON.parse(printResult(result, '0.2.0'))).toEqual({
      cniVersion: '0.2.0',
      ip4: { ip: '10.1.0.5/16', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }] },
      ip6: { ip: '2001:db8::5/64', routes: [{ dst: '::/0' }] },
      dns: { nameservers: ['10.1.0.1'] },
    })
  })

  test('have their members in the official order', () => {
    const text = (version: Version) => printResult(parseResult(full, '1.1.0', 'x'), version)
    expect(Object.keys(JSON.parse(text('1.0.0')))).toEqual(['cniVersion', 'dns', 'interfaces', 'ips', 'routes'])
    expect(Object.keys(JSON.parse(text('0.3.1')))).toEqual(['cniVersion', 'interfaces', 'ips', 'routes', 'dns'])
    expect(Object.keys(JSON.parse(text('0.3.1')).ips[0])).toEqual(['version', 'interface', 'address', 'gateway'])
    expect(text('1.1.0').endsWith('}')).toBe(true)
  })

  test('convert between every pair of versions', () => {
    for (const from of versions) {
      const source = parseResult(full, '1.1.0', 'x')
      const there = parseResult(JSON.parse(printResult(source, from)), from, 'x')
      for (const to of versions) expect(JSON.parse(printResult(there, to)).cniVersion).toBe(to)
    }
  })

  test('must be of the version of the configuration', () => {
    const { code, details } = thrownBy(() => parseResult({ cniVersion: '0.4.0' }, '1.0.0', 'prevResult'))
    expect({ code, details }).toEqual({
      code: 7,
      details: 'prevResult.cniVersion: found "0.4.0", expected a version whose results have the format of "1.0.0"',
    })
  })

  test('null entries and bad addresses are mistakes with their place', () => {
    const bad = { interfaces: [null], ips: [{ address: '10.1.0.5' }, {}], routes: [{ dst: 'default' }] }
    expect(thrownBy(() => parseResult(bad, '1.0.0', 'prevResult')).details.split('\n')).toEqual([
      expect.stringContaining('prevResult.interfaces[0]: found null'),
      expect.stringContaining('prevResult.routes[0].dst: found "default"'),
      expect.stringContaining('prevResult.ips[0].address: found "10.1.0.5"'),
      expect.stringContaining('prevResult.ips[1].address: found nothing'),
    ])
  })

  test('without an address cannot be said in 0.2.0', () => {
    const empty = parseResult({}, '1.0.0', 'x')
    expect(thrownBy(() => printResult(empty, '0.2.0')).message).toBe('cannot convert: no valid IP addresses')
  })

  test('of delegates bring their own version, or have the configuration’s', () => {
    const text = JSON.stringify({ cniVersion: '0.2.0', ip4: { ip: '10.1.0.5/16' } })
    expect(parseDelegateResult(text, '1.1.0', 'x').ips).toEqual([{ address: '10.1.0.5/16' }])
    expect(parseDelegateResult('{"ips": [{"address": "10.1.0.5/16"}]}', '1.1.0', 'x').ips).toHaveLength(1)
    for (const bad of ['', 'text', '[]', '{"cniVersion": "9.9.9"}', '{"ips": [{"address": "10.1.0.5"}]}']) {
      expect(thrownBy(() => parseDelegateResult(bad, '1.1.0', 'x')).code).toBe(codes.delegateFailed)
    }
  })
})

describe('errors', () => {
  test('print as the official suite prints them', () => {
    expect(printError(new CniError(7, 'a <b> & "c"', { details: 'd' }))).toBe(
      '{\n    "code": 7,\n    "msg": "a \\u003cb\\u003e \\u0026 \\"c\\"",\n    "details": "d"\n}',
    )
    expect(JSON.parse(goJson({ a: '\u2028<' }))).toEqual({ a: '\u2028<' })
  })

  test('say plugin and network once', () => {
    const error = attributed(new CniError(7, 'cannot'), 'bridge', 'net')
    expect(error.message).toBe('bridge: network "net": cannot')
    expect(attributed(error, 'other', 'net')).toBe(error)
  })

  test('list every mistake with its place, value and remedy, and shorten what is endless', () => {
    const problems = [
      { path: 'a.b', value: 1, expected: 'a string', fix: 'quote it' },
      { path: 'c', value: 'x'.repeat(1000), expected: 'less' },
    ]
    const { details } = invalidConfiguration(problems)
    expect(details.split('\n')[0]).toBe('a.b: found 1, expected a string; fix: quote it')
    expect(details.length).toBeLessThan(400)
  })

  test('have one number each, the specification’s below 100', () => {
    const numbers = Object.values(codes)
    expect(new Set(numbers).size).toBe(numbers.length)
  })
})

import { describe, expect, test } from 'vitest'
import { formatAddress, parseAddress } from '../../shared/values/address.js'
import { collectRangeSets, describeSet, type RangeText, rangeHolding, readRangeSets } from './ranges.js'

function read(...sets: RangeText[][]) {
  return readRangeSets(collectRangeSets({ configured: sets }))
}

/** The problems as lines: path, value, what is expected. */
function problemsOf(...sets: RangeText[][]): string[] {
  return read(...sets).problems.map(({ path, value, expected }) => `${path} ${JSON.stringify(value)}: ${expected}`)
}

describe('defaults', () => {
  test.each<[RangeText, string, string]>([
    [{ subnet: '10.1.2.0/24' }, '10.1.2.1-10.1.2.254', '10.1.2.1'],
    [{ subnet: '10.1.2.0/30' }, '10.1.2.1-10.1.2.2', '10.1.2.1'],
    [{ subnet: '10.0.0.0/15' }, '10.0.0.1-10.1.255.254', '10.0.0.1'],
    [{ subnet: '2001:db8::/126' }, '2001:db8::1-2001:db8::3', '2001:db8::1'],
    [{ subnet: 'FD00::/64' }, 'fd00::1-fd00::ffff:ffff:ffff:ffff', 'fd00::1'],
    [{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.9', rangeEnd: '10.1.2.20' }, '10.1.2.9-10.1.2.20', '10.1.2.1'],
    [{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.0', rangeEnd: '10.1.2.255' }, '10.1.2.0-10.1.2.255', '10.1.2.1'],
    [{ subnet: '10.1.2.0/24', rangeStart: '', rangeEnd: '', gateway: '' }, '10.1.2.1-10.1.2.254', '10.1.2.1'],
    [{ subnet: '10.1.2.0/24', gateway: '10.1.2.255' }, '10.1.2.1-10.1.2.254', '10.1.2.255'],
    [{ subnet: '10.1.2.0/24', gateway: '::ffff:10.1.2.9' }, '10.1.2.1-10.1.2.254', '10.1.2.9'],
  ])('%j', (text, addresses, gateway) => {
    const { sets, problems } = read([text])
    expect(problems).toEqual([])
    expect(sets.map(describeSet)).toEqual([addresses])
    expect(sets[0]?.map((range) => formatAddress(range.gateway))).toEqual([gateway])
  })
})

describe('refusals', () => {
  const at = 'ipam.ranges[0][0]'

  test.each<[RangeText, string[]]>([
    [{}, [`${at}.subnet undefined: a network such as "10.1.2.0/24" or "fd00:1::/64"`]],
    [{ subnet: 'foo' }, [`${at}.subnet "foo": a network such as "10.1.2.0/24" or "fd00:1::/64"`]],
    [{ subnet: '10.1.2.0' }, [`${at}.subnet "10.1.2.0": a network such as "10.1.2.0/24" or "fd00:1::/64"`]],
    [
      { subnet: '10.1.2.0/31' },
      [`${at}.subnet "10.1.2.0/31": a prefix length of at most 30: smaller networks have no room`],
    ],
    [
      { subnet: 'fd00::/127' },
      [`${at}.subnet "fd00::/127": a prefix length of at most 126: smaller networks have no room`],
    ],
    [{ subnet: '::ffff:10.1.2.0/120' }, [`${at}.subnet "::ffff:10.1.2.0/120": an IPv4 network written as IPv4`]],
    [{ subnet: '10.1.2.7/24' }, [`${at}.subnet "10.1.2.7/24": a network address without host bits`]],
    [{ subnet: '10.1.2.0/24', gateway: 'nope' }, [`${at}.gateway "nope": an IP address`]],
    [{ subnet: '10.1.2.0/24', gateway: '192.168.7.1' }, [`${at}.gateway "192.168.7.1": an address in 10.1.2.0/24`]],
    [{ subnet: '10.1.2.0/24', gateway: '0.0.0.0' }, [`${at}.gateway "0.0.0.0": an address in 10.1.2.0/24`]],
    [{ subnet: '10.1.2.0/24', gateway: 'fd00::1' }, [`${at}.gateway "fd00::1": an address in 10.1.2.0/24`]],
    [{ subnet: 'fd00::/64', gateway: '10.1.2.1' }, [`${at}.gateway "10.1.2.1": an address in fd00::/64`]],
    [
      { subnet: '10.1.2.0/24', rangeStart: '10.1.2.255' },
      [`${at}.rangeStart "10.1.2.255": at most rangeEnd (10.1.2.254)`],
    ],
    [{ subnet: '10.1.2.0/24', rangeEnd: '10.1.2.0' }, [`${at}.rangeStart "10.1.2.1": at most rangeEnd (10.1.2.0)`]],
    [{ subnet: '10.1.2.0/24', rangeStart: '10.1.3.1' }, [`${at}.rangeStart "10.1.3.1": an address in 10.1.2.0/24`]],
    [{ subnet: '10.1.2.0/24', rangeEnd: 'fd00::1' }, [`${at}.rangeEnd "fd00::1": an address in 10.1.2.0/24`]],
    [
      { subnet: '10.1.2.0/24', rangeStart: '10.1.2.50', rangeEnd: '10.1.2.40' },
      [`${at}.rangeStart "10.1.2.50": at most rangeEnd (10.1.2.40)`],
    ],
    [
      { subnet: '10.1.2.0/24', rangeStart: 'x', rangeEnd: '10.9.9.9', gateway: 'y' },
      [
        `${at}.rangeStart "x": an IP address`,
        `${at}.gateway "y": an IP address`,
        `${at}.rangeEnd "10.9.9.9": an address in 10.1.2.0/24`,
      ],
    ],
  ])('%j', (text, problems) => expect(problemsOf([text])).toEqual(problems))

  test('in the official words where an address is outside the network', () => {
    const set = [{ subnet: '10.1.2.0/24', rangeStart: '10.1.3.1', rangeEnd: 'fd00::1', gateway: '192.168.7.1' }]
    expect(read(set).problems.map(({ official }) => official)).toEqual(
      ['RangeStart 10.1.3.1', 'RangeEnd fd00::1', 'gateway 192.168.7.1'].map(
        (what) => `invalid range set 0: ${what} not in network 10.1.2.0/24`,
      ),
    )
  })

  test.each<[RangeText, string, string?]>([
    [{}, 'invalid range set 0: IP <nil> not v4 nor v6'],
    [{ subnet: 'foo' }, 'invalid CIDR address: foo'],
    [{ subnet: '10.1.2.0/24', gateway: 'y' }, 'invalid IP address: y'],
    [{ subnet: '10.1.2.0/31' }, 'invalid range set 0: Network 10.1.2.0/31 too small to allocate from'],
    [{ subnet: '::ffff:10.1.2.0/120' }, 'invalid range set 0: IPNet IP and Mask version mismatch', '10.1.2.0/24'],
    [
      { subnet: '10.1.2.7/24' },
      'invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 10.1.2.0',
      '10.1.2.0/24',
    ],
    [
      { subnet: '10.1.2.0/24', rangeStart: '10.1.2.50', rangeEnd: '10.1.2.40' },
      'invalid range set 0: RangeStart 10.1.2.50 not in network 10.1.2.0/24',
    ],
    [
      { subnet: '10.1.2.0/24', rangeStart: '10.1.2.255' },
      'invalid range set 0: RangeStart 10.1.2.255 is after RangeEnd 10.1.2.254 in network 10.1.2.0/24',
    ],
  ])('in the official words, and what helps: %j', (text, official, fix) => {
    expect(read([text]).problems.map((one) => [one.official, one.fix])).toEqual([[official, fix]])
  })

  test('in the official words of sets, each with its number', () => {
    const official = (...sets: RangeText[][]) => read(...sets).problems.map((one) => one.official)
    const [four, six] = [{ subnet: '10.1.2.0/24' }, { subnet: 'fd00::/64' }]
    expect(official()).toEqual(['no IP ranges specified'])
    expect(official([four], [])).toEqual(['invalid range set 1: empty range set'])
    expect(official([six], [four, six])).toEqual([
      'invalid range set 1: mixed address families',
      'range set 0 overlaps with 1',
    ])
    expect(official([four, { subnet: '10.1.2.128/25' }])).toEqual([
      'invalid range set 0: subnets 10.1.2.1-10.1.2.254 and 10.1.2.129-10.1.2.254 overlap',
    ])
    expect(official([six], [four], [four])).toEqual(['range set 1 overlaps with 2'])
  })

  test('no set, an empty set', () => {
    expect(read().problems.map(({ path }) => path)).toEqual(['ipam.ranges'])
    expect(problemsOf([])).toEqual(['ipam.ranges[0] []: at least one range with a "subnet"'])
  })

  test('a set of two families, and ranges of one set that overlap', () => {
    expect(problemsOf([{ subnet: '10.1.2.0/24' }, { subnet: 'fd00::/64' }])).toEqual([
      'ipam.ranges[0][1] "fd00::1-fd00::ffff:ffff:ffff:ffff": an IPv4 range like the set\'s first; put the other family in a set of its own',
    ])
    expect(problemsOf([{ subnet: '10.1.2.0/24' }, { subnet: '10.1.2.128/25' }])).toEqual([
      'ipam.ranges[0][1] "10.1.2.129-10.1.2.254": no address of ipam.ranges[0][0] (10.1.2.1-10.1.2.254)',
    ])
  })

  test('sets that overlap; disjoint parts of one subnet are two good sets', () => {
    expect(problemsOf([{ subnet: '10.1.2.0/24' }], [{ subnet: '10.1.2.0/24' }])).toEqual([
      'ipam.ranges[1] "10.1.2.1-10.1.2.254": no address of ipam.ranges[0] (10.1.2.1-10.1.2.254)',
    ])
    const low = { subnet: '10.1.2.0/24', rangeEnd: '10.1.2.99' }
    const high = { subnet: '10.1.2.0/24', rangeStart: '10.1.2.100' }
    expect(problemsOf([low], [high])).toEqual([])
  })

  test('all mistakes of all sets are told at once', () => {
    expect(problemsOf([{ subnet: 'a' }, { subnet: 'b' }], [{ subnet: 'c', gateway: 'd' }])).toHaveLength(4)
  })
})

describe('places', () => {
  test('runtime ranges first, then the single one, then the configured; each with its path', () => {
    const [a, b, c] = ['10.0.1.0/24', '10.0.2.0/24', '10.0.3.0/24'].map((subnet) => ({ subnet })) as [
      RangeText,
      RangeText,
      RangeText,
    ]
    const texts = collectRangeSets({ runtime: [[a]], single: b, configured: [[c]] })
    expect(texts.map(({ path, ranges }) => [path, ranges[0]?.path, ranges[0]?.text.subnet])).toEqual([
      ['runtimeConfig.ipRanges[0]', 'runtimeConfig.ipRanges[0][0]', '10.0.1.0/24'],
      ['ipam', 'ipam', '10.0.2.0/24'],
      ['ipam.ranges[0]', 'ipam.ranges[0][0]', '10.0.3.0/24'],
    ])
    expect(collectRangeSets({ single: { rangeStart: '10.0.1.3' } })).toEqual([])
  })
})

test('rangeHolding finds the range by its addresses, not by its subnet', () => {
  const [set = []] = read([{ subnet: '10.1.2.0/24', rangeEnd: '10.1.2.9' }, { subnet: '10.1.3.0/24' }]).sets
  const indexOf = (text: string) => {
    const address = parseAddress(text)
    const range = address && rangeHolding(set, address)
    return range ? set.indexOf(range) : undefined
  }
  expect(['10.1.2.1', '10.1.2.9', '10.1.2.10', '10.1.3.254', '10.1.3.255', '::a01:201'].map(indexOf)).toEqual([
    0,
    0,
    undefined,
    1,
    undefined,
    undefined,
  ])
})

import { isIP } from 'node:net'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, test } from 'vitest'
import {
  type Address,
  compareAddress,
  contains,
  formatAddress,
  formatCidr,
  hostPart,
  hostPrefix,
  isIPv6,
  lastOf,
  networkOf,
  offset,
  parseAddress,
  parseCidr,
  subnetOf,
  widthOf,
} from './address.js'

const numbers = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value): Address => ({ family: 4, value })),
  fc.bigInt({ min: 1n << 48n, max: (1n << 128n) - 1n }).map((value): Address => ({ family: 6, value })),
  // Sparse groups, so that runs of zeros occur.
  fc.array(fc.constantFrom(0n, 0n, 1n, 0xabcdn), { minLength: 8, maxLength: 8 }).map((groups): Address => {
    return { family: 6, value: groups.reduce<bigint>((value, group) => (value << 16n) | group, 0n) }
  }),
)
const addresses = numbers.filter(({ family, value }) => family === 4 || value >> 32n !== 0xffffn)
const cidrs = addresses.chain((address) => {
  return fc.integer({ min: 0, max: widthOf(address.family) }).map((prefix) => ({ address, prefix }))
})

function numberOf(parsed: ipaddr.IPv4 | ipaddr.IPv6): bigint {
  return parsed.toByteArray().reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

describe('against ipaddr.js', () => {
  test('the text of a number is the text ipaddr.js writes (RFC 5952)', () => {
    fc.assert(
      fc.property(addresses, (address) => {
        const text = formatAddress(address)
        const oracle = ipaddr.parse(text)
        expect(numberOf(oracle)).toBe(address.value)
        expect(text).toBe(oracle instanceof ipaddr.IPv6 ? oracle.toRFC5952String() : oracle.toString())
        expect(parseAddress(text)).toEqual(address)
      }),
      { seed: 1 },
    )
  })

  test('long and upper-case forms mean the same number', () => {
    fc.assert(
      fc.property(addresses, (address) => {
        const long = ipaddr.parse(formatAddress(address)).toNormalizedString()
        expect(parseAddress(long.toUpperCase())).toEqual(address)
      }),
      { seed: 1 },
    )
  })

  test('near-misses are accepted exactly when inet_pton accepts them', () => {
    const pieces = fc.constantFrom(
      '0',
      '1',
      '10',
      '256',
      'ab',
      'ffff',
      '12345',
      ':',
      '::',
      ':',
      '.',
      '.',
      'g',
      '1.2.3.4',
    )
    fc.assert(
      fc.property(
        fc.array(pieces, { maxLength: 15 }).map((parts) => parts.join('')),
        (text) => {
          const valid = isIP(text) !== 0
          expect(parseAddress(text) !== undefined, text).toBe(valid)
          if (valid) expect(numberOf(ipaddr.process(text))).toBe(parseAddress(text)?.value)
        },
      ),
      { seed: 1, numRuns: 3000 },
    )
  })

  test('network, last address and membership', () => {
    fc.assert(
      fc.property(cidrs, addresses, (cidr, other) => {
        const parsed = ipaddr.parseCIDR(formatCidr(cidr))
        const family = cidr.address.family === 4 ? ipaddr.IPv4 : ipaddr.IPv6
        expect(networkOf(cidr).address.value).toBe(numberOf(family.networkAddressFromCIDR(formatCidr(cidr))))
        if (family === ipaddr.IPv4) {
          expect(lastOf(cidr).value).toBe(numberOf(ipaddr.IPv4.broadcastAddressFromCIDR(formatCidr(cidr))))
        }
        expect(contains(cidr, lastOf(cidr))).toBe(true)
        const peer = ipaddr.parse(formatAddress(other))
        const same = peer.kind() === parsed[0].kind()
        expect(contains(cidr, other)).toBe(same && peer.match(parsed as never))
      }),
      { seed: 1 },
    )
  })
})

describe('parseAddress', () => {
  test.each([
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.1.1', '10.1.1.1'],
    ['::ffff:a01:101', '10.1.1.1'],
    ['::1.2.3.4', '::102:304'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::', '::'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ])('%s is %s', (text, canonical) => {
    const address = parseAddress(text)
    expect(address && formatAddress(address)).toBe(canonical)
  })

  test.each([
    ['', '1', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1.2.3.04', '1.2.3.256', '1.2.3.', '.1.2.3', ' 1.2.3.4', '1.2.3.4 '],
    ['1..2.3', '+1.2.3.4', '0x1.2.3.4', '1.2.3.4/8', 'nope', '1.2.3.0004'],
    [':', ':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', '12345::', 'g::', '::1%eth0', 'fe80::1%1', '1:'],
    [':1', '1:2:3:4:5:6:7:8::', '::1:2:3:4:5:6:7:8', '1.2.3.4::', '::1.2.3', '::1.2.3.4:5', '1:2:3:4:5:6:7:1.2.3.4'],
  ])('refuses %s and its like', (...texts) => {
    for (const text of texts) expect(parseAddress(text), text).toBeUndefined()
  })
})

describe('parseCidr', () => {
  test.each([
    ['10.1.2.3/8', '10.1.2.3/8'],
    ['10.1.2.3/08', '10.1.2.3/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8::1/64', '2001:db8::1/64'],
    ['::ffff:10.1.1.1/120', '10.1.1.1/24'],
  ])('%s is %s', (text, canonical) => {
    const cidr = parseCidr(text)
    expect(cidr && formatCidr(cidr)).toBe(canonical)
  })

  test.each([
    '',
    '10.1.2.0',
    '10.1.2.0/',
    '10.1.2.0/33',
    '10.1.2.0/-1',
    '10.1.2.0/+8',
    '::/129',
    '/8',
    '::ffff:1.2.3.4/64',
  ])('refuses %j', (text) => expect(parseCidr(text)).toBeUndefined())
})

describe('arithmetic', () => {
  const at = (text: string): Address => parseAddress(text) as Address

  test.each([
    ['10.0.0.255', 1n, '10.0.1.0'],
    ['10.0.1.0', -1n, '10.0.0.255'],
    ['1::ffff:ffff', 1n, '1::1:0:0'],
  ])('%s %d is %s', (from, distance, to) => {
    expect(offset(at(from), distance)).toEqual(at(to))
  })

  test('stops at both ends of a family', () => {
    expect(offset(at('255.255.255.255'), 1n)).toBeUndefined()
    expect(offset(at('0.0.0.0'), -1n)).toBeUndefined()
    expect(offset(at('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'), 1n)).toBeUndefined()
  })

  test('sorts IPv4 before IPv6, then by number', () => {
    const sorted = ['::2', '10.0.0.10', '::1', '10.0.0.9'].map(at).sort(compareAddress).map(formatAddress)
    expect(sorted).toEqual(['10.0.0.9', '10.0.0.10', '::1', '::2'])
    expect(compareAddress(at('::1'), at('::1'))).toBe(0)
  })
})

describe('of an address as text', () => {
  test.each([
    ['10.1.2.3/24', { isIPv6: false, hostPart: '10.1.2.3', own: '10.1.2.3/32', subnet: '10.1.2.0/24' }],
    ['fd00:1::3/64', { isIPv6: true, hostPart: 'fd00:1::3', own: 'fd00:1::3/128', subnet: 'fd00:1::/64' }],
    ['10.1.2.3/32', { isIPv6: false, hostPart: '10.1.2.3', own: '10.1.2.3/32', subnet: '10.1.2.3/32' }],
  ])('%s', (text, parts) => {
    const host = hostPart(text)
    expect({ isIPv6: isIPv6(host), hostPart: host, own: hostPrefix(host), subnet: subnetOf(text) }).toEqual(parts)
  })

  test('one without a prefix length has no subnet', () => {
    expect(() => subnetOf('10.1.2.3')).toThrow('not an address with a prefix length: 10.1.2.3')
  })
})

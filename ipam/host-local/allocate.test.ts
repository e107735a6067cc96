import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Address, formatAddress, offset, parseAddress } from '../../shared/values/address.js'
import { CniError } from '../../shared/values/errors.js'
import { candidates, choose, Exhausted, type Occupancy } from './allocate.js'
import { collectRangeSets, type Range, type RangeSet, type RangeText, rangeHolding, readRangeSets } from './ranges.js'

function setsOf(...texts: RangeText[][]): RangeSet[] {
  const { sets, problems } = readRangeSets(collectRangeSets({ configured: texts }))
  expect(problems).toEqual([])
  return sets
}

function at(text: string): Address {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`${text} is not an address`)
  return address
}

function order(set: RangeSet, last?: string): string {
  return [...candidates(set, last === undefined ? undefined : at(last))].map(formatAddress).join(' ')
}

describe('the order of candidates', () => {
  const [small = []] = setsOf([{ subnet: '10.1.2.0/29' }])
  const [two = []] = setsOf([{ subnet: '10.1.2.0/30' }, { subnet: '10.1.3.0/30', gateway: '10.1.3.2' }])

  test.each<[RangeSet, string | undefined, string]>([
    [small, undefined, '10.1.2.2 10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6'],
    [small, '10.1.2.4', '10.1.2.5 10.1.2.6 10.1.2.2 10.1.2.3 10.1.2.4'],
    [small, '10.1.2.6', '10.1.2.2 10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6'],
    [small, '10.1.2.1', '10.1.2.2 10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6'],
    [small, '10.9.9.9', '10.1.2.2 10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6'],
    [small, 'fd00::1', '10.1.2.2 10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6'],
    [two, undefined, '10.1.2.2 10.1.3.1'],
    [two, '10.1.2.2', '10.1.3.1 10.1.2.2'],
    [two, '10.1.3.1', '10.1.2.2 10.1.3.1'],
  ])('case %#', (set, last, expected) => expect(order(set, last)).toBe(expected))

  test('a set with nothing but its gateway yields nothing', () => {
    const [set = []] = setsOf([{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.1', rangeEnd: '10.1.2.1' }])
    expect(order(set)).toBe('')
    expect(order(set, '10.1.2.1')).toBe('')
  })

  test('every address but the gateways comes exactly once, whatever was last', () => {
    const range = fc.record({
      block: fc.integer({ min: 0, max: 15 }),
      from: fc.nat(13),
      size: fc.nat(13),
      gateway: fc.nat(15),
    })
    const ranges = fc.uniqueArray(range, { selector: ({ block }) => block, minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(ranges, fc.nat(255), (drawn, last) => {
        const host = (block: number, number: number) => offset(at('10.0.0.0'), BigInt(block * 16 + number)) as Address
        const set = drawn.map(({ block, from, size, gateway }): Range => {
          const subnet = { address: host(block, 0), prefix: 28 }
          return {
            subnet,
            start: host(block, from),
            end: host(block, Math.min(15, from + size)),
            gateway: host(block, gateway),
          }
        })
        const found = order(set, formatAddress(host(0, last)))
          .split(' ')
          .filter(Boolean)
        const all = Array.from({ length: 256 }, (_, number) => host(0, number)).filter((address) => {
          const range = rangeHolding(set, address)
          return range !== undefined && range.gateway.value !== address.value
        })
        expect([...found].sort()).toEqual(all.map(formatAddress).sort())
        const lastText = formatAddress(host(0, last))
        if (found.includes(lastText)) expect(found.at(-1)).toBe(lastText)
      }),
      { seed: 1 },
    )
  })
})

describe('choose', () => {
  const sets = setsOf([{ subnet: '10.1.2.0/29' }], [{ subnet: 'fd00::/125' }])

  function occupancy({
    own = [],
    taken = [],
    last = [],
  }: {
    own?: string[]
    taken?: string[]
    last?: string[]
  }): Occupancy {
    return {
      own: own.map(at),
      isTaken: (address) => [...taken, ...own].includes(formatAddress(address)),
      lastReserved: (set) => (last[set] ? at(last[set]) : undefined),
    }
  }

  function chosen(requested: string[], state: Parameters<typeof occupancy>[0] = {}): string[] {
    return choose(sets, requested.map(at), occupancy(state)).map(({ address, fresh }) => {
      return `${formatAddress(address)}${fresh ? '' : ' held'}`
    })
  }

  test.each<[string, string[], Parameters<typeof occupancy>[0], string[]]>([
    ['the first of each set', [], {}, ['10.1.2.2', 'fd00::2']],
    ['the next free one', [], { taken: ['10.1.2.2', '10.1.2.3', 'fd00::2'] }, ['10.1.2.4', 'fd00::3']],
    ['from each last one on', [], { last: ['10.1.2.5', 'fd00::7'] }, ['10.1.2.6', 'fd00::2']],
    ['the requested one', ['fd00::5'], {}, ['10.1.2.2', 'fd00::5']],
    ['a request said twice', ['fd00::5', 'fd00::5'], {}, ['10.1.2.2', 'fd00::5']],
    ['what it holds already', [], { own: ['fd00::6', '10.1.2.3'] }, ['10.1.2.3 held', 'fd00::6 held']],
    ['a request that it holds already', ['10.1.2.3'], { own: ['10.1.2.3'] }, ['10.1.2.3 held', 'fd00::2']],
    ['a request besides what it holds', ['10.1.2.4'], { own: ['10.1.2.3'] }, ['10.1.2.4', 'fd00::2']],
    ['holdings outside the sets do not count', [], { own: ['192.168.0.1'] }, ['10.1.2.2', 'fd00::2']],
  ])('%s', (_, requested, state, expected) => expect(chosen(requested, state)).toEqual(expected))

  test.each<[string, string[], string]>([
    ['the gateway', ['10.1.2.1'], "requested ip 10.1.2.1 is subnet's gateway"],
    ['a taken one', ['10.1.2.3'], 'requested IP address 10.1.2.3 is not available in range set 10.1.2.1-10.1.2.6'],
    ['one outside', ['10.9.9.9', 'fd00::2'], 'failed to allocate all requested IPs: 10.9.9.9'],
    ['two of one set', ['10.1.2.2', '10.1.2.4'], 'failed to allocate all requested IPs: 10.1.2.4'],
  ])('refuses %s', (_, requested, message) => {
    expect(() => chosen(requested, { taken: ['10.1.2.3'] })).toThrow(message)
    expect(() => chosen(requested, { taken: ['10.1.2.3'] })).toThrow(CniError)
  })

  test('says which set is full', () => {
    const taken = ['10.1.2.2', '10.1.2.3', '10.1.2.4', '10.1.2.5', '10.1.2.6']
    expect(() => chosen([], { taken })).toThrow(Exhausted)
    expect(() => chosen([], { taken })).toThrow('no IP addresses available in range set: 10.1.2.1-10.1.2.6')
  })
})

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { keepStateIn, stateRoot } from '../../shared/exec/state.js'
import { addressText } from '../../shared/net/leftovers.js'
import { type Element, type NftObject, ownTable } from '../../shared/plan/element.js'
import type { Host } from '../../shared/plan/host.js'
import { hostVethName } from '../../shared/values/names.js'
import { leftOf } from './left.js'

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const [four, six] = ['10.1.0.2', 'fd00::2']

const usual = stateRoot
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'left-'))
  keepStateIn(join(folder, 'state'))
  // There are records of the kind, and none of this attachment: nobody has taken any away.
  mkdirSync(join(stateRoot, 'firewall', 'net'), { recursive: true })
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(folder, { recursive: true })
})

const nameOf = (one: Element | NftObject) =>
  'collection' in one
    ? `${one.family} ${one.collection} ${one.key.join(' ')}`
    : [one.family, one.table, one.chain ?? one.set].filter((word) => word !== undefined).join(' ')

/** What may be left where the kernel holds these things; `texts` are the rules by their chains. */
function left(
  things: readonly string[] | undefined,
  {
    addresses = [four],
    isolation = undefined as { port?: string; bridge: string } | undefined,
    texts = {} as Record<string, readonly string[] | undefined>,
    legacy = [] as string[],
  } = {},
) {
  const observer = {
    holdsDirectly: (wanted: readonly (Element | NftObject)[]) =>
      things && wanted.map((one) => things.includes(nameOf(one))),
    ruleTexts: (of: NftObject) => (nameOf(of) in texts ? texts[nameOf(of)] : []),
    hasLegacyTable: (family: string, table: string) => legacy.includes(`${family} ${table}`),
  }
  return leftOf({ observer } as unknown as Host, attachment, { addresses, isolation } as never)
}

const nothing = { isAdmitted: false, isIsolated: false, hasRules: false }

test('nothing is left where the kernel has nothing of the addresses and the port', () => {
  expect(left([])).toEqual(nothing)
  expect(left(['ip firewall_admitted 10.1.0.3', 'ip filter', 'ip filter CNI-FORWARD'])).toEqual(nothing)
})

test('all may be left where the kernel does not tell', () => {
  expect(left(undefined)).toEqual({ isAdmitted: true, isIsolated: true, hasRules: true })
  expect(left(undefined, { addresses: [] })).toEqual({ isAdmitted: true, isIsolated: true, hasRules: false })
})

test('rules of the official plugin are asked for by the addresses, in their families', () => {
  const forward = 'ip filter CNI-FORWARD'
  const mention = [`x${addressText(four as string)}y`]
  expect(left([forward], { texts: { [forward]: mention } })).toEqual({ ...nothing, hasRules: true })
  expect(left([forward], { texts: { [forward]: undefined } }).hasRules).toBe(true)
  expect(left([forward], { texts: { [forward]: ['other'] } }).hasRules).toBe(false)
  expect(left([], { texts: { [forward]: mention } }).hasRules).toBe(false)
  const six6 = 'ip6 filter CNI-FORWARD'
  const ofSix = { addresses: [four as string, six as string], texts: { [six6]: [addressText(six as string)] } }
  expect(left([six6], ofSix).hasRules).toBe(true)
  expect(left([six6], { ...ofSix, addresses: [four as string] }).hasRules).toBe(false)
  expect(left([], { legacy: ['ip filter'] }).hasRules).toBe(true)
  expect(left([], { legacy: ['ip filter'], addresses: [four as string, six as string] }).hasRules).toBe(true)
  expect(left([], { legacy: ['ip6 filter', 'ip nat'] }).hasRules).toBe(false)
})

test('of isolation the stages are asked for, by the bridge', () => {
  const stage = 'ip filter CNI-ISOLATION-STAGE-1'
  const isolation = { bridge: 'cni0', port: 'veth1' }
  expect(left([stage], { isolation, texts: { [stage]: ['cni0\0'] } }).hasRules).toBe(true)
  expect(left([stage], { isolation, texts: { [stage]: ['cni1\0'] } }).hasRules).toBe(false)
  expect(left([stage], { texts: { [stage]: ['cni0\0'] } }).hasRules).toBe(false)
})

test('elements are asked for by address and port', () => {
  const asked: string[] = []
  const observer = {
    holdsDirectly: (wanted: readonly (Element | NftObject)[]) => {
      asked.push(...wanted.map(nameOf))
      return wanted.map(() => false)
    },
    ruleTexts: () => [],
    hasLegacyTable: () => false,
  }
  const wanted = { addresses: [four], isolation: { bridge: 'cni0', port: 'veth1' } }
  leftOf({ observer } as unknown as Host, attachment, wanted as never)
  const [admitted, own, port] = asked as [string, string, string]
  expect(admitted).toContain('10.1.0.2')
  expect([own, port]).toEqual([expect.stringContaining(hostVethName(attachment)), expect.stringContaining('veth1')])
  const of = (things: string[]) => left(things, { isolation: { bridge: 'cni0', port: 'veth1' } })
  expect(of([admitted])).toEqual({ ...nothing, isAdmitted: true })
  expect(of([own])).toEqual({ ...nothing, isIsolated: true })
  expect(of([port])).toEqual({ ...nothing, isIsolated: true })
})

test('where records were taken away, any element of ours may be its', () => {
  rmSync(stateRoot, { recursive: true })
  const asked: string[] = []
  const observer = {
    holdsDirectly: (wanted: readonly (Element | NftObject)[]) => {
      asked.push(...wanted.map(nameOf))
      return wanted.map((_, index) => index === 1)
    },
    ruleTexts: () => [],
    hasLegacyTable: () => false,
  }
  const found = leftOf({ observer } as unknown as Host, attachment, { addresses: [four] } as never)
  expect(asked.slice(0, 3).map((name) => name.split(' ').slice(0, 2))).toEqual([
    ['ip', ownTable],
    ['ip6', ownTable],
    ['bridge', ownTable],
  ])
  expect(found).toEqual({ ...nothing, isAdmitted: true })
})

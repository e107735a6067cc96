import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { recordWritings } from '../exec/records.js'
import { keepStateIn, stateRoot } from '../exec/state.js'
import type { Element, NftObject } from '../plan/element.js'
import type { Host } from '../plan/host.js'
import type { IptablesTool, ListedChain, ListedElement, ListedRule, SavedRules } from '../plan/observer.js'
import { render, renderOne } from '../plan/render.js'
import { officialName } from '../values/names.js'
import type { SavedTables } from './iptables.js'
import {
  collectMasquerades,
  forgetLast,
  forgetMasquerade,
  isMasqueraded,
  isOfSubnet,
  type MadeByMasquerade,
  type Masquerade,
  madeByMasquerade,
  masquerade,
  masqueradeDifferences,
  masqueradeNeeds,
  masqueradeOf,
  noteMasquerade,
  sayMasquerade,
  seenForMasquerade,
  staleMasquerades,
  unmasquerade,
} from './masquerade.js'
import { features } from './probe.js'

// Plans from what was seen, without a machine.

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const chain = officialName('CNI-', attachment, 28)
const addresses = ['10.1.0.2/24', 'fd00::2/64']
const jump = (source: string) => ['-A', 'POSTROUTING', '-s', source, '-j', chain]
const none: SavedTables = new Map()

function saved(rules: Partial<Record<IptablesTool, SavedRules>>): SavedTables {
  return new Map(Object.entries(rules) as [IptablesTool, SavedRules][])
}

function made(backend: Masquerade['backend']): Masquerade {
  return { addresses, backend }
}

/** Answers two questions: of one table, and whether our map has the addresses, which it has where `held` says so. */
function observing(seen: string[], held = false): Host {
  const savedRules = (tool: IptablesTool, table: string) => {
    seen.push(`${tool} ${table}`)
    return tool === 'iptables' ? [[`:${chain}`]] : undefined
  }
  const holdsDirectly = (wanted: readonly unknown[]) => wanted.map(() => held)
  return { observer: { savedRules, holdsDirectly } } as unknown as Host
}

/** Tables alone: nobody had the addresses before. */
const seenOf = (tables: SavedTables) => ({ saved: tables, left: [], last: [] })

describe('nftables', () => {
  test('has nothing to see, and makes an element an address', () => {
    const asked: string[] = []
    expect(seenForMasquerade(observing(asked), attachment, made('nftables'))).toEqual(seenOf(none))
    expect(asked).toEqual([])
    expect(masquerade(attachment, made('nftables'), seenOf(none)).map(renderOne)).toEqual([
      `nft 'add element ip podwire masqueraded { 10.1.0.2 comment "net/eth0/c1" : jump masquerade_10.1.0.0/24 }'`,
      `nft 'add element ip6 podwire masqueraded { fd00::2 comment "net/eth0/c1" : jump masquerade_fd00--/64 }'`,
    ])
  })

  test('replaces what a dead owner left, and declares its table only where it is absent', () => {
    const [four] = masquerade(attachment, made('nftables'), seenOf(none))
    expect(four?.displaces?.map(renderOne)).toEqual(["nft 'delete element ip podwire masqueraded { 10.1.0.2 }'"])
    expect(four?.needs?.map(({ argv }) => argv.join(' '))).toContain(
      'add rule ip podwire masquerade_10.1.0.0/24 ip daddr 224.0.0.0/4 return',
    )
  })

  test('removes what another attachment left under our addresses, in either way', () => {
    for (const backend of ['nftables', 'iptables'] as const) {
      const seen = seenForMasquerade(observing([], true), attachment, made(backend))
      expect(seen.left).toEqual(addresses)
      expect(masquerade(attachment, made(backend), seen).slice(0, 2).map(renderOne)).toEqual([
        "nft 'delete element ip podwire masqueraded { 10.1.0.2 }'",
        "nft 'delete element ip6 podwire masqueraded { fd00::2 }'",
      ])
    }
  })

  test('takes away what the record says', () => {
    const plan = unmasquerade(attachment, { record: made('nftables'), saved: none })
    expect(render(plan)).toBe(
      "nft 'delete element ip podwire masqueraded { 10.1.0.2 }'\nnft 'delete element ip6 podwire masqueraded { fd00::2 }'\n",
    )
  })

  test('collects chains of subnets alone', () => {
    const chains: ListedChain[] = [
      { family: 'ip', table: 'podwire', name: 'masquerade_10.1.0.0/24' },
      { family: 'ip', table: 'podwire', name: 'portmap_masquerade_all' },
    ]
    expect(render(collectMasquerades(chains.filter(({ name }) => isOfSubnet(name))))).toBe(
      'nft delete chain ip podwire masquerade_10.1.0.0/24\n',
    )
  })
})

test('what is to be masqueraded is what IPAM gave, where that is asked for', () => {
  const ips = addresses.map((address) => ({ address }))
  expect(masqueradeOf({ ipMasq: true }, { ips })).toEqual(made('nftables'))
  expect(masqueradeOf({ ipMasq: true, ipMasqBackend: 'iptables' }, { ips })).toEqual(made('iptables'))
  for (const [config, given] of [
    [{ ipMasq: true }, []],
    [{ ipMasq: false }, ips],
    [{}, ips],
  ] as const)
    expect(masqueradeOf(config, { ips: given })).toBeUndefined()
  expect(sayMasquerade({ path: 'ipMasqBackend', value: 'x', expected: '' })).toBe('unknown ipmasq backend "x"')
  expect(sayMasquerade({ path: 'ipMasq', value: 'x', expected: '' })).toBeUndefined()
})

test('an ADD has what its backend needs, and a record', () => {
  expect(masqueradeNeeds('net').features).toEqual([features.nftables])
  expect(masqueradeNeeds('net', 'iptables')).toMatchObject({
    features: [features.iptables],
    programs: ['iptables-save'],
  })
  expect(masqueradeNeeds('net').writes).toEqual(recordWritings('net', 'masquerade'))
})

describe('iptables', () => {
  test('sees the tables of the families that have an address, each once', () => {
    const asked: string[] = []
    const twice = { backend: 'iptables', addresses: ['10.1.0.2/24', '10.1.1.2/24', 'fd00::2/64'] } as const
    const seen = seenForMasquerade(observing(asked), attachment, twice)
    expect(asked).toEqual(['iptables nat', 'ip6tables nat'])
    expect([...seen.saved]).toEqual([
      ['iptables', [[`:${chain}`]]],
      ['ip6tables', []],
    ])
  })

  test('makes the chain of a family once, and uses one that is there', () => {
    const seen = saved({ iptables: [[`:${chain}`]], ip6tables: [] })
    const plan = masquerade(attachment, { backend: 'iptables', addresses: [...addresses, 'fd00::3/64'] }, seenOf(seen))
    const made = plan.filter(({ argv }) => argv.includes('-N'))
    expect(made.map(renderOne)).toEqual([`ip6tables -t nat -N ${chain}`])
    // Of a chain that was there only the jump is taken back.
    const undone = plan.filter(({ tool }) => tool === 'iptables').flatMap(({ undo = [] }) => undo)
    expect(undone.map(({ argv }) => argv.slice(0, 6).join(' '))).toEqual(['-t nat -D POSTROUTING -s 10.1.0.2'])
    expect(made[0]?.undo?.map(({ argv }) => argv[2])).toEqual(['-D', '-F', '-X'])
  })

  test('leaves the chain to the other interface of the container that jumps to it', () => {
    const rules = [[`:${chain}`], jump('10.1.0.2/32'), jump('10.1.0.3/32')]
    const record: Masquerade = { backend: 'iptables', addresses: ['10.1.0.2/24'] }
    const plan = unmasquerade(attachment, { record, saved: saved({ iptables: rules }) })
    expect(render(plan)).toBe(`iptables -t nat -D POSTROUTING -s 10.1.0.2/32 -j ${chain}\n`)
  })
})

test('without a record all goes that bears the name: elements, chains, rules of the official suite', () => {
  const found: MadeByMasquerade = {
    elements: [{ collection: 'masqueraded', key: ['fd00::2'], comment: 'net/eth0/c1' }],
    saved: saved({ iptables: [[`:${chain}`], jump('10.1.0.2/32')] }),
    handles: [7],
    along: [],
  }
  expect(render(unmasquerade(attachment, found)).trimEnd().split('\n')).toEqual([
    "nft 'delete element ip6 podwire masqueraded { fd00::2 }'",
    `iptables -t nat -D POSTROUTING -s 10.1.0.2/32 -j ${chain}`,
    `iptables -t nat -F ${chain}`,
    `iptables -t nat -X ${chain}`,
    'nft delete rule inet cni_plugins_masquerade masq_checks handle 7',
  ])
})

describe('on this machine', () => {
  const usual = stateRoot
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'masquerade-'))
    keepStateIn(join(folder, 'state'))
    mkdirSync(join(stateRoot, 'masquerade', 'net'), { recursive: true })
  })
  afterEach(() => {
    keepStateIn(usual)
    rmSync(folder, { recursive: true })
  })

  /** "FAMILY TABLE", "FAMILY TABLE NAME", or "FAMILY COLLECTION KEY" of our element. */
  const nameOf = (one: Element | NftObject) =>
    'collection' in one
      ? `${one.family} ${one.collection} ${one.key.join(' ')}`
      : [one.family, one.table, one.chain ?? one.set].filter((word) => word !== undefined).join(' ')

  interface There {
    /** What the kernel says it holds, if it tells. */
    readonly held?: readonly string[]
    readonly texts?: readonly string[]
    readonly elements?: readonly ListedElement[]
    readonly rules?: readonly Partial<ListedRule>[]
    readonly chains?: Partial<Record<IptablesTool, SavedRules>>
    readonly legacy?: readonly string[]
  }

  function hosting({ held, texts = [], elements = [], rules = [], chains = {}, legacy = [] }: There) {
    const asked: string[] = []
    const observer = {
      holdsDirectly: (wanted: readonly (Element | NftObject)[]) =>
        held && wanted.map((one) => held.includes(nameOf(one))),
      ruleTexts: () => texts,
      hasLegacyTable: (family: string, table: string) => legacy.includes(`${family} ${table}`),
      elements: (family: string) => {
        asked.push(`elements ${family}`)
        return elements.filter(({ key: [address = ''] }) => address.includes(':') === (family === 'ip6'))
      },
      rules: () => {
        asked.push('rules')
        return rules
      },
      savedRules: (tool: IptablesTool) => {
        asked.push(tool)
        return chains[tool]
      },
    }
    const host = {
      observer,
      dryRun: false,
      change: (_: string, body: () => void) => body(),
      warn: (text: string) => expect.fail(text),
      journal: { note: () => undefined },
    } as unknown as Host
    return { asked, host }
  }

  const own = { collection: 'masqueraded', key: ['10.1.0.2'], comment: 'net/eth0/c1' }
  const nothing = { elements: [], saved: none, handles: [], along: [] }

  test('nothing is looked for that the kernel says is not there', () => {
    const { asked, host } = hosting({ held: [] })
    expect(madeByMasquerade(host, attachment, addresses)).toEqual(nothing)
    expect(asked).toEqual([])
  })

  test('its elements, and not those of others, where one has an address that is told', () => {
    const elements = [own, { ...own, key: ['10.1.0.3'], comment: 'net/eth0/c2' }]
    const { asked, host } = hosting({ held: ['ip masqueraded 10.1.0.2'], elements })
    expect(madeByMasquerade(host, attachment, addresses).saved).toEqual(none)
    expect(madeByMasquerade(host, attachment, addresses)).toEqual({ ...nothing, elements: [own] })
    expect(asked).toEqual(['elements ip', 'elements ip6', 'elements ip', 'elements ip6'])
    expect(madeByMasquerade(host, attachment, [])).toEqual(nothing)
  })

  test('any element where records may have been lost', () => {
    rmSync(stateRoot, { recursive: true })
    const { host } = hosting({ held: ['ip6 podwire masqueraded'], elements: [own] })
    expect(madeByMasquerade(host, attachment, [])).toEqual({ ...nothing, elements: [own] })
    expect(madeByMasquerade(hosting({ held: ['ip masqueraded 10.1.0.2'] }).host, attachment, addresses)).toEqual(
      nothing,
    )
  })

  test('chains of the official plugin where the kernel has one of the name, or the older interface the table', () => {
    const chains = { iptables: [[`:${chain}`]], ip6tables: [] }
    const look = (there: There) => {
      const { asked, host } = hosting({ ...there, chains })
      madeByMasquerade(host, attachment, addresses)
      return asked
    }
    expect(look({ held: [`ip nat ${chain}`] })).toEqual(['iptables'])
    expect(look({ held: [`ip6 nat ${chain}`, 'ip nat OTHER'] })).toEqual(['ip6tables'])
    expect(look({ held: [], legacy: ['ip nat'] })[0]).toBe('iptables')
    expect(look({})).toEqual(expect.arrayContaining(['iptables', 'ip6tables', 'elements ip', 'elements ip6']))
  })

  test('what is on record is looked at by the record alone', () => {
    const { asked, host } = hosting({ held: [] })
    noteMasquerade(host, attachment, made('nftables'))
    expect(isMasqueraded(host, attachment)).toBe(true)
    expect(madeByMasquerade(host, attachment)).toEqual({ record: made('nftables'), saved: none })
    expect(asked).toEqual([])
    const other = { ...attachment, containerID: 'c2' }
    expect(staleMasquerades(host, 'net', [{ containerID: 'c2', ifname: 'eth0' }])).toEqual([attachment])
    expect([
      staleMasquerades(host, 'net', [{ containerID: 'c1', ifname: 'eth0' }]),
      isMasqueraded(host, other),
    ]).toEqual([[], false])
    forgetMasquerade(host, attachment)
    expect(isMasqueraded(host, attachment)).toBe(false)
  })

  test('who had the addresses before is found by the records, and forgotten', () => {
    const { host } = hosting({})
    const other = { ...attachment, containerID: 'c2' }
    noteMasquerade(host, attachment, made('nftables'))
    noteMasquerade(host, other, { backend: 'nftables', addresses: ['10.1.0.2/24', '10.1.0.9/24'] })
    noteMasquerade(host, { ...attachment, containerID: 'c3' }, { backend: 'nftables', addresses: ['10.1.0.4/24'] })
    const seen = seenForMasquerade(host, attachment, made('nftables'))
    expect(seen).toEqual({ saved: none, left: ['10.1.0.2/24'], last: [other] })
    const told = seenForMasquerade(hosting({ held: ['ip6 masqueraded fd00::2'] }).host, attachment, made('nftables'))
    expect([told.left, told.last]).toEqual([['fd00::2/64'], [other]])
    expect(seenForMasquerade(hosting({ held: [] }).host, attachment, made('nftables'))).toEqual(seenOf(none))
    forgetLast(host, seen)
    expect([isMasqueraded(host, other), isMasqueraded(host, attachment)]).toEqual([false, true])
  })

  test('CHECK by a record of iptables wants a jump from each address to a chain that masquerades', () => {
    const outside = ['-A', chain, '!', '-d', '224.0.0.0/4', '-j', 'MASQUERADE']
    const outside6 = ['-A', chain, '!', '-d', 'ff00::/8', '-j', 'MASQUERADE']
    const differ = (iptables: SavedRules, ip6tables: SavedRules = [outside6, jump('fd00::2/128')]) => {
      const { host } = hosting({ chains: { iptables, ip6tables } })
      noteMasquerade(host, attachment, made('iptables'))
      return masqueradeDifferences(host, attachment, addresses).map(({ expected }) => expected.split(' ').at(-1))
    }
    expect(differ([outside, jump('10.1.0.2/32')])).toEqual([])
    const other = ['-A', 'POSTROUTING', '-s', '10.1.0.2/32', '-j', 'OTHER']
    const elsewhere = ['-A', 'PREROUTING', '-s', '10.1.0.2/32', '-j', chain]
    for (const rules of [
      [],
      [outside],
      [jump('10.1.0.2/32')],
      [outside, jump('10.1.0.3/32')],
      [outside, other],
      [outside, elsewhere],
      [['-A', 'OTHER', '-j', 'MASQUERADE'], jump('10.1.0.2/32')],
      [['-A', chain, '-j', 'ACCEPT'], jump('10.1.0.2/32')],
    ])
      expect(differ(rules), rules.join('; ')).toEqual(['10.1.0.2/24'])
    expect(differ([outside, jump('10.1.0.2/32')], [])).toEqual(['fd00::2/64'])
  })

  test('CHECK without a record is content with what the official plugin made, in either way', () => {
    const differ = (there: There) =>
      masqueradeDifferences(hosting(there).host, attachment, ['10.1.0.2/24', '10.1.0.3/24']).map(
        ({ expected }) => expected,
      )
    const both = ['10.1.0.2/24', '10.1.0.3/24'].map((address) => `a rule that masquerades ${address}`)
    expect(differ({})).toEqual(both)
    const comment = 'masquerade, net: net, if: eth0, id: c1'
    const rule = {
      chain: 'masq_checks',
      handle: 1,
      comment,
      matches: [{ protocol: 'ip', field: 'saddr', value: '10.1.0.2' }],
    }
    expect(differ({ rules: [rule] })).toEqual(both.slice(1))
    expect(differ({ rules: [{ ...rule, comment: 'other' }] })).toEqual(both)
  })
})

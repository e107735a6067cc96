import { describe, expect, test } from 'vitest'
import type { Host } from '../plan/host.js'
import type { IptablesTool, ListedChain, SavedRules } from '../plan/observer.js'
import { render, renderOne } from '../plan/render.js'
import { officialName } from '../values/names.js'
import type { SavedTables } from './iptables.js'
import {
  collectMasquerades,
  isOfSubnet,
  type MadeByMasquerade,
  type Masquerade,
  masquerade,
  seenForMasquerade,
  unmasquerade,
} from './masquerade.js'

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
  }
  expect(render(unmasquerade(attachment, found)).trimEnd().split('\n')).toEqual([
    "nft 'delete element ip6 podwire masqueraded { fd00::2 }'",
    `iptables -t nat -D POSTROUTING -s 10.1.0.2/32 -j ${chain}`,
    `iptables -t nat -F ${chain}`,
    `iptables -t nat -X ${chain}`,
    'nft delete rule inet cni_plugins_masquerade masq_checks handle 7',
  ])
})

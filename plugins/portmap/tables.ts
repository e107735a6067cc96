import { declare, declareChain } from '../../shared/net/nft.js'
import type { Operation } from '../../shared/plan/operation.js'
import { subnetOf } from '../../shared/values/address.js'
import { codes } from '../../shared/values/errors.js'
import { sha512 } from '../../shared/values/hash.js'
import type { Family, Publication } from './publication.js'

/** Whether a chain of that name is one that attachments share. */
export function isShared(chain: string): boolean {
  return ['portmap_masquerade_', 'portmap_hairpin_', 'portmap_if_'].some((prefix) => chain.startsWith(prefix))
}

/**
 * The chain that masquerades for a publication: one for each subnet, and one for all addresses that are their own
 * subnet, of which there may be as many as pods.
 */
export function hairpinChain(publication: Publication): string {
  if (publication.masquerade === 'all') return 'portmap_masquerade_all'
  return `portmap_hairpin_${publication.alone ? 'alone' : subnetName(publication)}`
}

/** Named by what it says: networks that say the same share it, and one that changes its mind leaves the old one be. */
export function conditionChain({ conditions }: Publication): string {
  return `portmap_if_${sha512(conditions.join(' ')).slice(0, 16)}`
}

/** The table, its maps, and the chains that look into them. */
export function declarations(publication: Publication): readonly Operation[] {
  const { family, conditions } = publication
  return [
    ...maps(family),
    ...(publication.alone ? [pairs(family)] : []),
    ...declareChain(family, hairpinChain(publication), hairpinRules(publication)),
    ...(conditions.length > 0
      ? declareChain(family, conditionChain(publication), [[...conditions, 'return'], ['accept']]).map((one) =>
          one.argv.at(-1) === 'return' ? asCondition(one, conditions.join(' ')) : one,
        )
      : []),
    ...lookups(family),
    ...hooks(family),
  ]
}

// --- internal

const types = { ip: 'ipv4_addr', ip6: 'ipv6_addr' } as const
const loopback = '127.0.0.0/8'

function subnetName(publication: Publication): string {
  return subnetOf(publication.cidr).replaceAll(':', '-')
}

function maps(family: Family): readonly Operation[] {
  const address = types[family]
  const port = ['inet_proto', '.', 'inet_service']
  const at = [address, '.', ...port]
  const target = [address, '.', 'inet_service']
  const map = (name: string, key: readonly string[], value: readonly string[], flags: readonly string[] = []) =>
    declare(family, 'map', [name, '{', 'type', ...key, ':', ...value, ';', ...flags, '}'])
  return [
    declare(family, 'table', []),
    declare(family, 'set', ['portmap_owners', '{', 'type', 'ifname', ';', '}']),
    map('portmap_ports', port, target),
    map('portmap_ranges', port, [address], ['flags', 'interval', ';']),
    map('portmap_addresses', at, target),
    map('portmap_conditions', port, ['verdict']),
    map('portmap_address_conditions', at, ['verdict']),
    map('portmap_hairpin', [address], ['verdict']),
  ]
}

/** Source and target of what comes back to its sender, a pair for each address that is its own subnet. */
function pairs(family: Family): Operation {
  return declare(family, 'set', ['portmap_alone', '{', 'type', types[family], '.', types[family], ';', '}'])
}

/** What nft itself does not take of a condition (a value that it cannot resolve, say) is a mistake in its words. */
function asCondition(rule: Operation, condition: string): Operation {
  const refused = {
    code: codes.invalidConfiguration,
    says: `the configuration is not valid: nft refuses the condition "${condition}"`,
    fix: 'write the conditions as nft(8) has them; the place is marked above',
  }
  return { ...rule, meaning: { ...rule.meaning, other: refused, absent: refused } }
}

function hairpinRules(publication: Publication): readonly (readonly string[])[] {
  const { family, masquerade, alone } = publication
  if (masquerade === 'all') return [['masquerade']]
  const own = alone ? ['.', family, 'daddr', '@portmap_alone'] : [subnetOf(publication.cidr)]
  const sources = [...(family === 'ip' ? [[loopback]] : []), own]
  return sources.map((source) => [family, 'saddr', ...source, 'masquerade'])
}

/**
 * Packets that a condition does not let pass, or that are for a listener of the host, are accepted here, which in a nat
 * chain means: left as they are.
 */
function lookups(family: Family): readonly Operation[] {
  const port = ['meta', 'l4proto', '.', 'th', 'dport']
  const at = [family, 'daddr', '.', ...port]
  return declareChain(family, 'portmap', [
    [...at, 'vmap', '@portmap_address_conditions'],
    ['dnat', family, 'to', ...at, 'map', '@portmap_addresses'],
    [...port, 'vmap', '@portmap_conditions'],
    ['dnat', family, 'to', ...port, 'map', '@portmap_ports'],
    ['dnat', family, 'to', ...port, 'map', '@portmap_ranges'],
  ])
}

/**
 * Only packets to the host itself are looked at: what it forwards may go to the same port of others (CVE-2025-67499).
 * ::1 is left alone: the kernel has no route_localnet for IPv6 and drops the container's answers, so that a client
 * would wait in vain instead of being refused and trying 127.0.0.1. The guard drops what `route_localnet` would let in:
 * packets to and from 127/8 that did not come from lo (CVE-2020-8558).
 */
function hooks(family: Family): readonly Operation[] {
  const hook = (type: string, name: string, priority: string) =>
    ['type', type, 'hook', name, 'priority', priority, ';', 'policy', 'accept', ';'] as const
  const answerable = family === 'ip6' ? ['ip6', 'daddr', '!=', '::1'] : []
  const local = [[...answerable, 'fib', 'daddr', 'type', 'local', 'jump', 'portmap']]
  const fromOutside = ['iifname', '!=', '"lo"']
  const guards = ['daddr', 'saddr'].map((side) => ['ip', side, loopback, ...fromOutside, 'drop'])
  return [
    ...declareChain(family, 'portmap_prerouting', local, hook('nat', 'prerouting', '-100')),
    ...declareChain(family, 'portmap_output', local, hook('nat', 'output', '-100')),
    ...declareChain(
      family,
      'portmap_postrouting',
      [['ct', 'status', 'dnat', family, 'daddr', 'vmap', '@portmap_hairpin']],
      hook('nat', 'postrouting', '100'),
    ),
    ...(family === 'ip' ? declareChain(family, 'portmap_guard', guards, hook('filter', 'prerouting', '-300')) : []),
  ]
}

import { apply } from '../plan/apply.js'
import type { Host } from '../plan/host.js'
import type { Machine } from '../plan/machine.js'
import type { Operation } from '../plan/operation.js'
import { CniError } from '../values/errors.js'
import { addLink } from './ip.js'
import { iptables } from './iptables.js'
import { nft } from './nft.js'

/** Something a plugin asks of the kernel, with operations that only work where it is. */
export interface Feature {
  readonly name: string
  readonly operations: readonly Operation[]
}

export const features = {
  bridge: linkOf('bridge'),
  veth: linkOf('veth', ['peer', 'name', 'probe-far']),
  dummy: linkOf('dummy'),
  ifb: linkOf('ifb'),
  vrf: linkOf('vrf', ['table', '10']),
  tap: { name: 'tap', operations: [plain('ip', 'tuntap add mode tap name probe-tap')] },
  rules: { name: 'rules', operations: [plain('ip', 'rule add from 192.0.2.1 table 100')] },
  tbf: { name: 'tbf', operations: [plain('tc', 'qdisc add dev lo root tbf rate 8mbit burst 10000 limit 35000')] },
  mirred: { name: 'mirred', operations: [plain('tc', 'actions add action mirred egress redirect dev lo')] },
  nftables: { name: 'nftables', operations: [nft(['add', 'table', 'ip', 'probe'], 'make a table')] },
  iptables: { name: 'iptables', operations: [iptables('iptables', 'nat', ['-N', 'probe'], 'make a chain')] },
} as const satisfies Record<string, Feature>

/** What rules in each of the two need; iptables-save is asked before iptables-restore is told. */
export const backendNeeds = {
  nftables: { features: [features.nftables] },
  iptables: { features: [features.iptables], programs: ['iptables-save'] },
} as const

/** A kind of link with attributes as `ip link add ... type KIND` takes them. */
export function linkOf(kind: string, attributes: readonly string[] = []): Feature {
  return { name: kind, operations: [addLink({ link: `probe-${kind}` }, ['type', kind, ...attributes])] }
}

/** The same above another link: the loopback interface refuses to be it. */
export function childOf(kind: string, attributes: readonly string[]): Feature {
  const below = addLink({ link: 'probe-below' }, ['type', 'veth', 'peer', 'name', 'probe-beside'])
  const child = addLink({ link: `probe-${kind}` }, ['link', 'probe-below', 'type', kind, ...attributes])
  return { name: kind, operations: [below, child] }
}

/**
 * Tries each feature the way an ADD goes, in a network namespace that ends with the trial; members of a chain ask for
 * the same ones, which are tried once.
 * @returns what is missing, and why
 */
export function missingFeatures({ executor }: Pick<Host, 'executor'>, wanted: readonly Feature[]): readonly string[] {
  const known = tried.get(executor) ?? new Map<Feature, readonly string[]>()
  tried.set(executor, known)
  const untried = wanted.filter((feature) => !known.has(feature))
  if (untried.length > 0) {
    executor.inNewNamespace((inside) => {
      for (const feature of untried) known.set(feature, missing(feature, inside))
    })
  }
  return wanted.flatMap((feature) => known.get(feature) ?? [])
}

// --- internal

/** What is missing by the features that were tried. */
const tried = new WeakMap<Machine['executor'], Map<Feature, readonly string[]>>()

function plain(tool: Operation['tool'], words: string): Operation {
  return { tool, argv: words.split(' '), why: 'use it' }
}

function missing({ name, operations }: Feature, machine: Machine): readonly string[] {
  try {
    apply(operations, machine, () => undefined)
    return []
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    return [`${name}: ${thrown.message}`]
  }
}

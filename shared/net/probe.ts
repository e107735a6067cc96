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

/** Each is made when it is asked for: a start asks for none. */
export const features = {
  get bridge() {
    return linkOf('bridge')
  },
  get veth() {
    return linkOf('veth', ['peer', 'name', 'probe-far'])
  },
  get dummy() {
    return linkOf('dummy')
  },
  get ifb() {
    return linkOf('ifb')
  },
  get vrf() {
    return linkOf('vrf', ['table', '10'])
  },
  get tap() {
    return plain('tap', 'ip', 'tuntap add mode tap name probe-tap')
  },
  get rules() {
    return plain('rules', 'ip', 'rule add from 192.0.2.1 table 100')
  },
  get tbf() {
    return plain('tbf', 'tc', 'qdisc add dev lo root tbf rate 8mbit burst 10000 limit 35000')
  },
  get mirred() {
    return plain('mirred', 'tc', 'actions add action mirred egress redirect dev lo')
  },
  get nftables() {
    return { name: 'nftables', operations: [nft(['add', 'table', 'ip', 'probe'], 'make a table')] }
  },
  get iptables() {
    return { name: 'iptables', operations: [iptables('iptables', 'nat', ['-N', 'probe'], 'make a chain')] }
  },
} as const satisfies Record<string, Feature>

/** What rules in each of the two need; iptables-save is asked before iptables-restore is told. */
export const backendNeeds = {
  get nftables() {
    return { features: [features.nftables] }
  },
  get iptables() {
    return { features: [features.iptables], programs: ['iptables-save'] }
  },
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
  const known = tried.get(executor) ?? new Map<string, readonly string[]>()
  tried.set(executor, known)
  const untried = wanted.filter((feature) => !known.has(keyOf(feature)))
  if (untried.length > 0) {
    executor.inNewNamespace((inside) => {
      for (const feature of untried) known.set(keyOf(feature), missing(feature, inside))
    })
  }
  return wanted.flatMap((feature) => known.get(keyOf(feature)) ?? [])
}

// --- internal

/** What is missing by the features that were tried. */
const tried = new WeakMap<Machine['executor'], Map<string, readonly string[]>>()

function keyOf({ operations }: Feature): string {
  return JSON.stringify(operations)
}

function plain(name: string, tool: Operation['tool'], words: string): Feature {
  return { name, operations: [{ tool, argv: words.split(' '), why: 'use it' }] }
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

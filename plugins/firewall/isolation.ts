import { addElement, declare, declareChain, deleteElement } from '../../shared/net/nft.js'
import { missingElements } from '../../shared/net/nft-elements.js'
import type { Element, NftFamily } from '../../shared/plan/element.js'
import type { Host } from '../../shared/plan/host.js'
import type { Observer } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { ownerComment } from '../../shared/values/names.js'
import { quoted } from '../../shared/values/token.js'
import type { Family } from './forward.js'
import { othersHolding } from './holders.js'
import type { IngressPolicy } from './rules.js'

/** What an attachment wants of the bridge it is on. `port` is the host's end of its link. */
export interface Isolation {
  readonly bridge: string
  readonly policy: IngressPolicy
  readonly port?: string
}

/** What a bridge's policy is planned from. */
export interface PolicySeen {
  /** The families the host has. */
  readonly families: readonly Family[]
  /** The strictest policy that others want of the bridge. */
  readonly wanted: IngressPolicy | undefined
}

/** To be looked at under the lock: others come and go. */
export function lookAtPolicy(host: Host, attachment: Attachment, { bridge }: Isolation): PolicySeen {
  return { families: families(host.observer), wanted: othersWant(host, bridge, attachment) }
}

/**
 * same-bridge: no packet is forwarded from one bridge that has a policy to another such bridge. isolated: nor between
 * two ports of the bridge, whether the host routes the packet or the bridge forwards the frame (which iptables only
 * sees where br_netfilter is loaded). A bridge's policy is the strictest that any attachment on it wants.
 */
export function isolate(attachment: Attachment, isolation: Isolation, seen: PolicySeen): readonly Operation[] {
  const policy = seen.wanted === 'isolated' ? seen.wanted : isolation.policy
  return [...policed(seen.families, isolation.bridge, policy), ...portElements(attachment, isolation)]
}

/**
 * Takes an attachment's wish back. The bridge keeps what the others on it want, which is something else only where this
 * one was stricter.
 */
export function unisolate({ bridge, policy, port }: Isolation, { families, wanted }: PolicySeen): readonly Operation[] {
  const isStricter = policy === 'isolated' && wanted !== 'isolated'
  const ofBridge =
    wanted === undefined ? unpoliced(families, bridge) : isStricter ? policed(families, bridge, wanted) : []
  return [...ofBridge, ...(policy === 'isolated' ? portRemovals(port) : [])]
}

/** What an ADD under iptables holds, too, by the same names. */
export function thingOf({ bridge, policy }: Isolation): string {
  return `${policy}-${bridge}`
}

/** Whether a bridge has a policy of ours; true where the kernel does not tell. */
export function isPoliced(observer: Observer, { bridge }: Isolation): boolean {
  const held = observer.holdsDirectly(families(observer).map((family) => bridgeElement(family, bridge)))
  return held?.includes(true) ?? true
}

/** The isolated ports that carry the owner's name, for a DEL without a record. */
export function isolatedPorts({ observer }: Host, attachment: Attachment): readonly string[] {
  const own = ownerComment(attachment)
  return observer
    .elements('bridge', { kind: 'set', name: portSet })
    .filter(({ comment }) => comment === own)
    .flatMap(({ key }) => key)
}

/** The operation that no longer isolates a port; none where there is no port. */
export function portRemovals(port: string | undefined): readonly Operation[] {
  return portElement('isolated', port).map((element) => deleteElement(element, `isolate the port ${port}`))
}

/** What CHECK finds missing. */
export function isolationDifferences(host: Host, { bridge, policy, port }: Isolation): readonly Problem[] {
  const wanted = [
    ...families(host.observer).map((family) => bridgeElement(family, bridge)),
    ...portElement(policy, port),
  ]
  return missingElements(host, wanted).map(({ family, collection, key }) => ({
    path: `nftables set ${family} ${collection}`,
    value: 'no element',
    expected: key.join(' '),
    fix: 'DEL and ADD the attachment: something flushed its rules',
  }))
}

/** An isolated port that carries the owner's name. */
export function isolatedPort(port: string, attachment: Attachment): Element {
  return { family: 'bridge', collection: portSet, key: [quoted(port)], comment: ownerComment(attachment) }
}

/** The set of them. */
export const portSet = 'firewall_isolated_ports'

// --- internal

const strictestFirst: readonly IngressPolicy[] = ['isolated', 'same-bridge']
const bridges = 'firewall_bridges'
const within = 'firewall_within'

/** The strictest policy that others want of a bridge. */
function othersWant(host: Host, bridge: string, attachment: Attachment): IngressPolicy | undefined {
  return strictestFirst.find((policy) => othersHolding(host, thingOf({ bridge, policy }), attachment) > 0)
}

function families({ hasIPv6 }: Pick<Observer, 'hasIPv6'>): readonly Family[] {
  return hasIPv6() ? ['ip', 'ip6'] : ['ip']
}

function bridgeElement(family: NftFamily, bridge: string): Element {
  return { family, collection: bridges, key: [quoted(bridge)] }
}

function withinElement(family: NftFamily, bridge: string): Element {
  return { family, collection: within, key: [quoted(bridge), '.', quoted(bridge)] }
}

/** The bridge under a policy. It is shared: what takes it back counts who else wants it (firewall.ts). */
function policed(present: readonly Family[], bridge: string, policy: IngressPolicy): readonly Operation[] {
  const why = `keep ${bridge} apart from other bridges`
  const verdict = policy === 'isolated' ? ['drop'] : ['return']
  return present.flatMap((family) => [
    { ...addElement(bridgeElement(family, bridge), why, declarations(family)), undo: [] },
    {
      ...addElement({ ...withinElement(family, bridge), value: verdict }, why, declarations(family)),
      undo: [],
      displaces: [deleteElement(withinElement(family, bridge), why)],
    },
  ])
}

function unpoliced(present: readonly Family[], bridge: string): readonly Operation[] {
  const why = `keep ${bridge} apart from other bridges`
  return present.flatMap((family) =>
    [bridgeElement(family, bridge), withinElement(family, bridge)].map((element) => deleteElement(element, why)),
  )
}

function portElements(attachment: Attachment, { policy, port }: Isolation): readonly Operation[] {
  const comment = ownerComment(attachment)
  return portElement(policy, port).map((element) =>
    addElement({ ...element, comment }, `isolate the port ${port}`, portDeclarations()),
  )
}

function portElement(policy: IngressPolicy, port: string | undefined): readonly Element[] {
  if (policy !== 'isolated' || port === undefined) return []
  return [{ family: 'bridge', collection: portSet, key: [quoted(port)] }]
}

function declarations(family: Family): readonly Operation[] {
  return [
    declare(family, 'table', []),
    declare(family, 'set', [bridges, '{', 'type', 'ifname', ';', '}']),
    declare(family, 'map', [within, '{', 'type', 'ifname', '.', 'ifname', ':', 'verdict', ';', '}']),
    ...declareChain(
      family,
      'firewall_ingress',
      [
        ['iifname', '.', 'oifname', 'vmap', `@${within}`],
        ['iifname', `@${bridges}`, 'oifname', `@${bridges}`, 'drop'],
      ],
      ['type', 'filter', 'hook', 'forward', 'priority', 'filter', ';', 'policy', 'accept', ';'],
    ),
  ]
}

const portDeclarations = (): readonly Operation[] => [
  declare('bridge', 'table', []),
  declare('bridge', 'set', [portSet, '{', 'type', 'ifname', ';', '}']),
  ...declareChain(
    'bridge',
    'firewall_isolation',
    [
      ['iifname', `@${portSet}`, 'drop'],
      ['oifname', `@${portSet}`, 'drop'],
    ],
    ['type', 'filter', 'hook', 'forward', 'priority', '-200', ';', 'policy', 'accept', ';'],
  ),
]

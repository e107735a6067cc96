import { familiesOf } from '../../shared/net/leftovers.js'
import type { Needs } from '../../shared/net/needs.js'
import { backendNeeds } from '../../shared/net/probe.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Call } from '../../shared/program/plugin.js'
import { runsFirewalld } from '../../shared/tools/firewalld.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { admissionDifferences, admit, dismiss, heldByOthers } from './admission.js'
import type { FirewallConfiguration } from './firewall.schema.js'
import { sourceDifferences } from './firewalld.js'
import {
  acceptance,
  type Family,
  type ForwardChain,
  forwardDifferences,
  lookAtForward,
  unusedForward,
} from './forward.js'
import {
  installRules,
  lookToInstall,
  lookToRemove,
  officialDifferences,
  officialPolicy,
  type RemovalSeen,
  type RulesSeen,
  removeRules,
  ruleDifferences,
} from './iptables.js'
import { type Isolation, isolate, isolationDifferences, lookAtPolicy, type PolicySeen, unisolate } from './isolation.js'

export type FirewallCall = Call<FirewallConfiguration>
export type Backend = Exclude<FirewallConfiguration['backend'], '' | 'ip6tables'>

/** What DEL needs to know: everything an ADD decided. `addresses` are without prefix lengths. */
export interface Made {
  readonly backend: Backend
  readonly addresses: readonly string[]
  readonly zone: string
  readonly isolation?: Isolation
}

/** What an ADD has to see; what a backend does not ask is empty. */
export interface PublishSeen {
  readonly adminChain: string
  /** Addresses that others have been given before, and left elements of. */
  readonly held: ReadonlySet<string>
  /** The chains of the forward hook that lack our rule. They are shared: under the lock, they are looked at again. */
  readonly forward: readonly ForwardChain[]
  /** The families whose FORWARD of iptables nobody uses yet. */
  readonly unused: readonly Family[]
  readonly rules: RulesSeen
  readonly policy: PolicySeen | undefined
}

/** What a DEL has to see. */
export interface WithdrawSeen extends RemovalSeen {
  readonly policy: PolicySeen | undefined
}

/**
 * One way of letting a container through: what it looks at, and plans that are made of that. What attachments share
 * stays when they go, so that GC has nothing to collect.
 */
interface FirewallBackend {
  readonly needs: (host: Host, hasPolicy: boolean) => Needs
  /** Whether the lock has to be held from the look on: shared rules cannot be added "unless they are there". */
  readonly isShared: (made: Made) => boolean
  readonly lookToPublish: (call: FirewallCall, made: Made) => PublishSeen
  readonly publish: (attachment: Attachment, made: Made, seen: PublishSeen) => readonly Operation[]
  readonly lookToWithdraw: (host: Host, attachment: Attachment, made: Made) => WithdrawSeen
  readonly withdraw: (made: Made, seen: WithdrawSeen) => readonly Operation[]
  /** The addresses that firewalld is told of. */
  readonly sources: (made: Made) => readonly string[]
  readonly differences: (call: FirewallCall, made: Made) => readonly Problem[]
  /**
   * The same without a record, where the official plugin may have let the container through, which knows no nftables.
   */
  readonly unrecordedDifferences: (call: FirewallCall, made: Made) => readonly Problem[]
}

const nothing = { held: new Set<string>(), rules: new Map(), policy: undefined }
const nothingToPublish = { ...nothing, forward: [], unused: [] }
const nothingToWithdraw = { ...nothing, admittingOthers: new Set<never>(), wanted: [] }

/**
 * The ingress policy under nftables and firewalld is ours; under iptables it is part of the official plugin's rules.
 */
export const backends: Readonly<Record<Backend, FirewallBackend>> = {
  nftables: {
    needs: () => backendNeeds.nftables,
    isShared: ({ isolation }) => isolation !== undefined,
    lookToPublish({ host, attachment, config }, { addresses, isolation }) {
      const families = familiesOf(addresses)
      const chains = host.observer.chains()
      return {
        ...nothingToPublish,
        adminChain: adminChain(config),
        held: heldByOthers(host, attachment, addresses),
        forward: lookAtForward(host.observer, chains, families, adminChain(config)),
        unused: unusedForward(host.observer, chains, families),
        policy: isolation && lookAtPolicy(host, attachment, isolation),
      }
    },
    publish: (attachment, made, seen) => [
      ...admit(attachment, made.addresses, seen.held),
      ...acceptance(seen.forward, seen.adminChain),
      ...isolated(attachment, made, seen),
    ],
    lookToWithdraw: (host, attachment, { addresses, isolation }) => ({
      ...nothingToWithdraw,
      held: heldByOthers(host, attachment, addresses),
      policy: isolation && lookAtPolicy(host, attachment, isolation),
    }),
    withdraw: (made, seen) => [...dismiss(made.addresses, seen.held), ...noLongerIsolated(made, seen)],
    sources: () => [],
    differences: elementDifferences,
    unrecordedDifferences: (call, made) =>
      shorter(elementDifferences(call, made), () => officialDifferences(call.host, made, adminChain(call.config))),
  },
  iptables: {
    needs: () => backendNeeds.iptables,
    isShared: () => true,
    lookToPublish: ({ host, config }, made) => ({
      ...nothingToPublish,
      adminChain: adminChain(config),
      rules: lookToInstall(host, made),
    }),
    publish: (_, made, { rules, adminChain }) => installRules(made, adminChain, rules),
    lookToWithdraw: (host, attachment, made) => ({ ...nothingToWithdraw, ...lookToRemove(host, attachment, made) }),
    withdraw: removeRules,
    sources: () => [],
    differences: ({ host, config }, made) => ruleDifferences(host, made, adminChain(config)),
    unrecordedDifferences: ({ host, config }, made) =>
      officialDifferences(host, made, adminChain(config)) ?? ruleDifferences(host, made, adminChain(config)),
  },
  firewalld: {
    needs: (host, hasPolicy) => ({
      ...(hasPolicy ? backendNeeds.nftables : {}),
      also: [() => requireFirewalld(host)],
    }),
    isShared: ({ isolation }) => isolation !== undefined,
    lookToPublish: ({ host, attachment, config }, { isolation }) => ({
      ...nothingToPublish,
      adminChain: adminChain(config),
      policy: isolation && lookAtPolicy(host, attachment, isolation),
    }),
    publish: isolated,
    lookToWithdraw: (host, attachment, { isolation }) => ({
      ...nothingToWithdraw,
      policy: isolation && lookAtPolicy(host, attachment, isolation),
    }),
    withdraw: noLongerIsolated,
    sources: ({ addresses }) => addresses,
    differences: ({ host }, { zone, addresses, isolation }) => [
      ...sourceDifferences(host, zone, addresses),
      ...(isolation ? isolationDifferences(host, isolation) : []),
    ],
    // The official plugin keeps bridges apart by iptables, beside firewalld, too.
    unrecordedDifferences: ({ host }, { zone, addresses, isolation }) => [
      ...sourceDifferences(host, zone, addresses),
      ...(isolation
        ? shorter(isolationDifferences(host, isolation), () => officialPolicy(host, { addresses, isolation }))
        : []),
    ],
  },
}

/** The backend that the configuration names, or that this host has. */
export function backendOf({ backend }: FirewallConfiguration, host: Host): Backend {
  if (backend === '') return runsFirewalld(host) ? 'firewalld' : 'nftables'
  return backend === 'ip6tables' ? 'iptables' : backend
}

/** What the official plugin makes rules by, whatever it is told. */
export const officialBackend: Backend = 'iptables'

/** The one whose policy of a bridge is elements, which nobody's name is on. */
export const elementBackend: Backend = 'nftables'

/** The chain whose rules come before ours. */
export function adminChain({ iptablesAdminChainName }: FirewallConfiguration): string {
  return iptablesAdminChainName || 'CNI-ADMIN'
}

// --- internal

function isolated(
  attachment: Attachment,
  { isolation }: Made,
  { policy }: Pick<PublishSeen, 'policy'>,
): readonly Operation[] {
  return isolation && policy ? isolate(attachment, isolation, policy) : []
}

function noLongerIsolated({ isolation }: Made, { policy }: Pick<WithdrawSeen, 'policy'>): readonly Operation[] {
  return isolation && policy ? unisolate(isolation, policy) : []
}

/** What is missing of our rules, or of the official plugin's where those are nearer to be complete. */
function shorter(own: readonly Problem[], official: () => readonly Problem[] | undefined): readonly Problem[] {
  const others = own.length > 0 ? official() : undefined
  return others && others.length < own.length ? others : own
}

function elementDifferences({ host, config }: FirewallCall, { addresses, isolation }: Made): readonly Problem[] {
  return [
    ...admissionDifferences(host, addresses),
    ...forwardDifferences(host.observer, familiesOf(addresses), adminChain(config)),
    ...(isolation ? isolationDifferences(host, isolation) : []),
  ]
}

function requireFirewalld(host: Host): void {
  if (runsFirewalld(host)) return
  throw new CniError(codes.notAvailable, 'firewalld does not answer on the D-Bus system bus', {
    fix: 'systemctl start firewalld, or leave out "backend"',
  })
}

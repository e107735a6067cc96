import type { Needs } from '../../shared/net/needs.js'
import { nftFamily } from '../../shared/net/nft.js'
import { backendNeeds } from '../../shared/net/probe.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Call } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { admissionDifferences, admit, dismiss, heldByOthers } from './admission.js'
import type { FirewallConfiguration } from './firewall.schema.js'
import { addSources, removeSources, runsFirewalld, sourceDifferences } from './firewalld.js'
import { acceptInForward, type Family, forwardDifferences } from './forward.js'
import { installRules, officialDifferences, officialPolicy, removeRules, ruleDifferences } from './iptables.js'
import { type Isolation, isolate, isolationDifferences, unisolate } from './isolation.js'

export type FirewallCall = Call<FirewallConfiguration>
export type Backend = Exclude<FirewallConfiguration['backend'], '' | 'ip6tables'>

/** What DEL needs to know: everything an ADD decided. `addresses` are without prefix lengths. */
export interface Made {
  readonly backend: Backend
  readonly addresses: readonly string[]
  readonly zone: string
  readonly isolation?: Isolation
}

/**
 * One way of letting a container through. These look and apply: rules that several attachments share are made and
 * removed under a lock, and firewalld is told, not planned. What attachments share stays when they go, so that GC has
 * nothing to collect.
 */
interface FirewallBackend {
  readonly needs: (host: Host, hasPolicy: boolean) => Needs
  readonly publish: (call: FirewallCall, made: Made) => void
  readonly withdraw: (call: FirewallCall, attachment: Attachment, made: Made) => void
  readonly differences: (call: FirewallCall, made: Made) => readonly Problem[]
  /**
   * The same without a record, where the official plugin may have let the container through, which knows no nftables.
   */
  readonly unrecordedDifferences: (call: FirewallCall, made: Made) => readonly Problem[]
}

/**
 * The ingress policy under nftables and firewalld is ours; under iptables it is part of the official plugin's rules.
 */
export const backends: Readonly<Record<Backend, FirewallBackend>> = {
  nftables: {
    needs: () => backendNeeds.nftables,
    publish({ host, attachment, config }, { addresses, isolation }) {
      host.apply(admit(attachment, addresses, heldByOthers(host, attachment, addresses)))
      acceptInForward(host, host.observer.chains(), familiesOf(addresses), adminChain(config))
      if (isolation) isolate(host, attachment, isolation)
    },
    withdraw({ host }, attachment, { addresses, isolation }) {
      attemptAll(
        () => host.sweep(dismiss(addresses, heldByOthers(host, attachment, addresses))),
        () => isolation && unisolate(host, attachment, isolation),
      )
    },
    differences: elementDifferences,
    unrecordedDifferences: (call, made) =>
      shorter(elementDifferences(call, made), () => officialDifferences(call.host, made, adminChain(call.config))),
  },
  iptables: {
    needs: () => backendNeeds.iptables,
    publish: ({ host, attachment, config }, made) => installRules(host, attachment, made, adminChain(config)),
    withdraw: ({ host }, attachment, made) => removeRules(host, attachment, made),
    differences: ({ host, config }, made) => ruleDifferences(host, made, adminChain(config)),
    unrecordedDifferences: ({ host, config }, made) =>
      officialDifferences(host, made, adminChain(config)) ?? ruleDifferences(host, made, adminChain(config)),
  },
  firewalld: {
    needs: (host, hasPolicy) => ({
      ...(hasPolicy ? backendNeeds.nftables : {}),
      also: [() => requireFirewalld(host)],
    }),
    publish({ host, attachment }, { zone, addresses, isolation }) {
      addSources(host, zone, addresses)
      if (isolation) isolate(host, attachment, isolation)
    },
    withdraw({ host }, attachment, { zone, addresses, isolation }) {
      attemptAll(
        () => removeSources(host, zone, addresses),
        () => isolation && unisolate(host, attachment, isolation),
      )
    },
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

// --- internal

/** What is missing of our rules, or of the official plugin's where those are nearer to be complete. */
function shorter(own: readonly Problem[], official: () => readonly Problem[] | undefined): readonly Problem[] {
  const others = own.length > 0 ? official() : undefined
  return others && others.length < own.length ? others : own
}

function elementDifferences({ host, config }: FirewallCall, { addresses, isolation }: Made): readonly Problem[] {
  return [
    ...admissionDifferences(host, addresses),
    ...forwardDifferences(host, familiesOf(addresses), adminChain(config)),
    ...(isolation ? isolationDifferences(host, isolation) : []),
  ]
}

function requireFirewalld(host: Host): void {
  if (runsFirewalld(host)) return
  throw new CniError(codes.notAvailable, 'firewalld does not answer on the D-Bus system bus', {
    fix: 'systemctl start firewalld, or leave out "backend"',
  })
}

function adminChain({ iptablesAdminChainName }: FirewallConfiguration): string {
  return iptablesAdminChainName || 'CNI-ADMIN'
}

function familiesOf(addresses: readonly string[]): readonly Family[] {
  return (['ip', 'ip6'] as const).filter((family) => addresses.some((address) => nftFamily(address) === family))
}

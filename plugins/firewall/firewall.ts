import {
  allRecords,
  readRecord,
  recordWritings,
  removeRecord,
  staleRecords,
  writeRecord,
} from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { plainTools } from '../../shared/net/iptables.js'
import { applyMissing } from '../../shared/net/missing.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import { definePlugin, removing } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { isLinkName } from '../../shared/values/checks.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import { emptyResult, type Result } from '../../shared/values/result.js'
import { admittedAddresses, dismiss, heldByOthers, thingOf } from './admission.js'
import {
  adminChain,
  backendOf,
  backends,
  elementBackend,
  type FirewallCall,
  type Made,
  officialBackend,
} from './backends.js'
import type { FirewallConfiguration } from './firewall.schema.js'
import { addSources, removeSources } from './firewalld.js'
import { acceptance, type Family, type ForwardChain, lookAtUnused } from './forward.js'
import { exclusively, hold, holderWriting, holds, release } from './holders.js'
import { type Isolation, isolatedPorts, isPoliced, thingOf as policyThing, portRemovals } from './isolation.js'
import { leftOf } from './left.js'

/** Lets a container's traffic through the host's firewall, and keeps bridges or containers apart where asked to. */
export default definePlugin<FirewallConfiguration>({
  name: 'firewall',
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'FirewallNetConf' },
    prevResult: 'could not parse prevResult: could not parse prevResult: ',
    unchained: { ADD: 'missing prevResult from earlier plugin', CHECK: 'missing prevResult from earlier plugin' },
    says: ({ path, value }) => (path === 'ingressPolicy' ? `unknown ingress policy: "${value}"` : undefined),
  }),

  since: '0.4.0',
  prevResult: { ADD: 'required', CHECK: 'required', DEL: 'optional' },

  refuse({ config, prevResult = emptyResult }) {
    const first = prevResult.interfaces[0]?.name ?? ''
    if (policyOf(config) === undefined || isLinkName(first)) return []
    return [
      {
        path: 'prevResult.interfaces',
        value: prevResult.interfaces,
        expected: `the bridge first, for ingressPolicy "${config.ingressPolicy}"`,
        fix: 'chain firewall behind bridge',
        official: first
          ? undefined
          : `interface needs to be set for ingress policy "${config.ingressPolicy}", make sure to chain "firewall" plugin with "bridge"`,
      },
    ]
  },

  add(call) {
    const { host, attachment } = call
    const result = call.prevResult ?? emptyResult
    const made = wantedOf(call, result)
    if (made.addresses.length === 0 && !made.isolation) return result
    writeRecord<Made>(host, 'firewall', attachment, made)
    for (const address of made.addresses) hold(host, thingOf(address), attachment)
    if (!host.dryRun) supersede(call, made)
    publish(call, made)
    addSources(host, made.zone, backends[made.backend].sources(made))
    return result
  },

  check(call) {
    const record = readRecord<Made>(call.host, 'firewall', call.attachment)?.data
    const made = record ?? wantedOf(call, call.prevResult ?? emptyResult)
    const { differences, unrecordedDifferences } = backends[made.backend]
    throwDifferences((record ? differences : unrecordedDifferences)(call, made))
  },

  del(call) {
    const { host, attachment } = call
    const record = readRecord<Made>(host, 'firewall', attachment)?.data
    if (record) remove(host, attachment, record)
    else removeUnrecorded(call)
  },

  removes: removing({
    look(host, attachment) {
      const made = readRecord<Made>(host, 'firewall', attachment)?.data
      if (!made || backends[made.backend].isShared(made)) return undefined
      return { made, seen: backends[made.backend].lookToWithdraw(host, attachment, made) }
    },
    plan: (_, { made, seen }) => backends[made.backend].withdraw(made, seen),
  }),

  status({ config, host }) {
    const backend = backendOf(config, host)
    requireForAdd(
      host,
      { writes: [...recordWritings(config.name, 'firewall'), holderWriting] },
      backends[backend].needs(host, policyOf(config) !== undefined),
    )
  },

  gc({ config, host, validAttachments }) {
    if (validAttachments === undefined) return
    const stale = staleRecords<Made>(host, 'firewall', config.name, validAttachments)
    attemptAll(
      ...stale.map(
        ({ attachment, data }) =>
          () =>
            remove(host, attachment, data),
      ),
    )
  },
})

// --- internal

function wantedOf(call: FirewallCall, result: Result): Made {
  const { config, host } = call
  return { backend: backendOf(config, host), zone: config.firewalldZone || 'trusted', ...namedBy(call, result) }
}

/** What is an attachment's, by the result of the plugins before. */
function namedBy({ config }: FirewallCall, { ips, interfaces }: Result): Pick<Made, 'addresses' | 'isolation'> {
  const policy = policyOf(config)
  const first = interfaces[0]?.name ?? ''
  const port = interfaces.find(({ sandbox, name }) => !sandbox && name !== first && isLinkName(name))?.name
  const bridge = isLinkName(first) ? first : ''
  return {
    addresses: addressesOf({ ips }),
    ...(policy ? { isolation: { bridge, policy, ...(port === undefined ? {} : { port }) } } : {}),
  }
}

/** Looks and applies; both under the lock what attachments share, else parallel ADDs would double it. */
function publish(call: FirewallCall, made: Made): void {
  const { host, attachment } = call
  const { isShared, lookToPublish, publish } = backends[made.backend]
  const lookAndApply = () => {
    if (made.isolation) holdPolicy(call, made.isolation, made)
    return applyMissing(
      host,
      () => lookToPublish(call, made),
      (seen) => publish(attachment, made, seen),
    )
  }
  const seen = isShared(made) ? undefined : lookToPublish(call, made)
  const isOwn = seen?.forward.length === 0
  if (isOwn) host.apply(publish(attachment, made, seen))
  const { unused } = isOwn ? seen : exclusively(host, lookAndApply)
  for (const family of unused) prepareForward(call, family)
}

/** Counts the attachment among those that want a policy; a bridge keeps what the others want when the ADD fails. */
function holdPolicy({ host, attachment }: FirewallCall, isolation: Isolation, made: Made): void {
  const isNew = !holds(host, policyThing(isolation), attachment)
  hold(host, policyThing(isolation), attachment)
  if (!isNew || host.dryRun) return
  host.journal.note(() => takeBack(() => exclusively(host, () => withdraw(host, attachment, made))))
}

/** Without the tool nothing can have been made. */
function takeBack(body: () => void): readonly CniError[] {
  try {
    body()
    return []
  } catch (thrown) {
    const error = asCniError(thrown)
    return error.code === codes.toolMissing ? [] : [error]
  }
}

/**
 * Makes FORWARD of iptables with our rule before anybody uses it: who begins to (Docker, when it starts) sets its
 * policy to DROP, and containers that are there by then must keep their traffic. Where iptables cannot do it, nobody
 * sets that policy with it.
 */
function prepareForward({ host, config }: FirewallCall, family: Family): void {
  try {
    const look = () => lookAtUnused(host.observer, family)
    const plan = (chains: readonly ForwardChain[]) => acceptance(chains, adminChain(config))
    if (plan(look()).length > 0) exclusively(host, () => applyMissing(host, look, plan))
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    host.warn(`firewall: should the policy of ${plainTools[family]} FORWARD turn to DROP, ADD again: ${thrown.message}`)
  }
}

function remove(host: Host, attachment: Attachment, made: Made): void {
  const { sources } = backends[made.backend]
  attemptAll(
    () => takeAway(host, attachment, made),
    () => removeSources(host, made.zone, sources(made)),
  )
  for (const address of made.addresses) release(host, thingOf(address), attachment)
  removeRecord(host, 'firewall', attachment)
}

function takeAway(host: Host, attachment: Attachment, made: Made): void {
  const body = () => {
    withdraw(host, attachment, made)
    if (made.isolation) release(host, policyThing(made.isolation), attachment)
  }
  if (backends[made.backend].isShared(made)) exclusively(host, body)
  else body()
}

function withdraw(host: Host, attachment: Attachment, made: Made): void {
  const { lookToWithdraw, withdraw } = backends[made.backend]
  host.sweep(withdraw(made, lookToWithdraw(host, attachment, made)))
}

/**
 * Takes away what attachments of the network left that had the container's addresses before: IPAM gave those to this
 * one, so they are gone, and another suite, say, took them away without us. What this one has by now stays, and what
 * other interfaces of the same container have.
 */
function supersede({ config, host, attachment }: FirewallCall, { addresses }: Made): void {
  const others = heldByOthers(host, attachment, addresses)
  if (others.size === 0) return
  for (const { attachment: other, data } of allRecords<Made>(host, 'firewall', config.name)) {
    const isGone = other.containerID !== attachment.containerID && data.addresses.some((one) => others.has(one))
    if (isGone) remove(host, other, data)
  }
}

/**
 * Without a record: ours are found by the owner's name. The official plugin's rules carry only the address, so they go
 * when prevResult names it and nobody else has been given it; its isolation rules go with the last of its addresses.
 */
function removeUnrecorded(call: FirewallCall): void {
  const { host, attachment, config } = call
  const { addresses: named, isolation } = namedBy(call, call.prevResult ?? emptyResult)
  const official: Made = {
    backend: officialBackend,
    addresses: named,
    zone: '',
    ...(isolation?.bridge ? { isolation } : {}),
  }
  const { isAdmitted, isIsolated, hasRules } = leftOf(host, attachment, official)
  const admitted = isAdmitted ? admittedAddresses(host, attachment) : []
  // Who holds a policy is noted in a file of its own.
  const isHeld = isolation !== undefined && holds(host, policyThing(isolation), attachment)
  const hasPolicy = isHeld && isPoliced(host.observer, isolation)
  attemptAll(
    () =>
      host.sweep([
        ...dismiss(admitted, heldByOthers(host, attachment, admitted)),
        ...(isIsolated ? isolatedPorts(host, attachment).flatMap(portRemovals) : []),
      ]),
    ...[...new Set([...admitted, ...named])].map((address) => () => release(host, thingOf(address), attachment)),
    () => hasPolicy && takeAway(host, attachment, { ...official, backend: elementBackend, addresses: [] }),
    () => hasRules && takeAway(host, attachment, official),
    () => removeSources(host, config.firewalldZone || 'trusted', named),
    // What lies there and is none.
    () => removeRecord(host, 'firewall', attachment),
  )
}

function policyOf({ ingressPolicy }: FirewallConfiguration): Isolation['policy'] | undefined {
  return ingressPolicy === '' || ingressPolicy === 'open' ? undefined : ingressPolicy
}

function addressesOf({ ips }: Pick<Result, 'ips'>): readonly string[] {
  return ips.map(({ address }) => address.split('/')[0] as string)
}

import {
  allRecords,
  readRecord,
  recordWritings,
  removeRecord,
  staleRecords,
  writeRecord,
} from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { attemptAll } from '../../shared/plan/host.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { emptyResult, type Result } from '../../shared/values/result.js'
import { admittedAddresses, dismiss, heldByOthers, thingOf } from './admission.js'
import { type Backend, backends, type FirewallCall, type Made } from './backends.js'
import type { FirewallConfiguration } from './firewall.schema.js'
import { removeSources, runsFirewalld } from './firewalld.js'
import { hold, holderWriting, release } from './holders.js'
import { removeRules } from './iptables.js'
import { type Isolation, isolatedPorts, portRemovals } from './isolation.js'

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
    if (policyOf(config) === undefined || prevResult.interfaces[0]?.name) return []
    return [
      {
        path: 'prevResult.interfaces',
        value: prevResult.interfaces,
        expected: `the bridge first, for ingressPolicy "${config.ingressPolicy}"`,
        fix: 'chain firewall behind bridge',
        official: `interface needs to be set for ingress policy "${config.ingressPolicy}", make sure to chain "firewall" plugin with "bridge"`,
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
    backends[made.backend].publish(call, made)
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
    if (record) remove(call, attachment, record)
    else removeUnrecorded(call)
  },

  status({ config, host }) {
    const backend = backendOf(config, host)
    requireForAdd(
      host,
      { writes: [...recordWritings(config.name, 'firewall'), holderWriting] },
      backends[backend].needs(host, policyOf(config) !== undefined),
    )
  },

  gc(call) {
    const { config, host, validAttachments } = call
    if (validAttachments === undefined) return
    const stale = staleRecords<Made>(host, 'firewall', config.name, validAttachments)
    attemptAll(
      ...stale.map(
        ({ attachment, data }) =>
          () =>
            remove(call, attachment, data),
      ),
    )
  },
})

// --- internal

function backendOf({ backend }: FirewallConfiguration, host: Call['host']): Backend {
  if (backend === 'ip6tables') return 'iptables'
  return backend || (runsFirewalld(host) ? 'firewalld' : 'nftables')
}

function wantedOf({ config, host }: FirewallCall, { ips, interfaces }: Result): Made {
  const addresses = addressesOf({ ips })
  const policy = policyOf(config)
  const port = interfaces.find(({ sandbox, name }) => !sandbox && name !== interfaces[0]?.name)?.name
  const bridge = interfaces[0]?.name ?? ''
  return {
    backend: backendOf(config, host),
    addresses,
    zone: config.firewalldZone || 'trusted',
    ...(policy ? { isolation: { bridge, policy, ...(port === undefined ? {} : { port }) } } : {}),
  }
}

function remove(call: FirewallCall, attachment: Attachment, made: Made): void {
  backends[made.backend].withdraw(call, attachment, made)
  for (const address of made.addresses) release(call.host, thingOf(address), attachment)
  removeRecord(call.host, 'firewall', attachment)
}

/**
 * Takes away what attachments of the network left that had the container's addresses before: IPAM gave those to this
 * one, so they are gone, and another suite, say, took them away without us. What this one has by now stays, and what
 * other interfaces of the same container have.
 */
function supersede(call: FirewallCall, { addresses }: Made): void {
  const { config, host, attachment } = call
  const others = heldByOthers(host, attachment, addresses)
  if (others.size === 0) return
  for (const { attachment: other, data } of allRecords<Made>(host, 'firewall', config.name)) {
    const isGone = other.containerID !== attachment.containerID && data.addresses.some((one) => others.has(one))
    if (isGone) remove(call, other, data)
  }
}

/**
 * Without a record: ours are found by the owner's name. The official plugin's rules carry only the address, so they go
 * when prevResult names it and nobody else has been given it; its isolation rules go with the last of its addresses.
 */
function removeUnrecorded(call: FirewallCall): void {
  const { host, attachment, config } = call
  const { addresses: named, isolation } = wantedOf(call, call.prevResult ?? emptyResult)
  const admitted = admittedAddresses(host, attachment)
  attemptAll(
    () =>
      host.sweep([
        ...dismiss(admitted, heldByOthers(host, attachment, admitted)),
        ...isolatedPorts(host, attachment).flatMap(portRemovals),
      ]),
    ...[...new Set([...admitted, ...named])].map((address) => () => release(host, thingOf(address), attachment)),
    () => removeRules(host, attachment, { addresses: named, ...(isolation?.bridge ? { isolation } : {}) }),
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

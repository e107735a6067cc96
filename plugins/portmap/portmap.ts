import { recordWritings, staleRecords } from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { sysctl } from '../../shared/net/ip.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { requireNetns } from '../../shared/net/netns.js'
import { backendNeeds } from '../../shared/net/probe.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Observer } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { definePlugin } from '../../shared/program/plugin.js'
import { hostPart, parseAddress } from '../../shared/values/address.js'
import type { Problem } from '../../shared/values/errors.js'
import { emptyResult } from '../../shared/values/result.js'
import { backends } from './backends.js'
import { claim, clearAddresses, forgetUnknown, mayBeUnknown, publishedBy, recordedRemovals, release } from './claim.js'
import { forgetOldFlows } from './flows.js'
import { absentText, officialChainProblems } from './iptables.js'
import { type Collected, isNothing, leftOf, unusedAndEntries } from './left.js'
import { spareListeners } from './listeners.js'
import { officialProblems } from './official.js'
import type { PortmapConfiguration } from './portmap.schema.js'
import {
  backendOf,
  ownAddresses,
  type PortmapCall,
  type Publication,
  type Published,
  publicationProblems,
  publicationsOf,
} from './publication.js'

/** Ports of the host that lead to a container. */
export default definePlugin<PortmapConfiguration>({
  name: 'portmap',
  official: () => ({
    load: 'failed to parse config: failed to parse network configuration: ',
    library: 'NetConf.',
    structs: { '': 'PortMapConf', runtimeConfig: '', 'runtimeConfig.portMappings': 'PortMapEntry' },
    types: {
      runtimeConfig: 'struct { PortMaps []main.PortMapEntry "json:\\"portMappings,omitempty\\"" }',
      'runtimeConfig.portMappings': '[]main.PortMapEntry',
    },
    prevResult: 'failed to parse config: could not parse prevResult: could not parse prevResult: ',
    unchained: { ADD: 'must be called as chained plugin' },
    says,
  }),

  prevResult: { ADD: 'required', CHECK: 'required', DEL: 'optional' },

  refuse: publicationProblems,

  add(call) {
    const { host, attachment } = call
    const before = publishedBy(host, attachment)
    if (before) release(host, attachment, before)
    const publications = publicationsOf(call)
    clearAddresses(host, attachment, unpublishedOf(call, publications))
    if (publications.length === 0) return call.prevResult ?? emptyResult

    const netns = requireNetns(call.environment.netns)
    const backend = backendOf(call.config)
    const sparing = spareListeners(host, attachment, { backend, publications })
    warnOfLoopback6(host, publications)
    const wanted = { backend, publications: sparing, ...markOf(call.config) }
    const publish = () => {
      const made = claim(host, attachment, wanted, netns).publications
      host.apply(made.flatMap((one) => routeLoopback(linkTo(host.observer, one))))
      forgetOldFlows(host, 'ADD', made)
    }
    if (call.later && backends[backend].arbiter === 'kernel') call.later(publish)
    else publish()
    return call.prevResult ?? emptyResult
  },

  check(call) {
    throwDifferences(differences(call))
  },

  del(call) {
    const { host, attachment } = call
    const published = publishedBy(host, attachment)
    if (published) release(host, attachment, published, (ended) => forgetOldFlows(host, 'DEL', ended))
    else releaseUnknown(call)
  },

  removes: recordedRemovals,

  status({ config, host }) {
    const writes = recordWritings(config.name, 'portmap')
    requireForAdd(host, { ...backendNeeds[backendOf(config)], writes })
  },

  gc({ config, host, validAttachments }) {
    if (validAttachments === undefined) return
    const valid = new Set(validAttachments.map(({ containerID }) => containerID))
    const stale = staleRecords<Published>(host, 'portmap', config.name, validAttachments)
    attemptAll(
      ...stale.map(
        ({ attachment, data }) =>
          () =>
            release(host, attachment, data, (ended) => forgetOldFlows(host, 'DEL', ended)),
      ),
      () => collectUnused(host, { network: config.name, valid }),
    )
  },
})

// --- internal

function says({ path, value }: Problem): string | undefined {
  const text = textOf(path, value)
  return text && `failed to parse config: ${text}`
}

function textOf(path: string, value: unknown): string | undefined {
  if (path === 'backend') return `unrecognized backend ${JSON.stringify(value)}`
  if (path === 'markMasqBit') return 'MasqMarkBit must be between 0 and 31'
  if (path.endsWith('.containerPort')) return `Invalid container port number: ${value ?? 0}`
  return path.endsWith('.hostPort') ? `Invalid host port number: ${value ?? 0}` : undefined
}

/** The addresses of the attachment by which it publishes nothing. */
function unpublishedOf(call: PortmapCall, publications: readonly Publication[]): readonly string[] {
  const published = publications.map(({ address }) => address)
  return ownAddresses(call).filter((address) => !published.includes(address))
}

/** What asks for masquerade under iptables. */
function markOf({ externalSetMarkChain: chain, markMasqBit: bit }: PortmapCall['config']): Pick<Published, 'mark'> {
  if (chain !== undefined) return { mark: { chain } }
  return bit === undefined ? {} : { mark: { bit } }
}

/** The link of the container whose port is to be reached from 127.0.0.1: the kernel has such a switch for IPv4 only. */
function linkTo(observer: Observer, { family, address, masquerade }: Publication): string | undefined {
  if (family === 'ip6' || masquerade === 'none') return undefined
  const parsed = parseAddress(address)
  return parsed && observer.linkTo(parsed)
}

/** Packets from 127.0.0.1 may leave by the container's link. */
function routeLoopback(link: string | undefined): readonly Operation[] {
  return link === undefined ? [] : [sysctl({ key: `net/ipv4/conf/${link}/route_localnet`, value: '1' })]
}

/** The kernel has no such switch for IPv6, and drops what a container answers to ::1. */
function warnOfLoopback6(host: Host, publications: readonly Publication[]): void {
  if (publications.some(({ ports }) => ports.some(({ address }) => address === '::1'))) {
    host.warn('portmap: a mapping with hostIP "::1" is never reached: the kernel cannot answer for a container there')
  }
}

/** Without a record: what bears the owner's name, and what the official plugin made in either backend. */
function releaseUnknown(call: PortmapCall): void {
  const { host, attachment } = call
  const isUnknown = mayBeUnknown(attachment)
  const left = leftOf(host.observer, attachment, isUnknown)
  if (!isUnknown && isNothing(left)) return
  const addresses = addressesOf(call)
  attemptAll(
    ...Object.values(backends).map(({ lookByOwner, withdrawByOwner }) => () => {
      const seen = lookByOwner(host.observer, attachment, left, addresses)
      host.sweep(withdrawByOwner(attachment, seen))
    }),
    () => isNothing(left) || forgetOldFlows(host, 'DEL', publicationsOf(call)),
    () => forgetUnknown(host, attachment),
  )
}

/** In a GC: takes away what bears no attachment's name, and chains of containers that no record tells of. */
function collectUnused(host: Host, of: Collected): void {
  const found = unusedAndEntries(host.observer)
  attemptAll(
    ...Object.values(backends).map(({ lookToCollect, collect }) => () => {
      const seen = lookToCollect(host.observer, of, found)
      host.sweep(collect(of, seen))
    }),
  )
}

/** The container's addresses on this network, as far as DEL is told them. */
function addressesOf({ prevResult }: PortmapCall): readonly string[] {
  return (prevResult?.ips ?? []).map(({ address }) => hostPart(address))
}

/** Without a record the official plugin has published them, by either of its backends, or nobody. */
function unrecordedProblems({ config, host, attachment }: PortmapCall, publication: Publication): readonly Problem[] {
  const expected = 'the ports of runtimeConfig.portMappings published by an ADD'
  const official = absentText(attachment, publication)
  return (
    officialChainProblems(host.observer, attachment, { publication, ...markOf(config) }) ??
    officialProblems(host.observer, attachment, publication) ?? [
      { path: `portmap, ${publication.family}`, value: 'nothing', expected, official, fix: 'ADD the attachment' },
    ]
  )
}

function differences(call: PortmapCall): readonly Problem[] {
  const { host, attachment } = call
  const wanted = publicationsOf(call)
  if (wanted.length === 0) return []
  const published = publishedBy(host, attachment)
  if (!published) return wanted.flatMap((one) => unrecordedProblems(call, one))
  const { backend, publications } = published
  const waiting = publications.filter(({ waiting }) => waiting).map(({ family }) => family)
  const expected = wanted.flatMap((one) => {
    const made = publications.find(({ family }) => family === one.family)
    return waiting.includes(one.family) ? [] : [made ? asMade(one, made) : one]
  })
  return backends[backend].differences(host.observer, attachment, { ...published, publications: expected })
}

/** With what an ADD decided by more than its configuration: by who listened then, and by its version. */
function asMade({ alone: _, ...wanted }: Publication, { spared, alone }: Publication): Publication {
  return { ...wanted, ...(spared ? { spared } : {}), ...(alone ? { alone } : {}) }
}

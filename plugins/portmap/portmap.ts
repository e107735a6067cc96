import { recordWritings, staleRecords } from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { sysctl } from '../../shared/net/ip.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { requireNetns } from '../../shared/net/netns.js'
import { removeUnusedChains } from '../../shared/net/nft-chains.js'
import { backendNeeds } from '../../shared/net/probe.js'
import type { Host } from '../../shared/plan/host.js'
import { attemptAll } from '../../shared/plan/host.js'
import { definePlugin } from '../../shared/program/plugin.js'
import { parseAddress } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { emptyResult } from '../../shared/values/result.js'
import { claim, forgetUnknown, publishedBy, release } from './claim.js'
import { forgetOldFlows } from './flows.js'
import { chainProblems, staleChains, unpublishChains } from './iptables.js'
import { besideListeners } from './listeners.js'
import { elementProblems, unpublishByOwner } from './nftables.js'
import { officialRules } from './official.js'
import type { PortmapConfiguration } from './portmap.schema.js'
import {
  backendOf,
  type PortmapCall,
  type Publication,
  type Published,
  publicationProblems,
  publicationsOf,
} from './publication.js'
import { sharedPrefixes } from './tables.js'

/** Ports of the host that lead to a container. */
export default definePlugin<PortmapConfiguration>({
  name: 'portmap',
  prevResult: { ADD: 'required', CHECK: 'required', DEL: 'optional' },

  refuse: publicationProblems,

  add(call) {
    const { host, attachment } = call
    const before = publishedBy(host, attachment)
    if (before) release(host, attachment, before)
    const publications = publicationsOf(call)
    if (publications.length > 0) publishAll(call, publications)
    return call.prevResult ?? emptyResult
  },

  check(call) {
    throwDifferences(differences(call))
  },

  del(call) {
    const { host, attachment } = call
    const published = publishedBy(host, attachment)
    attemptAll(
      () => (published ? release(host, attachment, published) : releaseUnknown(host, attachment, addressesOf(call))),
      () => forgetOldFlows(host, 'DEL', published?.publications ?? publicationsOf(call)),
    )
  },

  status({ config, host }) {
    const writes = recordWritings(config.name, 'portmap')
    requireForAdd(host, { ...backendNeeds[backendOf(config)], writes })
  },

  gc({ config, host, validAttachments }) {
    if (validAttachments === undefined) return
    const stale = staleRecords<Published>(host, 'portmap', config.name, validAttachments)
    attemptAll(
      ...stale.map(({ attachment, data }) => () => {
        release(host, attachment, data)
        forgetOldFlows(host, 'DEL', data.publications)
      }),
      () => host.sweep(removeUnusedChains(host.observer.chains(), sharedPrefixes)),
      () => collectChains(host, config.name, new Set(validAttachments.map(({ containerID }) => containerID))),
    )
  },
})

// --- internal

function publishAll(call: PortmapCall, publications: readonly Publication[]): void {
  const { config, host, attachment, environment } = call
  const { externalSetMarkChain: chain, markMasqBit: bit } = config
  const mark = chain !== undefined ? { chain } : bit !== undefined ? { bit } : undefined
  const netns = requireNetns(environment.netns)
  const backend = backendOf(config)
  const wanted = {
    backend,
    publications: besideListeners(host, attachment, { backend, publications }),
    ...(mark ? { mark } : {}),
  }
  warnOfLoopback6(host, publications)
  const made = claim(host, attachment, wanted, netns).publications
  for (const publication of made) letLoopbackOut(host, publication)
  forgetOldFlows(host, 'ADD', made)
}

/** Packets from 127.0.0.1 may leave by the container's link: the kernel has such a switch for IPv4 only. */
function letLoopbackOut(host: Host, { family, address, masquerade }: Publication): void {
  if (family === 'ip6' || masquerade === 'none') return
  const parsed = parseAddress(address)
  const link = parsed && host.observer.linkTo(parsed)
  if (link !== undefined) host.apply([sysctl({ key: `net/ipv4/conf/${link}/route_localnet`, value: '1' })])
}

/** The kernel has no such switch for IPv6, and drops what a container answers to ::1. */
function warnOfLoopback6(host: Host, publications: readonly Publication[]): void {
  if (publications.some(({ ports }) => ports.some(({ address }) => address === '::1'))) {
    host.warn('portmap: a mapping with hostIP "::1" is never reached: the kernel cannot answer for a container there')
  }
}

/** Without a record: what bears the owner's name, and what the official plugin made in either backend. */
function releaseUnknown(host: Host, attachment: Attachment, addresses: readonly string[]): void {
  const tables = host.observer.tables()
  attemptAll(
    () =>
      host.sweep([
        ...unpublishByOwner(host.observer, attachment, tables),
        ...officialRules(host.observer, attachment, { tables, addresses }),
      ]),
    () => unpublishChains(host, attachment),
    () => forgetUnknown(host, attachment),
  )
}

/** The container's addresses on this network, as far as DEL is told them. */
function addressesOf({ prevResult }: PortmapCall): readonly string[] {
  return (prevResult?.ips ?? []).map(({ address }) => address.slice(0, address.indexOf('/')))
}

/** Chains of the official plugin whose comments name this network and a container that is no longer valid. */
function collectChains(host: Host, network: string, valid: ReadonlySet<string>): void {
  const stale = staleChains(host, network, valid)
  attemptAll(...stale.map((containerID) => () => unpublishChains(host, { network, containerID, ifName: '' })))
}

function differences(call: PortmapCall): readonly Problem[] {
  const { host, attachment } = call
  const wanted = publicationsOf(call)
  if (wanted.length === 0) return []
  const published = publishedBy(host, attachment)
  if (!published) {
    const expected = 'the ports of runtimeConfig.portMappings published by an ADD'
    return [{ path: 'portmap', value: 'nothing', expected, fix: 'ADD the attachment' }]
  }
  const { backend, publications } = published
  const waiting = publications.filter(({ waiting }) => waiting).map(({ family }) => family)
  const expected = wanted.flatMap((one) => {
    const spared = publications.find(({ family }) => family === one.family)?.spared
    return waiting.includes(one.family) ? [] : [spared ? { ...one, spared } : one]
  })
  if (backend === 'iptables') return chainProblems(host, attachment, { ...published, publications: expected })
  return elementProblems(host, attachment, expected)
}

import { withOwnLock } from '../../shared/exec/lock.js'
import {
  readRecord,
  recordsOfAllNetworks,
  recordWritings,
  removeRecord,
  staleRecords,
  writeRecord,
} from '../../shared/exec/records.js'
import { deleteLink, ensureLink, ip, refuseRouterAdvertisements, setUp, sysctl } from '../../shared/net/ip.js'
import type { Needs } from '../../shared/net/needs.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Call } from '../../shared/program/plugin.js'
import { contains, hostPart, parseAddress, parseCidr } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { asCniError, CniError, codes, type Problem } from '../../shared/values/errors.js'
import { sha512 } from '../../shared/values/hash.js'
import { attachmentHash, macFrom } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { Result } from '../../shared/values/result.js'

/**
 * Lets the host and a macvlan container talk: the kernel keeps a master and its children apart, but not children. So
 * the host gets a child of its own, a shim without addresses, and sends what is for the container through it. The
 * container knows the host's addresses at the shim's MAC address; to everyone else on the LAN the shim is silent.
 */
export function grantHostAccess(call: Call, master: ObservedLink, { ips }: Pick<Result, 'ips'>): void {
  const { host, environment, attachment } = call
  const addresses = ips.map(({ address }) => hostPart(address))
  const shim = shimName(master.ifname)
  const mac = shimMac(host, shim)
  locked(host, () => {
    const before = readRecord<Access>(host, kind, attachment)?.data
    const present = host.observer.hasLink(shim) ? host.observer.link(shim) : undefined
    const plan = planAccess(shim, present, { mac, master, ips, inside: environment })
    writeRecord<Access>(host, kind, attachment, { shim, addresses })
    // Behind the record, so that it is taken back before that.
    if (before?.shim !== shim)
      host.journal.note(() => undoing(() => locked(host, () => removeUnused(host, shim, attachment))))
    host.apply(plan)
    if (before) withdrawFormer(host, attachment, before, { shim, addresses })
  })
}

/**
 * Takes back what an ADD granted, and the shim with the last of them. As long as any of it is there, so is the record.
 */
export function revokeHostAccess(host: Host, attachment: Attachment): void {
  const record = readRecord<Access>(host, kind, attachment)
  if (!record) {
    // What lies in its place goes, too.
    removeRecord(host, kind, attachment)
    return
  }
  const { shim } = record.data
  locked(host, () => {
    attemptAll(
      () => host.sweep(withdrawRoutes(record.data, addressesOfOthers(host, attachment, shim))),
      () => removeUnused(host, shim, attachment),
    )
    removeRecord(host, kind, attachment)
  })
}

/**
 * Takes back what was granted to attachments of the network that are not valid any more, and the shim on the network's
 * master that no record speaks of, as one that was garbled or that podwire 0.1.0 left.
 */
export function collectHostAccess({ host, config, validAttachments }: Call, master: string | undefined): void {
  const stale = validAttachments ? staleRecords<Access>(host, kind, config.name, validAttachments) : []
  const shim = master === undefined ? undefined : shimName(master)
  attemptAll(
    ...stale.map(
      ({ attachment }) =>
        () =>
          revokeHostAccess(host, attachment),
    ),
    () => {
      if (shim !== undefined && isOwnShim(host, shim)) locked(host, () => removeUnused(host, shim))
    },
  )
}

/** What `grantHostAccess` needs. */
export function hostAccessNeeds({ config }: Call): Needs {
  return { programs: ['nsenter', 'ip'], writes: recordWritings(config.name, kind) }
}

/** What is missing of what an ADD granted. */
export function hostAccessDifferences({ host, attachment }: Call, master: ObservedLink): readonly Problem[] {
  const shim = shimName(master.ifname)
  if (!host.observer.link(shim))
    return [{ path: 'hostAccess', value: 'no shim', expected: `the link ${shim} on the host` }]
  const routed = new Set(host.observer.routing().routes.flatMap(({ dst, dev }) => (dev === shim ? [dst] : [])))
  const missing =
    readRecord<Access>(host, kind, attachment)?.data.addresses.filter((address) => !routed.has(address)) ?? []
  return missing.map((address) => ({ path: `routes on ${shim}`, value: 'none', expected: `a route to ${address}` }))
}

// --- internal

const kind = 'host-access'

interface Access {
  readonly shim: string
  readonly addresses: readonly string[]
}

function shimName(master: string): string {
  return `shim${sha512(master).slice(0, 11)}`
}

function shimMac(host: Host, shim: string): string {
  return macFrom(`${host.observer.bootID()}/${shim}`)
}

function isOwnShim(host: Host, shim: string): boolean {
  return host.observer.hasLink(shim) && host.observer.link(shim)?.address === shimMac(host, shim)
}

/** The shim, a route to each of the container's addresses, and in the container where the host is. */
function planAccess(
  shim: string,
  present: ObservedLink | undefined,
  { mac, master, ips, inside }: { mac: string; master: ObservedLink; ips: Result['ips']; inside: Inside },
): readonly Operation[] {
  return [
    ...ensureShim(shim, present, { mac, master }),
    ...ips.flatMap(({ address }) => {
      const own = hostAddress(master, address)
      const told = own === undefined ? [] : [neighbour({ own, mac, ...inside })]
      return [hostRoute(shim, hostPart(address), own), ...told]
    }),
  ]
}

/** The container's interface. */
interface Inside {
  readonly ifName: string
  readonly netns: string
}

/** Nothing to do where it is there and up already. @throws code 103 where the name is another link's */
function ensureShim(
  shim: string,
  before: ObservedLink | undefined,
  { mac, master }: { mac: string; master: ObservedLink },
): readonly Operation[] {
  if (before && before.link !== master.ifname) {
    throw new CniError(codes.nameTaken, `"${shim}" already exists and is no child of ${master.ifname}`, {
      fix: "remove or rename that link: the name is the one of the host's own child",
    })
  }
  if (before?.flags.includes('UP')) return []
  const quiet = {
    [`net/ipv4/conf/${shim}/arp_ignore`]: '8',
    [`net/ipv6/conf/${shim}/autoconf`]: '0',
    [`net/ipv6/conf/${shim}/accept_dad`]: '0',
  }
  return [
    ensureLink({ link: shim }, ['link', master.ifname, 'address', mac, 'type', 'macvlan', 'mode', 'bridge']),
    refuseRouterAdvertisements({ link: shim }),
    ...Object.entries(quiet).map(([key, value]) => sysctl({ key, value }, { ifSupported: true })),
    setUp({ link: shim }),
  ]
}

/** The host's address in the container's subnet, else any of that family that is for more than the machine alone. */
function hostAddress({ addr_info }: ObservedLink, address: string): string | undefined {
  const container = parseAddress(hostPart(address))
  const own = addr_info.filter(
    ({ local = '', scope }) => scope === 'global' && parseAddress(local)?.family === container?.family,
  )
  const near = own.find(({ local, prefixlen }) => {
    const cidr = parseCidr(`${local}/${prefixlen}`)
    return cidr && container && contains(cidr, container)
  })
  return (near ?? own[0])?.local
}

function hostRoute(shim: string, address: string, own: string | undefined): Operation {
  const source = own === undefined ? [] : ['src', own]
  const why = `route ${address} to the container from the host`
  return {
    ...ip(undefined, ['route', 'replace', ...destination(shim, address), ...source], why),
    undo: [deleteHostRoute(shim, address)],
  }
}

function deleteHostRoute(shim: string, address: string): Operation {
  const why = `remove the route to ${address} from the host`
  return { ...ip(undefined, ['route', 'del', ...destination(shim, address)], why), tolerate: ['absent'] }
}

function destination(shim: string, address: string): readonly string[] {
  return [`${address}/${address.includes(':') ? 128 : 32}`, 'dev', shim]
}

function neighbour({ own, mac, ifName, netns }: Inside & { own: string; mac: string }): Operation {
  const words = ['neigh', 'replace', own, 'lladdr', mac, 'dev', ifName, 'nud', 'permanent']
  return ip(netns, words, `tell the container where the host's ${own} is`)
}

/** Attachments share the shim: who looks whether he is the last must not be overtaken by the next. */
function locked(host: Host, body: () => void): void {
  withOwnLock(host, `${kind}.lock`, body)
}

/** The addresses that other attachments have by a shim. */
function addressesOfOthers(host: Host, attachment: Attachment, shim: string): ReadonlySet<string> {
  const own = attachmentHash(attachment)
  const others = recordsOfAllNetworks<Access>(host, kind).filter(
    (one) => attachmentHash(one.attachment) !== own && one.data.shim === shim,
  )
  return new Set(others.flatMap(({ data }) => data.addresses))
}

/**
 * Removes the routes to an attachment's addresses, without those that somebody else has been given since: they lead to
 * another container.
 */
function withdrawRoutes({ shim, addresses }: Access, ofOthers: ReadonlySet<string>): readonly Operation[] {
  return addresses.filter((address) => !ofOthers.has(address)).map((address) => deleteHostRoute(shim, address))
}

/** An ADD that follows no DEL: what the container of before had goes, where it is not the same. */
function withdrawFormer(host: Host, attachment: Attachment, before: Access, now: Access): void {
  const isKept = (address: string) => before.shim === now.shim && now.addresses.includes(address)
  const gone = before.addresses.filter((address) => !isKept(address))
  if (gone.length > 0) {
    const ofOthers = addressesOfOthers(host, attachment, before.shim)
    host.sweep(withdrawRoutes({ shim: before.shim, addresses: gone }, ofOthers))
  }
  if (before.shim !== now.shim) removeUnused(host, before.shim)
}

function undoing(body: () => void): readonly CniError[] {
  try {
    body()
    return []
  } catch (thrown) {
    return [asCniError(thrown)]
  }
}

/** `leaving` uses it no more, though its record is there still. */
function removeUnused(host: Host, shim: string, leaving?: Attachment): void {
  const own = leaving && attachmentHash(leaving)
  const isUsed = recordsOfAllNetworks<Access>(host, kind).some(
    ({ attachment, data }) => data.shim === shim && attachmentHash(attachment) !== own,
  )
  if (!isUsed && host.observer.hasLink(shim)) host.sweep([deleteLink({ link: shim })])
}

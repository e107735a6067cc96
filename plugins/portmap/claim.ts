// The states of a claim, which is an attachment's wish for its ports: its record, and what the kernel has of it.
//
//                              ADD writes the record
//                                        |
//           each port by itself:         |          ranges, ports of one address, chains of iptables:
//           the kernel decides           |          the kernel cannot decide, a lock does
//                 +----------------------+----------------------+
//                 |                                             v
//                 |                                         CONTENDER  has no special record yet, and nothing
//                 |                                             |      in the kernel: nobody gives way to it
//                 v                                             | has the lock
//               PLAIN                                           v
//                 |                                          SPECIAL  has a special record, which all look at
//                 |                                             |
//                 +------------ another has a port -------------+
//                                        |
//          +-----------------------------+-----------------------------+
//          | that one's namespace        | that one is of the          | that one lives, or nobody
//          v is gone for sure (or its    v same container              v knows
//            address, by now ours)
//        DEAD, is evicted:             WAITING: this publication     refused (code 106), and the
//        its ports are free            is not made, and the other    record taken back
//                                      notes its HEIR
//                                        | the other is released
//                                        v
//                                      PLAIN or SPECIAL

import { withOwnLock } from '../../shared/exec/lock.js'
import {
  allRecords,
  type Entry,
  mayHaveLostRecord,
  type Netns,
  readRecord,
  recordsOfAllNetworks,
  removeEverywhere,
  removeRecord,
  writeRecord,
} from '../../shared/exec/records.js'
import { applyMissing } from '../../shared/net/missing.js'
import { compareNetns, lingering, netnsAt } from '../../shared/net/netns.js'
import { nftFamily } from '../../shared/net/nft.js'
import type { Host } from '../../shared/plan/host.js'
import { removing } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import { backends, type PortmapBackend } from './backends.js'
import { isSpecial } from './elements.js'
import { refuseOfficial } from './held.js'
import { anyOfOurs } from './left.js'
import { nameOf, type Port, type Publication, type Published, portText, sharedPort } from './publication.js'

export function publishedBy(host: Host, attachment: Attachment): Published | undefined {
  return readRecord<Published>(host, kind, attachment)?.data
}

/**
 * Publishes what the record says. A port of a container that is provably dead is taken over; of another interface of
 * the same container it is waited for.
 * @returns what became of it: some of it may be waiting
 * @throws code 106 naming the holder of a port
 */
export function claim(host: Host, attachment: Attachment, wanted: Published, path: string): Published {
  const netns = netnsAt(host, path)
  writeRecord(host, kind, attachment, wanted, { netns })
  if (isDecidedByLock(wanted)) return claimSpecial(host, attachment, wanted, netns)
  settleSpecial(host, attachment, wanted)
  const made = make(host, attachment, wanted)
  if (specialHolders(host, attachment, made).length > 0) locked(host, () => settleSpecial(host, attachment, made))
  return made
}

/**
 * Removes what a record says is published, and the record, and gives the ports to who waits for them. `ended` is done
 * between: as long as it may have to be repeated, there is a record.
 */
export function release(
  host: Host,
  attachment: Attachment,
  published: Published,
  ended: (publications: readonly Publication[]) => void = () => undefined,
): void {
  withdraw(host, attachment, published, ended)
  for (const heir of published.heirs ?? []) inherit(host, heir)
}

/** The operations by which `release` begins, where it looks at nothing before. */
export const recordedRemovals = removing({
  look(host, attachment) {
    const published = publishedBy(host, attachment)
    return published && backends[published.backend].arbiter === 'kernel' ? lookToWithdraw(host, published) : undefined
  },
  plan: (attachment, { made, seen }) => backends[made.backend].withdraw(attachment, made, seen),
})

/**
 * Removes what containers that are gone left to addresses which are another one's by now, and lead to that: its own
 * ports it claims, these are the addresses by which it publishes nothing.
 */
export function clearAddresses(host: Host, attachment: Attachment, addresses: readonly string[]): void {
  if (addresses.length === 0) return
  const elements = addresses.map((address) => ({
    family: nftFamily(address),
    collection: 'portmap_hairpin',
    key: [address],
  }))
  const held = host.observer.holdsDirectly(elements)
  if (held && !held.includes(true)) return
  for (const entry of recordsOfAllNetworks<Published>(host, kind)) {
    const isOther = attachmentHash(entry.attachment) !== attachmentHash(attachment)
    const left = madeOf(entry.data).filter(({ address }) => addresses.includes(address))
    if (isOther && left.length > 0 && hasLost(host, entry, left)) takeOver(host, entry)
  }
}

/** Whether what lies in the place of an attachment's record is none, or all records are gone. */
export function mayBeUnknown(attachment: Attachment): boolean {
  return mayHaveLostRecord(kind, attachment)
}

/** Removes what lies in the place of an attachment's records and is none. */
export function forgetUnknown(host: Host, attachment: Attachment): void {
  removeEverywhere(host, specialKind, attachment)
  removeRecord(host, kind, attachment)
}

// --- internal

function withdraw(
  host: Host,
  attachment: Attachment,
  published: Published,
  ended: (publications: readonly Publication[]) => void = () => undefined,
): void {
  const backend = backends[published.backend]
  try {
    const { made, seen } = lookToWithdraw(host, published)
    host.sweep(backend.withdraw(attachment, made, seen))
  } catch (thrown) {
    if (!hasCode(thrown, codes.unknownContainer)) throw thrown
    withdrawOwn(host, attachment, backend)
  }
  ended(published.publications)
  for (const folder of specialFolders(published)) removeRecord(host, specialKind, attachment, folder)
  removeRecord(host, kind, attachment)
}

function lookToWithdraw(host: Host, published: Published) {
  const made: Published = { ...published, publications: madeOf(published) }
  return { made, seen: backends[published.backend].look(host.observer) }
}

/** What bears the attachment's name, whatever its record says. */
function withdrawOwn(host: Host, attachment: Attachment, backend: PortmapBackend): void {
  const seen = backend.lookByOwner(host.observer, attachment, anyOfOurs(host.observer))
  host.sweep(backend.withdrawByOwner(attachment, seen))
}

/** What is in the kernel. */
function madeOf({ publications }: Published): readonly Publication[] {
  return publications.filter(({ waiting }) => !waiting)
}

const kind = 'portmap'
/**
 * The records, too, of those who have ports for one address, ranges, or iptables chains: with a lock they see each
 * other, and all others look at them, too. They lie in folders by host port, 256 ports in each, so that this costs
 * the same however many there are. Two plain mappings meet in the kernel.
 */
const specialKind = 'portmap-special'

function foldersOf(publications: readonly Publication[]): readonly string[] {
  return [...new Set(publications.flatMap(({ ports }) => ports.map(({ host }) => String(host >> 8))))]
}

function isDecidedByLock({ backend, publications }: Published): boolean {
  return backends[backend].arbiter === 'lock' || publications.some(isSpecial)
}

function specialFolders(published: Published): readonly string[] {
  return isDecidedByLock(published) ? foldersOf(published.publications) : []
}

/** Runs `body` while no other process claims what the kernel alone cannot decide about. */
function locked<T>(host: Host, body: () => T): T {
  return withOwnLock(host, 'portmap.lock', body)
}

function claimSpecial(host: Host, attachment: Attachment, wanted: Published, netns: Netns): Published {
  return locked(host, () => {
    settleSpecial(host, attachment, wanted)
    for (const folder of specialFolders(wanted)) {
      writeRecord(host, specialKind, attachment, wanted, { folder, netns })
    }
    return make(host, attachment, wanted)
  })
}

/** Makes what is not waiting. @returns what became of it */
function make(host: Host, attachment: Attachment, wanted: Published): Published {
  return makers[backends[wanted.backend].arbiter](host, attachment, wanted)
}

const makers = { kernel: makeAndSettle, lock: settleAndMake } as const

/** How often it is tried: once, once after settling, once more for who came in between. */
const attempts = 3

/** The kernel refuses what another has: only then is it looked for. */
function makeAndSettle(host: Host, attachment: Attachment, wanted: Published): Published {
  let published = wanted
  for (let attempt = 1; ; attempt++) {
    try {
      applyPublished(host, attachment, published)
      break
    } catch (thrown) {
      if (!hasCode(thrown, codes.portTaken) || attempt === attempts) throw thrown
      published = settle(host, attachment, published)
      withdrawOwn(host, attachment, backends[wanted.backend])
    }
  }
  const made = madeOf(published)
  if (made.length > 0) refuseOfficial(host, attachment, made, host.observer.chains())
  return published
}

function settleAndMake(host: Host, attachment: Attachment, wanted: Published): Published {
  const settled = settle(host, attachment, wanted)
  applyPublished(host, attachment, settled)
  return settled
}

function applyPublished(host: Host, attachment: Attachment, published: Published): void {
  const backend = backends[published.backend]
  const publications = madeOf(published)
  applyMissing(
    host,
    () => backend.look(host.observer, publications),
    (seen) => backend.publish(attachment, { ...published, publications }, seen),
  )
}

/** Looks who has what we want: evicts the dead, waits for our own container. @throws code 106 naming one that lives */
function settle(host: Host, attachment: Attachment, wanted: Published): Published {
  let { publications } = wanted
  for (const entry of recordsOfAllNetworks<Published>(host, kind)) {
    if (attachmentHash(entry.attachment) === attachmentHash(attachment) || isContender(host, entry)) continue
    const disputed = publications.filter(
      (one) => !one.waiting && entry.data.publications.some((its) => collide(one, its)),
    )
    if (disputed.length === 0) continue
    if (entry.attachment.containerID === attachment.containerID) {
      publications = publications.map((one) => (disputed.includes(one) ? { ...one, waiting: true } : one))
      waitFor(host, attachment, entry)
    } else evict(host, entry, disputed)
  }
  const settled = { ...wanted, publications }
  if (publications !== wanted.publications) writeRecord(host, kind, attachment, settled)
  return settled
}

/**
 * Waits for the lock, or has been refused, and has nothing in the kernel: who gave way to it would leave the port to
 * nobody.
 */
function isContender(host: Host, { attachment, data }: Entry<Published>): boolean {
  const [folder] = specialFolders(data)
  return folder !== undefined && !readRecord(host, specialKind, attachment, folder)
}

function collide(one: Publication, its: Publication): boolean {
  if (its.waiting) return false
  return sharesAddress(one, its) || sharedPort(one, its) !== undefined
}

function settleSpecial(host: Host, attachment: Attachment, wanted: Published): void {
  for (const entry of specialHolders(host, attachment, wanted)) evict(host, entry, wanted.publications)
}

function specialHolders(host: Host, attachment: Attachment, { publications }: Published): readonly Entry<Published>[] {
  const near = foldersOf(publications).flatMap((folder) => allRecords<Published>(host, specialKind, folder))
  const others = new Map(near.map((entry) => [attachmentHash(entry.attachment), entry]))
  return [...others.values()].filter(
    ({ attachment: other, data }) =>
      other.containerID !== attachment.containerID &&
      publications.some((one) => data.publications.some((its) => !its.waiting && sharedPort(one, its))),
  )
}

function waitFor(host: Host, attachment: Attachment, { attachment: holder, data }: Entry<Published>): void {
  const others = (data.heirs ?? []).filter((heir) => attachmentHash(heir) !== attachmentHash(attachment))
  writeRecord(host, kind, holder, { ...data, heirs: [...others, attachment] })
}

/** Removes what a dead container left. @throws code 106 when it is not provably dead */
function evict(host: Host, entry: Entry<Published>, disputed: readonly Publication[]): void {
  const { attachment, data, netns } = entry
  const ours = madeOf(data).filter((its) => disputed.some((one) => sharesAddress(one, its)))
  const isGone = isDead(host, netns) || (ours.length > 0 && hasLost(host, entry, ours))
  if (!isGone) throw taken(attachment, data, disputed)
  takeOver(host, entry)
}

function takeOver(host: Host, { attachment, data }: Entry<Published>): void {
  host.warn(`portmap: took over what ${nameOf(attachment)} published: it is gone`)
  withdraw(host, attachment, data)
}

function sharesAddress(one: Publication, other: Publication): boolean {
  return one.address === other.address
}

/**
 * True where a container is dead, or its namespace has none of the addresses any more that lead to it: another suite
 * detached it.
 */
function hasLost(host: Host, { netns }: Entry<Published>, publications: readonly Publication[]): boolean {
  if (!netns) return false
  const path = compareNetns(host, netns, netns.path) === 'other' ? lingering(host, netns) : netns.path
  if (path === undefined) return true
  const inside = host.observer.links(path).flatMap(({ addr_info: addresses = [] }) => addresses)
  return !publications.some(({ address }) => inside.some(({ local }) => local === address))
}

function taken(holder: Attachment, { publications }: Published, disputed: readonly Publication[]): CniError {
  const pairs = disputed.flatMap((one) => publications.map((its) => ({ one, port: sharedPort(one, its) })))
  const port: Port | undefined = pairs.find(({ port }) => port)?.port
  const what = port ? `host port ${portText(port)}: it is` : `${disputed[0]?.address}: that address is already`
  return new CniError(codes.portTaken, `cannot publish ${what} published by ${nameOf(holder)}`, {
    fix: 'choose another host port, or DEL that attachment: it counts as alive as long as its network namespace exists',
  })
}

/** Publishes what an interface of the same container has waited for. */
function inherit(host: Host, heir: Attachment): void {
  const published = publishedBy(host, heir)
  if (!published?.publications.some(({ waiting }) => waiting)) return
  const publications = published.publications.map(({ waiting: _, ...one }) => one)
  const waited = {
    ...published,
    publications: publications.filter((_, index) => published.publications[index]?.waiting),
  }
  writeRecord(host, kind, heir, { ...published, publications })
  if (backends[published.backend].arbiter === 'lock') locked(host, () => applyPublished(host, heir, waited))
  else applyPublished(host, heir, waited)
}

/**
 * True when the owner's network namespace is provably gone: nothing at its path is it any more, in the boot that made
 * the record, and no process, mount or open file of any process holds it. Of those that have its number one is enough
 * to look at: it is one namespace's.
 */
function isDead(host: Host, netns: Netns | undefined): boolean {
  if (!netns || compareNetns(host, netns, netns.path) !== 'other') return false
  return lingering(host, netns) === undefined
}

function hasCode(thrown: unknown, code: number): boolean {
  return thrown instanceof CniError && thrown.code === code
}

import { withOwnLock } from '../../shared/exec/lock.js'
import {
  allRecords,
  type Entry,
  type Netns,
  readRecord,
  recordsOfAllNetworks,
  removeEverywhere,
  removeRecord,
  writeRecord,
} from '../../shared/exec/records.js'
import { compareNetns, netnsAt } from '../../shared/net/netns.js'
import type { Host } from '../../shared/plan/host.js'
import { holderOf } from '../../shared/tools/processes.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import { isSpecial } from './elements.js'
import { refuseOfficial } from './held.js'
import { publishChains, unpublishChains } from './iptables.js'
import { publish, unpublish, unpublishByOwner } from './nftables.js'
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
  if (wanted.backend === 'iptables' || wanted.publications.some(isSpecial))
    return claimSpecial(host, attachment, wanted, netns)
  settleSpecial(host, attachment, wanted)
  const made = make(host, attachment, wanted)
  if (specialHolders(host, attachment, made).length > 0) locked(host, () => settleSpecial(host, attachment, made))
  return made
}

/** Removes what a record says is published, and the record, and gives the ports to who waits for them. */
export function release(host: Host, attachment: Attachment, published: Published): void {
  withdraw(host, attachment, published)
  for (const heir of published.heirs ?? []) inherit(host, heir)
}

/** Removes what lies in the place of an attachment's records and is none. */
export function forgetUnknown(host: Host, attachment: Attachment): void {
  removeEverywhere(host, specialKind, attachment)
  removeRecord(host, kind, attachment)
}

// --- internal

function withdraw(host: Host, attachment: Attachment, published: Published): void {
  const { backend, publications } = published
  const made = publications.filter(({ waiting }) => !waiting)
  if (backend === 'iptables') unpublishChains(host, attachment)
  else if (made.length > 0) unpublishOwn(host, attachment, made)
  for (const folder of specialFolders(published)) removeRecord(host, specialKind, attachment, folder)
  removeRecord(host, kind, attachment)
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

function specialFolders({ backend, publications }: Published): readonly string[] {
  return backend === 'iptables' || publications.some(isSpecial) ? foldersOf(publications) : []
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
    if (wanted.backend === 'nftables') return make(host, attachment, wanted)
    const settled = settle(host, attachment, wanted)
    publishChains(host, attachment, settled)
    return settled
  })
}

/** How often the elements are tried: once, once after settling, once more for who came in between. */
const attempts = 3

function make(host: Host, attachment: Attachment, wanted: Published): Published {
  const published = create(host, attachment, wanted)
  const made = published.publications.filter(({ waiting }) => !waiting)
  if (made.length > 0) refuseOfficial(host, attachment, made, host.observer.chains())
  return published
}

function create(host: Host, attachment: Attachment, wanted: Published): Published {
  let published = wanted
  for (let attempt = 1; ; attempt++) {
    try {
      host.apply(published.publications.flatMap((one) => (one.waiting ? [] : publish(attachment, one))))
      return published
    } catch (thrown) {
      if (!hasCode(thrown, codes.portTaken) || attempt === attempts) throw thrown
      published = settle(host, attachment, published)
      host.sweep(unpublishByOwner(host.observer, attachment, host.observer.tables()))
    }
  }
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
  return (one.family === its.family && one.address === its.address) || sharedPort(one, its) !== undefined
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
function evict(host: Host, { attachment, data, netns }: Entry<Published>, disputed: readonly Publication[]): void {
  if (!isDead(host, netns)) throw taken(attachment, data, disputed)
  host.warn(`portmap: took over what ${nameOf(attachment)} published: its network namespace is gone`)
  withdraw(host, attachment, data)
}

function taken(holder: Attachment, { publications }: Published, disputed: readonly Publication[]): CniError {
  const pairs = disputed.flatMap((one) => publications.map((its) => ({ one, port: sharedPort(one, its) })))
  const port: Port | undefined = pairs.find(({ port }) => port)?.port
  const what = port ? `host port ${portText(port)}: it is` : `${disputed[0]?.address}: that address is already`
  return new CniError(codes.portTaken, `cannot publish ${what} published by ${nameOf(holder)}`, {
    fix: 'choose another host port, or DEL that attachment: it counts as alive as long as its network namespace exists',
  })
}

function unpublishOwn(host: Host, attachment: Attachment, made: readonly Publication[]): void {
  try {
    host.sweep([unpublish(attachment, made)])
  } catch (thrown) {
    if (!hasCode(thrown, codes.unknownContainer)) throw thrown
    host.sweep(unpublishByOwner(host.observer, attachment, host.observer.tables()))
  }
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
  if (published.backend === 'iptables') locked(host, () => publishChains(host, heir, waited))
  else host.apply(waited.publications.flatMap((one) => publish(heir, one)))
}

/**
 * True when the owner's network namespace is provably gone: nothing at its path is it any more, in the boot that made
 * the record, and no process, mount or open file of any process holds it. Of those that have its number one is enough
 * to look at: it is one namespace's.
 */
function isDead(host: Host, netns: Netns | undefined): boolean {
  if (!netns || compareNetns(host, netns, netns.path) !== 'other') return false
  const holder = holderOf(`net:[${netns.inode}]`)
  return holder === undefined || compareNetns(host, netns, holder) === 'other'
}

function hasCode(thrown: unknown, code: number): boolean {
  return thrown instanceof CniError && thrown.code === code
}

import { allRecords, readRecord } from '../../shared/exec/records.js'
import { deleteLink } from '../../shared/net/ip.js'
import { restoreIngress, unlimitRate } from '../../shared/net/tc.js'
import { hostEndOf } from '../../shared/net/veth.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { attachmentHash, officialName } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { Result } from '../../shared/values/result.js'

/** What DEL and GC cannot know otherwise: the links that an ADD limited. */
export interface Limited {
  /** The host's end of the container's veth pair. */
  readonly link: string
  /** The link that shapes what the container sends. */
  readonly ifb?: string
}

export const recordKind = 'bandwidth'

/**
 * The host's end of the container's veth pair: the link of prevResult that the container's interface says it is tied
 * to.
 * @throws code 100 or 7 when the interface is no veth, or its other end is not in prevResult
 */
export function findHostEnd(
  host: Host,
  { ifName, netns, prevResult }: { ifName: string; netns: string; prevResult: Result },
): ObservedLink {
  const inside = host.observer.link(ifName, netns)
  if (inside?.linkinfo?.info_kind !== 'veth') {
    const found = inside ? `it is ${inside.linkinfo?.info_kind ?? 'a plain link'}` : 'it is not there'
    const what = `container interface ${ifName} has no veth peer: `
    throw new CniError(codes.operationFailed, what + found, {
      official: inside ? undefined : `${what}could not look up "${ifName}": Link not found`,
      problems: [
        { path: `interface ${ifName}`, value: inside?.linkinfo?.info_kind, expected: 'one end of a veth pair' },
      ],
      fix: 'call bandwidth behind a plugin that makes a veth pair, such as bridge or ptp',
    })
  }
  const end = hostEndOf(host, inside, prevResult)
  if (end) return end
  const names = prevResult.interfaces.filter(({ sandbox }) => !sandbox).map(({ name }) => name)
  const { link_index: index } = inside
  // Without an index the other end is in the container, too.
  const isElsewhere = index !== undefined && host.observer.links().every(({ ifindex }) => ifindex !== index)
  const elsewhere = isElsewhere ? `veth peer with index ${index} is not in host ns` : undefined
  throw new CniError(codes.invalidConfiguration, 'no veth peer of container interface found in host ns', {
    official: prevResult.interfaces.length === 0 ? 'no interfaces provided' : elsewhere,
    problems: [{ path: 'prevResult.interfaces', value: names, expected: `the other end of ${ifName} in ${netns}` }],
  })
}

/**
 * The official plugin's name, so that either suite's DEL finds it. It stands for network and container: a second
 * interface of the container in the network gets a name of its own.
 */
export function ifbName(host: Host, attachment: Attachment): string {
  const name = officialName('bwp', attachment, 15)
  if (!host.observer.hasLink(name) || !isAnothers(host, name, attachment)) return name
  return `bwp${attachmentHash(attachment).slice(0, 12)}`
}

/** The links of an attachment that are there; without a record what the official plugin made. */
export function limitedLinks(host: Host, attachment: Attachment): Partial<Limited> {
  const isThere = (link: string) => host.observer.hasLink(link)
  const record = readRecord<Limited>(host, recordKind, attachment)?.data
  const ifb = record ? record.ifb : officialName('bwp', attachment, 15)
  const isOwn = ifb !== undefined && isThere(ifb) && (record !== undefined || !isAnothers(host, ifb, attachment))
  return { ...(record && isThere(record.link) ? { link: record.link } : {}), ...(isOwn ? { ifb } : {}) }
}

/** Takes the limits away from links that are there. */
export function liftLimits({ link, ifb }: Partial<Limited>): readonly Operation[] {
  return [
    ...(link === undefined ? [] : [unlimitRate(link), restoreIngress(link)]),
    ...(ifb === undefined ? [] : [deleteLink({ link: ifb })]),
  ]
}

// --- internal

function isAnothers(host: Host, ifb: string, attachment: Attachment): boolean {
  return allRecords<Limited>(host, recordKind, attachment.network).some(
    (entry) => entry.data.ifb === ifb && attachmentHash(entry.attachment) !== attachmentHash(attachment),
  )
}

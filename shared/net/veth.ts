import type { Host } from '../plan/host.js'
import type { Machine } from '../plan/machine.js'
import type { Attachment } from '../values/attachment.js'
import { isLinkName } from '../values/checks.js'
import { attachmentHash, macFrom, macOfHash } from '../values/names.js'
import type { ObservedLink } from '../values/observe.schema.js'
import type { Result } from '../values/result.js'

/**
 * The MAC address of the host's end of an attachment's veth pair, ours from the creation on as the other end's: nothing
 * changes it later (udev) and nothing has to be read back.
 */
export function hostEndMac(attachment: Attachment): string {
  return macOfHash(attachmentHash(attachment))
}

/** The container's end; it holds the boot ID: two nodes with the same names must not meet on one wire. */
export function containerEndMac(host: Host, attachment: Attachment): string {
  return macFrom(`${host.observer.bootID()}/container/${attachmentHash(attachment)}`)
}

/**
 * The host's end of a container's link: the one of prevResult's host interfaces that either end says it is tied to. A
 * bridge comes before its port in results, so the search begins at the end.
 */
export function hostEndOf(
  host: Pick<Machine, 'observer'>,
  inside: ObservedLink,
  { interfaces }: Result,
): ObservedLink | undefined {
  for (const { name, sandbox } of interfaces.toReversed()) {
    const link = sandbox || !isLinkName(name) ? undefined : host.observer.link(name)
    if (link?.ifindex === inside.link_index && link?.link_index === inside.ifindex) return link
  }
  return undefined
}

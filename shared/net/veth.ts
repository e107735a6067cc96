import { removeRecord, staleRecords } from '../exec/records.js'
import { attemptAll, type Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import { collectLeases, release } from '../program/ipam.js'
import type { Attachment, Call } from '../program/plugin.js'
import { isLinkName } from '../values/checks.js'
import { attachmentHash, hostVethName, macFrom, macOfHash } from '../values/names.js'
import type { Result } from '../values/result.js'
import { deleteLink } from './ip.js'
import { collectMasquerades, forgetMasquerade, isMasqueraded, staleMasquerades, unmasquerade } from './masquerade.js'
import { livingNetns } from './netns.js'
import { bootID, type Eyes, hostHasLink, type ObservedLink, observeLink } from './observe.js'

/**
 * The MAC address of the host's end of an attachment's veth pair, ours from the creation on as the other end's: nothing changes it
 * later (udev) and nothing has to be read back.
 */
export function hostEndMac(attachment: Attachment): string {
  return macOfHash(attachmentHash(attachment))
}

/** The container's end; it holds the boot ID: two nodes with the same names must not meet on one wire. */
export function containerEndMac(host: Host, attachment: Attachment): string {
  return macFrom(`${bootID(host)}/container/${attachmentHash(attachment)}`)
}

/**
 * The host's end of a container's link: the one of prevResult's host interfaces that either end says it is tied to. A
 * bridge comes before its port in results, so the search begins at the end.
 */
export function hostEndOf(eyes: Eyes, inside: ObservedLink, { interfaces }: Result): ObservedLink | undefined {
  for (const { name, sandbox } of interfaces.toReversed()) {
    const link = sandbox || !isLinkName(name) ? undefined : observeLink(eyes, name)
    if (link?.ifindex === inside.link_index && link?.link_index === inside.ifindex) return link
  }
  return undefined
}

/**
 * DEL of a plugin that gives containers a veth pair: first what is in the kernel, so that no one else can be given an
 * address that still answers, then the lease, then the records. `kind` is the plugin's name, `more` what it made besides.
 */
export function detachVeth(call: Call, kind: string, more: More = () => []): void {
  const { config, host, environment, attachment } = call
  const netns = livingNetns(environment.netns)
  const isMasked = config.ipMasq || isMasqueraded(host, attachment)
  attemptAll(
    () =>
      host.sweep([
        ...disconnect(call, netns),
        ...more(attachment),
        ...(isMasked ? unmasquerade(host, attachment) : []),
      ]),
    () => release(call),
  )
  forgetMasquerade(host, attachment)
  removeRecord(host, kind, attachment)
}

/** GC of such a plugin: takes down the attachments of the network that are on record and not valid any more. */
export function collectVeths(call: Call, kind: string, more: More = () => []): void {
  const { config, host, validAttachments } = call
  attemptAll(
    ...staleAttachments(host, kind, config.name, validAttachments).map((attachment) => () => {
      const link = hostVethName(attachment)
      host.sweep([deleteLink({ link }), ...more(attachment), ...unmasquerade(host, attachment)])
      forgetMasquerade(host, attachment)
      removeRecord(host, kind, attachment)
    }),
    () => validAttachments && collectMasquerades(host),
    () => collectLeases(call),
  )
}

// --- internal

/** What undoes the rest of an attachment, planned in the moment it is undone. */
type More = (attachment: Attachment) => readonly Operation[]

/** Our host end by its name; what the official plugin made only by the container's end. */
function disconnect({ host, environment, attachment }: Call, netns: string | undefined): readonly Operation[] {
  const link = hostVethName(attachment)
  if (hostHasLink(host, link)) return [deleteLink({ link })]
  return netns === undefined ? [] : [deleteLink({ link: environment.ifName, netns })]
}

function staleAttachments(
  host: Host,
  kind: string,
  network: string,
  valid: Call['validAttachments'],
): readonly Attachment[] {
  if (valid === undefined) return []
  const connected = staleRecords(host, kind, network, valid).map(({ attachment }) => attachment)
  const all = [...connected, ...staleMasquerades(host, network, valid)]
  return [...new Map(all.map((attachment) => [attachmentHash(attachment), attachment])).values()]
}

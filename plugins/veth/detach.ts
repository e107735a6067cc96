import { removeRecord, staleRecords } from '../../shared/exec/records.js'
import { type At, deleteLink } from '../../shared/net/ip.js'
import {
  collectMasquerades,
  forgetMasquerade,
  isMasqueraded,
  isOfSubnet,
  type MadeByMasquerade,
  madeByMasquerade,
  staleMasquerades,
  unmasquerade,
} from '../../shared/net/masquerade.js'
import { livingNetns } from '../../shared/net/netns.js'
import type { Element } from '../../shared/plan/element.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import { memberOf } from '../../shared/program/invoke.js'
import { collectLeases, release } from '../../shared/program/ipam.js'
import type { Call } from '../../shared/program/plugin.js'
import { parseCidr } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { attachmentHash, hostVethName } from '../../shared/values/names.js'

/**
 * DEL of a plugin that gives containers a veth pair: first what is in the kernel, so that no one else can be given an
 * address that still answers, then the lease, then the records. `kind` is the plugin's name, `more` what it made
 * besides.
 */
export function detachVeth(call: Call, kind: string, more: More = none): void {
  const { config, host, environment, attachment } = call
  const netns = livingNetns(environment.netns)
  const isMasked = config.ipMasq || isMasqueraded(host, attachment)
  attemptAll(
    () =>
      host.sweep([
        ...remainingEnds(call, netns).map(deleteLink),
        ...removals(attachment, leftOf(host, attachment, more, isMasked ? toldAddresses(call) : undefined)),
      ]),
    () => release(call),
  )
  forgetMasquerade(host, attachment)
  removeRecord(host, kind, attachment)
}

/** GC of such a plugin: takes down the attachments of the network that are on record and not valid any more. */
export function collectVeths(call: Call, kind: string, more: More = none): void {
  const { config, host, validAttachments } = call
  attemptAll(
    ...staleAttachments(host, kind, config.name, validAttachments).map((attachment) => () => {
      const link = hostVethName(attachment)
      host.sweep([deleteLink({ link }), ...removals(attachment, leftOf(host, attachment, more, []))])
      forgetMasquerade(host, attachment)
      removeRecord(host, kind, attachment)
    }),
    () => validAttachments && host.sweep(collectMasquerades(host.observer.unusedChains(isOfSubnet).unused)),
    () => collectLeases(call),
  )
}

/** What a plugin made of an attachment besides, looked at in the moment before it is undone. */
export type More = (attachment: Attachment) => {
  /** What the kernel is asked for because no record tells. */
  readonly suspected: readonly Element[]
  /** @param held whether that is there; undefined where the kernel does not tell */
  readonly undo: (held: readonly boolean[] | undefined) => readonly Operation[]
}

// --- internal

const none: More = () => ({ suspected: [], undo: () => [] })

/** What is left of an attachment but its link. */
interface Left {
  readonly masquerade: MadeByMasquerade | undefined
  /** What undoes the rest. */
  readonly others: readonly Operation[]
}

/**
 * Looks with one question to the kernel.
 * @param told addresses that may be masqueraded; none may be where it is undefined
 */
function leftOf(host: Host, attachment: Attachment, more: More, told: readonly string[] | undefined): Left {
  const { suspected, undo } = more(attachment)
  const masquerade = told && madeByMasquerade(host, attachment, told, suspected)
  if (masquerade && 'along' in masquerade) return { masquerade, others: undo(masquerade.along) }
  return { masquerade, others: undo(suspected.length > 0 ? host.observer.holdsDirectly(suspected) : []) }
}

function removals(attachment: Attachment, { masquerade, others }: Left): readonly Operation[] {
  return [...others, ...(masquerade ? unmasquerade(attachment, masquerade) : [])]
}

/** The addresses of the result that a DEL is given: by them is found what no record tells of. */
function toldAddresses({ config: { prevResult } }: Call): readonly string[] {
  const ips = memberOf({ ...(prevResult as object | undefined) }, 'ips')
  const all = Array.isArray(ips) ? ips.map((one) => memberOf({ ...one }, 'address')) : []
  return all.filter((one) => typeof one === 'string' && parseCidr(one) !== undefined) as string[]
}

/** Our host end by its name; what the official plugin made only by the container's end. */
function remainingEnds({ host, environment, attachment }: Call, netns: string | undefined): readonly At[] {
  const link = hostVethName(attachment)
  if (host.observer.hasLink(link)) return [{ link }]
  return netns === undefined ? [] : [{ link: environment.ifName, netns }]
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

import { addLink, deleteLink, setLink } from '../../shared/net/ip.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, invalidConfiguration } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { ChildCall, ChildLink } from './child.js'

/**
 * The child is made in the container under its final name. A kernel before 6.15 refuses the name there when the host
 * has it too, as for most containers on a host's eth0: then it comes under a name of its own and is renamed.
 */
export function createLink(
  { config, environment, attachment }: ChildCall,
  child: ChildLink,
  { master, netns, isNameOfHost }: { master: string; netns: string; isNameOfHost: boolean },
): readonly Operation[] {
  const { ifName } = environment
  const at = { link: ifName, netns }
  const why = `create the ${child.kind} ${ifName} on ${master}`
  const words = [
    ...['link', master],
    ...(child.mac === undefined ? [] : ['address', child.mac]),
    ...(config.mtu > 0 ? ['mtu', String(config.mtu)] : []),
  ]
  const type = ['type', child.kind, ...wordsOf(child)]
  if (config.linkInContainer) return [explained(addLink(at, [...words, ...type], why), child)]
  const created = (link: string) => ({
    ...explained(addLink({ link }, [...words, 'netns', netns, ...type], why), child),
    undo: [deleteLink({ link, netns })],
    shownBy: { link, netns, exists: true },
  })
  if (!isNameOfHost) return [created(ifName)]
  const link = temporaryName(attachment)
  const rename = setLink({ link, netns }, ['name', ifName], `rename the ${child.kind} to ${ifName}`)
  return [created(link), { ...rename, undo: [deleteLink(at)], shownBy: { ...at, exists: true } }]
}

/** What makes a child of its kind this one, as `ip link add` takes it. */
export function wordsOf({ attributes }: ChildLink): readonly string[] {
  return Object.entries(attributes).flatMap(([key, value]) => [key, String(value)])
}

/** What a child is called before it is renamed. */
export function temporaryName(attachment: Attachment): string {
  return `new${attachmentHash(attachment).slice(0, 12)}`
}

/** A child cannot be larger than its master; only an ipvlan the kernel takes of any size. @throws code 7 */
export function refuseMtu(mtu: number, master: ObservedLink, { kind }: ChildLink): void {
  if (mtu >= 0 && (kind === 'ipvlan' || mtu <= master.mtu)) return
  const most = kind === 'ipvlan' ? '' : `, at most ${master.mtu}, the MTU of ${master.ifname}`
  const problem = { path: 'mtu', value: mtu, expected: `0 for the kernel's choice, or a size in bytes${most}` }
  throw invalidConfiguration([problem], `invalid MTU ${mtu}, must be [0, master MTU(${master.mtu})]`)
}

/** @throws code 103 where the container has the link that is to be made, which a rename would not tell in time */
export function refuseTakenName(link: ObservedLink | undefined, ifName: string): void {
  if (!link) return
  throw new CniError(codes.nameTaken, `the container has an interface ${ifName} already`, {
    fix: 'remove or rename the interface that is there; a DEL of the attachment does',
  })
}

// --- internal

function explained(operation: Operation, { taken }: ChildLink): Operation {
  if (taken === undefined) return operation
  return { ...operation, meaning: { ...operation.meaning, exists: { code: codes.nameTaken, fix: taken } } }
}

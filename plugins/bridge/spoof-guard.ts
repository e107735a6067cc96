import { addElement, declare, declareChain, deleteElement } from '../../shared/net/nft.js'
import type { Element } from '../../shared/plan/element.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { hostVethName, ownerComment } from '../../shared/values/names.js'

/**
 * macspoofchk: frames from a container's port must carry its MAC address. One set of guarded ports and one of allowed
 * pairs in our own bridge table, so that a frame's path does not grow with the number of containers.
 */
export function guard(attachment: Attachment, mac: string): readonly Operation[] {
  return elements(attachment, mac).map((element) => addElement(element, why(attachment), declarations()))
}

/** The operations that undo `guard` with any of these MAC addresses. */
export function unguard(attachment: Attachment, macs: readonly string[]): readonly Operation[] {
  return macs.flatMap((mac) => elements(attachment, mac)).map((element) => deleteElement(element, why(attachment)))
}

/** The MAC addresses that a container's port is guarded with, by the owner's name. */
export function guardedMacs({ observer }: Host, attachment: Attachment): readonly string[] {
  const own = ownerComment(attachment)
  return observer
    .elements('bridge', { kind: 'set', name: 'allowed_macs' })
    .filter(({ comment }) => comment === own)
    .map(({ key: [, mac = ''] }) => mac)
}

/** What is there of a guarded attachment, whatever its MAC address is: the kernel tells, without a process. */
export function guardedPort(attachment: Attachment): Element {
  const key = [`"${hostVethName(attachment)}"`]
  return { family: 'bridge', collection: 'guarded_ports', key, comment: ownerComment(attachment) }
}

// --- internal

function why(attachment: Attachment): string {
  return `guard ${hostVethName(attachment)} against MAC spoofing`
}

const declarations = (): readonly Operation[] => [
  declare('bridge', 'table', []),
  declare('bridge', 'set', ['guarded_ports', '{', 'type', 'ifname', ';', '}']),
  declare('bridge', 'set', ['allowed_macs', '{', 'type', 'ifname', '.', 'ether_addr', ';', '}']),
  ...declareChain(
    'bridge',
    'macspoofchk',
    [['iifname', '@guarded_ports', 'iifname', '.', 'ether', 'saddr', '!=', '@allowed_macs', 'drop']],
    ['type', 'filter', 'hook', 'prerouting', 'priority', '-300', ';', 'policy', 'accept', ';'],
  ),
]

function elements(attachment: Attachment, mac: string): readonly Element[] {
  const port = guardedPort(attachment)
  return [{ ...port, collection: 'allowed_macs', key: [...port.key, '.', mac] }, port]
}

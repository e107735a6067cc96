import type { Attachment } from './attachment.js'
import { sha512 } from './hash.js'

/** 16 hex digits that stand for an attachment; no two attachments share their text, as names hold no "/". */
export function attachmentHash({ network, containerID, ifName }: Attachment): string {
  return sha512(`${network}/${containerID}/${ifName}`).slice(0, 16)
}

/** The host's end of an attachment's veth pair: the same for every verb, so that DEL finds it without being told. */
export function hostVethName(attachment: Attachment): string {
  return `veth${attachmentHash(attachment).slice(0, 11)}`
}

/** A locally administered unicast MAC address made from a text that is unique on the link. */
export function macFrom(seed: string): string {
  return macOfHash(sha512(seed))
}

/** Such an address of the first ten digits of a hash. */
export function macOfHash(hash: string): string {
  const octets = ['02', ...Array.from({ length: 5 }, (_, index) => hash.slice(index * 2, index * 2 + 2))]
  return octets.join(':')
}

/** The names the official suite gives its iptables chains and ifb devices: a hash of network and container, cut. */
export function officialName(prefix: string, { network, containerID }: Attachment, length: number): string {
  return (prefix + sha512(network + containerID)).slice(0, length)
}

/** The comment the official suite puts on its iptables rules. */
export function officialComment({ network, containerID }: Attachment): string {
  return `name: "${network}" id: "${containerID}"`
}

/**
 * What a person reads in our rules' comments; nft takes 128 characters, so a longer one ends in the attachment's hash.
 */
export function ownerComment(attachment: Attachment): string {
  const { network, containerID, ifName } = attachment
  const text = `${network}/${ifName}/${containerID}`
  return text.length <= 128 ? text : `${text.slice(0, 111)}~${attachmentHash(attachment)}`
}

import { z } from 'zod'
import { checked, flag } from '../../shared/values/config.schema.js'

/** What an interface on a shared network may learn from that network. */
export const lanKeys = {
  /** Takes addresses and routes from router advertisements. */
  acceptRA: flag,
  /** Leaves IPv6 on where IPAM gives only IPv4 addresses. */
  keepIPv6: flag,
}

/** The keys of every plugin whose link is a child of another one. */
export const childLinkKeys = {
  /** The link above, by name or by a pattern that fits exactly one; absent: that of the default route. */
  master: checked('linkPattern').optional(),
  /** The link above by its MAC address. */
  masterMAC: checked('macOrEmpty').optional(),
  /** The link above by a subnet that it has an address in. */
  masterSubnet: checked('cidrOrEmpty').optional(),
  /** In bytes; 0 or absent leaves the kernel's choice. Held against the master's. */
  mtu: z.int().max(2147483647).default(0),
  /** The link above is in the container's namespace, not in the host's. */
  linkInContainer: flag,
  /** Probes for each address before it is used, and takes another where somebody answers. */
  addressConflictDetection: flag,
  ...lanKeys,
}

const childLink = z.object(childLinkKeys)

export type ChildLinkConfiguration = z.infer<typeof childLink>

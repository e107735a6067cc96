import { z } from 'zod'
import { checked, described, flag } from '../../shared/values/config.schema.js'

/** What an interface on a shared network may learn from that network. */
export const lanKeys = {
  acceptRA: described(flag, 'Takes addresses and routes from router advertisements.'),
  keepIPv6: described(flag, 'Leaves IPv6 on where IPAM gave neither an IPv6 address nor an IPv6 route.'),
}

/** The keys of every plugin whose link is a child of another one. */
export const childLinkKeys = {
  master: described(
    checked('linkPattern').optional(),
    'The link above, by name, or by a pattern with "*" and "?" that fits exactly one. Absent or empty: that of the default route.',
    { official: '0.6.0' },
  ),
  masterMAC: described(checked('macOrEmpty').optional(), 'The link above, by its MAC address.'),
  masterSubnet: described(checked('cidrOrEmpty').optional(), 'The link above, by a subnet that it has an address in.'),
  mtu: described(z.int().max(2147483647).default(0), "In bytes, at most the master's; 0 leaves the kernel's choice.", {
    official: '0.6.0',
  }),
  linkInContainer: described(flag, "The link above is in the container's namespace, not in the host's.", {
    official: '1.3.0',
  }),
  addressConflictDetection: described(
    flag,
    'Probes for each address before it is used, and takes another where somebody answers.',
  ),
  ...lanKeys,
}

const childLink = z.object(childLinkKeys)

export type ChildLinkConfiguration = z.infer<typeof childLink>

import { z } from 'zod'
import { checked, described, flag, networkConfiguration } from '../../shared/values/config.schema.js'
import { route } from '../../shared/values/result.schema.js'

const first = { official: '0.6.0' }

/** Addresses stay text here: _ranges.ts reads them, which reports all mistakes of a range together. */
const range = {
  subnet: described(z.string().optional(), 'The subnet, such as "10.1.2.0/24".', first),
  rangeStart: described(z.string().optional(), 'The first address to give. Absent: the first of the subnet.', first),
  rangeEnd: described(
    z.string().optional(),
    'The last address to give. Absent: the last of the subnet, but for the broadcast address of IPv4.',
    first,
  ),
  gateway: described(
    z.string().optional(),
    'The gateway, which is never given to a container. Absent: the first address of the subnet.',
    first,
  ),
}
const rangeSets = z.array(z.array(z.object(range)))
const requestedAddresses = described(
  z.array(checked('addressMaybePrefix')).optional(),
  'Addresses that are asked for; in runtimeConfig by the capability "ips".',
  first,
)

/** `ipam` of host-local and the dynamic data it takes; the rest of the object belongs to the plugin that asks. */
export const schema = described(
  networkConfiguration.loose().extend({
    ipam: z
      .object({
        type: described(z.string().optional(), 'The IPAM plugin: "host-local".', first),
        name: described(z.string().optional(), 'Not used: the network has the name.', first),
        ...range,
        ranges: described(
          rangeSets.optional(),
          'Sets of ranges; the container gets one address of each set, so that one set for each family makes both.',
          first,
        ),
        routes: described(z.array(route).default([]), 'The routes of the container.', first),
        dataDir: described(
          checked('path').optional(),
          'The folder of the leases. Absent: /var/lib/cni/networks.',
          first,
        ),
        resolvConf: described(
          checked('path').optional(),
          'A file as resolv.conf(5), of which the result gets the name servers.',
          first,
        ),
        statusOnFullRange: described(
          flag,
          'STATUS answers 50 for a full range, as the specification has it, instead of a warning.',
          { since: '0.2.0' },
        ),
      })
      .optional(),
    args: z.looseObject({ cni: z.looseObject({ ips: requestedAddresses }).optional() }).optional(),
    runtimeConfig: z
      .looseObject({
        ipRanges: described(
          rangeSets.optional(),
          'Sets of ranges from the runtime, by the capability "ipRanges"; they come before those of the file.',
          { official: '0.7.0' },
        ),
        ips: requestedAddresses,
      })
      .optional(),
  }),
  'Gives addresses out of ranges, and keeps on this host which are taken, as the IPAM plugin of another one.',
  first,
)

export type HostLocalConfiguration = z.infer<typeof schema>

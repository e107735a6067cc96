import { z } from 'zod'
import { described, networkConfiguration } from '../../shared/values/config.schema.js'
import { childLinkKeys } from '../lan/child-link.schema.js'

export const schema = described(
  networkConfiguration.extend({
    ...childLinkKeys,
    mode: described(
      z.enum(['l2', 'l3', 'l3s', '']).default('l2'),
      'Where packets are switched, one for all children of a master: "l2" as on the LAN, "l3" without ARP and broadcast, "l3s" the same but through netfilter of the host. Empty means l2.',
      { official: '0.6.0' },
    ),
  }),
  "Gives the container an interface on the LAN of a link of the host, with that link's MAC address.",
  { official: '0.6.0' },
)

export type IpvlanConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, described, networkConfiguration } from '../../shared/values/config.schema.js'

const first = { since: '0.2.0', official: '0.6.0' }

export const schema = described(
  networkConfiguration.extend({
    subnetFile: described(
      checked('path').default('/run/flannel/subnet.env'),
      "Where flanneld writes the cluster's networks, this node's subnets, the MTU and whether it masquerades.",
      first,
    ),
    dataDir: described(
      checked('directPath').default('/var/lib/cni/flannel'),
      'The folder that keeps what the delegate was given, by container, for DEL.',
      first,
    ),
    delegate: described(
      z.looseObject({ type: described(z.string().optional(), "The delegate's type.", first) }).optional(),
      'The plugin that makes the interface, and its keys; without type it is bridge. Absent: ipMasq is the reverse of what flanneld does, mtu is its MTU, and a bridge has isGateway. name and ipam are not its own.',
      first,
    ),
    ipam: described(
      z.looseObject({ type: z.string().optional(), routes: z.array(z.unknown()).optional() }).optional(),
      "The delegate's ipam, without type host-local: its ranges are this node's subnets, and the cluster's networks come behind its routes.",
      first,
    ),
  }),
  "Lets bridge or another plugin attach the container, with the addresses and the MTU that flannel's daemon has for this node.",
  first,
)
export type FlannelConfiguration = z.infer<typeof schema>

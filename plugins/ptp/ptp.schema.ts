import { z } from 'zod'
import { described, mtu, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = described(
  networkConfiguration.extend({
    ipMasqBackend: described(
      z.enum(['nftables', 'iptables']).optional(),
      'Which rules ipMasq makes. Absent: nftables.',
      { official: '1.6.0' },
    ),
    mtu: described(mtu, "Of both ends of the link, in bytes; 0 leaves the kernel's choice.", { official: '0.6.0' }),
  }),
  "Connects the container and the host by a pair of links, without a bridge: the host routes each container's address.",
  { official: '0.6.0' },
)

export type PtpConfiguration = z.infer<typeof schema>

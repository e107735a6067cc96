import { z } from 'zod'
import { checked, described, flag, networkConfiguration } from '../../shared/values/config.schema.js'

const port = z.int().min(1).max(65535)
const first = { official: '0.6.0' }

const portMapping = z.object({
  hostPort: described(port, 'The port of the host.', first),
  containerPort: described(port, 'The port of the container that it leads to.', first),
  protocol: described(z.string().default(''), '"tcp", "udp" or "sctp", in any case; empty means tcp.', first),
  hostIP: described(
    checked('addressOrEmpty').optional(),
    "The host's address that the mapping is for; empty or unspecified: all (of its family).",
    first,
  ),
})

export const schema = described(
  networkConfiguration.extend({
    backend: described(
      z.enum(['nftables', 'iptables']).optional(),
      "Which rules are made. Absent: nftables, unless other keys speak iptables' words.",
      { official: '1.6.0' },
    ),
    snat: described(
      z.boolean().default(true),
      'Masquerades what the container could not answer otherwise: connections from the loopback and from its own subnet.',
      first,
    ),
    masqAll: described(flag, 'Masquerades every connection to a published port.', { official: '1.2.0' }),
    markMasqBit: described(
      z.int().min(0).max(31).optional(),
      'The bit of the packet mark that asks for masquerade; iptables only. Absent: 13.',
      { official: '0.7.0' },
    ),
    externalSetMarkChain: described(
      checked('chainName').optional(),
      "Somebody else's chain that marks for masquerade, such as KUBE-MARK-MASQ; iptables only.",
      { official: '0.7.0' },
    ),
    conditionsV4: described(
      z.array(z.string()).optional(),
      "Matches that an IPv4 packet must pass, in the backend's own words.",
      first,
    ),
    conditionsV6: described(
      z.array(z.string()).optional(),
      "Matches that an IPv6 packet must pass, in the backend's own words.",
      first,
    ),
    runtimeConfig: z
      .looseObject({
        portMappings: described(
          z.array(portMapping).optional(),
          'The ports to publish, from the runtime, by the capability "portMappings".',
          first,
        ),
      })
      .optional(),
  }),
  'Publishes ports of the container on the host, behind the plugin that gave it addresses.',
  first,
)

export type PortmapConfiguration = z.infer<typeof schema>
export type Backend = NonNullable<PortmapConfiguration['backend']>
export type PortMapping = z.infer<typeof portMapping>

import { z } from 'zod'
import { checked, flag, networkConfiguration } from '../../shared/values/config.schema.js'

const port = z.int().min(1).max(65535)

const portMapping = z.object({
  hostPort: port,
  containerPort: port,
  /** tcp, udp or sctp, in any case. */
  protocol: z.string().default(''),
  /** The host's address the mapping is for; empty or unspecified: all (of its family). */
  hostIP: checked('addressOrEmpty').optional(),
})

export const schema = networkConfiguration.extend({
  backend: z.enum(['nftables', 'iptables']).optional(),
  /** Masquerade what a container could not answer otherwise: loopback and its own subnet. */
  snat: z.boolean().default(true),
  /** Masquerade every connection to a published port. */
  masqAll: flag,
  /** The bit of the packet mark that asks for masquerade; iptables only. */
  markMasqBit: z.int().min(0).max(31).optional(),
  /** Somebody else's chain that marks for masquerade; iptables only. */
  externalSetMarkChain: checked('chainName').optional(),
  /** Matches in the backend's own words that a packet must pass. */
  conditionsV4: z.array(z.string()).optional(),
  conditionsV6: z.array(z.string()).optional(),
  runtimeConfig: z.looseObject({ portMappings: z.array(portMapping).optional() }).optional(),
})

export type PortmapConfiguration = z.infer<typeof schema>
export type Backend = NonNullable<PortmapConfiguration['backend']>
export type PortMapping = z.infer<typeof portMapping>

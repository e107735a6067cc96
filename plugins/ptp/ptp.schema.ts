import { z } from 'zod'
import { mtu, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = networkConfiguration.extend({
  ipMasqBackend: z.enum(['nftables', 'iptables']).optional(),
  mtu,
})

export type PtpConfiguration = z.infer<typeof schema>

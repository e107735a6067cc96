import { z } from 'zod'
import { checked, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = networkConfiguration.extend({
  /** Absent or empty: firewalld where it runs, nftables elsewhere. */
  backend: z.enum(['', 'nftables', 'iptables', 'firewalld']).default(''),
  /** The chain whose rules come before ours in an iptables FORWARD chain. */
  iptablesAdminChainName: checked('chainNameOrEmpty').default('CNI-ADMIN'),
  firewalldZone: checked('identifierOrEmpty').default('trusted'),
  ingressPolicy: z.enum(['', 'open', 'same-bridge', 'isolated']).default(''),
})

export type FirewallConfiguration = z.infer<typeof schema>

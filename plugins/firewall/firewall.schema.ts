import { z } from 'zod'
import { checked, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = networkConfiguration.extend({
  /**
   * Absent or empty: firewalld where it runs, nftables elsewhere. "ip6tables" means iptables, which does both
   * families.
   */
  backend: z.enum(['', 'nftables', 'iptables', 'ip6tables', 'firewalld']).default(''),
  /** The chain whose rules come before ours in an iptables FORWARD chain. */
  iptablesAdminChainName: checked('chainNameOrEmpty').default('CNI-ADMIN'),
  firewalldZone: checked('identifierOrEmpty').default('trusted'),
  ingressPolicy: z.enum(['', 'open', 'same-bridge', 'isolated']).default(''),
})

export type FirewallConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, described, networkConfiguration } from '../../shared/values/config.schema.js'

const first = { official: '0.8.0' }

export const schema = described(
  networkConfiguration.extend({
    backend: described(
      z.enum(['', 'nftables', 'iptables', 'ip6tables', 'firewalld']).default(''),
      'Which rules are made. Empty: firewalld where it runs, nftables elsewhere. "ip6tables" means iptables, which does both families.',
      first,
    ),
    iptablesAdminChainName: described(
      checked('chainNameOrEmpty').default('CNI-ADMIN'),
      "The chain for an administrator's rules, which come before ours in iptables' FORWARD.",
      first,
    ),
    firewalldZone: described(
      checked('identifierOrEmpty').default('trusted'),
      "The zone of firewalld that the container's addresses join.",
      first,
    ),
    ingressPolicy: described(
      z.enum(['', 'open', 'same-bridge', 'isolated']).default(''),
      'Who may reach the container from other bridges and from its own: "open" (as empty) everybody, "same-bridge" only containers of the same bridge, "isolated" no other container.',
      { official: '1.1.0' },
    ),
  }),
  'Lets what the container sends, and the replies, pass a host that forwards nothing by itself.',
  first,
)

export type FirewallConfiguration = z.infer<typeof schema>

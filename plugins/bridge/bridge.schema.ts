import { z } from 'zod'
import { checked, described, flag, linkName, mtu, networkConfiguration } from '../../shared/values/config.schema.js'

const vlanID = z.int().min(1).max(4094)
const withMac = z.looseObject({
  mac: described(
    checked('macOrEmpty').optional(),
    'The MAC address of the container\'s interface; in runtimeConfig by the capability "mac".',
    { official: '1.0.0' },
  ),
})
const first = { official: '0.6.0' }

export const schema = described(
  networkConfiguration.extend({
    bridge: described(linkName.default('cni0'), 'The name of the bridge, which is made where there is none.', first),
    isGateway: described(flag, "The bridge gets the gateway's address, and the host forwards.", first),
    isDefaultGateway: described(
      flag,
      "The container's default route leads to the bridge; this implies isGateway.",
      first,
    ),
    forceAddress: described(flag, 'Replaces another address of the bridge instead of refusing.', first),
    ipMasqBackend: described(
      z.enum(['nftables', 'iptables']).optional(),
      'Which rules ipMasq makes. Absent: nftables.',
      { official: '1.6.0' },
    ),
    mtu: described(
      mtu,
      "Of both ends of the container's link and of a new bridge, in bytes; 0 leaves the kernel's choice.",
      first,
    ),
    hairpinMode: described(
      flag,
      'A frame may leave by the port that it came in by: the container reaches its own published ports.',
      first,
    ),
    promiscMode: described(
      flag,
      'The bridge takes every frame, which also lets a container reach itself; not together with hairpinMode.',
      first,
    ),
    vlan: described(z.int().min(0).max(4094).default(0), "The untagged VLAN of the container's port; 0 is none.", {
      official: '0.8.0',
    }),
    vlanTrunk: described(
      z
        .array(
          z.object({
            minID: described(vlanID.optional(), 'The first VLAN of a range.', { official: '1.3.0' }),
            maxID: described(vlanID.optional(), 'The last VLAN of a range.', { official: '1.3.0' }),
            id: described(vlanID.optional(), 'One VLAN.', { official: '1.3.0' }),
          }),
        )
        .optional(),
      "The tagged VLANs of the container's port.",
      { official: '1.3.0' },
    ),
    preserveDefaultVlan: described(flag, "Keeps the bridge's default VLAN on the port beside those configured.", {
      official: '1.3.0',
    }),
    macspoofchk: described(flag, "Drops frames from the container that carry another's MAC address.", {
      official: '1.1.0',
    }),
    enabledad: described(flag, 'Leaves IPv6 duplicate address detection on in the container.', { official: '1.1.0' }),
    disableContainerInterface: described(
      flag,
      "Leaves the container's interface down, for who takes it up later; not together with ipam.",
      { official: '1.4.1' },
    ),
    portIsolation: described(flag, 'Isolated ports of the bridge do not reach each other, only the others.', {
      official: '1.7.0',
    }),
    args: z.looseObject({ cni: withMac.optional() }).optional(),
    runtimeConfig: withMac.optional(),
  }),
  'Connects the container to a bridge of the host by a pair of links; with isGateway the host is its gateway.',
  first,
)

export type BridgeConfiguration = z.infer<typeof schema>

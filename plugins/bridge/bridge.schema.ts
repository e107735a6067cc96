import { z } from 'zod'
import { checked, flag, linkName, mtu, networkConfiguration } from '../../shared/values/config.schema.js'

const vlanID = z.int().min(1).max(4094)
const withMac = z.looseObject({ mac: checked('macOrEmpty').optional() })

export const schema = networkConfiguration.extend({
  bridge: linkName.default('cni0'),
  /** The bridge gets the gateway's address and the host forwards. */
  isGateway: flag,
  /** The container's default route leads to the bridge; implies isGateway. */
  isDefaultGateway: flag,
  /** Replaces another address of the bridge instead of refusing. */
  forceAddress: flag,
  ipMasqBackend: z.enum(['nftables', 'iptables']).optional(),
  mtu,
  hairpinMode: flag,
  promiscMode: flag,
  /** The port's untagged VLAN; 0 for none. */
  vlan: z.int().min(0).max(4094).default(0),
  vlanTrunk: z
    .array(z.object({ minID: vlanID.optional(), maxID: vlanID.optional(), id: vlanID.optional() }))
    .optional(),
  /** Keeps the bridge's default VLAN on the port beside the configured ones. */
  preserveDefaultVlan: flag,
  macspoofchk: flag,
  /** Leaves IPv6 duplicate address detection on in the container. */
  enabledad: flag,
  disableContainerInterface: flag,
  portIsolation: flag,
  args: z.looseObject({ cni: withMac.optional() }).optional(),
  runtimeConfig: withMac.optional(),
})

export type BridgeConfiguration = z.infer<typeof schema>

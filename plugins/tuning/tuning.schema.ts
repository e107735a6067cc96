import { z } from 'zod'
import { checked, described, flag, mtu, networkConfiguration } from '../../shared/values/config.schema.js'

const keys = {
  sysctl: described(
    z.record(z.string(), z.string()).optional(),
    'Settings of the container\'s namespace, by their names; "IFNAME" in one stands for the interface.',
    { official: '0.6.0' },
  ),
  mac: described(checked('macOrEmpty').optional(), 'The MAC address of the interface.', { official: '0.8.0' }),
  promisc: described(flag, 'The interface takes every frame; false leaves it as it is.', { official: '0.8.0' }),
  mtu: described(mtu, 'The MTU of the interface in bytes; 0 leaves it as it is.', { official: '0.8.0' }),
  allmulti: described(z.boolean().optional(), 'The interface takes all multicast frames, or not.', {
    official: '1.0.0',
  }),
  txQLen: described(z.int().min(0).max(4294967295).optional(), 'The length of the queue for sending, in packets.', {
    official: '1.4.0',
  }),
}

export const schema = described(
  networkConfiguration.extend({
    ...keys,
    dataDir: described(checked('directPath').optional(), 'The folder that keeps the original values for DEL.', {
      official: '0.9.0',
    }),
    args: z.looseObject({ cni: z.looseObject(keys).optional() }).optional(),
    runtimeConfig: z
      .looseObject({
        mac: described(
          checked('macOrEmpty').optional(),
          'The MAC address, from the runtime, by the capability "mac".',
          { official: '0.8.2' },
        ),
      })
      .optional(),
  }),
  "Sets the container's sysctls and attributes of its interface, and gives the original values back at DEL.",
  { official: '0.6.0' },
)

export type TuningConfiguration = z.infer<typeof schema>

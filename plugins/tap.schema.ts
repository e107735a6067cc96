import { z } from 'zod'
import { checked, described, flag, mtu, networkConfiguration } from '../shared/values/config.schema.js'
import { lanKeys } from './lan/child-link.schema.js'

/** A user or group by number; the highest means nobody to the kernel. */
const id = z.int().min(0).max(4294967294).optional()
const first = { official: '1.3.0' }

export const schema = described(
  networkConfiguration.extend({
    multiQueue: described(flag, 'Several processors may read and write the device at once.', first),
    mtu: described(mtu, "In bytes; 0 leaves the kernel's choice.", first),
    mac: described(checked('macOrEmpty').optional(), 'The MAC address of the device.', first),
    owner: described(id, 'The user, by number, who may attach to the device.', first),
    group: described(id, 'The group, by number, whose members may attach to the device.', first),
    selinuxContext: described(z.string().optional(), 'The SELinux context that the device is made under.', first),
    bridge: described(
      checked('linkNameOrEmpty').optional(),
      'A bridge inside the container that the device becomes a port of.',
      { official: '1.4.0' },
    ),
    runtimeConfig: z
      .looseObject({
        mac: described(
          checked('macOrEmpty').optional(),
          'The MAC address, from the runtime, by the capability "mac".',
          first,
        ),
      })
      .optional(),
    ...lanKeys,
  }),
  'Makes a tap device in the container, for a virtual machine that runs there.',
  first,
)

export type TapConfiguration = z.infer<typeof schema>

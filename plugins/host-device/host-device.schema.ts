import { z } from 'zod'
import { checked, flag, networkConfiguration } from '../../shared/values/config.schema.js'
import { lanKeys } from '../lan/child-link.schema.js'

export const schema = networkConfiguration.extend({
  /** The link by its name, or by an alternative one. */
  device: checked('linkPattern').optional(),
  /** The first link with this hardware address. */
  hwaddr: z.string().optional(),
  /** The first link of a device below /sys/devices/. */
  kernelpath: checked('path').optional(),
  /** The first link of a device on the PCI bus, such as "0000:04:00.1". */
  pciBusID: checked('path').optional(),
  /**
   * There is no link to move: a program in the container drives the device itself. Known by its driver where that is.
   */
  dpdkMode: flag,
  /** The addresses, routes and rules that the device has on the host go with it, and come back with it. */
  useInterfaceNetwork: flag,
  runtimeConfig: z
    .looseObject({
      /** What a device plugin allocated: a device on the PCI or the auxiliary bus. */
      deviceID: checked('path').optional(),
    })
    .optional(),
  ...lanKeys,
})

export type HostDeviceConfiguration = z.infer<typeof schema>

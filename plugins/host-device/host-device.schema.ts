import { z } from 'zod'
import { checked, described, flag, networkConfiguration } from '../../shared/values/config.schema.js'
import { lanKeys } from '../lan/child-link.schema.js'

const first = { official: '0.7.0' }

export const schema = described(
  networkConfiguration.extend({
    device: described(checked('linkPattern').optional(), 'The link, by its name or by an alternative one.', first),
    hwaddr: described(z.string().optional(), 'The first link with this hardware address.', first),
    kernelpath: described(
      checked('path').optional(),
      'The first link of a device below /sys/devices/, by its path there.',
      first,
    ),
    pciBusID: described(
      checked('path').optional(),
      'The first link of a device on the PCI bus, such as "0000:04:00.1".',
      { official: '0.8.1' },
    ),
    dpdkMode: described(
      flag,
      'There is no link to move: a program in the container drives the device itself. Known by its driver where that is.',
      { official: '0.9.1' },
    ),
    useInterfaceNetwork: described(
      flag,
      'The addresses, routes and rules that the device has on the host go with it, and come back with it.',
      { official: '1.10.0', since: '0.2.0' },
    ),
    runtimeConfig: z
      .looseObject({
        deviceID: described(
          checked('path').optional(),
          'What a device plugin allocated, a device on the PCI or the auxiliary bus, by the capability "deviceID".',
          { official: '0.8.6' },
        ),
      })
      .optional(),
    ...lanKeys,
  }),
  'Moves a link of the host into the container, and back at DEL.',
  first,
)

export type HostDeviceConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, flag, mtu, networkConfiguration } from '../shared/values/config.schema.js'
import { lanKeys } from './lan/child-link.schema.js'

/** A user or group by number; the highest means nobody to the kernel. */
const id = z.int().min(0).max(4294967294).optional()

export const schema = networkConfiguration.extend({
  /** Several processors may read and write the device at once. */
  multiQueue: flag,
  mtu,
  mac: checked('macOrEmpty').optional(),
  /** The user and the group who may attach to the device. */
  owner: id,
  group: id,
  /** The SELinux context the device is made under. */
  selinuxContext: z.string().optional(),
  /** A bridge inside the container that the device becomes a port of. */
  bridge: checked('linkNameOrEmpty').optional(),
  runtimeConfig: z.looseObject({ mac: checked('macOrEmpty').optional() }).optional(),
  ...lanKeys,
})

export type TapConfiguration = z.infer<typeof schema>

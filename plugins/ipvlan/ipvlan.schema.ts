import { z } from 'zod'
import { networkConfiguration } from '../../shared/values/config.schema.js'
import { childLinkKeys } from '../lan/child-link.schema.js'

export const schema = networkConfiguration.extend({
  ...childLinkKeys,
  /** Where packets are switched; one for all children of a master. Empty means l2. */
  mode: z.enum(['l2', 'l3', 'l3s', '']).default('l2'),
})

export type IpvlanConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { networkConfiguration } from '../shared/values/config.schema.js'
import { childLinkKeys } from './lan/child-link.schema.js'

export const schema = networkConfiguration.extend({
  ...childLinkKeys,
  /** The tag of its frames. */
  vlanId: z.int().min(0).max(4094).default(0),
})

export type VlanConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, flag, networkConfiguration } from '../../shared/values/config.schema.js'
import { childLinkKeys } from '../lan/child-link.schema.js'

export const schema = networkConfiguration.extend({
  ...childLinkKeys,
  /** How children of one master reach each other; empty means bridge. */
  mode: z.enum(['bridge', 'private', 'vepa', 'passthru', '']).default('bridge'),
  mac: checked('macOrEmpty').optional(),
  /** Length of the master's queue for broadcasts, in packets; 0 leaves the kernel's choice. */
  bcqueuelen: z.int().min(0).max(4294967295).default(0),
  /** Lets the host and the container talk, by a child of the host's own. */
  hostAccess: flag,
  runtimeConfig: z.looseObject({ mac: checked('macOrEmpty').optional() }).optional(),
})

export type MacvlanConfiguration = z.infer<typeof schema>

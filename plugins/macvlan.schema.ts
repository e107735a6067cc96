import { z } from 'zod'
import { checked, networkConfiguration } from '../shared/protocol/config.schema.js'
import { childLinkKeys } from './_child-link.schema.js'

export const schema = networkConfiguration.extend({
  ...childLinkKeys,
  /** How children of one master reach each other; empty means bridge. */
  mode: z.enum(['bridge', 'private', 'vepa', 'passthru', '']).default('bridge'),
  mac: checked('macOrEmpty').optional(),
  /** Length of the master's queue for broadcasts, in packets; 0 leaves the kernel's choice. */
  bcqueuelen: z.int().min(0).max(4294967295).default(0),
  runtimeConfig: z.looseObject({ mac: checked('macOrEmpty').optional() }).optional(),
})

export type MacvlanConfiguration = z.infer<typeof schema>

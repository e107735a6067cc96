import { z } from 'zod'
import { checked, flag, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = networkConfiguration.extend({
  /** The table of every address; its routes are somebody else's business then. 0 or absent: a free one for each. */
  table: z.int().min(0).max(4294967295).optional(),
  /** The gateways of the tables' default routes, at most one a family, instead of the result's. */
  gateways: z.array(checked('address')).optional(),
  /** Leaves routes to the own subnets in the main table, with the own address as the source to use. */
  addSourceHints: flag,
})

export type SbrConfiguration = z.infer<typeof schema>

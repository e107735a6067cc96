import { z } from 'zod'
import { linkName, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = networkConfiguration.extend({
  /** The VRF's name in the container. */
  vrfname: linkName,
  /** Its routing table; 0 or absent takes a free one. */
  table: z.int().min(0).max(4294967295).default(0),
})

export type VrfConfiguration = z.infer<typeof schema>

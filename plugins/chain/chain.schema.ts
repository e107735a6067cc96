import { z } from 'zod'
import { networkConfiguration } from '../../shared/values/config.schema.js'

/** A plugin of the chain, as it would stand in a list; its own schema reads the rest of it. */
const member = z.looseObject({
  type: z.string(),
  capabilities: z.record(z.string(), z.boolean()).optional(),
  ipam: z.looseObject({ type: z.string().optional() }).optional(),
})

/** Whatever else stands beside `plugins` goes to every member that does not set it itself. */
export const schema = networkConfiguration.extend({ plugins: z.array(member) }).loose()
export type ChainConfiguration = z.infer<typeof schema>

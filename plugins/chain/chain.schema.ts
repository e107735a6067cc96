import { z } from 'zod'
import { described, networkConfiguration } from '../../shared/values/config.schema.js'

/** A plugin of the chain, as it would stand in a list; its own schema reads the rest of it. */
const member = z.looseObject({
  type: z.string(),
  capabilities: z.record(z.string(), z.boolean()).optional(),
  ipam: z.looseObject({ type: z.string().optional() }).optional(),
})

/** Whatever else stands beside `plugins` goes to every member that does not set it itself. */
export const schema = described(
  networkConfiguration
    .extend({
      plugins: described(
        z.array(member),
        'The plugins, in order, each as it would stand in a list. Other keys beside this one go to every member that does not set them.',
        { since: '0.2.0' },
      ),
    })
    .loose(),
  'Runs a list of plugins in one process: one start a pod, and an ADD that fails leaves nothing.',
  { since: '0.2.0' },
)
export type ChainConfiguration = z.infer<typeof schema>

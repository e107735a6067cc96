import { z } from 'zod'
import { described, linkName, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = described(
  networkConfiguration.extend({
    vrfname: described(linkName, "The VRF's name in the container, where it is made if there is none.", {
      official: '0.9.0',
    }),
    table: described(z.int().min(0).max(4294967295).default(0), 'Its routing table; 0 or absent takes a free one.', {
      official: '0.9.0',
    }),
  }),
  'Puts the interface into a VRF in the container: a routing domain of its own.',
  { official: '0.9.0' },
)

export type VrfConfiguration = z.infer<typeof schema>

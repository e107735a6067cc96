import { z } from 'zod'
import { described, networkConfiguration } from '../shared/values/config.schema.js'
import { childLinkKeys } from './lan/child-link.schema.js'

export const schema = described(
  networkConfiguration.extend({
    ...childLinkKeys,
    vlanId: described(z.int().min(0).max(4094).default(0), 'The tag of its frames; each is used once on a master.', {
      official: '0.6.0',
    }),
  }),
  'Gives the container one tagged VLAN of a link of the host.',
  { official: '0.6.0' },
)

export type VlanConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, described, flag, networkConfiguration } from '../../shared/values/config.schema.js'

export const schema = described(
  networkConfiguration.extend({
    table: described(
      z.int().min(0).max(4294967295).optional(),
      "The routing table of every address; its routes are somebody else's business then. 0 or absent: a free one for each.",
      { official: '1.6.0' },
    ),
    gateways: described(
      z.array(checked('address')).optional(),
      "The gateways of the tables' default routes, at most one a family, instead of the result's.",
      { official: '1.10.0' },
    ),
    addSourceHints: described(
      flag,
      'Leaves routes to the own subnets in the main table, with the own address as the source to use.',
      { official: '1.10.0' },
    ),
  }),
  'Lets replies leave by the interface whose address was asked (source based routing), behind a second network.',
  { official: '0.8.0' },
)

export type SbrConfiguration = z.infer<typeof schema>

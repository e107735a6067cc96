import type { z } from 'zod'
import { described, networkConfiguration } from '../shared/values/config.schema.js'
import { lanKeys } from './lan/child-link.schema.js'

export const schema = described(
  networkConfiguration.extend({ keepIPv6: lanKeys.keepIPv6 }),
  'Makes an interface that holds addresses that are always there and lead nowhere.',
  { official: '1.2.0' },
)

export type DummyConfiguration = z.infer<typeof schema>

import type { z } from 'zod'
import { networkConfiguration } from '../shared/values/config.schema.js'
import { lanKeys } from './lan/child-link.schema.js'

export const schema = networkConfiguration.extend({ keepIPv6: lanKeys.keepIPv6 })

export type DummyConfiguration = z.infer<typeof schema>

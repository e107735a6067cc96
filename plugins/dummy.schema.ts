import type { z } from 'zod'
import { networkConfiguration } from '../shared/protocol/config.schema.js'
import { lanKeys } from './_child-link.schema.js'

export const schema = networkConfiguration.extend({ keepIPv6: lanKeys.keepIPv6 })

export type DummyConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { networkConfiguration } from '../../shared/values/config.schema.js'

/**
 * Rates in bits a second, bursts in bits; 0 or absent is no limit. Numbers above 2^53 are not exact in JSON and
 * refused.
 */
const bits = z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0)
const limits = { ingressRate: bits, ingressBurst: bits, egressRate: bits, egressBurst: bits }

export const schema = networkConfiguration.extend({
  ...limits,
  runtimeConfig: z.looseObject({ bandwidth: z.looseObject(limits).optional() }).optional(),
})

export type BandwidthConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { described, networkConfiguration } from '../../shared/values/config.schema.js'

/** Numbers above 2^53 are not exact in JSON and refused. */
const bits = z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0)
const first = { official: '0.8.0' }
const limits = {
  ingressRate: described(bits, 'What may reach the container, in bits a second; 0 is no limit.', first),
  ingressBurst: described(bits, 'What may reach it at once beyond the rate, in bits.', first),
  egressRate: described(bits, 'What the container may send, in bits a second; 0 is no limit.', first),
  egressBurst: described(bits, 'What it may send at once beyond the rate, in bits.', first),
}

export const schema = described(
  networkConfiguration.extend({
    ...limits,
    runtimeConfig: z
      .looseObject({
        bandwidth: described(
          z.looseObject(limits).optional(),
          'Limits from the runtime, by the capability "bandwidth"; they count before those of the file.',
          first,
        ),
      })
      .optional(),
  }),
  'Limits what the container sends and gets, behind bridge or ptp.',
  first,
)

export type BandwidthConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, dns, networkConfiguration } from '../shared/values/config.schema.js'
import { route } from '../shared/values/result.schema.js'

const replacement = z.array(checked('cidr')).optional()

/** `ipam` of static and what may replace its addresses; the rest of the object belongs to the plugin that asks. */
export const schema = networkConfiguration.loose().extend({
  ipam: z
    .object({
      type: z.string().optional(),
      name: z.string().optional(),
      /** `address` is read where it counts: where nothing replaces it. */
      addresses: z.array(z.object({ address: z.unknown(), gateway: checked('addressOrEmpty').optional() })).default([]),
      routes: z.array(route).default([]),
      dns: dns.optional(),
    })
    .optional(),
  args: z.looseObject({ cni: z.looseObject({ ips: replacement }).optional() }).optional(),
  runtimeConfig: z.looseObject({ ips: replacement }).optional(),
})

export type StaticConfiguration = z.infer<typeof schema>

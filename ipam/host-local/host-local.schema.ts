import { z } from 'zod'
import { checked, flag, networkConfiguration } from '../../shared/values/config.schema.js'
import { route } from '../../shared/values/result.schema.js'

/** Addresses stay text here: _ranges.ts reads them, which reports all mistakes of a range together. */
const range = {
  subnet: z.string().optional(),
  rangeStart: z.string().optional(),
  rangeEnd: z.string().optional(),
  gateway: z.string().optional(),
}
const rangeSets = z.array(z.array(z.object(range)))
const requestedAddresses = z.array(checked('addressMaybePrefix'))

/** `ipam` of host-local and the dynamic data it takes; the rest of the object belongs to the plugin that asks. */
export const schema = networkConfiguration.loose().extend({
  ipam: z
    .object({
      type: z.string().optional(),
      name: z.string().optional(),
      ...range,
      ranges: rangeSets.optional(),
      routes: z.array(route).default([]),
      dataDir: checked('path').optional(),
      resolvConf: checked('path').optional(),
      /** STATUS answers 50 for a full range, as the specification has it, instead of a warning. */
      statusOnFullRange: flag,
    })
    .optional(),
  args: z.looseObject({ cni: z.looseObject({ ips: requestedAddresses.optional() }).optional() }).optional(),
  runtimeConfig: z.looseObject({ ipRanges: rangeSets.optional(), ips: requestedAddresses.optional() }).optional(),
})

export type HostLocalConfiguration = z.infer<typeof schema>

import { z } from 'zod'
import { checked, described, dns, networkConfiguration } from '../shared/values/config.schema.js'
import { route } from '../shared/values/result.schema.js'

const first = { official: '0.8.0' }
const replacement = described(
  z.array(checked('cidr')).optional(),
  'Addresses that replace those of the configuration; in runtimeConfig by the capability "ips".',
  { official: '0.8.2' },
)

/** `ipam` of static and what may replace its addresses; the rest of the object belongs to the plugin that asks. */
export const schema = described(
  networkConfiguration.loose().extend({
    ipam: z
      .object({
        type: described(z.string().optional(), 'The IPAM plugin: "static".', first),
        name: described(z.string().optional(), 'Not used: the network has the name.', first),
        addresses: described(
          z
            .array(
              z.object({
                // Read where it counts: where nothing replaces it.
                address: described(z.unknown(), 'An address with its prefix length, such as "10.1.2.3/24".', first),
                gateway: described(checked('addressOrEmpty').optional(), 'The gateway of its subnet.', first),
              }),
            )
            .default([]),
          'The addresses of the container.',
          first,
        ),
        routes: described(z.array(route).default([]), 'The routes of the container.', first),
        dns: described(dns.optional(), 'What the result says of name servers.', first),
      })
      .optional(),
    args: z.looseObject({ cni: z.looseObject({ ips: replacement }).optional() }).optional(),
    runtimeConfig: z.looseObject({ ips: replacement }).optional(),
  }),
  'Gives the addresses that the configuration says, as the IPAM plugin of another one.',
  first,
)

export type StaticConfiguration = z.infer<typeof schema>

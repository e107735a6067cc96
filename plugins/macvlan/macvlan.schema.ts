import { z } from 'zod'
import { checked, described, flag, networkConfiguration } from '../../shared/values/config.schema.js'
import { childLinkKeys } from '../lan/child-link.schema.js'

export const schema = described(
  networkConfiguration.extend({
    ...childLinkKeys,
    mode: described(
      z.enum(['bridge', 'private', 'vepa', 'passthru', '']).default('bridge'),
      'How children of one master reach each other: "bridge" directly, "private" never, "vepa" through a switch that reflects frames; "passthru" gives one container the whole link. Empty means bridge.',
      { official: '0.6.0' },
    ),
    mac: described(checked('macOrEmpty').optional(), "The MAC address of the container's interface.", {
      official: '0.8.7',
    }),
    bcqueuelen: described(
      z.int().min(0).max(4294967295).default(0),
      "Length of the master's queue for broadcasts, in packets; 0 leaves the kernel's choice.",
      { official: '1.6.0' },
    ),
    hostAccess: described(flag, "Lets the host and the container talk, by a child of the host's own."),
    runtimeConfig: z
      .looseObject({
        mac: described(
          checked('macOrEmpty').optional(),
          'The MAC address, from the runtime, by the capability "mac".',
          { official: '0.8.7' },
        ),
      })
      .optional(),
  }),
  'Makes the container a machine of its own on the LAN of a link of the host, with a MAC address of its own.',
  { official: '0.6.0' },
)

export type MacvlanConfiguration = z.infer<typeof schema>

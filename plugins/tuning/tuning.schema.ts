import { z } from 'zod'
import { checked, flag, mtu, networkConfiguration } from '../../shared/values/config.schema.js'

const sysctl = z.record(z.string(), z.string()).optional()
const mac = checked('macOrEmpty').optional()
const txQLen = z.int().min(0).max(4294967295).optional()

export const schema = networkConfiguration.extend({
  /** Settings of the container's namespace: key -> value; "IFNAME" in a key stands for the interface. */
  sysctl,
  mac,
  /** Only true acts. */
  promisc: flag,
  /** In bytes; 0 leaves it. */
  mtu,
  allmulti: z.boolean().optional(),
  /** In packets. */
  txQLen,
  /** Where the original values are kept for DEL. */
  dataDir: checked('directPath').optional(),
  args: z
    .looseObject({
      cni: z.looseObject({ sysctl, mac, promisc: flag, mtu, allmulti: z.boolean().optional(), txQLen }).optional(),
    })
    .optional(),
  runtimeConfig: z.looseObject({ mac }).optional(),
})

export type TuningConfiguration = z.infer<typeof schema>

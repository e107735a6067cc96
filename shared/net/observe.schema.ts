import { z } from 'zod'

/** What we read of `ip -j -d addr show`; iproute2 prints far more. */
const address = z.looseObject({
  family: z.string(),
  local: z.string().optional(),
  prefixlen: z.int().optional(),
  scope: z.string().optional(),
  tentative: z.boolean().optional(),
  dadfailed: z.boolean().optional(),
})

const link = z.looseObject({
  ifindex: z.int(),
  ifname: z.string(),
  flags: z.array(z.string()).default([]),
  mtu: z.int(),
  operstate: z.string().optional(),
  address: z.string().optional(),
  txqlen: z.int().optional(),
  promiscuity: z.int().optional(),
  master: z.string().optional(),
  link_index: z.int().optional(),
  link: z.string().optional(),
  linkinfo: z.looseObject({ info_kind: z.string().optional(), info_data: z.looseObject({}).optional() }).optional(),
  addr_info: z.array(address).default([]),
})

/** What we read of `ip -j route show`. */
const route = z.looseObject({
  dst: z.string(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  metric: z.int().optional(),
  table: z.string().optional(),
  scope: z.string().optional(),
  prefsrc: z.string().optional(),
})

export const schemas = { links: z.array(link), routes: z.array(route) }

export type ObservedLink = z.infer<typeof link>
export type ObservedRoute = z.infer<typeof route>

import { z } from 'zod'

/** What we read of `ip -j -d addr show`; iproute2 prints far more. */
const address = z.looseObject({
  family: z.string(),
  local: z.string().optional(),
  prefixlen: z.int().optional(),
  scope: z.string().optional(),
  tentative: z.boolean().optional(),
  dadfailed: z.boolean().optional(),
  dynamic: z.boolean().optional(),
  broadcast: z.string().optional(),
  nodad: z.boolean().optional(),
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
  ifalias: z.string().optional(),
  link_index: z.int().optional(),
  link_netnsid: z.int().optional(),
  permaddr: z.string().optional(),
  parentbus: z.string().optional(),
  parentdev: z.string().optional(),
  link: z.string().optional(),
  linkinfo: z.looseObject({ info_kind: z.string().optional(), info_data: z.looseObject({}).optional() }).optional(),
  addr_info: z.array(address).default([]),
})

const nexthop = z.looseObject({ gateway: z.string().optional(), dev: z.string(), weight: z.int().optional() })

/** What we read of `ip -N -j -d route show table all`: every name as its number. */
const numberedRoute = z.looseObject({
  dst: z.string(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  metric: z.int().optional(),
  table: z.string().optional(),
  scope: z.string().optional(),
  prefsrc: z.string().optional(),
  type: z.string().optional(),
  protocol: z.string().optional(),
  via: z.looseObject({ family: z.string(), host: z.string() }).optional(),
  flags: z.array(z.string()).default([]),
  metrics: z.array(z.record(z.string(), z.unknown())).optional(),
  pref: z.string().optional(),
  nexthops: z.array(nexthop).optional(),
})

/** What we read of `ip -N -j rule show`. */
const rule = z.looseObject({ src: z.string().optional(), srclen: z.int().optional(), table: z.string().optional() })

/** What we read of `tc -j -r qdisc show`: sizes in bytes, the rate in bytes a second. */
const qdisc = z.looseObject({
  kind: z.string(),
  root: z.boolean().optional(),
  options: z.looseObject({ rate: z.int().optional(), burst: z.int().optional(), limit: z.int().optional() }).optional(),
})

const action = z.looseObject({ mirred_action: z.string().optional(), to_dev: z.string().optional() })

/** What we read of `tc -j filter show`. */
const filter = z.looseObject({ options: z.looseObject({ actions: z.array(action).optional() }).optional() })

export const schemas = {
  links: z.array(link),
  numberedRoutes: z.array(numberedRoute),
  rules: z.array(rule),
  qdiscs: z.array(qdisc),
  filters: z.array(filter),
}

export type ObservedLink = z.infer<typeof link>
/** With the family it was asked for by, which `ip` does not repeat. */
export type NumberedRoute = z.infer<typeof numberedRoute> & { readonly family: 4 | 6 }
export type ObservedRule = z.infer<typeof rule>
export type ObservedQdisc = z.infer<typeof qdisc>
export type ObservedFilter = z.infer<typeof filter>

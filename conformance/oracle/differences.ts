/** A deliberate difference of podwire from the official suite, seen as lines of a snapshot. */
export interface Difference {
  /** What differs; the compatibility table of the README has the same rows. */
  what: string
  reason: string
  /** The cases it may appear in; all, unless given. */
  cases?: RegExp
  /** Lines that only the official suite leaves. */
  official?: RegExp
  /** Lines that only podwire leaves. */
  podwire?: RegExp
}

/** Every deliberate difference in kernel state or on disk. A line that no row explains is a defect. */
export const differences: Difference[] = [
  {
    what: 'router advertisements are not accepted inside the container',
    reason: 'a neighbour on the bridge must not be able to give a container routes and addresses',
    official: /^container\d: sysctl ipv6\/conf\/eth0\/accept_ra 1$/,
    podwire: /^container\d: sysctl ipv6\/conf\/eth0\/accept_ra 0$/,
  },
  {
    what: 'mtu and advmss of a route are applied',
    reason: 'they are in the specification and in the result; the official plugin prints them and does not set them',
    cases: /^bridge-routes$/,
    official: /^container\d: route type unicast dst (10\.7\.0\.0\/16|fd07::\/32) [^{]*$/,
    podwire: /^container\d: route type unicast dst (10\.7\.0\.0\/16|fd07::\/32) .*"mtu":1300/,
  },
  {
    what: 'nftables is the masquerade backend unless the configuration names one',
    reason: 'one transaction, and iptables may not be installed',
    cases: /^bridge-masquerade-default$/,
    official: /^host: iptables (nat|filter) /,
  },
  {
    what: 'masquerade by nftables has a table of its own, "inet podwire"',
    reason: 'a table has one owner, who may change its layout',
    cases: /^bridge-masquerade-(default|nftables)$/,
    official: /^host: nft table inet cni_plugins_masquerade( |:|$)/,
    podwire: /^host: nft table inet podwire( |:|$)/,
  },
]

import type { Run } from '../exec/run.js'
import { firstLine } from '../exec/stderr.js'
import { CniError, codes } from '../protocol/errors.js'

interface Probe {
  readonly argv: readonly string[]
  readonly stdin: string
}

/** What a plugin can ask of the kernel, with a command that only works where it is; it runs in a namespace of its own. */
const probes = {
  bridge: ['ip', 'link', 'add', 'probe', 'type', 'bridge'],
  veth: ['ip', 'link', 'add', 'probe', 'type', 'veth'],
  macvlan: child('macvlan'),
  ipvlan: child('ipvlan'),
  vlan: child('vlan id 2'),
  dummy: ['ip', 'link', 'add', 'probe', 'type', 'dummy'],
  ifb: ['ip', 'link', 'add', 'probe', 'type', 'ifb'],
  tbf: ['tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '8mbit', 'burst', '10000', 'limit', '35000'],
  mirred: ['tc', 'actions', 'add', 'action', 'mirred', 'egress', 'redirect', 'dev', 'lo'],
  vrf: ['ip', 'link', 'add', 'probe', 'type', 'vrf', 'table', '10'],
  tap: ['ip', 'tuntap', 'add', 'mode', 'tap', 'name', 'probe'],
  rules: ['ip', 'rule', 'add', 'from', '192.0.2.1', 'table', '100'],
  nftables: ['nft', 'add', 'table', 'ip', 'probe'],
  iptables: ['iptables', '-t', 'nat', '-N', 'probe'],
} as const satisfies Record<string, readonly string[] | Probe>

export type KernelFeature = keyof typeof probes

/** For STATUS: tries each feature in a throw-away network namespace. @throws code 50 naming all that are missing */
export function probeKernel({ run }: { readonly run: Run }, features: readonly KernelFeature[]): void {
  const missing = features.flatMap((feature) => {
    const probe = probes[feature]
    const { argv, ...input } = 'argv' in probe ? probe : { argv: probe }
    const outcome = run({ argv: ['unshare', '--net', ...argv], ...input })
    return outcome.status === 0 ? [] : [`${feature}: ${outcome.failure ?? firstLine(outcome.stderr)}`]
  })
  if (missing.length === 0) return
  throw new CniError(codes.notAvailable, `the kernel or a program is missing for ADD: ${missing.join(', ')}`, {
    fix: 'load the kernel module, or install iproute2, nftables (or iptables, where that is the backend) and util-linux',
  })
}

// --- internal

/** A link of that type above another one: the loopback interface refuses to be it. */
function child(type: string): Probe {
  const stdin = `link add below type veth peer name far\nlink add probe link below type ${type}\n`
  return { argv: ['ip', '-batch', '-'], stdin }
}

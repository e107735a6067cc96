import { type Result, resultOf } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { takeSnapshot } from '../harness/snapshot.js'

export const leases = '/var/lib/cni/networks/network'

/** A ptp network with addresses of both families, default routes and masquerade. */
export const dual = {
  cniVersion: '1.1.0',
  name: 'network',
  type: 'ptp',
  ipMasq: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
}

/** `ipam` with the addresses given. */
export function fixed(addresses: object[], routes: object[] = []): { ipam: object } {
  return { ipam: { type: 'static', addresses, routes } }
}

export function call(command: Verb, container: Container, more: Partial<Call> = {}): Call {
  return { plugin: 'ptp', command, config: dual, containerID: container.name, netns: container.netns, ...more }
}

/** ADDs a container with a changed configuration. */
export async function add(host: Host, container: Container, change: object = {}): Promise<Result> {
  return resultOf(await runPlugin(host, call('ADD', container, { config: { ...dual, ...change } })))
}

/** Everything but the files that only remember where the next search begins or what is locked. */
export async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: [leases, '/run/podwire'] })
  return lines.filter((line) => !/^file \S*\/(lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
}

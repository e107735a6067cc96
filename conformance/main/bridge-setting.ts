import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { takeSnapshot } from '../harness/snapshot.js'

/** Where host-local keeps the network's leases. */
export const leases = '/var/lib/cni/networks/network'
/** A bridge network with everything that leaves something behind. */
export const config = {
  cniVersion: '1.1.0',
  name: 'network',
  type: 'bridge',
  bridge: 'br0',
  isDefaultGateway: true,
  ipMasq: true,
  macspoofchk: true,
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]] },
}

/** A call of bridge for a container. */
export const call = (command: Verb, container: Container, more: Partial<Call> = {}): Call => ({
  plugin: 'bridge',
  command,
  config,
  containerID: container.name,
  netns: container.netns,
  ...more,
})

/** Everything but the files that only remember where the next search begins or what is locked. */
export async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: [leases] })
  return lines.filter((line) => !/^file \S*\/(lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
}

/**
 * One attachment made and unmade, so that what belongs to the network (bridge, tables, forwarding) is there already.
 */
export async function settled(host: Host): Promise<{ container: Container; before: string[] }> {
  const container = await host.container()
  resultOf(await runPlugin(host, call('ADD', container)))
  succeedSilently(await runPlugin(host, call('DEL', container)))
  return { container, before: await state(host) }
}

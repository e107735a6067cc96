import type { Conflist } from '../harness/chain.js'

/** A bridge network as most hosts have one: gateway, default route, masquerade, both families unless said otherwise. */
export function bridgeNetwork(
  more: { cniVersion?: string; plugin?: object; ipam?: object; name?: string } = {},
): Conflist {
  const bridge = { type: 'bridge', bridge: 'br0', isDefaultGateway: true, ipMasq: true, ...more.plugin }
  const ranges = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]]
  const ipam = { type: 'host-local', ranges, ...more.ipam }
  return { cniVersion: more.cniVersion ?? '1.1.0', name: more.name ?? 'network', plugins: [{ ...bridge, ipam }] }
}

/** The address of a result's family without its prefix length. */
export function addressOf(result: { ips?: { address: string }[] | undefined }, family: 4 | 6): string {
  const found = result.ips?.find(({ address }) => address.includes(':') === (family === 6))
  if (found === undefined) throw new Error(`no IPv${family} address in ${JSON.stringify(result)}`)
  return found.address.replace(/\/\d+$/, '')
}

import { formatCidr, networkOf, parseCidr } from '../../shared/values/address.js'
import type { Problem } from '../../shared/values/errors.js'

/** What flanneld knows of this node. */
export interface Subnet {
  /** Of the whole cluster, IPv4 first: every node's containers are in them. */
  readonly networks: readonly string[]
  /** Of this node, one a family. */
  readonly subnets: readonly string[]
  /** In bytes. */
  readonly mtu: number
  /** flanneld masquerades what leaves the cluster. */
  readonly masquerades: boolean
}

/**
 * Reads flanneld's file: a line for each of FLANNEL_NETWORK, FLANNEL_SUBNET (and their IPv6 siblings), FLANNEL_MTU and
 * FLANNEL_IPMASQ, in any order, the last of a name counting. Newer daemons name several networks, with commas between.
 * @returns what it says, and what is missing or wrong, by the names of the lines
 */
export function parseSubnet(text: string, file: string): { subnet: Subnet; problems: readonly Problem[] } {
  const values = linesOf(text)
  const problems: Problem[] = []
  const cidrs = (name: string): readonly string[] =>
    (values.get(name) ?? '').split(',').flatMap((one) => {
      const cidr = one === '' ? undefined : parseCidr(one)
      if (cidr) return [formatCidr(networkOf(cidr))]
      if (one !== '')
        problems.push({ path: name, value: one, expected: aSubnet, official: `invalid CIDR address: ${one}` })
      return []
    })
  const networks = [...cidrs('FLANNEL_NETWORK'), ...cidrs('FLANNEL_IPV6_NETWORK')]
  const subnets = [...cidrs('FLANNEL_SUBNET'), ...cidrs('FLANNEL_IPV6_SUBNET')]
  const mtu = mtuOf(values.get('FLANNEL_MTU'))
  const masquerades = values.get('FLANNEL_IPMASQ')
  const missing = [
    ...(values.get('FLANNEL_NETWORK') || values.get('FLANNEL_IPV6_NETWORK') ? [] : networkNames),
    ...(values.get('FLANNEL_SUBNET') || values.get('FLANNEL_IPV6_SUBNET') ? [] : subnetNames),
    ...(values.get('FLANNEL_MTU') ? [] : ['FLANNEL_MTU']),
    ...(masquerades ? [] : ['FLANNEL_IPMASQ']),
  ]
  if (mtu === undefined && values.get('FLANNEL_MTU')) {
    const value = values.get('FLANNEL_MTU')
    const official = `strconv.ParseUint: parsing ${JSON.stringify(value)}: invalid syntax`
    problems.push({ path: 'FLANNEL_MTU', value, expected: 'an MTU in bytes', official })
  }
  if (missing.length > 0) {
    const official = `${file} is missing ${missing.join(', ')}`
    problems.push({ path: missing[0] as string, expected: 'a line of flanneld', official })
  }
  return { subnet: { networks, subnets, mtu: mtu ?? 0, masquerades: masquerades === 'true' }, problems }
}

// --- internal

const aSubnet = 'a subnet such as "10.244.1.0/24"'
const networkNames = ['FLANNEL_NETWORK', 'FLANNEL_IPV6_NETWORK']
const subnetNames = ['FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET']
/** As much as the schemas of the plugins take. */
const mostMtu = 2147483647

function linesOf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=')
    if (equals > 0) found.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim())
  }
  return found
}

function mtuOf(text: string | undefined): number | undefined {
  const mtu = text === undefined || text === '' ? Number.NaN : Number(text)
  return Number.isInteger(mtu) && mtu >= 0 && mtu <= mostMtu && String(mtu) === text ? mtu : undefined
}

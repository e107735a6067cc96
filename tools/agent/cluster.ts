import { formatAddress, formatCidr, networkOf, parseAddress, parseCidr } from '../../shared/values/address.js'
import { isObject } from '../../shared/values/object.js'
import { objectsIn, textIn } from '../node/reader.js'

/** All that the agent keeps of a node of the cluster: its object has long lists of images, conditions and labels. */
export interface ClusterNode {
  readonly name: string
  /** Its addresses inside the cluster, in canonical text. */
  readonly addresses: readonly string[]
  /** The ranges of its pods, in canonical text. */
  readonly podCIDRs: readonly string[]
  /** Ranges and addresses that are none, as they stand there. */
  readonly garbled: readonly string[]
  /** When the API server made the object, in milliseconds. */
  readonly created?: number
  /** A cloud says that the network is not there yet. */
  readonly isUnavailable: boolean
}

/** What is kept of a node's object; undefined where it has no name. */
export function prunedNode(object: unknown): ClusterNode | undefined {
  if (!isObject(object)) return undefined
  const name = textIn(object['metadata'], 'name')
  if (name === '') return undefined
  const spec = isObject(object['spec']) ? object['spec'] : {}
  const status = isObject(object['status']) ? object['status'] : {}
  const given = Array.isArray(spec['podCIDRs']) ? spec['podCIDRs'] : [spec['podCIDR']]
  const ranges = given.filter((one): one is string => typeof one === 'string' && one !== '')
  const created = Date.parse(textIn(object['metadata'], 'creationTimestamp'))
  const internal = objectsIn(status['addresses'])
    .filter((one) => textIn(one, 'type') === 'InternalIP')
    .map((one) => textIn(one, 'address'))
  return {
    name,
    addresses: canonical(internal, addressText),
    podCIDRs: canonical(ranges, rangeText),
    garbled: [
      ...internal.filter((one) => addressText(one) === undefined),
      ...ranges.filter((one) => rangeText(one) === undefined),
    ],
    ...(Number.isNaN(created) ? {} : { created }),
    isUnavailable: objectsIn(status['conditions']).some(
      (one) => textIn(one, 'type') === 'NetworkUnavailable' && textIn(one, 'status') !== 'False',
    ),
  }
}

/** Whether two looks at a node say the same. */
export function isSameNode(one: ClusterNode, other: ClusterNode): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

// --- internal

function canonical(texts: readonly string[], read: (text: string) => string | undefined): readonly string[] {
  return [...new Set(texts.flatMap((text) => read(text) ?? []))]
}

function addressText(text: string): string | undefined {
  const address = parseAddress(text)
  return address && formatAddress(address)
}

function rangeText(text: string): string | undefined {
  const cidr = parseCidr(text)
  return cidr && formatCidr(networkOf(cidr))
}

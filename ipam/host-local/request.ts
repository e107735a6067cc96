import { type Address, parseAddress, parseCidr } from '../../shared/values/address.js'
import type { Problem } from '../../shared/values/errors.js'
import { familyOf, type Version } from '../../shared/values/version.js'
import type { HostLocalConfiguration } from './host-local.schema.js'
import { collectRangeSets, describeSet, type RangeSet, readRangeSets } from './ranges.js'

/** What an ADD asks for: an address from each set, and which ones it wants. */
export interface AddressRequest {
  readonly sets: readonly RangeSet[]
  readonly requested: readonly Address[]
}

interface Source {
  readonly config: Pick<HostLocalConfiguration, 'ipam' | 'args' | 'runtimeConfig'>
  readonly args: ReadonlyMap<string, string>
  readonly version: Version
}

/** Reads range sets and requested addresses from all their places; with problems the request must not be used. */
export function readRequest({ config, args, version }: Source): {
  request: AddressRequest
  problems: readonly Problem[]
} {
  const { ipam, runtimeConfig } = config
  if (ipam === undefined) {
    const problem = {
      path: 'ipam',
      expected: 'an object: IPAM config missing',
      fix: '"ipam": {"type": "host-local", ...}',
      official: "IPAM config missing 'ipam' key",
    }
    return { request: { sets: [], requested: [] }, problems: [problem] }
  }
  const texts = collectRangeSets({ runtime: runtimeConfig?.ipRanges, single: ipam, configured: ipam.ranges })
  const { sets, problems } = readRangeSets(texts)
  const requested: Address[] = []
  const wanted = [args.get('IP') ?? '', ...(config.args?.cni?.ips ?? []), ...(runtimeConfig?.ips ?? [])]
  for (const [index, text] of wanted.entries()) {
    const address = parseAddress(text) ?? parseCidr(text)?.address
    if (address) requested.push(address)
    else if (text !== '' || index > 0) problems.push(notRequested(text, index))
  }
  return { request: { sets, requested }, problems: [...problems, ...inexpressible(sets, version)] }
}

// --- internal

/** A requested address that is none; the first one is that of CNI_ARGS. */
function notRequested(text: string, index: number): Problem {
  const why = `invalid IP address ${text}`
  const ofArgs = `ARGS: error parsing value of pair ${JSON.stringify(`IP=${text}`)}: ${why}`
  return { path: 'CNI_ARGS IP', value: text, expected: 'an IP address', official: index === 0 ? ofArgs : why }
}

/** Results of 0.1.0 and 0.2.0 hold one address of each family. */
function inexpressible(sets: readonly RangeSet[], version: Version): Problem[] {
  if (familyOf(version) !== 'A') return []
  return ([4, 6] as const).flatMap((family) => {
    const same = sets.filter((set) => set[0]?.start.family === family)
    if (same.length < 2) return []
    const expected = `0.3.0 or later for ${same.length} IPv${family} range sets (${same.map(describeSet).join(' | ')})`
    const official = `CNI version ${version} does not support more than 1 address per family`
    return [{ path: 'cniVersion', value: version, expected, official }]
  })
}

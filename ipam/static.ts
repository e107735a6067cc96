import { throwDifferences } from '../shared/net/interface.js'
import { type Call, definePlugin } from '../shared/program/plugin.js'
import { type Cidr, contains, formatAddress, formatCidr, parseAddress, parseCidr } from '../shared/values/address.js'
import { checks } from '../shared/values/checks.js'
import { invalidConfiguration, type Problem } from '../shared/values/errors.js'
import { canonicalResult, emptyResult, type IpConfiguration, refuseInexpressible } from '../shared/values/result.js'
import { familyOf } from '../shared/values/version.js'
import type { StaticConfiguration } from './static.schema.js'

type StaticCall = Call<StaticConfiguration>

/** Hands out the addresses that the configuration or the caller names; it keeps no state. */
export default definePlugin<StaticConfiguration>({
  name: 'static',
  official: () => ({
    load: '',
    structs: {
      '': 'Net',
      ipam: 'IPAMConfig',
      'ipam.addresses': 'Address',
      'ipam.routes': 'IPAMConfig',
      args: '',
      'args.cni': 'IPAMArgs',
      runtimeConfig: '',
    },
    types: {
      ipam: 'main.IPAMConfig',
      'ipam.addresses': '[]main.Address',
      'ipam.addresses.gateway': 'net.IP',
      'ipam.routes.gw': 'net.IP',
      args: 'struct { A *main.IPAMArgs "json:\\"cni\\"" }',
      'args.cni': 'main.IPAMArgs',
      runtimeConfig: 'struct { IPs []string "json:\\"ips,omitempty\\"" }',
    },
    fields: { 'ipam.name': 'ipam.Name' },
    says: ({ path, value }) =>
      path.includes('.ips[') ? `an entry in the 'ips' field is NOT in CIDR notation, got: '${value}'` : undefined,
  }),

  argsKeys: ['IP', 'GATEWAY'],
  prevResult: { CHECK: 'required' },
  refuse: (call) => readAddresses(call).problems,

  add(call) {
    const { ips } = readAddresses(call)
    refuseInexpressible(call.version, ips.length > 0)
    const { routes = [], dns = {} } = call.config.ipam ?? {}
    return canonicalResult({ ...emptyResult, ips, routes, dns })
  },

  /** Each address must still be in the result, and with it the gateway where one is named. */
  check(call) {
    const listed = call.prevResult?.ips ?? []
    const missing = readAddresses(call).ips.filter(
      ({ address, gateway }) =>
        !listed.some((one) => one.address === address && (gateway === undefined || one.gateway === gateway)),
    )
    throwDifferences(
      missing.map(({ address, gateway }) => ({
        path: 'prevResult.ips',
        value: listed,
        expected: gateway === undefined ? address : `${address} with the gateway ${gateway}`,
        official: `static: Failed to match addr ${address.split('/')[0]} on interface ${call.environment.ifName}`,
      })),
    )
  },

  del() {},

  status(call) {
    const { problems } = readAddresses(call)
    if (problems.length > 0) throw invalidConfiguration(problems)
  },
})

// --- internal

const fromArgs = 'CNI_ARGS IP'

/** An address as it was written, and where. */
interface Written {
  readonly path: string
  readonly address: string
  /** Where it is no text. */
  readonly found?: unknown
  readonly gateway?: string | undefined
  /** It stands instead of those of the configuration and of CNI_ARGS. */
  readonly isReplacement?: boolean
}

/**
 * The addresses of an attachment: `runtimeConfig.ips` alone, else `args.cni.ips` alone, else those of the configuration
 * followed by CNI_ARGS' IP. A gateway of CNI_ARGS serves each of these last in whose subnet it is and that has none of
 * its own (the official plugin looks only at those of CNI_ARGS), and none that replaces them.
 */
function readAddresses(call: StaticCall): { ips: readonly IpConfiguration[]; problems: readonly Problem[] } {
  if (call.config.ipam === undefined) {
    const fix = '"ipam": {"type": "static", "addresses": [{"address": "10.1.2.3/24"}]}'
    const official = "IPAM config missing 'ipam' key"
    return { ips: [], problems: [{ path: 'ipam', expected: `an object: ${official}`, fix, official }] }
  }
  const gateways = listOf(call.args.get('GATEWAY'))
  const written = addressesOf(call)
  const problems: Problem[] = [
    ...gateways
      .filter((text) => !checks.address.test(text))
      .map((value) => ({
        ...mistake('CNI_ARGS GATEWAY', value, 'address'),
        official: `invalid gateway address: ${value}`,
      })),
    ...written
      .filter(({ address }) => !checks.cidr.test(address))
      .map(({ path, address, found = address }) => ({
        ...mistake(path, found, 'cidr'),
        official: `the '${path === fromArgs ? 'ip' : 'address'}' field is expected to be in CIDR notation, got: '${found}'`,
      })),
  ]
  const ips = written.flatMap((one) => configured(one, one.isReplacement ? [] : gateways) ?? [])
  return { ips, problems: [...problems, ...repeated(ips), ...inexpressible(call, ips)] }
}

function addressesOf({ config, args }: StaticCall): readonly Written[] {
  const replacements = [
    { path: 'runtimeConfig.ips', ips: config.runtimeConfig?.ips ?? [] },
    { path: 'args.cni.ips', ips: config.args?.cni?.ips ?? [] },
  ]
  const replacement = replacements.find(({ ips }) => ips.length > 0)
  if (replacement) {
    const { path, ips } = replacement
    return ips.map((address, index) => ({ path: `${path}[${index}]`, address, isReplacement: true }))
  }
  const own = config.ipam?.addresses ?? []
  return [
    ...own.map(({ address, gateway }, index) => ({
      path: `ipam.addresses[${index}].address`,
      gateway,
      ...read(address),
    })),
    ...listOf(args.get('IP')).map((address) => ({ path: fromArgs, address })),
  ]
}

/** The parts of a comma-separated list; none where it is empty. */
function listOf(text = ''): readonly string[] {
  return text === '' ? [] : text.split(',').map((part) => part.trim())
}

/**
 * Callers in Go may write an address as they have it in memory, under "Address": {"IP": "10.1.2.3", "Mask":
 * "////AA=="}.
 */
function read(written: unknown): Pick<Written, 'address' | 'found'> {
  if (typeof written === 'string' || written === undefined) return { address: written ?? '' }
  const { IP: ip, Mask: mask } = written as { IP?: unknown; Mask?: unknown }
  const prefix = typeof mask === 'string' ? prefixOf(mask) : undefined
  return { address: prefix === undefined ? '' : `${ip}/${prefix}`, found: written }
}

/** The length of a netmask whose bytes are in base64; undefined where its ones are not all in front. */
function prefixOf(mask: string): number | undefined {
  const bits = [...Buffer.from(mask, 'base64')].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const ones = bits.lastIndexOf('1') + 1
  return bits.indexOf('0') >= 0 && bits.indexOf('0') < ones ? undefined : ones
}

function mistake(path: string, value: unknown, check: 'address' | 'cidr'): Problem {
  return { path, value, expected: checks[check].expected }
}

function configured({ address, gateway }: Written, gateways: readonly string[]): IpConfiguration | undefined {
  const cidr = parseCidr(address)
  if (cidr === undefined) return undefined
  const via = parseAddress(gateway ?? '') ?? parseAddress(gateways.findLast((one) => isIn(cidr, one)) ?? '')
  return { address: formatCidr(cidr), ...(via === undefined ? {} : { gateway: formatAddress(via) }) }
}

function isIn(cidr: Cidr, gateway: string): boolean {
  const address = parseAddress(gateway)
  return address !== undefined && contains(cidr, address)
}

/** The same address twice could be handed out, but no interface takes it. */
function repeated(ips: readonly IpConfiguration[]): readonly Problem[] {
  const texts = ips.map(({ address }) => address)
  const again = new Set(texts.filter((text, index) => texts.indexOf(text) < index))
  return [...again].map((value) => ({ path: 'addresses', value, expected: 'each address once' }))
}

/** Results of 0.1.0 and 0.2.0 hold one address of each family. */
function inexpressible({ version }: StaticCall, ips: readonly IpConfiguration[]): readonly Problem[] {
  if (familyOf(version) !== 'A') return []
  const six = ips.filter(({ address }) => address.includes(':')).length
  if (six < 2 && ips.length - six < 2) return []
  const official = `CNI version ${version} does not support more than 1 address per family`
  const expected = '0.3.0 or later for more than 1 address per family'
  return [{ path: 'cniVersion', value: version, expected, official }]
}

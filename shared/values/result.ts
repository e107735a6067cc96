import { shapes } from 'podwire:shapes'
import { accept } from './accept.js'
import { formatAddress, formatCidr, parseAddress, parseCidr } from './address.js'
import { CniError, codes, goJson, invalidConfiguration, type Problem } from './errors.js'
import { jsonFault } from './json.js'
import { type Official, officialText, wrongFamily } from './official.js'
import type { Dns, IpConfiguration, NetworkInterface, ResultA, ResultBC, Route } from './result.schema.js'
import type { Shape } from './shape.js'
import { type Family, familyOf, isVersion, type Version, versionsOf } from './version.js'

/** A result in the newest form, whatever version it came in or will be printed in. Addresses are canonical text. */
export interface Result {
  readonly interfaces: readonly NetworkInterface[]
  readonly ips: readonly IpConfiguration[]
  readonly routes: readonly Route[]
  readonly dns: Dns
}

export type { Dns, IpConfiguration, NetworkInterface, Route }

export const emptyResult: Result = { interfaces: [], ips: [], routes: [], dns: {} }

/** Where static's addresses come from. */
export const whereAddresses =
  'name one in ipam.addresses, in runtimeConfig.ips (the capability "ips") or args.cni.ips, or in CNI_ARGS as IP=10.1.2.3/24'

/**
 * Reads a result found at `path`, decoded as the family of `version`; its own version must be of that family.
 * @param official how the official plugin words what is wrong with it
 * @throws code 7 with every mistake
 */
export function parseResult(value: unknown, version: Version, path: string, official?: () => Official): Result {
  const family = familyOf(version)
  const own = (value as { cniVersion?: unknown } | null)?.cniVersion ?? version
  if (!(typeof own === 'string' && isVersion(own) && familyOf(own) === family)) {
    const expected = `a version whose results have the format of "${version}"`
    const says = loadOf(official) + wrongFamily(own, versionsOf(family))
    const problem = { path: `${path}.cniVersion`, value: own, expected, official: says }
    throw invalidConfiguration([problem], `${path} cannot be read`)
  }
  const { value: accepted, problems } = accept(value, shapes[`result.${family}`], path)
  if (problems.length > 0) throw unreadable(problems, { family, path, load: loadOf(official) })
  return canonicalResult(family === 'A' ? fromA(accepted as ResultA) : fromBC(accepted as ResultBC))
}

/**
 * The result of a delegate as text: its own version decides the format, the configuration's where it names none.
 * @throws code 107
 */
export function parseDelegateResult(text: string, version: Version, who: string): Result {
  const failed = (details: string, official?: string) =>
    new CniError(codes.delegateFailed, `the result of ${who} cannot be used`, { details, official })
  let value: { cniVersion?: unknown } | null
  try {
    value = JSON.parse(text)
  } catch (thrown) {
    const fault = jsonFault(text)
    throw failed(`it is not JSON: ${(thrown as Error).message}`, fault && `failed to unmarshal raw result: ${fault}`)
  }
  if (typeof value !== 'object' || Array.isArray(value)) throw failed('it is not a JSON object')
  const own = typeof value?.cniVersion === 'string' && value.cniVersion !== '' ? value.cniVersion : version
  if (!isVersion(own)) {
    const why = `unsupported CNI result version "${own}"`
    throw failed(why, why)
  }
  try {
    return parseResult({ ...value, cniVersion: own }, own, 'result', () => ({ load: '', prevResult: '', structs: {} }))
  } catch (thrown) {
    throw thrown instanceof CniError ? failed(thrown.details, thrown.message) : thrown
  }
}

/** The result as text in the asked version: four spaces, no newline at the end, members in the official order. */
export function printResult(result: Result, version: Version): string {
  return goJson(printers[familyOf(version)]({ ...result, dns: withoutEmpty(result.dns) }, version))
}

/**
 * Refuses what `version` cannot express: results of 0.1.0 and 0.2.0 need an address.
 * @throws code 7, before anything is touched
 */
export function refuseInexpressible(version: Version, hasAddresses: boolean): void {
  if (hasAddresses || familyOf(version) !== 'A') return
  throw new CniError(codes.invalidConfiguration, 'cannot convert: no valid IP addresses', {
    problems: [{ path: 'cniVersion', value: version, expected: '0.3.0 or later for a network without addresses' }],
    fix: 'raise cniVersion, or configure ipam',
  })
}

/** The result as Go prints it: addresses in canonical text, no member that is empty or zero. */
export function canonicalResult({ interfaces, ips, routes, dns }: Result): Result {
  return {
    interfaces: interfaces.map(withoutEmpty),
    ips: ips.map(({ address, gateway, interface: index }) =>
      defined({ address: cidrText(address), gateway: addressText(gateway), interface: index }),
    ),
    routes: routes.map(({ dst, gw, mtu, advmss, priority, table, scope }) =>
      defined({
        dst: cidrText(dst),
        gw: addressText(gw),
        mtu: mtu || undefined,
        advmss: advmss || undefined,
        priority: priority || undefined,
        table,
        scope,
      }),
    ),
    dns: withoutEmpty(dns),
  }
}

// --- internal

const printers: Record<Family, (result: Result, version: Version) => unknown> = {
  A: (result, cniVersion) => {
    refuseInexpressible(cniVersion, result.ips.length > 0)
    return defined({ cniVersion, ip4: toA(result, 4), ip6: toA(result, 6), dns: orderedDns(result.dns) })
  },
  B: ({ interfaces, ips, routes, dns }, cniVersion) =>
    defined({
      cniVersion,
      interfaces: list(interfaces.map(({ name, mac, sandbox }) => defined({ name, mac, sandbox }))),
      ips: list(
        ips.map(({ interface: index, address, gateway }) =>
          defined({ version: familyOfCidr(address) === 4 ? '4' : '6', interface: index, address, gateway }),
        ),
      ),
      routes: list(routes.map(orderedRoute)),
      dns: orderedDns(dns),
    }),
  C: (result, cniVersion) =>
    sorted({
      cniVersion,
      interfaces: list(result.interfaces.map(sorted)),
      ips: list(result.ips.map(sorted)),
      routes: list(result.routes.map(sorted)),
      dns: Object.keys(result.dns).length > 0 ? sorted(result.dns) : undefined,
    }),
}

function loadOf(official: (() => Official) | undefined): string {
  return official?.().prevResult ?? 'could not parse prevResult: '
}

/** Where a result has an address without prefix length, in any family. */
const nextHops = ['ips.gateway', 'ip4.gateway', 'ip6.gateway', 'routes.gw', 'ip4.routes.gw', 'ip6.routes.gw']

function unreadable(
  problems: readonly Problem[],
  { family, path, load }: { family: Family; path: string; load: string },
): CniError {
  const shape = shapes[`result.${family}`] as Shape
  const types = { A: 'types020', B: 'types040', C: 'types100' }[family]
  const official: Official = {
    load,
    structs: {
      ...Object.fromEntries(
        ['', 'ips', 'routes', 'ip4', 'ip6', 'ip4.routes', 'ip6.routes'].map((at) => [at, 'Result']),
      ),
      interfaces: 'Interface',
    },
    types: {
      interfaces: `[]*${types}.Interface`,
      ips: `[]*${types}.IPConfig`,
      ip4: `${types}.ipConfig`,
      ip6: `${types}.ipConfig`,
      routes: '[]*types.Route',
      'ip4.routes': '[]types.Route',
      'ip6.routes': '[]types.Route',
      ...Object.fromEntries(nextHops.map((at) => [at, 'net.IP'])),
    },
  }
  const worded = problems.map((one) => {
    const inside = { ...one, path: one.path.slice(path.length + 1) }
    return { ...one, official: officialText(inside, undefined, shape, official) }
  })
  return invalidConfiguration(worded, `${path} cannot be read`)
}

function toA({ ips, routes }: Result, family: 4 | 6): unknown {
  const first = ips.find(({ address }) => familyOfCidr(address) === family)
  if (!first) return undefined
  const own = routes.filter(({ dst }) => familyOfCidr(dst) === family).map(({ dst, gw }) => defined({ dst, gw }))
  return defined({ ip: first.address, gateway: first.gateway, routes: list(own) })
}

function fromA({ ip4, ip6, dns }: ResultA): Result {
  const given = [ip4, ip6].filter((one) => one !== undefined)
  return {
    interfaces: [],
    ips: given.map(({ ip, gateway }) => ({ address: ip, ...(gateway ? { gateway } : {}) })),
    routes: given.flatMap(({ routes }) => routes ?? []),
    dns: dns ?? {},
  }
}

function fromBC({ interfaces, ips, routes, dns }: ResultBC): Result {
  return { interfaces, ips, routes, dns: dns ?? {} }
}

function withoutEmpty<T extends object>(value: T): T {
  const kept = Object.entries(value).filter(([key, one]) => {
    return key === 'name' || (one !== '' && one !== 0 && !(Array.isArray(one) && one.length === 0))
  })
  return Object.fromEntries(kept) as T
}

function cidrText(text: string): string {
  const cidr = parseCidr(text)
  return cidr ? formatCidr(cidr) : text
}

function addressText(text: string | undefined): string | undefined {
  const address = text === undefined ? undefined : parseAddress(text)
  return address ? formatAddress(address) : undefined
}

function familyOfCidr(text: string): 4 | 6 {
  return text.includes(':') ? 6 : 4
}

function orderedDns({ nameservers, domain, search, options }: Dns): object {
  return defined({ nameservers, domain, search, options })
}

function orderedRoute({ dst, gw, mtu, advmss, priority, table, scope }: Route): object {
  return defined({ dst, gw, mtu, advmss, priority, table, scope })
}

function list<T>(items: readonly T[]): readonly T[] | undefined {
  return items.length > 0 ? items : undefined
}

/** The same object with its keys in alphabetical order and without undefined members. */
function sorted(value: object): object {
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1))
  return defined(Object.fromEntries(entries))
}

/** The same object without undefined members. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const kept = Object.entries(value).filter(([, one]) => one !== undefined)
  return Object.fromEntries(kept) as { [K in keyof T]: Exclude<T[K], undefined> }
}

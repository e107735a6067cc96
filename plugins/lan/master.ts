import { mainTable, tableOf } from '../../shared/net/routing.js'
import type { Machine } from '../../shared/plan/machine.js'
import { contains, parseAddress, parseCidr } from '../../shared/values/address.js'
import { macOf } from '../../shared/values/checks.js'
import { CniError, codes, invalidConfiguration, type Problem } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'

/** How a configuration says which link its children hang on: at most one of them. */
export interface MasterChoice {
  /** A name, an alternative name, or a pattern of names with `*` and `?`. */
  readonly master?: string | undefined
  readonly masterMAC?: string | undefined
  readonly masterSubnet?: string | undefined
}

/** True where the configuration says it at all: otherwise it is the link of the default route. */
export function namesMaster(choice: MasterChoice): boolean {
  return givenKeys(choice).length > 0
}

/** Two ways of saying it may contradict each other. */
export function masterProblems(choice: MasterChoice): readonly Problem[] {
  const [first, ...others] = givenKeys(choice)
  return others.map((key) => ({ path: key, value: choice[key], expected: `nothing beside ${first}` }))
}

/**
 * The one link the choice means, in `netns` or in the host.
 * @throws code 7 naming the candidates where none or several fit
 */
export function findMaster(host: Pick<Machine, 'observer'>, choice: MasterChoice, netns?: string): ObservedLink {
  const { master = '', masterMAC = '', masterSubnet = '' } = choice
  if (masterMAC !== '') return only(host, netns, { path: 'masterMAC', value: masterMAC }, hasMac(masterMAC))
  if (masterSubnet !== '') {
    return only(host, netns, { path: 'masterSubnet', value: masterSubnet }, hasAddressIn(masterSubnet))
  }
  if (master === '') return defaultRouteLink(host, netns)
  const named = host.observer.link(master, netns)
  return named ?? only(host, netns, { path: 'master', value: master }, ({ ifname }) => fits(master, ifname))
}

/** Whether a name fits a pattern in which `*` stands for any text and `?` for one character. */
export function fits(pattern: string, name: string): boolean {
  const [first, rest] = [pattern[0], pattern.slice(1)]
  if (first === undefined) return name === ''
  if (first === '*') return fits(rest, name) || (name !== '' && fits(pattern, name.slice(1)))
  return name !== '' && (first === '?' || first === name[0]) && fits(rest, name.slice(1))
}

// --- internal

const childKinds = new Set(['macvlan', 'macvtap', 'ipvlan', 'ipvtap', 'vlan'])
const keys = ['master', 'masterMAC', 'masterSubnet'] as const

function givenKeys(choice: MasterChoice) {
  return keys.filter((key) => (choice[key] ?? '') !== '')
}

function only(
  host: Pick<Machine, 'observer'>,
  netns: string | undefined,
  asked: Pick<Problem, 'path' | 'value'>,
  isMeant: (link: ObservedLink) => boolean,
): ObservedLink {
  const links = host.observer.links(netns).filter(({ ifname }) => ifname !== 'lo')
  const meant = links.filter(isMeant)
  if (meant.length === 1) return meant[0] as ObservedLink
  const listed = (meant.length > 0 ? meant : links).map(described).join(', ')
  const expected =
    meant.length > 0
      ? `what fits one link, not several: ${listed}`
      : `a link that is there: ${listed || 'there is none'}`
  const official = meant.length > 0 ? undefined : `failed to lookup master "${asked.value}": Link not found`
  throw invalidConfiguration([{ ...asked, expected, official }], 'there is no such master')
}

/** Ports and children share the MAC address of the link they belong to, which is the one that is meant. */
function hasMac(text: string): (link: ObservedLink) => boolean {
  const mac = macOf(text)
  return ({ address, master, linkinfo }) =>
    address === mac && master === undefined && !childKinds.has(linkinfo?.info_kind ?? '')
}

function hasAddressIn(subnet: string): (link: ObservedLink) => boolean {
  const cidr = parseCidr(subnet)
  return ({ addr_info }) =>
    addr_info.some(({ local = '' }) => {
      const address = parseAddress(local)
      return cidr !== undefined && address !== undefined && contains(cidr, address)
    })
}

function described({ ifname, address, addr_info }: ObservedLink): string {
  const addresses = addr_info.filter(({ scope }) => scope === 'global').map(({ local }) => ` ${local}`)
  return `${ifname} (${address ?? 'no MAC'}${addresses.join('')})`
}

/** IPv4 before IPv6, then the lowest metric, as the official suite chooses. */
function defaultRouteLink(host: Pick<Machine, 'observer'>, netns: string | undefined): ObservedLink {
  const routes = host.observer
    .routing(netns)
    .routes.filter(
      (route) =>
        route.dst === 'default' && tableOf(route) === mainTable && route.dev !== undefined && route.dev !== 'lo',
    )
  const isIPv6 = ({ gateway = '' }) => (gateway.includes(':') ? 1 : 0)
  const [best] = routes.toSorted((one, other) => isIPv6(one) - isIPv6(other) || (one.metric ?? 0) - (other.metric ?? 0))
  const link = best?.dev === undefined ? undefined : host.observer.link(best.dev, netns)
  if (link) return link
  throw new CniError(codes.invalidConfiguration, 'no default route interface found', {
    problems: [{ path: 'master', expected: 'the name of a link, as there is no default route to take it from' }],
  })
}

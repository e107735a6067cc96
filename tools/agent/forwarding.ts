import { readFileSync, writeFileSync } from 'node:fs'
import { isIPv6 } from '../../shared/values/address.js'
import { isAbsent, messageOf } from '../../shared/values/errno.js'
import { inRoot, type Place } from '../frame/place.js'
import type { ClusterNode } from './cluster.js'
import type { Seen } from './look.js'
import type { Problem } from './problem.js'
import type { Settings } from './settings.js'

// The settings of the kernel without which packets of pods go nowhere. With IPv6 forwarding on, a link whose accept_ra
// is 1 hears no router advertisements any more, and the kernel drops the default routes they made: so before that the
// node's own links get accept_ra 2, which is the same for a host that forwards.

export interface Forwarding {
  readonly own: ClusterNode
  readonly seen: Seen
  readonly plugin: Settings['plugin']
  /** Whether it is the agent that has turned forwarding of IPv6 on since the node started. */
  readonly isOurs: boolean
}

export interface Forwarded {
  readonly problems: readonly Problem[]
  /** Whether forwarding of IPv6 was turned on now. */
  readonly isTurnedOn: boolean
  /** Whether a pod would take the node's default route from it: the plugin that attaches one turns forwarding on. */
  readonly isUnsafe: boolean
}

/** Turns on what pods need, or says what cannot be. */
export function keepForwarding(place: Place, { own, seen, plugin, isOurs }: Forwarding): Forwarded {
  const [has4, has6] = [own.podCIDRs.some((one) => !isIPv6(one)), own.podCIDRs.some(isIPv6)]
  const wanted = [
    ...(has4 ? ['net/ipv4/ip_forward'] : []),
    ...(plugin === 'bridge' && has4 ? ['net/bridge/bridge-nf-call-iptables'] : []),
    ...(plugin === 'bridge' && has6 ? ['net/bridge/bridge-nf-call-ip6tables'] : []),
  ]
  const problems = wanted.flatMap((setting) => setOn(place, setting) ?? [])
  if (!has6) return { problems, isTurnedOn: false, isUnsafe: false }
  const isOff = settingOf(place, forwarding6) === '0'
  const heard = new Set(advertised(seen))
  const links = new Set([...heard, ...(isOff || isOurs ? uplinks(own, seen) : [])])
  const lost = (link: string) => (isOff ? whatIsNotDone(heard.has(link)) : 'so that the node loses')
  const deaf = [...links].flatMap((link) => hearStill(place, link, lost(link)) ?? [])
  // A node that lost its default route would be gone from its cluster.
  if (isOff && deaf.length > 0) {
    const isUnsafe = deaf.some(({ link }) => heard.has(link))
    return { problems: [...problems, ...deaf.map(({ problem }) => problem)], isTurnedOn: false, isUnsafe }
  }
  const refused = setOn(place, forwarding6)
  return {
    problems: [...problems, ...deaf.map(({ problem }) => problem), ...(refused ? [refused] : [])],
    isTurnedOn: isOff && refused === undefined,
    isUnsafe: false,
  }
}

/** Links that have a default route of IPv6 by router advertisements. */
export function advertised({ routes }: Seen): readonly string[] {
  const RTPROT_RA = 9
  return routes
    .filter(({ destination, protocol, link }) => destination === '::/0' && protocol === RTPROT_RA && link !== '')
    .map(({ link }) => link)
}

/**
 * The links with the node's addresses, else those of the default routes. A node that tells its routers of its address
 * may have it on the loopback, which is no way to anywhere.
 */
export function uplinks(own: ClusterNode, { links, routes }: Seen): readonly string[] {
  const holds = new Set(own.addresses)
  const byAddress = links.filter(({ name, addresses }) => name !== 'lo' && addresses.some((one) => holds.has(one)))
  const usual = routes.filter(({ destination }) => destination === '0.0.0.0/0' || destination === '::/0')
  const byRoute = links.filter(({ name }) => usual.some((route) => route.link === name))
  return (byAddress.length > 0 ? byAddress : byRoute).map(({ name }) => name)
}

// --- internal

const forwarding6 = 'net/ipv6/conf/all/forwarding'

function settingOf(place: Place, setting: string): string | undefined {
  try {
    return readFileSync(inRoot(place, `/proc/sys/${setting}`), 'latin1').trim()
  } catch (thrown) {
    if (isAbsent(thrown)) return undefined
    throw thrown
  }
}

function whatIsNotDone(isHeard: boolean): string {
  const also = isHeard ? ', and no configuration is written' : ''
  return `so that ${forwarding6} stays 0${also}: with it the node would lose`
}

/**
 * Lets a link hear router advertisements also where the node forwards; one that hears none stays so.
 * @param lost words that follow why it cannot, before "the default route"
 */
function hearStill(place: Place, link: string, lost: string) {
  const setting = `net/ipv6/conf/${link}/accept_ra`
  try {
    if (settingOf(place, setting) !== '1') return undefined
    writeFileSync(inRoot(place, `/proc/sys/${setting}`), '2', { flag: 'r+' })
    return undefined
  } catch (thrown) {
    const text = `${setting} is 1, and cannot be set to 2 (${messageOf(thrown)}), ${lost} the default route that it has by router advertisements: set it on the node`
    return { link, problem: { reason: 'Prerequisite' as const, key: setting, text } }
  }
}

/** What is wrong where a setting of the kernel is not on, and cannot be put on. */
function setOn(place: Place, setting: string): Problem | undefined {
  const file = inRoot(place, `/proc/sys/${setting}`)
  const problem = (what: string): Problem => ({ reason: 'Prerequisite', key: setting, text: `${setting} ${what}` })
  try {
    if (readFileSync(file, 'latin1').trim() !== '0') return undefined
    writeFileSync(file, '1', { flag: 'r+' })
    return undefined
  } catch (thrown) {
    if (!isAbsent(thrown)) return problem(`is 0, and cannot be set to 1 (${messageOf(thrown)}): set it on the node`)
    if (!setting.startsWith('net/bridge/')) return problem('is not there: this kernel does not have that family')
    return problem(
      'is not there: load br_netfilter on the node, without which services do not work between pods of one bridge',
    )
  }
}

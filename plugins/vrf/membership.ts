import { type At, deleteAddress, ensureAddress, setLink } from '../../shared/net/ip.js'
import {
  destinationOf,
  hasGateway,
  isConnected,
  leavesBy,
  localTable,
  mainTable,
  putRoute,
  type RouteWords,
  tableOf,
  wordsOf,
} from '../../shared/net/routing.js'
import type { Routing } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { NumberedRoute, ObservedLink } from '../../shared/values/observe.schema.js'

/** What an interface loses when it changes its VRF, because the kernel takes it down and up: to be given again. */
export interface Kept {
  readonly addresses: readonly { readonly address: string; readonly nodad: boolean }[]
  readonly routes: readonly { readonly words: RouteWords; readonly table: number }[]
}

/**
 * The IPv6 addresses somebody gave it, and the routes that the kernel does not make itself from addresses, link-scope
 * ones too.
 */
export function keptOf({ ifname, addr_info }: ObservedLink, { routes }: Routing): Kept {
  const own = routes.filter((route) => leavesBy(route, ifname) && isGiven(route))
  const ordered = [...own.filter((route) => !hasGateway(route)), ...own.filter(hasGateway)]
  return {
    addresses: addr_info
      .filter(({ family, scope, dynamic }) => family === 'inet6' && scope === 'global' && !dynamic)
      .map(({ local, prefixlen, tentative = false }) => ({ address: `${local}/${prefixlen}`, nodad: !tentative })),
    routes: ordered.map((route) => ({ words: wordsOf(route), table: tableOf(route) })),
  }
}

/**
 * Puts the interface into the VRF with all it has. The addresses are taken off first, so that they and their routes are
 * there again when the command that gives them returns, instead of some time after the link is up.
 */
export function addToVrf(
  at: At,
  { vrf, table, kept }: { vrf: string; table: number; kept: Kept },
): readonly Operation[] {
  const enter = setLink(at, ['master', vrf], `put ${at.link} into the VRF ${vrf}`)
  const steps = [
    ...kept.addresses.map(({ address }) => deleteAddress(at, address)),
    { ...enter, undo: [removeFromVrf(at)] },
  ]
  // From the first step on there is something to give back, in the end of all that is undone.
  const undoable = steps.map((step: Operation, index) =>
    index > 0 ? step : { ...step, undo: [...(step.undo ?? []), ...giveAgain(at, kept)] },
  )
  return [...undoable, ...giveAgain(at, inTable(kept, table))]
}

/** Gives an interface what it had; what it has already is fine. */
export function giveAgain(at: At, { addresses, routes }: Kept): readonly Operation[] {
  return [
    ...addresses.map(({ address, nodad }) => ensureAddress(at, address, nodad ? ['nodad'] : [])),
    ...routes.map(({ words, table }) => putRoute({ netns: at.netns, words, table })),
  ]
}

/** The routes of the main table in that of the VRF; those of other tables where they are. */
export function inTable(kept: Kept, table: number): Kept {
  return { ...kept, routes: kept.routes.map((one) => (one.table === mainTable ? { ...one, table } : one)) }
}

/** Takes an interface out of its VRF. */
export function removeFromVrf(at: At): Operation {
  return { ...setLink(at, ['nomaster'], `take ${at.link} out of its VRF`), tolerate: ['absent'] }
}

/** The table of a VRF, undefined for any other link. */
export function tableOfVrf({ linkinfo }: ObservedLink): number | undefined {
  return linkinfo?.info_kind === 'vrf' ? Number(linkinfo.info_data?.['table']) : undefined
}

// --- internal

function isGiven(route: NumberedRoute): boolean {
  return !isConnected(route) && tableOf(route) !== localTable && !destinationOf(route).startsWith('fe80:')
}

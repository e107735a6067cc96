import { attemptAll } from '../../shared/plan/host.js'
import { collectLeases, hasIpam } from '../../shared/program/ipam.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import { isLinkName } from '../../shared/values/checks.js'
import type { Problem } from '../../shared/values/errors.js'
import type { ChildLink } from '../lan/child.js'
import { attachChild, checkChild, childProblems, childStatus, detachChild } from '../lan/child-link.js'
import { namesMaster } from '../lan/master.js'
import type { IpvlanConfiguration } from './ipvlan.schema.js'
import { claimMode, collectModes, modeNeeds, releaseMode } from './mode.js'

type IpvlanCall = Call<IpvlanConfiguration>

/** Addresses of its own on the master's network, behind the master's MAC address. */
export default definePlugin<IpvlanConfiguration>({
  name: 'ipvlan',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf' },
    prevResult: 'could not parse prevResult: could not parse prevResult: ',
    says: ({ path, value }) => (path === 'mode' ? `unknown ipvlan mode: "${value}"` : undefined),
  }),

  prevResult: { ADD: 'optional', CHECK: 'required' },

  refuse(call) {
    const isAdd = call.environment.command === 'ADD'
    return [
      ...childProblems(call),
      ...modeProblems(call),
      ...(isAdd ? [...chainProblems(call), ...addressProblems(call)] : []),
    ]
  },

  add(call) {
    const { prevResult } = call
    const master = prevResult?.interfaces[0]?.name
    return attachChild(call, {
      ...child(call),
      admit: (above, netns) => claimMode(call, modeOf(call), above, netns),
      ...(isChained(call) ? { choice: { master } } : {}),
      ...(hasIpam(call) || !prevResult ? {} : { addresses: prevResult }),
    })
  },

  check(call) {
    checkChild(call, child(call))
  },

  del(call) {
    attemptAll(
      () => detachChild(withOwnLeases(call)),
      () => releaseMode(call),
    )
  },

  status(call) {
    childStatus(call, child(call), modeNeeds(call))
  },

  gc(call) {
    attemptAll(
      () => collectModes(call),
      () => collectLeases(call),
    )
  },
})

// --- internal

function modeOf({ config }: IpvlanCall): string {
  return config.mode || 'l2'
}

function child(call: IpvlanCall): ChildLink {
  const mode = modeOf(call)
  return { kind: 'ipvlan', attributes: { mode }, isRouted: mode !== 'l2' }
}

function modeProblems(call: IpvlanCall): readonly Problem[] {
  if (!call.config.addressConflictDetection || modeOf(call) === 'l2') return []
  const expected = 'false: in this mode the container neither asks its neighbours nor answers them'
  return [{ path: 'addressConflictDetection', value: true, expected }]
}

/** Behind another plugin that made its master: prevResult names it where the configuration does not. */
function isChained({ config, prevResult }: IpvlanCall): boolean {
  return prevResult !== undefined && !namesMaster(config)
}

/** What has no IPAM plugin may have the addresses of the plugin before, which gives them back itself. */
function withOwnLeases(call: IpvlanCall): Call {
  const { hostLocal: _, ...others } = call
  return hasIpam(call) || namesMaster(call.config) ? call : others
}

function chainProblems(call: IpvlanCall): readonly Problem[] {
  const names = (call.prevResult?.interfaces ?? []).map(({ name }) => name)
  if (!isChained(call) || (names.length === 1 && isLinkName(names[0] ?? ''))) return []
  const expected = 'one interface with the name of a link, to be the master, as the configuration names none'
  return [{ path: 'prevResult.interfaces', value: names, expected }]
}

function addressProblems({ config, prevResult }: IpvlanCall): readonly Problem[] {
  if (hasIpam({ config }) || (prevResult?.ips.length ?? 0) > 0) return []
  return [{ path: 'ipam.type', value: config.ipam?.type, expected: 'an IPAM plugin, or addresses in prevResult' }]
}

import { throwDifferences } from '../shared/net/interface.js'
import type { Problem } from '../shared/protocol/errors.js'
import { checkLease, collectLeases, hasIpam } from '../shared/protocol/ipam.js'
import { type Call, definePlugin } from '../shared/protocol/plugin.js'
import {
  attachChild,
  type ChildLink,
  childDifferences,
  childProblems,
  childStatus,
  detachChild,
} from './_child-link.js'
import { namesMaster } from './_master.js'
import type { IpvlanConfiguration } from './ipvlan.schema.js'

type IpvlanCall = Call<IpvlanConfiguration>

/** Addresses of its own on the master's network, behind the master's MAC address. */
export default definePlugin<IpvlanConfiguration>({
  name: 'ipvlan',
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
      ...(isChained(call) ? { choice: { master } } : {}),
      ...(hasIpam(call) || !prevResult ? {} : { addresses: prevResult }),
    })
  },

  check(call) {
    checkLease(call)
    throwDifferences(childDifferences(call, child(call)))
  },

  del(call) {
    detachChild(call)
  },

  status(call) {
    childStatus(call, 'ipvlan')
  },

  gc(call) {
    collectLeases(call)
  },
})

// --- internal

function child({ config }: IpvlanCall): ChildLink {
  const mode = config.mode || 'l2'
  return { kind: 'ipvlan', attributes: { mode }, isRouted: mode !== 'l2' }
}

function modeProblems({ config }: IpvlanCall): readonly Problem[] {
  if (!config.addressConflictDetection || (config.mode || 'l2') === 'l2') return []
  const expected = 'false: in this mode the container neither asks its neighbours nor answers them'
  return [{ path: 'addressConflictDetection', value: true, expected }]
}

/** Behind another plugin that made its master: prevResult names it where the configuration does not. */
function isChained({ config, prevResult }: IpvlanCall): boolean {
  return prevResult !== undefined && !namesMaster(config)
}

function chainProblems(call: IpvlanCall): readonly Problem[] {
  const names = (call.prevResult?.interfaces ?? []).map(({ name }) => name)
  if (!isChained(call) || (names.length === 1 && names[0] !== '')) return []
  const expected = 'one interface with a name, to be the master, as the configuration names none'
  return [{ path: 'prevResult.interfaces', value: names, expected }]
}

function addressProblems({ config, prevResult }: IpvlanCall): readonly Problem[] {
  if (hasIpam({ config }) || (prevResult?.ips.length ?? 0) > 0) return []
  return [{ path: 'ipam.type', value: config.ipam?.type, expected: 'an IPAM plugin, or addresses in prevResult' }]
}

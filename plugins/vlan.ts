import { collectLeases } from '../shared/program/ipam.js'
import { type Call, definePlugin } from '../shared/program/plugin.js'
import { invalidConfiguration, type Problem } from '../shared/values/errors.js'
import type { ChildLink } from './lan/child.js'
import { attachChild, checkChild, childProblems, childStatus, detachChild } from './lan/child-link.js'
import { namesMaster } from './lan/master.js'
import type { VlanConfiguration } from './vlan.schema.js'

type VlanCall = Call<VlanConfiguration>

/** One VLAN of the master's cable, for one container alone; without IPAM a link of layer 2. */
export default definePlugin<VlanConfiguration>({
  name: 'vlan',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf' },
    says: ({ path, value }) =>
      path === 'vlanId' ? `invalid VLAN ID ${value} (must be between 0 and 4095 inclusive)` : undefined,
    unchained: { CHECK: 'vlan: Required prevResult missing' },
  }),

  prevResult: { CHECK: 'required' },

  refuse(call) {
    return [...childProblems(call), ...missing(call)]
  },

  add(call) {
    return attachChild(call, child(call))
  },

  check(call) {
    checkChild(call, child(call))
  },

  del: detachChild,

  status(call) {
    const problems = missing(call)
    if (problems.length > 0) throw invalidConfiguration(problems)
    childStatus(call, child(call))
  },

  gc: collectLeases,
})

// --- internal

function child({ config }: VlanCall): ChildLink {
  const id = config.vlanId
  const taken = `remove the interface that is there, or use another VLAN: ${id} can be taken once on a master, in whatever namespace`
  return { kind: 'vlan', attributes: { id }, taken }
}

function missing({ config }: VlanCall): readonly Problem[] {
  if (namesMaster(config)) return []
  const official = '"master" field is required. It specifies the host interface name to create the VLAN for'
  return [{ path: 'master', value: config.master, expected: 'the link that carries the VLAN', official }]
}

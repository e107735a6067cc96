import { interfaceDifferences, throwDifferences } from '../shared/net/interface.js'
import { addLink } from '../shared/net/ip.js'
import { insideTools, requireForAdd } from '../shared/net/needs.js'
import { requireNetns } from '../shared/net/netns.js'
import { features } from '../shared/net/probe.js'
import { checkLease, collectLeases, hasIpam, ipamNeeds, lease, requireIpam } from '../shared/program/ipam.js'
import { type Call, definePlugin } from '../shared/program/plugin.js'
import { invalidConfiguration, type Problem } from '../shared/values/errors.js'
import { attachmentHash, macFrom } from '../shared/values/names.js'
import { emptyResult } from '../shared/values/result.js'
import type { DummyConfiguration } from './dummy.schema.js'
import { detachChild } from './lan/child-link.js'
import { configureLan } from './lan/interface.js'

type DummyCall = Call<DummyConfiguration>

/** An interface that leads nowhere: addresses that are always there, and a sink for what is routed to it. */
export default definePlugin<DummyConfiguration>({
  name: 'dummy',
  delegates: true,
  official: () => ({
    load: 'failed to parse network config: ',
    structs: { '': 'PluginConf' },
    unchained: { CHECK: 'dummy: Required prevResult missing' },
  }),

  prevResult: { CHECK: 'required' },
  refuse: ipamProblems,

  add(call) {
    const { config, host, environment, attachment } = call
    const { ifName } = environment
    const isForeign = requireIpam(call)
    const netns = requireNetns(environment.netns)
    const mac = macFrom(`${host.observer.bootID()}/dummy/${attachmentHash(attachment)}`)
    const at = { link: ifName, netns }
    host.apply([addLink(at, ['address', mac, 'type', 'dummy'], `create the dummy interface ${ifName}`)])
    const lan = { ifName, netns, keepIPv6: config.keepIPv6 }
    if (isForeign) host.apply(configureLan(lan, emptyResult)) // it is asked about a link that is up
    const leased = lease(call)
    host.apply(configureLan(lan, leased))
    const ips = leased.ips.map((one) => ({ ...one, interface: 0 }))
    return { ...leased, interfaces: [{ name: ifName, mac, sandbox: netns }], ips }
  },

  check(call) {
    checkLease(call)
    throwDifferences(differences(call))
  },

  del: detachChild,

  status(call) {
    const problems = ipamProblems(call)
    if (problems.length > 0) throw invalidConfiguration(problems)
    const { host } = call
    requireForAdd(host, { features: [features.dummy], programs: insideTools(host) }, ipamNeeds(call))
  },

  gc: collectLeases,
})

// --- internal

function ipamProblems(call: DummyCall): readonly Problem[] {
  if (hasIpam(call)) return []
  const official = 'dummy interface requires an IPAM configuration'
  return [
    { path: 'ipam.type', value: call.config.ipam?.type, expected: `the name of an IPAM plugin: ${official}`, official },
  ]
}

function differences({ host, environment, prevResult = emptyResult }: DummyCall): readonly Problem[] {
  const { ifName } = environment
  const netns = requireNetns(environment.netns)
  const { link, problems } = interfaceDifferences(host, { netns, ifName, prevResult, kind: 'dummy' })
  if (!link || link.flags.includes('UP')) return problems
  return [...problems, { path: `interface ${ifName}`, value: link.flags, expected: 'the flag UP' }]
}

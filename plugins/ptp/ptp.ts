import { recordWritings, writeRecord } from '../../shared/exec/records.js'
import { awaitCarrier } from '../../shared/net/carrier.js'
import { addressesOf, dnsOf, interfaceDifferences, throwDifferences } from '../../shared/net/interface.js'
import { addVethPair, forwarding, refuseRouterAdvertisements, setUp } from '../../shared/net/ip.js'
import {
  forgetLast,
  masquerade,
  masqueradeDifferences,
  masqueradeNeeds,
  masqueradeOf,
  noteMasquerade,
  recordedMasquerade,
  sayMasquerade,
  seenForMasquerade,
  unmasquerade,
} from '../../shared/net/masquerade.js'
import { forwardingSettings, insideTools, requireForAdd } from '../../shared/net/needs.js'
import { requireNetns } from '../../shared/net/netns.js'
import { features } from '../../shared/net/probe.js'
import { containerEndMac, hostEndMac } from '../../shared/net/veth.js'
import { checkLease, hasIpam, ipamNeeds, lease, requireIpam } from '../../shared/program/ipam.js'
import { type Call, definePlugin, removing } from '../../shared/program/plugin.js'
import { invalidConfiguration, type Problem } from '../../shared/values/errors.js'
import { hostVethName } from '../../shared/values/names.js'
import { emptyResult } from '../../shared/values/result.js'
import { collectVeths, detachVeth } from '../veth/detach.js'
import { containerEnd, hostEnd, hostEndDifferences, withGateways } from './ends.js'
import type { PtpConfiguration } from './ptp.schema.js'

type PtpCall = Call<PtpConfiguration>

/** A veth pair between host and container, routed: each end has one address and a route to the other's. */
export default definePlugin<PtpConfiguration>({
  name: 'ptp',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf' },
    says: sayMasquerade,
  }),

  prevResult: { CHECK: 'required' },
  refuse: ipamProblems,

  add(call) {
    const { config, host, environment, attachment } = call
    const netns = requireNetns(environment.netns)
    const isForeign = requireIpam(call)
    const link = hostVethName(attachment)
    const at = { link: environment.ifName, netns }
    const macs = { host: hostEndMac(attachment), container: containerEndMac(host, attachment) }
    const pair = addVethPair({
      host: link,
      hostMac: macs.host,
      container: environment.ifName,
      containerMac: macs.container,
      netns,
      mtu: config.mtu,
    })
    if (isForeign) {
      // Another IPAM plugin is asked when packets pass between the two ends.
      const ends = [{ link }, at]
      writeRecord(host, 'ptp', attachment, {})
      host.apply([pair, ...ends.flatMap((end) => [refuseRouterAdvertisements(end), setUp(end)])])
      for (const end of ends) awaitCarrier(host, end)
    }

    const leased = lease(call)
    const ips = withGateways(leased)
    if (!isForeign) writeRecord(host, 'ptp', attachment, {})
    host.apply([
      ...forwarding(ips.map(({ address }) => address)),
      ...(isForeign ? [] : [pair]),
      ...hostEnd(link, ips),
      ...containerEnd(at, ips, leased.routes),
    ])
    // Only now is it certain that no other container has the address: a rule of that one would be taken for a leftover.
    const masked = masqueradeOf(config, { ips })
    if (masked) {
      const seen = seenForMasquerade(host, attachment, masked)
      noteMasquerade(host, attachment, masked)
      host.apply(masquerade(attachment, masked, seen))
      forgetLast(host, seen)
    }

    const interfaces = [
      { name: link, mac: macs.host },
      { name: environment.ifName, mac: macs.container, sandbox: netns },
    ]
    return { interfaces, ips, routes: leased.routes, dns: dnsOf(config.dns, leased.dns) }
  },

  check(call) {
    checkLease(call)
    throwDifferences(differences(call))
  },

  del(call) {
    detachVeth(call, 'ptp')
  },

  removes: removing({ look: recordedMasquerade, plan: unmasquerade }),

  status(call) {
    const { config, host } = call
    const problems = ipamProblems(call)
    if (problems.length > 0) throw invalidConfiguration(problems)
    requireForAdd(
      host,
      { features: [features.veth], writes: recordWritings(config.name, 'ptp') },
      { programs: insideTools(host), settings: forwardingSettings(host) },
      config.ipMasq ? masqueradeNeeds(config.name, config.ipMasqBackend) : {},
      ipamNeeds(call),
    )
  },

  gc(call) {
    collectVeths(call, 'ptp')
  },
})

// --- internal

function ipamProblems(call: PtpCall): readonly Problem[] {
  const { ipam } = call.config
  if (hasIpam(call)) return []
  return [
    {
      path: 'ipam.type',
      value: ipam?.type,
      expected: 'the name of an IPAM plugin: the link is all addresses and routes',
      official: 'no plugin name provided',
    },
  ]
}

function differences({ config, host, environment, attachment, prevResult = emptyResult }: PtpCall): readonly Problem[] {
  const { ifName } = environment
  const netns = requireNetns(environment.netns)
  const { link, problems } = interfaceDifferences(host, { netns, ifName, prevResult, kind: 'veth' })
  const own = addressesOf(prevResult, ifName)
  return [
    ...problems,
    ...(link ? hostEndDifferences(host, { prevResult, addresses: own, link }) : []),
    ...(config.ipMasq ? masqueradeDifferences(host, attachment, own) : []),
  ]
}

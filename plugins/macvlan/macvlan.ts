import { attemptAll } from '../../shared/plan/host.js'
import { collectLeases, hasIpam } from '../../shared/program/ipam.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import { checks, macOf, unicastMac } from '../../shared/values/checks.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { attachmentHash, macFrom } from '../../shared/values/names.js'
import { macFault } from '../../shared/values/official.js'
import type { ChildLink } from '../lan/child.js'
import { attachChild, checkChild, childProblems, childStatus, detachChild } from '../lan/child-link.js'
import { findMaster } from '../lan/master.js'
import {
  collectHostAccess,
  grantHostAccess,
  hostAccessDifferences,
  hostAccessNeeds,
  revokeHostAccess,
} from './host-access.js'
import type { MacvlanConfiguration } from './macvlan.schema.js'

type MacvlanCall = Call<MacvlanConfiguration>

/** A machine of its own on the master's network: own MAC address, own addresses, no way to the host below it. */
export default definePlugin<MacvlanConfiguration>({
  name: 'macvlan',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf', runtimeConfig: '' },
    types: { bcqueuelen: 'uint32', runtimeConfig: 'struct { Mac string "json:\\"mac,omitempty\\"" }' },
    says,
  }),

  argsKeys: ['MAC'],
  prevResult: { CHECK: 'required' },

  refuse(call) {
    const mac = call.args.get('MAC') ?? ''
    const isWrong = mac !== '' && unicastMac(mac) === undefined
    const problem = { path: 'CNI_ARGS MAC', value: mac, expected: checks.macOrEmpty.expected }
    return [
      ...childProblems(call),
      ...hostAccessProblems(call),
      ...(isWrong ? [{ ...problem, official: says(problem) }] : []),
    ]
  },

  add(call) {
    const result = attachChild(call, { ...child(call), mac: chooseMac(call) })
    if (call.config.hostAccess) grantHostAccess(call, findMaster(call.host, call.config), result)
    return result
  },

  check(call) {
    const { config, host } = call
    checkChild(call, child(call), () =>
      config.hostAccess ? hostAccessDifferences(call, findMaster(host, config)) : [],
    )
  },

  del(call) {
    attemptAll(
      () => revokeHostAccess(call.host, call.attachment),
      () => detachChild(call),
    )
  },

  status(call) {
    childStatus(call, child(call), call.config.hostAccess ? hostAccessNeeds(call) : {})
  },

  gc(call) {
    attemptAll(
      () => collectHostAccess(call, masterOf(call)),
      () => collectLeases(call),
    )
  },
})

// --- internal

function says({ path, value }: Problem): string | undefined {
  if (path === 'mode') return `unknown macvlan mode: "${value}"`
  if (!path.toLowerCase().endsWith('mac') || path === 'masterMAC') return undefined
  const fault = macFault(value)
  return fault.endsWith('invalid MAC address')
    ? `invalid args ${value} for MAC addr: ${fault}`
    : `failed to create macvlan: ${fault}`
}

/** Where the master is gone, its shim is gone, too. */
function masterOf({ host, config }: MacvlanCall): string | undefined {
  if (!config.hostAccess) return undefined
  try {
    return findMaster(host, config).ifname
  } catch (thrown) {
    if (thrown instanceof CniError && thrown.code === codes.invalidConfiguration) return undefined
    throw thrown
  }
}

/** Only children in bridge mode hear each other, and there must be an address to find the container by. */
function hostAccessProblems(call: MacvlanCall): readonly Problem[] {
  const { hostAccess, mode, linkInContainer } = call.config
  if (!hostAccess || ((mode || 'bridge') === 'bridge' && !linkInContainer && hasIpam(call))) return []
  const expected = 'false unless mode is "bridge", linkInContainer is false and IPAM gives an address'
  return [{ path: 'hostAccess', value: true, expected }]
}

function child({ config }: MacvlanCall): ChildLink {
  const { bcqueuelen } = config
  const queue = bcqueuelen > 0 ? { bcqueuelen } : {}
  return { kind: 'macvlan', attributes: { mode: config.mode || 'bridge', ...queue } }
}

/** The one that is asked for, else one of ours: nothing has to be read back. In passthru mode it is the master's. */
function chooseMac({ config, args, attachment, host }: MacvlanCall): string | undefined {
  const asked = macOf(config.runtimeConfig?.mac || args.get('MAC') || config.mac || '')
  if (asked !== undefined || config.mode === 'passthru') return asked
  return macFrom(`${host.observer.bootID()}/macvlan/${attachmentHash(attachment)}`)
}

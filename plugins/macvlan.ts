import { throwDifferences } from '../shared/net/interface.js'
import { attachmentHash, macFrom } from '../shared/net/names.js'
import { bootID } from '../shared/net/observe.js'
import { probeKernel } from '../shared/net/probe.js'
import { macOf } from '../shared/protocol/checks.js'
import { checkLease, collectLeases, ipamStatus } from '../shared/protocol/ipam.js'
import { type Call, definePlugin } from '../shared/protocol/plugin.js'
import { attachChild, type ChildLink, childDifferences, childProblems, detachChild } from './_child-link.js'
import type { MacvlanConfiguration } from './macvlan.schema.js'

type MacvlanCall = Call<MacvlanConfiguration>

/** A machine of its own on the master's network: own MAC address, own addresses, no way to the host below it. */
export default definePlugin<MacvlanConfiguration>({
  name: 'macvlan',
  argsKeys: ['MAC'],
  prevResult: { CHECK: 'required' },

  refuse(call) {
    const mac = call.args.get('MAC') ?? ''
    const isWrong = mac !== '' && macOf(mac) === undefined
    return [
      ...childProblems(call),
      ...(isWrong ? [{ path: 'CNI_ARGS MAC', value: mac, expected: 'a MAC address such as "02:00:5e:10:00:01"' }] : []),
    ]
  },

  add(call) {
    return attachChild(call, { ...child(call), mac: chooseMac(call) })
  },

  check(call) {
    checkLease(call)
    throwDifferences(childDifferences(call, child(call)))
  },

  del(call) {
    detachChild(call)
  },

  status(call) {
    probeKernel(call.host, ['macvlan'])
    ipamStatus(call)
  },

  gc(call) {
    collectLeases(call)
  },
})

// --- internal

function child({ config }: MacvlanCall): ChildLink {
  const { bcqueuelen } = config
  const queue = bcqueuelen > 0 ? { bcqueuelen } : {}
  return { kind: 'macvlan', attributes: { mode: config.mode || 'bridge', ...queue } }
}

/** The one that is asked for, else one of ours: nothing has to be read back. In passthru mode it is the master's. */
function chooseMac({ config, args, attachment, host }: MacvlanCall): string | undefined {
  const asked = macOf(config.runtimeConfig?.mac || args.get('MAC') || config.mac || '')
  if (asked !== undefined || config.mode === 'passthru') return asked
  return macFrom(`${bootID(host)}/macvlan/${attachmentHash(attachment)}`)
}

import { readRecord, recordWritings, removeRecord, staleRecords, writeRecord } from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { addLink, setUp } from '../../shared/net/ip.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { requireNetns } from '../../shared/net/netns.js'
import { type Feature, features } from '../../shared/net/probe.js'
import { limitRate, redirectIngress, type TokenBucket } from '../../shared/net/tc.js'
import { attemptAll } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { attachmentHash, macFrom } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { emptyResult } from '../../shared/values/result.js'
import type { BandwidthConfiguration } from './bandwidth.schema.js'
import { bucketProblems, readLimits } from './limits.js'
import { findHostEnd, ifbName, type Limited, liftLimits, limitedLinks, recordKind } from './links.js'

type BandwidthCall = Call<BandwidthConfiguration>

/**
 * Limits the rates towards and from a container, at the host's end of its veth pair. What the container sends comes in
 * there, where nothing can wait: it is redirected to an ifb link, which can let it wait.
 */
export default definePlugin<BandwidthConfiguration>({
  name: 'bandwidth',
  official: () => ({
    load: 'failed to parse network configuration: ',
    library: 'NetConf.',
    structs: { '': 'PluginConf', runtimeConfig: '', 'runtimeConfig.bandwidth': 'BandwidthEntry' },
    types: {
      ...Object.fromEntries(
        rateKeys.flatMap((key) => [
          [key, 'uint64'],
          [`runtimeConfig.bandwidth.${key}`, 'uint64'],
        ]),
      ),
      runtimeConfig: 'struct { Bandwidth *main.BandwidthEntry "json:\\"bandwidth,omitempty\\"" }',
      'runtimeConfig.bandwidth': 'main.BandwidthEntry',
    },
    fields: Object.fromEntries(rateKeys.map((key) => [key, `BandwidthEntry.${key}`])),
    prevResult: 'could not parse prevResult: could not parse prevResult: ',
    unchained: { ADD: 'must be called as chained plugin', CHECK: 'must be called as a chained plugin' },
  }),

  since: '0.3.0',
  prevResult: { ADD: 'required', CHECK: 'required' },
  refuse: ({ config }) => readLimits(config).problems,

  add(call) {
    const { config, host, attachment, prevResult = emptyResult } = call
    const { ingress, egress } = readLimits(config).limits
    if (!ingress && !egress) return prevResult
    const end = hostEnd(call)
    warnOfSmallBursts(call, end)
    const leftover = liftLimits(limitedLinks(host, attachment))
    const ifb = egress && {
      name: ifbName(host, attachment),
      mac: macFrom(`${host.observer.bootID()}/ifb/${attachmentHash(attachment)}`),
    }
    writeRecord<Limited>(host, recordKind, attachment, { link: end.ifname, ...(ifb ? { ifb: ifb.name } : {}) })
    host.apply([
      ...leftover,
      ...(ifb ? addIfb(ifb, end.mtu) : []),
      ...(ingress ? [limitRate(end.ifname, ingress)] : []),
      ...(ifb && egress ? [limitRate(ifb.name, egress), ...redirectIngress(end.ifname, ifb.name)] : []),
    ])
    return { ...prevResult, interfaces: [...prevResult.interfaces, ...(ifb ? [ifb] : [])] }
  },

  check(call) {
    throwDifferences(differences(call))
  },

  del({ host, attachment }) {
    lift(host, attachment)
  },

  status({ config, host }) {
    requireForAdd(host, { features: featuresFor(config), writes: recordWritings(config.name, recordKind) })
  },

  gc({ config, host, validAttachments }) {
    if (validAttachments === undefined) return
    const stale = staleRecords(host, recordKind, config.name, validAttachments)
    attemptAll(
      ...stale.map(
        ({ attachment }) =>
          () =>
            lift(host, attachment),
      ),
    )
  },
})

// --- internal

const rateKeys = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst']

function hostEnd({ host, environment, prevResult = emptyResult }: BandwidthCall): ObservedLink {
  return findHostEnd(host, { ifName: environment.ifName, netns: requireNetns(environment.netns), prevResult })
}

/**
 * The limits that a runtime gives with a pod are not known yet: only where all are configured does one direction
 * suffice.
 */
function featuresFor(config: BandwidthConfiguration): readonly Feature[] {
  const { ingress, egress } = readLimits(config).limits
  const isFixed = config.capabilities?.['bandwidth'] !== true && (ingress || egress)
  return isFixed && !egress ? [features.tbf] : [features.tbf, features.mirred, features.ifb]
}

function addIfb({ name: link, mac }: { name: string; mac: string }, mtu: number): readonly Operation[] {
  return [addLink({ link }, ['address', mac, 'mtu', String(mtu), 'txqueuelen', '0', 'type', 'ifb']), setUp({ link })]
}

/** A packet that is larger than the burst never passes; the official plugin says nothing. */
function warnOfSmallBursts({ config, host }: BandwidthCall, { mtu }: ObservedLink): void {
  for (const [direction, bucket] of Object.entries(readLimits(config).limits)) {
    if (bucket.burst >= mtu) continue
    host.warn(
      `bandwidth: packets of more than the ${direction} burst of ${bucket.burst} bytes are dropped (MTU ${mtu})`,
    )
  }
}

function lift(host: Call['host'], attachment: Attachment): void {
  host.sweep(liftLimits(limitedLinks(host, attachment)))
  removeRecord(host, recordKind, attachment)
}

function differences(call: BandwidthCall): readonly Problem[] {
  const { config, host, attachment } = call
  const { ingress, egress } = readLimits(config).limits
  if (!ingress && !egress) return []
  const end = hostEnd(call).ifname
  const problems = ingress ? [...limitDifferences(call, end, ingress)] : []
  if (!egress) return problems
  const ifb = readRecord<Limited>(host, recordKind, attachment)?.data.ifb ?? ifbName(host, attachment)
  problems.push(...limitDifferences(call, ifb, egress))
  const targets = host.observer.redirects(end)
  if (targets.includes(ifb)) return problems
  return [...problems, { path: `redirection from ${end}`, value: targets, expected: ifb }]
}

function limitDifferences({ host }: BandwidthCall, link: string, expected: TokenBucket): readonly Problem[] {
  const root = host.observer.qdiscs(link)?.find((one) => one.root)
  const { rate = 0, burst = 0, limit = 0 } = root?.options ?? {}
  if (root?.kind === 'tbf') return bucketProblems(`tbf on ${link}`, expected, { rate, burst, limit })
  return [
    {
      path: `qdisc on ${link}`,
      value: root?.kind ?? 'none',
      official: 'Failed to find qdisc',
      expected: `tbf with a rate of ${expected.rate} bytes a second`,
    },
  ]
}

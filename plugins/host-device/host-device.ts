import {
  readRecord,
  recordsOfAllNetworks,
  recordWritings,
  removeRecord,
  staleRecords,
  writeRecord,
} from '../../shared/exec/records.js'
import { announcing, settle } from '../../shared/net/announce.js'
import { awaitCarrier } from '../../shared/net/carrier.js'
import { interfaceDifferences, throwDifferences } from '../../shared/net/interface.js'
import { setUp } from '../../shared/net/ip.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { netnsAt, requireNetns } from '../../shared/net/netns.js'
import { attemptAll } from '../../shared/plan/host.js'
import {
  checkLease,
  collectLeases,
  hasIpam,
  ipamNeeds,
  lease,
  release,
  requireIpam,
} from '../../shared/program/ipam.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { isLinkName } from '../../shared/values/checks.js'
import { CniError, codes, invalidConfiguration } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { emptyResult, printResult, type Result, refuseInexpressible } from '../../shared/values/result.js'
import { configureLan } from '../lan/interface.js'
import { deviceProblems, findDevice, isNamed } from './find.js'
import type { HostDeviceConfiguration } from './host-device.schema.js'
import { type Moved, makeOf, placeOf } from './identity.js'
import { moveIn, recordKind, returnDevice } from './move.js'
import { type Captured, captureNetwork, type DeviceNetwork, moveRouting, nothingCaptured } from './network.js'

type HostDeviceCall = Call<HostDeviceConfiguration>

/** Lends a link of the host to the container. A device that a program drives itself gets only its addresses. */
export default definePlugin<HostDeviceConfiguration>({
  name: 'host-device',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf', runtimeConfig: '' },
    types: { runtimeConfig: 'struct { DeviceID string "json:\\"deviceID,omitempty\\"" }' },
    fields: { dpdkMode: 'DPDKMode' },
  }),

  prevResult: { CHECK: 'required' },
  refuse: ({ config }) => deviceProblems(config),

  add(call) {
    const { config, host, environment, version } = call
    if (!config.useInterfaceNetwork) refuseInexpressible(version, hasIpam(call))
    const isForeign = requireIpam(call)
    const netns = requireNetns(environment.netns)
    const device = findDevice(host, config)
    if (device.dpdk && config.useInterfaceNetwork) throw withoutNetwork()
    const link = device.dpdk ? undefined : device.find()
    const captured = link && config.useInterfaceNetwork ? captureNetwork(host, link) : nothingCaptured
    refuseInexpressible(version, hasIpam(call) || captured.result.ips.length > 0)
    if (link)
      moveToContainer(call, link, { netns, ...(config.useInterfaceNetwork ? { network: captured.network } : {}) })
    if (link && isForeign) setUpForIpam(call, link, netns)
    const mac = link?.address
    const leased = hasIpam(call) ? lease(call, { mayBeEmpty: config.useInterfaceNetwork }) : emptyResult
    const { ips, routes } = withCaptured(leased, captured.result)
    if (captured.result.ips.length > 0 && leased.ips.length > 0) noteLeased(call, leased.ips.length)
    if (link) configure(call, { ips, routes: leased.routes }, { netns, device: link.ifname, network: captured.network })
    return {
      interfaces: [{ name: environment.ifName, sandbox: netns, ...(mac === undefined ? {} : { mac }) }],
      ips,
      routes,
      dns: hasIpam(call) ? (config.dns ?? {}) : {},
    }
  },

  check(call) {
    const { config, host, environment, prevResult = emptyResult } = call
    checkLease(asLeased(call))
    const netns = requireNetns(environment.netns)
    if (findDevice(host, config).dpdk) return
    throwDifferences(interfaceDifferences(host, { netns, ifName: environment.ifName, prevResult }).problems)
  },

  /** The lease is given back after the device: as long as that is in the container, its address answers. */
  del(call) {
    const { host, environment } = call
    const attachment = attachmentOnRecord(call)
    if (!returnDevice(host, attachment, environment.netns)) warnOfAbsence(call)
    release(call)
    removeRecord(host, recordKind, attachment)
  },

  status(call) {
    const { config, host } = call
    requireForAdd(
      host,
      {
        programs: ['nsenter', 'ip'],
        writes: recordWritings(config.name, recordKind),
        also: [() => requireDevice(call)],
      },
      ipamNeeds(call),
    )
  },

  gc(call) {
    const { config, host, validAttachments } = call
    const stale =
      validAttachments === undefined ? [] : staleRecords<Moved>(host, recordKind, config.name, validAttachments)
    attemptAll(
      ...stale.map(({ attachment, netns }) => () => {
        returnDevice(host, attachment, netns?.path ?? '')
        removeRecord(host, recordKind, attachment)
      }),
      () => collectLeases(call),
    )
  },
})

// --- internal

/**
 * A device that a runtime names with the container cannot be looked for, and one that a container has, comes back: the
 * node is not to stop for it.
 */
function requireDevice({ config, host }: HostDeviceCall): void {
  const { device, hwaddr, kernelpath, pciBusID, runtimeConfig } = config
  if (!device && !hwaddr && !kernelpath && !pciBusID && !runtimeConfig?.deviceID) return
  const found = findDevice(host, config)
  if (found.dpdk) return
  try {
    found.find()
  } catch (thrown) {
    const holder = recordsOfAllNetworks<Moved>(host, recordKind).find(
      ({ attachment, data }) => attachment.network === config.name || data.device === device || data.mac === hwaddr,
    )
    if (!holder) throw thrown
    host.warn(
      `host-device: ${holder.data.device} is with container ${holder.attachment.containerID}: no other can be attached`,
    )
  }
}

/**
 * The attachment that the device was lent to. A network that has another name by now is known by its container, its
 * interface and its device.
 */
function attachmentOnRecord({ config, host, attachment }: HostDeviceCall): Attachment {
  if (readRecord<Moved>(host, recordKind, attachment)) return attachment
  const { containerID, ifName } = attachment
  const renamed = recordsOfAllNetworks<Moved>(host, recordKind).find(
    ({ attachment: one, data }) => one.containerID === containerID && one.ifName === ifName && isNamed(config, data),
  )
  if (!renamed) return attachment
  host.warn(`host-device: ${renamed.data.device} was attached by the network ${renamed.attachment.network}`)
  return renamed.attachment
}

/**
 * Without a record and a namespace to look into, the device may be in one that a process keeps: of that only its
 * absence tells.
 */
function warnOfAbsence({ config, host }: HostDeviceCall): void {
  const { device } = config
  if (!device || !isLinkName(device) || host.observer.hasLink(device)) return
  const isLent = recordsOfAllNetworks<Moved>(host, recordKind).some(({ data }) => data.device === device)
  if (isLent) return
  const where = "is not on the host, and the container's namespace is not to be found"
  host.warn(`host-device: ${device} ${where}: it comes back when what keeps that ends`)
}

/**
 * Moves the device, with what it was on record; of one that is no hardware, also its number inside, which a move may
 * change.
 */
function moveToContainer(
  { host, environment, attachment }: HostDeviceCall,
  link: ObservedLink,
  { netns, network }: { netns: string; network?: DeviceNetwork },
): void {
  const { ifName } = environment
  if (host.observer.link(ifName, netns)) {
    throw new CniError(codes.nameTaken, `the container has an interface ${ifName} already`, {
      official: `failed to move link failed to move "${ifName}" (host: "${link.ifname}") to container NS: file exists`,
      fix: 'remove or rename the interface that is there; a DEL of the attachment does',
    })
  }
  let moved: Moved = { ...describe(link), ...(network ? { network } : {}) }
  writeRecord<Moved>(host, recordKind, attachment, moved, { netns: netnsAt(host, netns) })
  if (!host.dryRun) {
    host.journal.note(() => {
      returnDevice(host, attachment, netns, moved)
      return []
    })
  }
  host.apply(moveIn(moved, { attachment, ifName, netns }))
  const inside = moved.parent === undefined ? host.observer.link(ifName, netns) : undefined
  if (!inside) return
  moved = { ...moved, inside: placeOf(inside) }
  writeRecord<Moved>(host, recordKind, attachment, moved)
}

/**
 * How many addresses of the result, from the first on, IPAM gave: the device may have brought along some of them
 * itself.
 */
function noteLeased({ host, attachment }: HostDeviceCall, leased: number): void {
  const moved = readRecord<Moved>(host, recordKind, attachment)?.data
  if (moved) writeRecord<Moved>(host, recordKind, attachment, { ...moved, leased })
}

/** Another IPAM plugin is asked when the device can send. One that was up without a carrier has none here either. */
function setUpForIpam({ config, host, environment }: HostDeviceCall, { flags }: ObservedLink, netns: string): void {
  const at = { link: environment.ifName, netns }
  host.apply(configureLan({ ...config, ifName: at.link, netns }, emptyResult))
  if (!flags.includes('UP') || flags.includes('LOWER_UP')) awaitCarrier(host, at)
}

function describe(link: ObservedLink): Moved {
  const { ifname, address, ifalias, flags } = link
  return {
    device: ifname,
    up: flags.includes('UP'),
    ...(address === undefined ? {} : { mac: address }),
    ...(ifalias === undefined || !isPlain(ifalias) ? {} : { alias: ifalias }),
    ...makeOf(link),
  }
}

/** True for a text that can be quoted for a tool. */
function isPlain(text: string): boolean {
  for (const char of text) if (char < ' ' || char === '\x7f' || char === '"' || char === '\\') return false
  return true
}

/** What IPAM gave, and behind it what the device brought along and is not there yet. */
function withCaptured(leased: Result, captured: Captured['result']): Captured['result'] {
  const given = new Set(leased.ips.map(({ address }) => address))
  const brought = captured.ips.filter(({ address }) => !given.has(address))
  return {
    ips: [...leased.ips.map((one) => ({ ...one, interface: 0 })), ...brought],
    routes: [...leased.routes, ...captured.routes],
  }
}

/**
 * For CHECK of the IPAM plugin: without the addresses in prevResult that the device brought along, which no lease is
 * for.
 */
function asLeased(call: HostDeviceCall): HostDeviceCall {
  const { config, host, attachment, prevResult = emptyResult } = call
  const record = config.useInterfaceNetwork ? readRecord<Moved>(host, recordKind, attachment)?.data : undefined
  const brought = new Set(record?.network?.addresses.map(({ address }) => address))
  const ips = prevResult.ips.filter(({ address }, index) => index < (record?.leased ?? 0) || !brought.has(address))
  if (ips.length === prevResult.ips.length) return call
  const others = Object.entries(JSON.parse(call.stdin)).filter(([key]) => key.toLowerCase() !== 'prevresult')
  const json = {
    ...Object.fromEntries(others),
    prevResult: JSON.parse(printResult({ ...prevResult, ips }, call.version)),
  }
  return { ...call, stdin: JSON.stringify(json) }
}

function withoutNetwork(): CniError {
  return invalidConfiguration(
    [{ path: 'useInterfaceNetwork', value: true, expected: 'false: no interface of the host has the device' }],
    'useInterfaceNetwork is not supported for dpdk-bound devices',
  )
}

/** Without addresses the device only comes up: it may be all the container's business. */
function configure(
  { config, host, environment }: HostDeviceCall,
  { ips, routes }: Captured['result'],
  { netns, device, network }: { netns: string; device: string; network: DeviceNetwork },
): void {
  const { ifName } = environment
  const at = { link: ifName, netns }
  const isBare = ips.length === 0
  const keepIPv6 = config.keepIPv6 || network.routes.some(({ words: [destination = ''] }) => destination.includes(':'))
  host.apply([
    ...(isBare
      ? [setUp(at)]
      : configureLan({ ...config, keepIPv6, ifName, netns }, { ips, routes }, announcing(ifName))),
    ...moveRouting(network, { device, ifName, netns }),
  ])
  if (ips.some(({ address }) => address.includes(':'))) settle(host, at)
}

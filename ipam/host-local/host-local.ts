import { isUnlocked, withLock } from '../../shared/exec/lock.js'
import { leaseRoot } from '../../shared/exec/state.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { memberOf } from '../../shared/program/invoke.js'
import { definePlugin, type Call as PluginCall } from '../../shared/program/plugin.js'
import { compareAddress, formatAddress, parseCidr } from '../../shared/values/address.js'
import { checks } from '../../shared/values/checks.js'
import { isIdentifier } from '../../shared/values/environment.js'
import { messageOf } from '../../shared/values/errno.js'
import { CniError, codes, invalidConfiguration } from '../../shared/values/errors.js'
import { pathFault } from '../../shared/values/official.js'
import { canonicalResult, type Dns, emptyResult } from '../../shared/values/result.js'
import { acquire, cidrOf, preview, undoAcquire } from './acquire.js'
import { type Choice, Exhausted } from './allocate.js'
import { currentEpoch } from './epoch.js'
import { exhaustionError, type Origin } from './exhaustion.js'
import { systemLeaseFiles } from './files.js'
import type { HostLocalConfiguration } from './host-local.schema.js'
import type { Lease, Owner } from './lease.js'
import { rangeHolding } from './ranges.js'
import { readRequest } from './request.js'
import { parseResolvConf } from './resolv.js'
import { fullness } from './status.js'
import { openStore, type Store } from './store.js'
import type { LeaseView } from './view.js'

/** Hands out addresses from ranges of this host alone, and remembers them in files. */
export default definePlugin<HostLocalConfiguration>({
  name: 'host-local',
  official: () => ({
    load: '',
    structs: {
      '': 'Net',
      ipam: 'IPAMConfig',
      'ipam.ranges': 'Range',
      'ipam.routes': 'IPAMConfig',
      args: '',
      'args.cni': 'IPAMArgs',
      runtimeConfig: '',
      'runtimeConfig.ipRanges': 'Range',
    },
    types: {
      ipam: 'allocator.IPAMConfig',
      'ipam.ranges': '[]allocator.RangeSet',
      'ipam.routes.gw': 'net.IP',
      ...Object.fromEntries(addressKeys().map((key) => [key, 'net.IP'])),
      args: 'struct { A *allocator.IPAMArgs "json:\\"cni\\"" }',
      'args.cni': 'allocator.IPAMArgs',
      'args.cni.ips': '[]*ip.IP',
      runtimeConfig:
        'struct { IPRanges []allocator.RangeSet "json:\\"ipRanges,omitempty\\""; IPs []*ip.IP "json:\\"ips,omitempty\\"" }',
      'runtimeConfig.ipRanges': '[]allocator.RangeSet',
      'runtimeConfig.ips': '[]*ip.IP',
    },
    fields: {
      'ipam.name': 'ipam.Name',
      'ipam.subnet': 'ipam.Range.subnet',
      'ipam.rangeStart': 'ipam.Range.rangeStart',
      'ipam.rangeEnd': 'ipam.Range.rangeEnd',
      'ipam.gateway': 'ipam.Range.gateway',
    },
    says: ({ path, value }) => (path.includes('.ips[') ? `invalid IP address ${value}` : undefined),
  }),

  argsKeys: ['IP'],
  prevResult: { CHECK: 'optional' },
  refuse: (call) => readRequest(call).problems,

  add(call) {
    const dns = readDns(call)
    const ips = lease(call, storeOf(call)).map((choice) => ({
      address: cidrOf(choice),
      gateway: formatAddress(choice.range.gateway),
    }))
    return canonicalResult({ ...emptyResult, ips, routes: call.config.ipam?.routes ?? [], dns })
  },

  check(call) {
    const own = storeOf(call).look((view) => view.of(ownerOf(call)))
    if (own.length === 0) throw notFound(call, 'no lease file names it')
    const { sets } = readRequest(call).request
    for (const { address: text } of call.prevResult?.ips ?? []) {
      const address = parseCidr(text)?.address
      if (address === undefined || !sets.some((set) => rangeHolding(set, address))) continue
      if (own.some((one) => compareAddress(one.address, address) === 0)) continue
      throw notFound(call, `it holds ${own.map(({ file }) => file).join(', ')}, but prevResult lists ${text}`)
    }
  },

  del(call) {
    const store = storeOf(call)
    const owner = ownerOf(call)
    call.host.change(`release the addresses of ${owner.containerID} ${owner.ifName} in ${store.directory}`, () => {
      store.release(owner)
    })
  },

  status(call) {
    const { request, problems } = readRequest(call)
    if (problems.length > 0) throw invalidConfiguration(problems)
    const { host } = call
    const store = storeOf(call)
    requireForAdd(host, {
      writes: store.writes(request.sets.length),
      also: [
        () => void readDns(call),
        () =>
          sayFull(
            call,
            store.look((view) => fullness(request.sets, view, originOf(call, store))),
          ),
      ],
    })
  },

  gc(call) {
    const { validAttachments, host } = call
    if (validAttachments === undefined) return
    const store = storeOf(call)
    host.change(`release the addresses of all but ${validAttachments.length} attachments in ${store.directory}`, () => {
      store.collect((view) => staleLeases(call, view))
    })
  },

  holds: (call) =>
    storeOf(call).look((view) => (call.environment.command === 'GC' ? staleLeases(call, view) : view.of(ownerOf(call))))
      .length > 0,
})

// --- internal

type Call = PluginCall<HostLocalConfiguration>

/** The keys of ranges whose values are addresses, wherever ranges stand. */
function addressKeys(): readonly string[] {
  const places = ['ipam', 'ipam.ranges', 'runtimeConfig.ipRanges']
  return places.flatMap((place) => ['rangeStart', 'rangeEnd', 'gateway'].map((key) => `${place}.${key}`))
}

function ownerOf({ attachment: { containerID, ifName } }: Call): Owner {
  return { containerID, ifName }
}

function storeOf({ host, config, stdin }: Call): Store {
  return openStore({
    dataDir: (config.ipam ? config.ipam.dataDir : dataDirIn(stdin)) || leaseRoot,
    network: config.name,
    files: systemLeaseFiles,
    epoch: currentEpoch(systemLeaseFiles),
    lock: (path, body) => withLock(path, body, { host }),
    isUnlocked: (path) => isUnlocked(path, host),
    warn: host.warn,
  })
}

/** The directory as a DEL finds it in a configuration whose `ipam` is wrong elsewhere and was dropped. */
function dataDirIn(stdin: string): string | undefined {
  const ipam = memberOf(JSON.parse(stdin), 'ipam')
  const dataDir = typeof ipam === 'object' && ipam !== null ? memberOf({ ...ipam }, 'dataDir') : undefined
  return typeof dataDir === 'string' && checks.path.test(dataDir) ? dataDir : undefined
}

/** Reserves (in a dry run: chooses) the addresses, and notes in the journal how to give them back. */
function lease(call: Call, store: Store): readonly Choice[] {
  const { request } = readRequest(call)
  const owner = ownerOf(call)
  const who = `${owner.containerID} ${owner.ifName}`
  try {
    if (call.host.dryRun) {
      const choices = store.look((view) => preview(view, owner, request))
      call.host.warn(`# reserve ${choices.map(cidrOf).join(' ')} for ${who} in ${store.directory}`)
      return choices
    }
    store.create()
    const choices = store.change((leases) => acquire(leases, owner, request))
    if (choices === undefined) throw new CniError(codes.tryAgainLater, `${store.directory} was removed just now`)
    call.host.journal.note(() => undoAcquire(store, owner, choices))
    return choices
  } catch (thrown) {
    if (!(thrown instanceof Exhausted)) throw thrown
    throw store.look((view) => exhaustionError(thrown, view, originOf(call, store)))
  }
}

function originOf({ host }: Call, { directory }: Store): Origin {
  return { directory, bootedAt: Date.now() - Number.parseFloat(host.files.read('/proc/uptime')) * 1000 }
}

/** @throws code 5 when the file cannot be read, before anything is reserved */
function readDns({ config, host }: Call): Dns {
  const path = config.ipam?.resolvConf ?? ''
  if (path === '') return {}
  try {
    return parseResolvConf(host.files.read(path))
  } catch (thrown) {
    const details = messageOf(thrown)
    const official = pathFault(thrown, path)
    throw new CniError(codes.ioFailure, `cannot read ipam.resolvConf ${path}`, { details, cause: thrown, official })
  }
}

/** The runtimes make a whole node NotReady of a plugin that is not available, also for pods of other networks. */
function sayFull({ config, host }: Call, full: CniError | undefined): void {
  if (!full) return
  if (config.ipam?.statusOnFullRange) throw full
  host.warn(`host-local: ${full.message}\n${full.details}`)
}

function notFound({ attachment }: Call, details: string): CniError {
  const message = `host-local: Failed to find address added by container ${attachment.containerID}`
  const fix = 'detach the container and attach it again'
  return new CniError(codes.checkFailed, message, { details, fix })
}

/** What GC frees; nothing where the runtime did not say who is alive. */
function staleLeases({ validAttachments }: Call, view: LeaseView): readonly Lease[] {
  if (validAttachments === undefined) return []
  const valid = new Set(
    validAttachments.flatMap(({ containerID, ifname }) => [containerID, `${containerID} ${ifname}`]),
  )
  return view.all().filter(({ owner }) => isStale(owner, valid))
}

/** Whether no valid attachment is the owner, an old lease's whole container; a person's note is no container. */
function isStale({ containerID, ifName }: Owner, valid: ReadonlySet<string>): boolean {
  return isIdentifier(containerID) && !valid.has(ifName === '' ? containerID : `${containerID} ${ifName}`)
}

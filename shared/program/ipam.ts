import { ipams, names } from 'podwire:plugins'
import { delegateEnvironment, findDelegate } from '../exec/delegate.js'
import {
  readRecord,
  recordWritings,
  removeRecord,
  removeUnreadable,
  staleRecords,
  writeRecord,
} from '../exec/records.js'
import { systemStateFiles as files, leaseRoot, statusOf } from '../exec/state.js'
import { writeObstacles } from '../exec/writable.js'
import type { Needs } from '../net/needs.js'
import { attemptAll } from '../plan/host.js'
import type { Attachment } from '../values/attachment.js'
import type { Verb } from '../values/environment.js'
import { asCniError, CniError, codes } from '../values/errors.js'
import { emptyResult, type Result, whereAddresses } from '../values/result.js'
import { execute, type Program, runProgram } from './execute.js'
import { holds, invoke, memberOf, type Request, readRequest } from './invoke.js'
import { isLeaseDirectory, isSame, isUsual, named, parsed, type Source, sourceOf, usable } from './leases.js'
import { pluginAt } from './name.js'
import { type AnyPlugin, type Call, inSameJournal } from './plugin.js'

/** True where the configuration names an IPAM plugin; `{}` and an empty type mean none, as podman writes them. */
export function hasIpam({ config }: Pick<Call, 'config'>): boolean {
  return (config.ipam?.type ?? '') !== ''
}

/**
 * Refuses an IPAM plugin that is not there or is none, before anything is touched.
 * @returns true where another program hands out the addresses: it may need the link for that, as dhcp does; ours never
 * do
 * @throws code 107, or 7 for a type that is no file name, no IPAM plugin, or leads back here
 */
export function requireIpam(call: Call): boolean {
  return hasIpam(call) && findIpam(call).own === undefined
}

/**
 * Asks the IPAM plugin for addresses. The journal gives them back when anything later fails; a delegate that failed
 * is asked to clean up too (SPEC.md, "Delegated plugin execution procedure").
 * @throws the delegate's error, or code 107 when it gave no address
 */
export function lease(call: Call, { mayBeEmpty = false }: { mayBeEmpty?: boolean } = {}): Result {
  const found = findIpam(call)
  note(call, sourceOf(call, found.own))
  const result = delegate(call, 'ADD', found) ?? emptyResult
  if (mayBeEmpty || result.ips.length > 0) return result
  const type = call.config.ipam?.type
  throw new CniError(codes.delegateFailed, 'IPAM plugin returned missing IP config', {
    problems: [{ path: 'ipam.type', value: type, expected: 'a plugin that hands out an address' }],
    ...(type === 'static' ? { fix: whereAddresses } : {}),
  })
}

/** In an ADD: gives the addresses back that it just got. */
export function unlease(call: Call): void {
  delegate(call, 'DEL')
}

/** In a DEL: gives back all the attachment has, also what ADD got in another way than the configuration has it. */
export function release(call: Call): void {
  if (call.leaseLater) call.leaseLater(() => releaseNow(call))
  else releaseNow(call)
}

export function checkLease(call: Call): void {
  if (hasIpam(call)) delegate(call, 'CHECK')
}

/** For STATUS: what the IPAM plugin says, and where it is noted from where addresses come. */
export function ipamNeeds(call: Call): Needs {
  const { now } = configured(call)
  const writes = now && isNoted(now, call.config) ? recordWritings(call.config.name, kind) : []
  return { writes, ipam: () => requireAddresses(call) }
}

/** In a GC: frees what no valid attachment has, also what ADDs got in another way than the configuration has it. */
export function collectLeases(call: Call): void {
  const { config, host, validAttachments } = call
  const stale = validAttachments ? staleRecords<Noted>(host, kind, config.name, validAttachments) : []
  const { found, now, isNow } = configured(call)
  const noted = stale.flatMap(({ data }) => ownOf(call, data)).filter((source) => !isNow(source))
  attemptAll(
    () => hasIpam(call) && delegate(call, 'GC', found),
    () => {
      const usual = unnamed(call, now)
      tell(call, [...noted, ...usual])
      attemptAll(
        ...stale.map(({ attachment, data }) => () => {
          const own = ownOf(call, data)
          attemptAll(...own.map((source) => () => releaseFrom(deletionOf(call, attachment), source)))
          forget(call, attachment, data, own)
        }),
        ...usual.map((source) => () => releaseFrom(call, source)),
      )
    },
  )
}

// --- internal

/** @throws code 50 when the IPAM plugin is missing or says it cannot serve, 7 when it is none */
function requireAddresses(call: Call): void {
  if (!hasIpam(call)) return
  try {
    delegate(call, 'STATUS')
  } catch (thrown) {
    const error = asCniError(thrown)
    if (passedOn.includes(error.code)) throw error
    throw new CniError(codes.notAvailable, `no addresses can be had: ${error.message}`, { details: error.details })
  }
}

function releaseNow(call: Call): void {
  const { host, attachment } = call
  const record = readRecord<Noted>(host, kind, attachment)
  const noted = record ? ownOf(call, record.data) : []
  const { found, now, isNow, isWrong } = configured(call)
  const others = noted.filter((source) => !isNow(source))
  const ask = () => void delegate(call, 'DEL', found)
  // The plugin that ADD asked, too, goes first: by another name it may be host-local.
  const isAsked = hasIpam(call) && noted.some(isNow)
  attemptAll(
    () => isAsked && ask(),
    () => {
      const former = [...others, ...unnamed(call, now)]
      tell(call, former)
      attemptAll(...former.map((source) => () => releaseFrom(call, source)), () => {
        if (isAsked || !hasIpam(call)) return
        // Whose type cannot be one of an IPAM plugin is told so, whatever else gave the addresses back.
        if (former.length === 0 || now?.dataDir !== undefined || isWrong) ask()
      })
    },
  )
  if (record) forget(call, attachment, record.data, noted)
  else removeUnreadable(host, kind, attachment)
}

/** The record of where addresses come from that are not in host-local's default directory. */
interface Noted {
  readonly sources: readonly Source[]
}

const kind = 'ipam'

/** What this plugin of a chain noted. */
function ownOf({ plugin }: Call, { sources }: Noted): readonly Source[] {
  return usable(sources).filter((source) => source.plugin === plugin)
}

/** Takes sources that have nothing more of an attachment from its record; those of other plugins of its chain stay. */
function forget({ host }: Call, attachment: Attachment, { sources }: Noted, done: readonly Source[]): void {
  const left = usable(sources).filter((source) => !done.includes(source))
  if (left.length === 0) removeRecord(host, kind, attachment)
  else if (done.length > 0) writeRecord<Noted>(host, kind, attachment, { sources: left })
}

/** Before an ADD asks for addresses. An earlier one that was killed may have others elsewhere. */
function note({ host, attachment, config }: Call, source: Source): void {
  if (!isNoted(source, config)) return
  const others = usable(readRecord<Noted>(host, kind, attachment)?.data.sources ?? []).filter((one) => {
    return one.plugin !== source.plugin || !isSame(one, source)
  })
  writeRecord<Noted>(host, kind, attachment, { sources: [...others, source] })
}

/** Where a directory cannot be used, host-local says so, and there is nothing to note. */
function isNoted(source: Source, { name }: Call['config']): boolean {
  const { dataDir } = source
  if (isUsual(source)) return false
  if (dataDir === undefined) return true
  return !dataDir.includes('\0') && writeObstacles([{ directory: `${dataDir}/${name}` }]).length === 0
}

/** The source by the configuration, as far as it can be told. */
function configured(call: Call): {
  found: Found | undefined
  now: Source | undefined
  isNow: (source: Source) => boolean
  /** No IPAM plugin can be called so. */
  isWrong: boolean
} {
  let found: Found | undefined
  let isWrong = false
  try {
    found = hasIpam(call) ? findIpam(call) : undefined
  } catch (thrown) {
    // Who asks it all the same says why it cannot be asked.
    if (!(thrown instanceof CniError)) throw thrown
    isWrong = thrown.code === codes.invalidConfiguration
  }
  const now = found && sourceOf(call, found.own)
  return { found, now, isNow: (source) => now !== undefined && isSame(source, now), isWrong }
}

/** host-local's default directory, where it has something of this DEL or GC, unless the configuration leads there. */
function unnamed(call: Call, now: Source | undefined): readonly Source[] {
  const { plugin, hostLocal } = call
  const usual: Source = { plugin, type: 'host-local', dataDir: leaseRoot }
  if (hostLocal === undefined || (now && isSame(now, usual)) || !mayHaveLeases(call.config.name)) return []
  return holds(hostLocal, requestTo(call, usual), call.host) ? [usual] : []
}

/** One look, where the network has none there: host-local would be asked as in a call of its own. */
function mayHaveLeases(network: string): boolean {
  try {
    return statusOf(files, `${leaseRoot}/${network}`) !== undefined
  } catch {
    return true // host-local says what is wrong.
  }
}

function tell({ plugin, host }: Call, former: readonly Source[]): void {
  if (former.length === 0) return
  const places = [...new Set(former.map(named))].join(', ')
  host.warn(
    `${plugin}: addresses are given back to where ADD got them, which the configuration does not name: ${places}`,
  )
}

/** Gives an attachment's addresses back (in a GC, of host-local: those of all that are stale). */
function releaseFrom(call: Call, source: Source): void {
  const { host, config, hostLocal } = call
  const { dataDir, type } = source
  if (dataDir === undefined) return void releaseByProgram(call, source)
  if (hostLocal === undefined) throw new Error(`${type} was not loaded`)
  const directory = `${dataDir}/${config.name}`
  if (isUsual(source) || isLeaseDirectory(directory)) {
    invoke(hostLocal, requestTo(call, source), inSameJournal(call))
  } else if (statusOf(files, directory)) {
    host.warn(`${call.plugin}: ${directory} is on record, and is no directory of leases: it is skipped`)
  }
}

/** What host-local gets that is asked by a record. */
function requestTo({ environment, config }: Call, { type, dataDir }: Source): Request {
  const { cniVersion, name } = config
  const valid = config['cni.dev/valid-attachments'] ?? config['cni.dev/attachments']
  const text = JSON.stringify({ cniVersion, name, ipam: { type, dataDir }, 'cni.dev/valid-attachments': valid })
  return readRequest(environment, text)
}

/** With the configuration ADD had; of what a DEL is given the result is the attachment's. */
function releaseByProgram(call: Call, { type, config = '', args = '' }: Source): void {
  const { ownDelegate: _, ...rest } = call
  const { environment, host } = call
  const prevResult = environment.command === 'DEL' ? memberOf(parsed(call.stdin), 'prevResult') : undefined
  delegate(
    {
      ...rest,
      config: { ...call.config, ipam: { type } },
      stdin: JSON.stringify({ ...parsed(config), ...(prevResult === undefined ? {} : { prevResult }) }),
      host: { ...host, env: { ...host.env, CNI_ARGS: host.env['CNI_ARGS'] || args } },
    },
    'DEL',
  )
}

/** The DEL of a stale attachment, within a GC. */
function deletionOf(call: Call, attachment: Attachment): Call {
  const { containerID, ifName } = attachment
  const { host, environment } = call
  const env = { ...host.env, CNI_CONTAINERID: containerID, CNI_IFNAME: ifName, CNI_NETNS: '', CNI_ARGS: '' }
  return {
    ...call,
    attachment,
    stdin: '{}',
    environment: { ...environment, command: 'DEL', containerID, ifName, netns: '' },
    host: { ...host, env },
  }
}

/** What STATUS says as it is; everything else is a reason why there are no addresses. */
const passedOn: readonly number[] = [codes.notAvailable, codes.notAvailableLimited, codes.invalidConfiguration]

/** What to ask: `own` in this process, or the program. */
interface Found extends Program {
  readonly own: AnyPlugin | undefined
}

function delegate(call: Call, verb: Exclude<Verb, 'VERSION'>, found = findIpam(call)): Result | undefined {
  const { host, environment, stdin, version } = call
  const { own } = found
  if (own) return invoke(own, readRequest({ ...environment, command: verb }, stdin), inSameJournal(call))
  const takeBack = () => void execute(host, found, 'DEL', stdin)
  const result = runProgram(host, found, verb, { stdin, version, takeBack })
  return host.dryRun && verb === 'ADD' ? placeholder : result
}

/** @throws code 107 or 7 */
function findIpam(call: Call): Found {
  const { config, environment, host, ownDelegate } = call
  const type = config.ipam?.type ?? ''
  if (names.includes(type)) refuseOther(type, type)
  const found = findDelegate(type, environment.path)
  const own = found.own ? ownDelegate : undefined
  if (found.own && !own) refuseOther(type, pluginAt(found.path, host.files.readLink))
  return { path: found.path, own, env: own ? host.env : delegateEnvironment(host.env, type) }
}

/**
 * Where `ipam.type` means a plugin of this suite that hands out no addresses: asking it for some would never end.
 * @throws code 7
 */
function refuseOther(type: string, plugin: string | undefined): void {
  if (plugin === undefined || ipams.includes(plugin)) return
  const which = plugin === type ? '' : `, which is ${plugin},`
  throw new CniError(codes.invalidConfiguration, `"${type}"${which} is not an IPAM plugin`, {
    problems: [{ path: 'ipam.type', value: type, expected: `an IPAM plugin: ${ipams.join(', ')}, or another suite's` }],
    fix: 'correct ipam.type, or leave ipam out where the network has no addresses',
  })
}

/** What stands for an address that a dry run cannot know, because a foreign plugin would have to be run for it. */
const placeholder: Result = { ...emptyResult, ips: [{ address: '192.0.2.2/24', gateway: '192.0.2.1' }] }

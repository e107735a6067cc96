import { ipams, names } from 'podwire:plugins'
import { delegateEnvironment, findDelegate, runDelegate, type Variables } from '../exec/delegate.js'
import type { Verb } from '../values/environment.js'
import { asCniError, CniError, codes } from '../values/errors.js'
import { emptyResult, parseDelegateResult, type Result } from '../values/result.js'
import { invoke, readRequest } from './invoke.js'
import { pluginAt } from './name.js'
import type { AnyPlugin, Call } from './plugin.js'

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
export function lease(call: Call): Result {
  const result = delegate(call, 'ADD') ?? emptyResult
  if (result.ips.length > 0) return result
  throw new CniError(codes.delegateFailed, 'IPAM plugin returned missing IP config', {
    problems: [{ path: 'ipam.type', value: call.config.ipam?.type, expected: 'a plugin that hands out an address' }],
  })
}

/** Gives the attachment's addresses back; nothing to do without an IPAM plugin. */
export function release(call: Call): void {
  if (hasIpam(call)) delegate(call, 'DEL')
}

export function checkLease(call: Call): void {
  if (hasIpam(call)) delegate(call, 'CHECK')
}

/** @throws code 50 when the IPAM plugin is missing or says it cannot serve, 7 when it is none */
export function ipamStatus(call: Call): void {
  if (!hasIpam(call)) return
  try {
    delegate(call, 'STATUS')
  } catch (thrown) {
    const error = asCniError(thrown)
    if (passedOn.includes(error.code)) throw error
    throw new CniError(codes.notAvailable, `no addresses can be had: ${error.message}`, { details: error.details })
  }
}

export function collectLeases(call: Call): void {
  if (hasIpam(call)) delegate(call, 'GC')
}

// --- internal

/** What STATUS says as it is; everything else is a reason why there are no addresses. */
const passedOn: readonly number[] = [codes.notAvailable, codes.notAvailableLimited, codes.invalidConfiguration]

function delegate(call: Call, verb: Exclude<Verb, 'VERSION'>): Result | undefined {
  const { host, environment } = call
  const { path, own, env } = findIpam(call)
  if (own) {
    return invoke(own, readRequest({ ...environment, command: verb }, call.stdin), inSameJournal(call))
  }
  if (host.dryRun && (verb === 'ADD' || verb === 'DEL')) {
    host.warn(`# CNI_COMMAND=${verb} ${path}`)
    return verb === 'ADD' ? placeholder : undefined
  }
  const execute = (command: string) =>
    runDelegate(host.run, { path, verb: command, stdin: call.stdin, env, warn: host.warn })
  if (verb !== 'ADD') return void execute(verb)
  host.journal.note(() => {
    try {
      execute('DEL')
      return []
    } catch (thrown) {
      return [asCniError(thrown)]
    }
  })
  return parseDelegateResult(execute('ADD'), call.version, `the plugin ${path}`)
}

/** What to ask: `own` in this process, or the program at `path` with `env`. @throws code 107 or 7 */
function findIpam(call: Call): { path: string; own: AnyPlugin | undefined; env: Variables } {
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

/** In one process the delegate notes exactly what it took in our journal; a failure inside is ours to roll back. */
function inSameJournal({ host }: Call) {
  return { ...host, journal: { ...host.journal, reserve: () => undefined, rollback: () => [] } }
}

/** What stands for an address that a dry run cannot know, because a foreign plugin would have to be run for it. */
const placeholder: Result = { ...emptyResult, ips: [{ address: '192.0.2.2/24', gateway: '192.0.2.1' }] }

import { findDelegate, runDelegate } from '../exec/delegate.js'
import type { Verb } from './environment.js'
import { asCniError, CniError, codes } from './errors.js'
import { invoke, readRequest } from './invoke.js'
import type { Call } from './plugin.js'
import { emptyResult, parseDelegateResult, type Result } from './result.js'

/** True where the configuration names an IPAM plugin; `{}` and an empty type mean none, as podman writes them. */
export function hasIpam({ config }: Pick<Call, 'config'>): boolean {
  return (config.ipam?.type ?? '') !== ''
}

/**
 * Refuses an IPAM plugin that is not there, before anything is touched.
 * @throws code 107, or 7 for a type that is no file name
 */
export function requireIpam(call: Call): void {
  if (hasIpam(call)) findDelegate(call.config.ipam?.type ?? '', call.environment.path)
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

/** @throws code 50 when the IPAM plugin is missing or says it cannot serve */
export function ipamStatus(call: Call): void {
  if (!hasIpam(call)) return
  try {
    delegate(call, 'STATUS')
  } catch (thrown) {
    const error = asCniError(thrown)
    if (error.code === codes.notAvailable || error.code === codes.notAvailableLimited) throw error
    throw new CniError(codes.notAvailable, `no addresses can be had: ${error.message}`, { details: error.details })
  }
}

export function collectLeases(call: Call): void {
  if (hasIpam(call)) delegate(call, 'GC')
}

// --- internal

function delegate(call: Call, verb: Exclude<Verb, 'VERSION'>): Result | undefined {
  const { host, environment, config, ownDelegate } = call
  const type = config.ipam?.type ?? ''
  const found = findDelegate(type, environment.path)
  if (found.own && ownDelegate) {
    return invoke(ownDelegate, readRequest({ ...environment, command: verb }, call.stdin), inSameJournal(call))
  }
  if (host.dryRun && (verb === 'ADD' || verb === 'DEL')) {
    host.warn(`# CNI_COMMAND=${verb} ${found.path}`)
    return verb === 'ADD' ? placeholder : undefined
  }
  const execute = (command: string) =>
    runDelegate(host.run, { path: found.path, verb: command, stdin: call.stdin, env: host.env, warn: host.warn })
  if (verb !== 'ADD') return void execute(verb)
  host.journal.note(() => {
    try {
      execute('DEL')
      return []
    } catch (thrown) {
      return [asCniError(thrown)]
    }
  })
  return parseDelegateResult(execute('ADD'), call.version, `the plugin ${found.path}`)
}

/** In one process the delegate notes exactly what it took in our journal; a failure inside is ours to roll back. */
function inSameJournal({ host }: Call) {
  return { ...host, journal: { ...host.journal, rollback: () => [] } }
}

/** What stands for an address that a dry run cannot know, because a foreign plugin would have to be run for it. */
const placeholder: Result = { ...emptyResult, ips: [{ address: '192.0.2.2/24', gateway: '192.0.2.1' }] }

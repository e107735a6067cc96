import { delegateEnvironment } from '../../shared/exec/delegate.js'
import { execute, type Program, runProgram } from '../../shared/program/execute.js'
import { invoke, ipamType, memberOf, readRequest } from '../../shared/program/invoke.js'
import type { AnyPlugin } from '../../shared/program/plugin.js'
import type { Verb } from '../../shared/values/environment.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { jsonFault } from '../../shared/values/json.js'
import { printResult, type Result } from '../../shared/values/result.js'
import { versionsSince } from '../../shared/values/version.js'
import { type ChainCall, type Member, named, requireInstalled } from './members.js'
import type { SharedHost } from './together.js'

/** What a verb gives a member besides its configuration. */
export interface Given {
  /** As JSON of the configuration's version. */
  readonly prevResult?: unknown
  /** Where a lease is to be given back later, takes what gives it back. */
  readonly leaseLater?: ((release: () => void) => void) | undefined
}

/** Runs a verb of a member: in this process, or as the specification says. @returns the result of an ADD */
export function run(
  shared: SharedHost,
  member: Member,
  verb: Exclude<Verb, 'VERSION'>,
  given: Given = {},
): Result | undefined {
  return shared.as(member, () => (member.plugin ? runInside : runOutside)(shared, member, verb, given))
}

/**
 * Refuses a member that does not know the version of the configuration, as the official library does. One of another
 * file is asked.
 * @throws code 1
 */
export function requireVersion(shared: SharedHost, member: Member): void {
  const { call } = shared
  const { plugin, type } = member
  const supported: readonly string[] = plugin ? versionsSince(plugin.since) : askedVersions(shared, member)
  if (supported.includes(call.version)) return
  throw new CniError(codes.incompatibleVersion, `plugin ${type} does not support config version "${call.version}"`, {
    details: `it supports ${JSON.stringify(supported)}`,
    fix: 'lower cniVersion, or install a newer version of the plugin',
  })
}

// --- internal

/** What the official library takes a program's answer to VERSION for. @throws code 6, or the program's error */
function askedVersions(shared: SharedHost, member: Member): readonly string[] {
  let text: string
  try {
    text = execute(
      shared.host,
      programOf(shared, member),
      'VERSION',
      JSON.stringify({ cniVersion: shared.call.version }),
    )
  } catch (thrown) {
    // Plugins of the first version know no VERSION.
    if ((thrown as Error).message === 'unknown CNI_COMMAND: VERSION') return ['0.1.0']
    throw thrown
  }
  const { cniVersion, supportedVersions } = decodedVersions(text)
  if (Array.isArray(supportedVersions) && supportedVersions.length > 0) return supportedVersions.map(String)
  if (cniVersion === '0.2.0') return ['0.1.0', '0.2.0']
  return undecodable(`missing field ${cniVersion ? 'supportedVersions' : 'cniVersion'}`, text)
}

function decodedVersions(text: string): { cniVersion?: unknown; supportedVersions?: unknown } {
  try {
    return { ...(JSON.parse(text) as object) }
  } catch (thrown) {
    return undecodable(jsonFault(text) ?? (thrown as Error).message, text)
  }
}

function undecodable(why: string, text: string): never {
  throw new CniError(codes.decodeFailure, `decoding version info: ${why}`, {
    details: `it answered ${JSON.stringify(text)}`,
    fix: 'run the plugin with CNI_COMMAND=VERSION, and install one that answers',
  })
}

function runInside(
  shared: SharedHost,
  member: Member,
  verb: Exclude<Verb, 'VERSION'>,
  given: Given,
): Result | undefined {
  const { environment, members, hostLocal } = shared.call
  const request = readRequest(
    { ...environment, command: verb },
    stdinOf(shared.call, understanding(shared.call, member), verb, given),
  )
  const { plugin } = member
  const ipam = ipamType(request.json)
  const ownDelegate = ipam === undefined ? undefined : members?.get(ipam)
  return invoke(plugin as AnyPlugin, request, shared.host, {
    ...(ownDelegate ? { ownDelegate } : {}),
    ...(plugin?.delegates && hostLocal ? { hostLocal } : {}),
    ...(plugin?.loads ? { ...(members ? { members } : {}), ...(hostLocal ? { hostLocal } : {}) } : {}),
    ...(given.leaseLater ? { leaseLater: given.leaseLater } : {}),
    later: shared.later,
  })
}

/**
 * A DEL or GC gets as far as a member's first version where the configuration's is older: it was a newer one at ADD,
 * which refuses that, or there is nothing to remove.
 */
function understanding({ version }: ChainCall, member: Member): Member {
  const supported: readonly string[] = versionsSince(member.plugin?.since)
  return supported.includes(version) ? member : { ...member, config: { ...member.config, cniVersion: supported[0] } }
}

/** An ADD of another program is taken back by its DEL, with the result that it has made or, if it failed, found. */
function runOutside(
  shared: SharedHost,
  member: Member,
  verb: Exclude<Verb, 'VERSION'>,
  given: Given,
): Result | undefined {
  const { call, host } = shared
  requireInstalled(call, member)
  const { version } = call
  // Before the program is noted: what waits is taken back behind it, and where that is refused, it is not asked to.
  if (verb === 'ADD') shared.settle()
  const program = programOf(shared, member)
  let made = given
  const takeBack = () => void named(member, () => execute(host, program, 'DEL', stdinOf(call, member, 'DEL', made)))
  const result = runProgram(host, program, verb, { stdin: stdinOf(call, member, verb, given), version, takeBack })
  if (result) made = { prevResult: JSON.parse(printResult(result, version)) }
  return result
}

/** Like a delegate it does not wait, if it is one of ours, for what holds the attachment: this call does. */
function programOf({ host }: SharedHost, { path, type }: Member): Program {
  return { path: path as string, env: delegateEnvironment(host.env, type) }
}

function stdinOf(call: ChainCall, member: Member, verb: Verb, { prevResult }: Given): string {
  const isOfAttachment = verb === 'ADD' || verb === 'CHECK' || verb === 'DEL'
  const runtimeConfig = isOfAttachment ? runtimeConfigOf(call, member) : undefined
  return JSON.stringify({
    ...member.config,
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    ...(isOfAttachment && prevResult !== undefined ? { prevResult } : {}),
    ...(verb === 'GC' ? attachmentsOf(call) : {}),
  })
}

/** Of what the runtime gave, what the member has a capability for; else its own, which libcni leaves in a list, too. */
function runtimeConfigOf({ config: { runtimeConfig } }: ChainCall, member: Member): unknown {
  const capabilities = (memberOf(member.config, 'capabilities') ?? {}) as Record<string, unknown>
  const given = Object.entries(runtimeConfig ?? {}).filter(([key]) => capabilities[key] === true)
  return given.length === 0 ? member.runtimeConfig : Object.fromEntries(given)
}

function attachmentsOf({ config }: ChainCall): object {
  const keys = ['cni.dev/valid-attachments', 'cni.dev/attachments'] as const
  const found = config[keys[0]] ?? config[keys[1]]
  return found === undefined ? {} : Object.fromEntries(keys.map((key) => [key, found]))
}

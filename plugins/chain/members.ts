import { delegateEnvironment, lookForDelegate } from '../../shared/exec/delegate.js'
import { execute, type Program, runProgram } from '../../shared/program/execute.js'
import { invoke, memberOf, readRequest } from '../../shared/program/invoke.js'
import { type AnyPlugin, type Call, inSameJournal } from '../../shared/program/plugin.js'
import type { Verb } from '../../shared/values/environment.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import { printResult, type Result } from '../../shared/values/result.js'
import type { ChainConfiguration } from './chain.schema.js'

export type ChainCall = Call<ChainConfiguration>

/** A plugin of the chain, as this call runs it. */
export interface Member {
  readonly index: number
  readonly type: string
  /** What is executed, the first of the name on CNI_PATH; undefined where there is none. */
  readonly path: string | undefined
  /** Runs in this process: a plugin of this very file. */
  readonly plugin: AnyPlugin | undefined
  /** What it finds on stdin, but for what the verb adds. */
  readonly config: Readonly<Record<string, unknown>>
}

/** What a verb gives a member besides its configuration. */
export interface Given {
  /** As JSON of the configuration's version. */
  readonly prevResult?: unknown
  /** Where a lease is to be given back later, takes what gives it back. */
  readonly leaseLater?: ((release: () => void) => void) | undefined
}

/** The members in the chain's order. */
export function membersOf(call: ChainCall): readonly Member[] {
  const json = JSON.parse(call.stdin) as Record<string, unknown>
  const list = memberOf(json, 'plugins') as readonly Record<string, unknown>[]
  const passed = Object.entries(json).filter(([key]) => !own.has(key.toLowerCase()))
  return list.map((given, index) => {
    const type = String(memberOf(given, 'type'))
    const found = lookForDelegate(type, call.environment.path)
    const spelled = new Set(Object.keys(given).map((key) => key.toLowerCase()))
    const inherited = Object.fromEntries(passed.filter(([key]) => !spelled.has(key.toLowerCase())))
    const { name } = call.config
    return {
      index,
      type,
      path: found?.path,
      plugin: found?.own ? call.members?.get(type) : undefined,
      config: { ...inherited, ...withoutKeys(given, overwritten), name, cniVersion: call.version, type },
    }
  })
}

/** Runs a verb of a member: in this process, or as the specification says. @returns the result of an ADD */
export function run(call: ChainCall, member: Member, verb: Exclude<Verb, 'VERSION'>, given: Given): Result | undefined {
  return named(member, () => (member.plugin ? runInside : runOutside)(call, member, verb, given))
}

/** Does something for a member: its error is named with its place in the chain. */
export function named<T>({ index, type }: Member, body: () => T): T {
  try {
    return body()
  } catch (thrown) {
    const { code, message, details, cause } = asCniError(thrown)
    const text = message.startsWith(`${type}: `) ? message : `${type}: ${message}`
    throw new CniError(code, `plugins[${index}] ${text}`, { details, cause, complete: true })
  }
}

/** Refuses a member that is not installed. @throws code 107 */
export function requireInstalled(call: ChainCall, { type, path }: Member): void {
  if (path !== undefined) return
  const where = call.environment.path.replaceAll(':', ' ')
  throw new CniError(codes.delegateFailed, `failed to find plugin "${type}" in path [${where}]`, {
    fix: `install the plugin "${type}" beside the others, or correct its type`,
  })
}

/**
 * Refuses a member of another file that does not know the version of the configuration, as the official library does.
 * @throws code 1
 */
export function requireVersion(call: ChainCall, member: Member): void {
  const { path, plugin, type } = member
  if (plugin || path === undefined) return
  const stdin = JSON.stringify({ cniVersion: call.version })
  const { supportedVersions } = JSON.parse(execute(call.host, programOf(call, member), 'VERSION', stdin)) as {
    supportedVersions?: unknown
  }
  if (Array.isArray(supportedVersions) && supportedVersions.includes(call.version)) return
  throw new CniError(codes.incompatibleVersion, `plugin ${type} does not support config version "${call.version}"`, {
    details: `it supports ${JSON.stringify(supportedVersions)}`,
    fix: 'lower cniVersion, or install a newer version of the plugin',
  })
}

// --- internal

/** Keys of the chain that are its own, in lower case; every other one is its members', too. */
const own = new Set([
  ...['cniversion', 'cniversions', 'name', 'type', 'plugins', 'capabilities', 'prevresult', 'runtimeconfig'],
  ...['disablecheck', 'disablegc', 'cni.dev/valid-attachments', 'cni.dev/attachments'],
])

/** Keys of a member that the chain sets. */
const overwritten = new Set(['cniversion', 'name', 'type', 'prevresult', 'runtimeconfig'])

function withoutKeys(value: Readonly<Record<string, unknown>>, keys: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.has(key.toLowerCase())))
}

function runInside(call: ChainCall, member: Member, verb: Exclude<Verb, 'VERSION'>, given: Given): Result | undefined {
  const { environment, members, hostLocal } = call
  const request = readRequest({ ...environment, command: verb }, stdinOf(call, member, verb, given))
  const { plugin } = member
  const ipam = (member.config['ipam'] as { type?: unknown } | undefined)?.type
  const ownDelegate = typeof ipam === 'string' ? members?.get(ipam) : undefined
  return invoke(plugin as AnyPlugin, request, inSameJournal(call), {
    ...(ownDelegate ? { ownDelegate } : {}),
    ...(plugin?.delegates && hostLocal ? { hostLocal } : {}),
    ...(given.leaseLater ? { leaseLater: given.leaseLater } : {}),
  })
}

/** An ADD of another program is taken back by its DEL, with the result that it has made or, if it failed, found. */
function runOutside(call: ChainCall, member: Member, verb: Exclude<Verb, 'VERSION'>, given: Given): Result | undefined {
  requireInstalled(call, member)
  const { host, version } = call
  const program = programOf(call, member)
  let made = given
  const takeBack = () => void named(member, () => execute(host, program, 'DEL', stdinOf(call, member, 'DEL', made)))
  const result = runProgram(host, program, verb, { stdin: stdinOf(call, member, verb, given), version, takeBack })
  if (result) made = { prevResult: JSON.parse(printResult(result, version)) }
  return result
}

/** Like a delegate it does not wait, if it is one of ours, for what holds the attachment: this call does. */
function programOf({ host }: ChainCall, { path, type }: Member): Program {
  return { path: path as string, env: delegateEnvironment(host.env, type) }
}

function stdinOf(call: ChainCall, { config }: Member, verb: Verb, { prevResult }: Given): string {
  const isOfAttachment = verb === 'ADD' || verb === 'CHECK' || verb === 'DEL'
  const runtimeConfig = isOfAttachment ? runtimeConfigOf(call, config) : undefined
  return JSON.stringify({
    ...config,
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    ...(isOfAttachment && prevResult !== undefined ? { prevResult } : {}),
    ...(verb === 'GC' ? attachmentsOf(call) : {}),
  })
}

/** Of what the runtime gave, what the member has a capability for. */
function runtimeConfigOf({ config: { runtimeConfig } }: ChainCall, config: Member['config']): object | undefined {
  const capabilities = (config['capabilities'] ?? {}) as Record<string, unknown>
  const given = Object.entries(runtimeConfig ?? {}).filter(([key]) => capabilities[key] === true)
  return given.length === 0 ? undefined : Object.fromEntries(given)
}

function attachmentsOf({ config }: ChainCall): object {
  const keys = ['cni.dev/valid-attachments', 'cni.dev/attachments'] as const
  const found = config[keys[0]] ?? config[keys[1]]
  return found === undefined ? {} : Object.fromEntries(keys.map((key) => [key, found]))
}

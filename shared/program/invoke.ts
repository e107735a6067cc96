import { shapes } from 'podwire:shapes'
import { ownNetnsFault } from '../net/netns.js'
import type { Host } from '../plan/host.js'
import { accept, laterOf, unknownKeyWarning } from '../values/accept.js'
import { parseArgs } from '../values/args.js'
import { isLinkName } from '../values/checks.js'
import type { NetworkConfiguration } from '../values/config.schema.js'
import { type Environment, isIdentifier, type Verb } from '../values/environment.js'
import { asCniError, attributed, CniError, codes, invalidConfiguration, type Problem } from '../values/errors.js'
import { jsonFault, mayBeTooDeep, typeFault } from '../values/json.js'
import { officialText, pathFault } from '../values/official.js'
import { parseResult, type Result } from '../values/result.js'
import type { Shape } from '../values/shape.js'
import { isToken } from '../values/token.js'
import { negotiate, type Version, versionsSince } from '../values/version.js'
import type { AnyPlugin, Call } from './plugin.js'

/** A call as it comes in: the environment, the text from stdin, and that text decoded. */
export interface Request {
  readonly environment: Environment
  readonly stdin: string
  readonly json: Readonly<Record<string, unknown>>
}

/**
 * Decodes stdin as far as every verb needs it: a JSON object with a usable network name.
 * @throws code 6 or 7, with the texts of the official library
 */
export function readRequest(environment: Environment, stdin: string): Request {
  const json = decode(stdin)
  const name = memberOf(json, 'name')
  if (name !== undefined && typeof name !== 'string') {
    fail(codes.decodeFailure, `${unmarshall}${typeFault(name, 'struct field .name', 'string')}`)
  }
  if (name === undefined || name === '') fail(codes.invalidConfiguration, 'missing network name')
  if (!isIdentifier(name)) fail(codes.invalidConfiguration, 'invalid characters found in network name', name)
  return { environment, stdin, json: { ...json, name } }
}

/** All of stdin. @throws code 5 */
export function readInput(stdin: () => string): string {
  try {
    return stdin()
  } catch (thrown) {
    const why = pathFault(thrown, '/dev/stdin') ?? (thrown as Error).message
    fail(codes.ioFailure, `error reading from stdin: ${why}`)
  }
}

/** Plugins of ours that one runs, loaded already, and what is done with leases: see Call. */
export type Delegates = Pick<Call, 'ownDelegate' | 'hostLocal' | 'members' | 'leaseLater' | 'later'>

/** Whether an IPAM plugin of ours has leases that this DEL or GC would free. @throws what the call would */
export function holds(plugin: AnyPlugin, request: Request, host: Host): boolean {
  return plugin.holds?.(readCall(plugin, request, readVersion(request, plugin), host)) ?? false
}

/**
 * Runs one verb of one plugin, as its own process would: everything is checked first, and when the verb throws, all
 * that it did so far is taken back.
 * @param deliver gives the caller the result: where that fails, the ADD has failed
 * @returns the result of an ADD
 */
export function invoke(
  plugin: AnyPlugin,
  request: Request,
  host: Host,
  { deliver, ...delegates }: Delegates & { deliver?: (result: Result, version: Version) => void } = {},
): Result | undefined {
  const name = String(request.json['name'])
  try {
    const version = readVersion(request, plugin)
    const verb = verbOf(request)
    if (!host.isInner && (verb === 'ADD' || verb === 'DEL')) refuseOwnNetns(request.environment)
    if (verb === 'ADD') host.journal.reserve()
    const call = { ...readCall(plugin, request, version, host), ...delegates }
    host.toolLock?.waitForEarlier(call.validAttachments)
    const result = verbTable[verb](plugin, call)
    if (result) deliver?.(result, version)
    return result
  } catch (thrown) {
    const error = attributed(asCniError(thrown), plugin.name, name)
    const left = host.journal.rollback(host)
    throw left.length === 0 ? error : withLeftovers(error, left)
  }
}

/** A member of an object, its key matched as Go does; null counts as absent. */
export function memberOf(json: Readonly<Record<string, unknown>>, name: string): unknown {
  const lower = name.toLowerCase()
  let found: unknown
  for (const [key, value] of Object.entries(json)) {
    if (key.toLowerCase() === lower) found = laterOf(found, value)
  }
  return found
}

/** The name in `ipam.type`, if there is a text. */
export function ipamType(json: Request['json']): string | undefined {
  const ipam = memberOf(json, 'ipam')
  const type = typeof ipam === 'object' && ipam !== null ? memberOf({ ...ipam }, 'type') : undefined
  return typeof type === 'string' ? type : undefined
}

// --- internal

/** The version the configuration asks for and the plugin allows for the verb. @throws code 1 or 6 */
function readVersion(request: Request, plugin: AnyPlugin): Version {
  const verb = verbOf(request)
  const asked = memberOf(request.json, 'cniVersion')
  if (asked !== undefined && typeof asked !== 'string') {
    const why = typeFault(asked, 'struct field .cniVersion', 'string')
    fail(codes.decodeFailure, `decoding version from network config: ${why}`)
  }
  return negotiate(asked ?? '', verb, versionsSince(plugin.since))
}

const unmarshall = 'error unmarshall network config: '

const verbTable: Record<Exclude<Verb, 'VERSION'>, (plugin: AnyPlugin, call: Call) => Result | undefined> = {
  ADD: (plugin, call) => plugin.add(call),
  DEL: (plugin, call) => void plugin.del(call),
  CHECK: (plugin, call) => void plugin.check?.(call),
  STATUS: (plugin, call) => void plugin.status?.(call),
  GC: (plugin, call) => void plugin.gc?.(call),
}

function verbOf({ environment }: Request): Exclude<Verb, 'VERSION'> {
  const { command } = environment
  if (!Object.hasOwn(verbTable, command)) fail(codes.invalidEnvironment, `unknown CNI_COMMAND: ${command}`)
  return command as Exclude<Verb, 'VERSION'>
}

function readCall(plugin: AnyPlugin, request: Request, version: Version, host: Host): Call {
  const { environment, stdin, json } = request
  const verb = verbOf(request)
  const config = readConfiguration(plugin, json, verb, host)
  const attachment = { network: config.name, containerID: environment.containerID, ifName: environment.ifName }
  const prevResult = readPrevResult(plugin, config, verb, version, host)
  const validAttachments = config['cni.dev/valid-attachments'] ?? config['cni.dev/attachments']
  const isNamed = isLinkName(environment.ifName)
  const call: Call = {
    plugin: plugin.name,
    version,
    config,
    stdin,
    environment: verb === 'DEL' && !isToken(`x${environment.ifName}`) ? withoutNetns(environment, host) : environment,
    attachment,
    args: readArgs(plugin, environment, verb, host),
    ...(prevResult ? { prevResult } : {}),
    ...(validAttachments ? { validAttachments } : {}),
    host,
  }
  if ((verb === 'ADD' || verb === 'CHECK') && !isNamed) {
    throw new CniError(codes.invalidEnvironment, `CNI_IFNAME "${environment.ifName}" is no name for a link`, {
      fix: 'use letters, digits, ".", "_" and "-"',
    })
  }
  const problems = verb === 'ADD' || verb === 'CHECK' ? (plugin.refuse?.(call) ?? []) : []
  if (problems.length > 0) throw invalidConfiguration(problems)
  return call
}

/** No ADD of ours took the name, and no tool can be told of it: a DEL goes on with what is outside the container. */
function withoutNetns(environment: Environment, host: Host): Environment {
  host.warn(`DEL goes on without the container: CNI_IFNAME ${JSON.stringify(environment.ifName)} is no name for a link`)
  return { ...environment, netns: '' }
}

/**
 * The configuration as the plugin's schema reads it. A DEL goes on without what is wrong, where that is optional: a
 * broken configuration must not keep a container's things alive.
 * @throws code 7 with every mistake
 */
function readConfiguration(plugin: AnyPlugin, json: object, verb: Verb, host: Host): NetworkConfiguration {
  const shape = shapes[plugin.name]
  if (shape === undefined) throw new Error(`the plugin ${plugin.name} has no schema`)
  const { value, problems, unknown } = accept(json, shape)
  if (verb === 'ADD') {
    for (const one of unknown) host.warn(`${plugin.name}: ${unknownKeyWarning(one)}`)
  }
  if (value === undefined || (verb !== 'DEL' && problems.length > 0)) {
    throw invalidConfiguration(problems.map((one) => worded(one, json, shape, plugin)))
  }
  for (const { path, expected } of problems)
    host.warn(`${plugin.name}: DEL goes on without ${path}: expected ${expected}`)
  return value as NetworkConfiguration
}

/** A mistake of a key with what the official plugin says of it. */
function worded(problem: Problem, json: object, shape: Shape, { official }: AnyPlugin): Problem {
  const text = official && officialText(problem, json, shape, official())
  return text === undefined ? problem : { ...problem, official: text }
}

function readPrevResult(
  plugin: AnyPlugin,
  { prevResult }: NetworkConfiguration,
  verb: Verb,
  version: Version,
  host: Host,
): Result | undefined {
  const wanted = plugin.prevResult?.[verb]
  if (wanted === undefined) return undefined
  if (prevResult === undefined) {
    if (wanted === 'optional') return undefined
    throw new CniError(codes.invalidConfiguration, 'Required prevResult missing', {
      official: plugin.official?.().unchained?.[verb],
      problems: [{ path: 'prevResult', expected: 'the result of the plugin before in the chain' }],
      fix: `call ${plugin.name} behind a plugin that makes the interface`,
    })
  }
  try {
    return parseResult(prevResult, version, 'prevResult', plugin.official)
  } catch (thrown) {
    if (verb !== 'DEL' || !(thrown instanceof CniError)) throw thrown
    host.warn(`${plugin.name}: DEL goes on without prevResult: ${thrown.details}`)
    return undefined
  }
}

function readArgs(plugin: AnyPlugin, { args }: Environment, verb: Verb, host: Host): ReadonlyMap<string, string> {
  if (plugin.argsKeys === undefined || verb === 'STATUS' || verb === 'GC') return new Map()
  try {
    return parseArgs(args, plugin.argsKeys)
  } catch (thrown) {
    if (verb !== 'DEL' || !(thrown instanceof CniError)) throw thrown
    host.warn(`${plugin.name}: DEL goes on without CNI_ARGS: ${thrown.message}`)
    return new Map()
  }
}

function refuseOwnNetns({ netns, netnsOverride }: Environment): void {
  const fault = netns === '' || netnsOverride ? undefined : ownNetnsFault(netns)
  if (fault) fail(codes.netns, fault)
}

function decode(stdin: string): Record<string, unknown> {
  const fault = mayBeTooDeep(stdin) ? jsonFault(stdin) : undefined
  const json = fault === undefined ? parsed(stdin) : fail(codes.decodeFailure, unmarshall + fault)
  if (json === null) return {}
  if (typeof json !== 'object' || Array.isArray(json)) {
    fail(codes.decodeFailure, unmarshall + typeFault(json, 'value', 'struct { Name string "json:\\"name\\"" }'))
  }
  return json as Record<string, unknown>
}

function parsed(stdin: string): unknown {
  try {
    return JSON.parse(stdin)
  } catch (thrown) {
    return fail(codes.decodeFailure, unmarshall + (jsonFault(stdin) ?? (thrown as Error).message))
  }
}

function withLeftovers(error: CniError, left: readonly CniError[]): CniError {
  const lines = left.flatMap(({ message, details }) => [`left behind: ${message}`, details])
  const details = [error.details, ...lines].filter((line) => line !== '').join('\n')
  return new CniError(error.code, error.message, { details, complete: true })
}

function fail(code: number, message: string, details?: string): never {
  throw new CniError(code, message, { complete: true, ...(details === undefined ? {} : { details }) })
}

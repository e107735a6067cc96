import { delegateEnvironment, isFileName, lookForDelegate } from '../../shared/exec/delegate.js'
import { isSameBuild } from '../../shared/exec/same-build.js'
import { execute, runProgram } from '../../shared/program/execute.js'
import { invoke, ipamType, memberOf, readRequest } from '../../shared/program/invoke.js'
import { type AnyPlugin, type Call, inSameJournal } from '../../shared/program/plugin.js'
import type { Environment, Verb } from '../../shared/values/environment.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import type { Result } from '../../shared/values/result.js'
import type { FlannelConfiguration } from './flannel.schema.js'
import type { Subnet } from './subnet.js'

export type FlannelCall = Call<FlannelConfiguration>

/** What the delegate finds on stdin, but for what the verb adds. */
export type Delegate = Readonly<Record<string, unknown>>

/** The types that a configuration, as it came, makes flannel run, the usual ones with them: ADD may have had those. */
export function typesIn(json: Readonly<Record<string, unknown>>): readonly string[] {
  const delegate = memberOf(json, 'delegate')
  const type = typeof delegate === 'object' && delegate !== null ? memberOf({ ...delegate }, 'type') : undefined
  return ['bridge', 'host-local', ...[type, ipamType(json)].filter((one) => typeof one === 'string')]
}

/** The delegate's configuration. Without `subnet` it has what DEL and GC need: they know by names what to remove. */
export function delegateOf({ config }: FlannelCall, subnet: Subnet | undefined): Delegate {
  const { delegate = {}, ipam = {}, runtimeConfig, cniVersion, name } = config
  const type = memberOf(delegate, 'type') ?? 'bridge'
  const isAbsent = (key: string) => memberOf(delegate, key) === undefined
  return {
    ...delegate,
    ...(subnet && isAbsent('ipMasq') ? { ipMasq: !subnet.masquerades } : {}),
    ...(subnet && isAbsent('mtu') ? { mtu: subnet.mtu } : {}),
    ...(type === 'bridge' && isAbsent('isGateway') ? { isGateway: true } : {}),
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    ...(cniVersion === undefined ? {} : { cniVersion }),
    name,
    type,
    ipam: { ...ipam, type: ipam.type ?? 'host-local', ...(subnet ? addressing(ipam.routes, subnet) : {}) },
  }
}

/** Whether a delegate of this type runs in this process: it is a plugin of this very file, or of a copy of it. */
export function runsInside(call: FlannelCall, type: unknown): boolean {
  return typeof type === 'string' && findDelegate(call, type)?.own !== undefined
}

/** @throws code 107 where the delegate is not installed */
export function requireDelegate(call: FlannelCall, { type }: Delegate): void {
  requireFound(call, String(type))
}

/**
 * Runs a verb of the delegate: in this process, or as the specification says.
 * @param of.environment of another attachment than the call's
 * @returns the result of an ADD
 */
export function runDelegate(
  call: FlannelCall,
  verb: Exclude<Verb, 'VERSION'>,
  delegate: Delegate,
  {
    environment = call.environment,
    env = call.host.env,
  }: { environment?: Environment; env?: Call['host']['env'] } = {},
): Result | undefined {
  const { host, members, hostLocal, version, leaseLater, later } = call
  const stdin = JSON.stringify(delegate)
  const type = String(delegate['type'])
  const { path, own } = requireFound(call, type)
  if (own) {
    const ownDelegate = members?.get(ipamType(delegate) ?? '')
    return invoke(own, readRequest({ ...environment, command: verb }, stdin), inSameJournal(call), {
      ...(ownDelegate ? { ownDelegate } : {}),
      ...(members ? { members } : {}),
      ...(own.delegates && hostLocal ? { hostLocal } : {}),
      ...(leaseLater ? { leaseLater } : {}),
      ...(later ? { later } : {}),
    })
  }
  const program = { path, env: delegateEnvironment(env, type) }
  const takeBack = () => void execute(host, program, 'DEL', stdin)
  return runProgram(host, program, verb, { stdin, version, takeBack })
}

/** Runs a verb that programs of older versions of the specification do not know: those have nothing to say. */
export function runIfKnown(call: FlannelCall, verb: 'STATUS' | 'GC', delegate: Delegate): void {
  try {
    runDelegate(call, verb, delegate)
  } catch (thrown) {
    const { message } = asCniError(thrown)
    if (message !== `unknown CNI_COMMAND: ${verb}`) throw thrown
    call.host.warn(`flannel: ${String(delegate['type'])} does not know ${verb}`)
  }
}

// --- internal

function addressing(given: readonly unknown[] = [], { subnets, networks }: Subnet): object {
  return {
    ranges: subnets.map((subnet) => [{ subnet }]),
    routes: [...given, ...networks.map((dst) => ({ dst }))],
  }
}

interface Found {
  readonly path: string
  /** Absent where another program is executed. */
  readonly own: AnyPlugin | undefined
}

function findDelegate({ environment, members }: FlannelCall, type: string): Found | undefined {
  const found = lookForDelegate(type, environment.path)
  if (found === undefined) return undefined
  const plugin = members?.get(type)
  return { path: found.path, own: plugin && (found.own || isSameBuild(found.path)) ? plugin : undefined }
}

/** @throws code 107, or 7 for a type that is no file name */
function requireFound(call: FlannelCall, type: string): Found {
  const found = findDelegate(call, type)
  if (found) return found
  if (!isFileName(type)) {
    throw new CniError(codes.invalidConfiguration, `invalid plugin name: ${type}`, {
      problems: [{ path: 'delegate.type', value: type, expected: 'the file name of a plugin, without "/"' }],
    })
  }
  const where = call.environment.path.replaceAll(':', ' ')
  throw new CniError(codes.delegateFailed, `failed to find plugin "${type}" in path [${where}]`, {
    problems: [{ path: 'delegate.type', value: type, expected: 'the name of a plugin in a directory of CNI_PATH' }],
    fix: `install the plugin "${type}" beside the others, or correct delegate.type`,
  })
}

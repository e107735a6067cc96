import { lookForDelegate } from '../../shared/exec/delegate.js'
import { isSameBuild } from '../../shared/exec/same-build.js'
import { memberOf } from '../../shared/program/invoke.js'
import type { AnyPlugin, Call } from '../../shared/program/plugin.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import { isObject } from '../../shared/values/object.js'
import type { ChainConfiguration } from './chain.schema.js'

export type ChainCall = Call<ChainConfiguration>

/** A plugin of the chain, as this call runs it. */
export interface Member {
  readonly index: number
  readonly type: string
  /** What is executed, the first of the name on CNI_PATH; undefined where there is none. */
  readonly path: string | undefined
  /** Runs in this process: a plugin of this very file, or of a copy of it. */
  readonly plugin: AnyPlugin | undefined
  /** What it finds on stdin, but for what the verb adds. */
  readonly config: Readonly<Record<string, unknown>>
  /** What it sets itself, which stands where the runtime gives it nothing. */
  readonly runtimeConfig?: unknown
}

/** The types that a configuration, as it came, names: of members, of their delegates, and of the IPAM plugins asked. */
export function typesIn(json: Readonly<Record<string, unknown>>): readonly string[] {
  const plugins = memberOf(json, 'plugins')
  const all = [json, ...(Array.isArray(plugins) ? plugins : [])].filter(isObject)
  const types = all.flatMap((one) => {
    const type = one === json ? undefined : memberOf(one, 'type')
    const named = [memberOf(one, 'delegate'), memberOf(one, 'ipam')].filter(isObject)
    // What flannel's configuration need not name.
    const usual = type === 'flannel' ? ['bridge', 'host-local'] : []
    return [type, ...named.map((inner) => memberOf(inner, 'type')), ...usual]
  })
  return types.filter((type) => typeof type === 'string')
}

/** The members in the chain's order. */
export function membersOf(call: ChainCall): readonly Member[] {
  const json = JSON.parse(call.stdin) as Record<string, unknown>
  const list = memberOf(json, 'plugins') as readonly Record<string, unknown>[]
  const passed = Object.entries(json).filter(([key]) => !own.has(key.toLowerCase()))
  return list.map((given, index) => {
    const type = String(memberOf(given, 'type'))
    const found = type === '' ? undefined : lookForDelegate(type, call.environment.path)
    const plugin = call.members?.get(type)
    const spelled = new Set(Object.keys(given).map((key) => key.toLowerCase()))
    const inherited = Object.fromEntries(passed.filter(([key]) => !spelled.has(key.toLowerCase())))
    const { name } = call.config
    return {
      index,
      type,
      path: found?.path,
      plugin: found && plugin && (found.own || isSameBuild(found.path)) ? plugin : undefined,
      config: { ...inherited, ...withoutKeys(given, overwritten), name, cniVersion: call.version, type },
      runtimeConfig: spelled.has('runtimeconfig') ? memberOf(given, 'runtimeConfig') : undefined,
    }
  })
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

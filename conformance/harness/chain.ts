import { type Result, resultOf } from './answer.js'
import type { Host } from './host.js'
import type { AnySuite } from './locations.js'
import { type Call, runPlugin, type Verb } from './plugin.js'
import type { Finished } from './process.js'

export interface PluginConfig {
  type: string
  capabilities?: Record<string, boolean>
  [key: string]: unknown
}

/** A network configuration list, as an administrator writes it. */
export interface Conflist {
  cniVersion: string
  name: string
  plugins: PluginConfig[]
}

/** What a runtime knows of one attachment. */
export interface Attachment {
  suite?: AnySuite
  containerID?: string
  netns?: string
  ifName?: string
  args?: string
  /** Capability arguments: what of them a plugin declares becomes its runtimeConfig. */
  capabilityArgs?: Record<string, unknown>
}

/** A call of the chain that failed: the plugin that did, and its answer. */
export class ChainError extends Error {
  readonly plugin: string
  readonly finished: Finished

  constructor(verb: Verb, plugin: string, finished: Finished) {
    super(`${plugin} ${verb}: exit ${finished.status ?? finished.signal}: ${finished.stdout}${finished.stderr}`)
    this.plugin = plugin
    this.finished = finished
  }
}

/** Runs a configuration list for one attachment the way libcni does: cnitool's semantics without its cache on disk. */
export class Chain {
  readonly #host: Host
  readonly #list: Conflist
  readonly #attachment: Attachment
  result: Result | undefined

  constructor(host: Host, list: Conflist, attachment: Attachment) {
    this.#host = host
    this.#list = list
    this.#attachment = attachment
  }

  /** ADD in order, each result the next plugin's prevResult; stops at the first error, and rolls nothing back. */
  async add(): Promise<Result> {
    let previous: Result | undefined
    for (const plugin of this.#list.plugins) previous = resultOf(await this.#call('ADD', plugin, previous))
    this.result = previous
    if (previous === undefined) throw new Error(`${this.#list.name} has no plugins`)
    return previous
  }

  /** CHECK in order, each plugin given the final result. */
  async check(): Promise<void> {
    for (const plugin of this.#list.plugins) await this.#call('CHECK', plugin, this.result)
  }

  /** DEL in reverse order, each plugin given the final result where the version has that; `bare` withholds it. */
  async del(bare = false): Promise<void> {
    const previous = bare || /^0\.[123]\./.test(this.#list.cniVersion) ? undefined : this.result
    for (const plugin of this.#list.plugins.toReversed()) await this.#call('DEL', plugin, previous, bare)
  }

  async status(): Promise<void> {
    for (const plugin of this.#list.plugins) await this.#call('STATUS', plugin)
  }

  /** GC: the attachments that are still valid; none given sends no list at all, as cnitool does. */
  async gc(valid?: { containerID: string; ifname: string }[]): Promise<void> {
    const attachments = { 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid }
    for (const plugin of this.#list.plugins) await this.#call('GC', { ...plugin, ...(valid && attachments) })
  }

  /** The bytes a plugin of the chain is given. */
  input(plugin: PluginConfig, previous?: Result, runtimeConfig?: Record<string, unknown>): string {
    return inputOf(this.#list, plugin, previous, runtimeConfig)
  }

  async #call(command: Verb, plugin: PluginConfig, previous?: Result, bare = false): Promise<Finished> {
    const ofContainer = command !== 'STATUS' && command !== 'GC'
    const { capabilityArgs, ...attachment } = this.#attachment
    const runtimeConfig = ofContainer && !bare ? declared(plugin, capabilityArgs) : undefined
    const config = this.input(plugin, previous, runtimeConfig)
    // libcni sets the attachment's variables to the empty text for STATUS and GC.
    const env = ofContainer ? {} : { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '', CNI_ARGS: '' }
    const call: Call = { ...attachment, plugin: plugin.type, command, config, env }
    const finished = await runPlugin(this.#host, call)
    if (finished.status !== 0) throw new ChainError(command, plugin.type, finished)
    return finished
  }
}

/** The bytes a plugin of a list is given: keys in byte order, as libcni writes them. */
export function inputOf(
  { name, cniVersion }: Conflist,
  plugin: PluginConfig,
  previous?: Result,
  runtimeConfig?: Record<string, unknown>,
): string {
  const config: Record<string, unknown> = { ...plugin, name, cniVersion }
  if (previous !== undefined) config['prevResult'] = previous
  if (runtimeConfig !== undefined && Object.keys(runtimeConfig).length > 0) config['runtimeConfig'] = runtimeConfig
  return JSON.stringify(Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1))))
}

function declared(plugin: PluginConfig, capabilityArgs: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(capabilityArgs).filter(([key]) => plugin.capabilities?.[key] === true))
}

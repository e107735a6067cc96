import type { Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import type { Attachment } from '../values/attachment.js'
import type { NetworkConfiguration } from '../values/config.schema.js'
import type { Environment, Verb } from '../values/environment.js'
import type { Problem } from '../values/errors.js'
import type { Official } from '../values/official.js'
import type { Result } from '../values/result.js'
import type { Version } from '../values/version.js'

/** Everything one invocation of a plugin knows. */
export interface Call<Config = NetworkConfiguration> {
  readonly plugin: string
  readonly version: Version
  readonly config: Config & NetworkConfiguration
  /** The bytes from stdin as text: what a delegate gets. */
  readonly stdin: string
  readonly environment: Environment
  readonly attachment: Attachment
  /** CNI_ARGS by key; empty where the plugin names no keys. */
  readonly args: ReadonlyMap<string, string>
  /** Present as far as the plugin's `prevResult` table asks for it. */
  readonly prevResult?: Result
  /** GC only: the attachments still alive; absent when the runtime gave no list, which then means nothing is stale. */
  readonly validAttachments?: readonly { readonly containerID: string; readonly ifname: string }[]
  readonly host: Host
  /** The IPAM plugin of this very suite that `ipam.type` names, loaded already; used when CNI_PATH leads to it. */
  readonly ownDelegate?: AnyPlugin
  /** Our host-local, of a DEL or GC, where it may have leases that the configuration does not speak of. */
  readonly hostLocal?: AnyPlugin
  /** The plugins of this very suite by the types that the plugin's `loads` names. */
  readonly members?: ReadonlyMap<string, AnyPlugin>
  /** Takes what gives the lease back, where that is not to be done yet. */
  readonly leaseLater?: (release: () => void) => void
  /**
   * In an ADD: takes what makes elements of nftables, and can wait for what later plugins of a chain make; absent, it
   * is done at once.
   */
  readonly later?: (body: () => void) => void
}

/** What a plugin sees of an attachment by its records, which may be nothing, and the operations planned from that. */
export interface Removes<Seen = unknown> {
  readonly look: (host: Host, attachment: Attachment) => Seen | undefined
  readonly plan: (attachment: Attachment, seen: Seen) => readonly Operation[]
}

/** Keeps the type of what is seen between the two. */
export function removing<Seen>({ look, plan }: Removes<Seen>): Removes {
  return { look, plan: (attachment, seen) => plan(attachment, seen as Seen) }
}

/** A plugin: what it accepts and what it does for each verb. A verb it lacks is a silent success. */
export interface Plugin<Config> {
  readonly name: string
  /** The first CNI version it supports; absent: 0.1.0. */
  readonly since?: Version
  /** The CNI_ARGS keys it understands; absent: CNI_ARGS is not read. */
  readonly argsKeys?: readonly string[]
  /** Verbs for which prevResult is read; a required one that is missing is refused. */
  readonly prevResult?: Partial<Record<Verb, 'required' | 'optional'>>
  /** How the official plugin words mistakes of single keys; asked only where there are some. */
  readonly official?: () => Official
  /**
   * The types of other plugins that a configuration, as it came, may make it run; those of this suite are loaded
   * ahead.
   */
  readonly loads?: (json: Readonly<Record<string, unknown>>) => readonly string[]
  /** Mistakes that single keys do not show, for ADD and CHECK; called before anything is touched. */
  readonly refuse?: (call: Call<Config>) => readonly Problem[]
  readonly add: (call: Call<Config>) => Result
  readonly check?: (call: Call<Config>) => void
  readonly del: (call: Call<Config>) => void
  readonly status?: (call: Call<Config>) => void
  readonly gc?: (call: Call<Config>) => void
  /**
   * The operations of nft with which a DEL begins, as far as the attachment's records tell them: a chain carries them
   * out together with those of other members, and the DEL finds that done.
   */
  readonly removes?: Removes
  /** It asks an IPAM plugin for addresses. */
  readonly delegates?: true
  /** Of an IPAM plugin: whether it has leases that this DEL or GC would free. */
  readonly holds?: (call: Call<Config>) => boolean
}

// biome-ignore lint/suspicious/noExplicitAny: a table of plugins holds plugins of every configuration
export type AnyPlugin = Plugin<any>

/** Gives a plugin's literal its types and returns it unchanged. */
export function definePlugin<Config>(plugin: Plugin<Config>): Plugin<Config> {
  return plugin
}

/**
 * The host for another plugin in the same process: it notes exactly what it did in our journal, and a failure inside is
 * ours to take back. What was waited for and refused once is not again.
 */
export function inSameJournal({ host }: Pick<Call, 'host'>): Host {
  const journal = { ...host.journal, reserve: () => undefined, rollback: () => [] }
  return { ...host, toolLock: undefined, isInner: true, journal }
}

import { lstatSync } from 'node:fs'
import { recordFile } from './exec/record-file.js'
import { type Libc, loadLibc } from './system/libc.js'
import { asset, compile } from './system/node.js'
import { exit, readAll, write } from './system/standard.js'
import { sha512 } from './values/hash.js'

// What the binary does first: run the script of the plugin that it was started as. Each plugin has a script of its own,
// so that a start reads, and takes out of V8's code cache, nothing that only others need (shared/bundling/bundle.ts):
// NAME.DEL.js for DEL, NAME.ADD.js for all else, or NAME.js where nobody found out what either runs (heap/warm.ts).
// Runtimes repeat a DEL several times a pod. So plugins that keep records have a third, NAME.NOTHING.js, for a DEL of
// what has none. Each of them does whatever it is called for: one that runs what it was not made for takes longer.
// By a name that is no plugin's runs the one that finds out which plugin is meant (foreign.ts).

/** What a script is told. */
export interface Invocation {
  /** The plugin it shall be. */
  readonly plugin: string
  /** All of stdin, which is read once. @throws the system's error */
  readonly stdin: () => string
  /** That of values/hash.ts: what was hashed to choose the script needs not be hashed again. */
  readonly sha512: (text: string) => string
  /** The C library, the same at each call: what was made of it to be called is made once. */
  readonly libc: () => Libc | undefined
  /** Runs a plugin's script instead, to the end of the process. */
  readonly become: (plugin: string) => void
  /** Where functions note that they ran, while the build finds that out (heap/split.ts). */
  readonly ran?: Uint8Array | undefined
}

/** Runs the plugin to the end of the process. `require` is what its script gets. */
export function start(require: NodeJS.Require, libc: Invocation['libc'] = once(loadLibc)): void {
  become({ require, stdin: once(readAll), libc }, process.argv0.slice(process.argv0.lastIndexOf('/') + 1))
}

/** Whether the attachment of a call has a record of the plugin: none is looked into. */
export function hasRecord(plugin: string, stdin: () => string): boolean {
  const { CNI_CONTAINERID: containerID = '', CNI_IFNAME: ifName = '' } = process.env
  try {
    const { name: network } = JSON.parse(stdin()) as { name?: unknown }
    const file = recordFile(plugin, { network: String(network), containerID, ifName })
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined
  } catch {
    // The script says what is wrong with the call.
    return true
  }
}

/** A script of shared/bundling/bundle.ts. */
export type Script = (require: NodeJS.Require, told: Invocation) => void

/** What `body` returns or throws at its first call is so at each. */
export function once<T>(body: () => T): () => T {
  let outcome: (() => T) | undefined
  return () => {
    outcome ??= outcomeOf(body)
    return outcome()
  }
}

// --- internal

/** What a start has, whichever script it runs. */
interface Start extends Pick<Invocation, 'stdin' | 'libc'> {
  readonly require: NodeJS.Require
}

function become(of: Start, name: string): void {
  const version = process.env['CNI_COMMAND'] === 'VERSION' ? asset(`${name}.version`) : undefined
  if (version === undefined) run(of, name)
  else answer(version)
}

/** What VERSION answers is known since the build (record.ts). */
function answer(bytes: Buffer): never {
  try {
    write(1, bytes)
  } catch (thrown) {
    exit(1, `cannot write to stdout: ${(thrown as Error).message}\n`)
  }
  exit(0)
}

function run(of: Start, name: string): void {
  const { require, stdin, libc } = of
  const file = `${name}.${partOf(name, stdin)}`
  const own = asset(`${file}.js`) ?? asset(`${name}.js`)
  const known = own ? name : 'foreign'
  const text = (own ?? asset('foreign.js'))?.toString('latin1')
  if (text === undefined) throw new Error(`this Node cannot start ${known}`)
  const script = compile<Script>(text, known, own && asset(`${file}.cache`))
  if (script.cachedDataRejected) process.emitWarning(`the code cache of ${known} was rejected`)
  script.run(require, { plugin: name, stdin, sha512, libc, become: (plugin) => become(of, plugin) })
}

/** Which of a plugin's scripts is the best for the call. */
function partOf(name: string, stdin: () => string): string {
  if (process.env['CNI_COMMAND'] !== 'DEL') return 'ADD'
  return asset(`${name}.NOTHING.js`) === undefined || hasRecord(name, stdin) ? 'DEL' : 'NOTHING'
}

function outcomeOf<T>(body: () => T): () => T {
  try {
    const value = body()
    return () => value
  } catch (thrown) {
    return () => {
      throw thrown
    }
  }
}

import { internalBinding } from './system/binding.js'
import { exit, write } from './system/standard.js'

// What the binary does first: run the script of the plugin that it was started as. Each plugin has a script of its own,
// so that a start reads, and takes out of V8's code cache, nothing that only others need (shared/bundling/bundle.ts).
// By a name that is no plugin's runs the one that finds out which plugin is meant (foreign.ts).

/** What a script is told. */
export interface Invocation {
  /** The plugin it shall be. */
  readonly plugin: string
  /** What was on stdin, where it has been read to find the plugin. */
  readonly stdin?: string | undefined
  /** Runs a plugin's script instead, to the end of the process. */
  readonly become: (plugin: string, stdin?: string) => void
}

/** What node:sea and node:vm stand on. */
interface Assets {
  getAsset(name: string): ArrayBuffer | undefined
}
interface Contexts {
  readonly ContextifyScript: new (
    text: string,
    name: string,
    line: number,
    column: number,
    cachedData: Buffer | undefined,
    produceCachedData: boolean,
    context: undefined,
    hostDefinedOption: symbol,
  ) => Script
}
interface Script {
  readonly cachedDataRejected?: boolean
  createCachedData(): Buffer
  runInContext(context: null, milliseconds: number, displayErrors: boolean, onSigint: boolean, pause: boolean): unknown
}

/** Runs the plugin to the end of the process. `require` is what its script gets. */
export function start(require: NodeJS.Require): void {
  become(require, process.argv0.slice(process.argv0.lastIndexOf('/') + 1))
}

/** The script of shared/bundling/bundle.ts, ready to run. @throws where this Node does not show its bindings */
export function compile(text: string, name: string, cache?: Buffer) {
  const contexts = internalBinding<Contexts>('contextify')
  if (!contexts) throw new Error(`this Node cannot start ${name}: it does not show its bindings`)
  const script = new contexts.ContextifyScript(text, name, 0, 0, cache, false, undefined, Symbol(name))
  return {
    cachedDataRejected: script.cachedDataRejected,
    createCachedData: () => script.createCachedData(),
    run: script.runInContext(null, -1, true, false, false) as (require: NodeJS.Require, told: Invocation) => void,
  }
}

// --- internal

function become(require: NodeJS.Require, name: string, stdin?: string): void {
  const version = process.env['CNI_COMMAND'] === 'VERSION' ? asset(`${name}.version`) : undefined
  if (version === undefined) run(name, require, stdin)
  else answer(version)
}

function asset(name: string): Buffer | undefined {
  const bytes = internalBinding<Assets>('sea')?.getAsset(name)
  return bytes && Buffer.from(bytes)
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

function run(name: string, require: NodeJS.Require, stdin?: string): void {
  const own = asset(`${name}.js`)
  const known = own ? name : 'foreign'
  const text = (own ?? asset('foreign.js'))?.toString('latin1')
  if (text === undefined) throw new Error(`this Node cannot start ${known}`)
  const script = compile(text, known, asset(`${known}.cache`))
  if (script.cachedDataRejected) process.emitWarning(`the code cache of ${known} was rejected`)
  script.run(require, { plugin: name, stdin, become: (plugin, text) => become(require, plugin, text) })
}

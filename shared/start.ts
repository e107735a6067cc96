import { asset, compile } from './system/node.js'
import { exit, write } from './system/standard.js'

// What the binary does first: run the script of the plugin that it was started as. Each plugin has a script of its own,
// so that a start reads, and takes out of V8's code cache, nothing that only others need (shared/bundling/bundle.ts):
// NAME.DEL.js for DEL, NAME.ADD.js for all else, or NAME.js where nobody found out what either runs (heap/warm.ts).
// By a name that is no plugin's runs the one that finds out which plugin is meant (foreign.ts).

/** What a script is told. */
export interface Invocation {
  /** The plugin it shall be. */
  readonly plugin: string
  /** What was on stdin, where it has been read to find the plugin. */
  readonly stdin?: string | undefined
  /** Runs a plugin's script instead, to the end of the process. */
  readonly become: (plugin: string, stdin?: string) => void
  /** Where functions note that they ran, while the build finds that out (heap/split.ts). */
  readonly ran?: Uint8Array | undefined
}

/** Runs the plugin to the end of the process. `require` is what its script gets. */
export function start(require: NodeJS.Require): void {
  become(require, process.argv0.slice(process.argv0.lastIndexOf('/') + 1))
}

/** A script of shared/bundling/bundle.ts. */
export type Script = (require: NodeJS.Require, told: Invocation) => void

// --- internal

function become(require: NodeJS.Require, name: string, stdin?: string): void {
  const version = process.env['CNI_COMMAND'] === 'VERSION' ? asset(`${name}.version`) : undefined
  if (version === undefined) run(name, require, stdin)
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

function run(name: string, require: NodeJS.Require, stdin?: string): void {
  const file = `${name}.${process.env['CNI_COMMAND'] === 'DEL' ? 'DEL' : 'ADD'}`
  const own = asset(`${file}.js`) ?? asset(`${name}.js`)
  const known = own ? name : 'foreign'
  const text = (own ?? asset('foreign.js'))?.toString('latin1')
  if (text === undefined) throw new Error(`this Node cannot start ${known}`)
  const script = compile<Script>(text, known, own && asset(`${file}.cache`))
  if (script.cachedDataRejected) process.emitWarning(`the code cache of ${known} was rejected`)
  script.run(require, { plugin: name, stdin, become: (plugin, text) => become(require, plugin, text) })
}

import { writeSync } from 'node:fs'
import { internalBinding } from './exec/binding.js'

// The main script of the binary: it runs the script of the plugin that the program was started as. Each plugin has a script of its own, so
// that a start reads, and takes out of V8's code cache, nothing that only others need (shared/build/bundle.ts).

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
  runInContext(context: null, milliseconds: number, displayErrors: boolean, onSigint: boolean, pause: boolean): unknown
}

const assets = internalBinding<Assets>('sea')
const contexts = internalBinding<Contexts>('contextify')

function asset(name: string): Buffer | undefined {
  const bytes = assets?.getAsset(name)
  return bytes && Buffer.from(bytes)
}

const name = process.argv0.slice(process.argv0.lastIndexOf('/') + 1)
const version = process.env['CNI_COMMAND'] === 'VERSION' ? asset(`${name}.version`) : undefined
if (version) answer(version)
else start()

/** What VERSION answers is known since the build (record.ts). Where it cannot be written, the plugin says so. */
function answer(bytes: Buffer): void {
  try {
    if (writeSync(1, bytes) === bytes.length) exit(0)
  } catch {
    start()
  }
}

function start(): void {
  // By another name any script will do: it says which names there are.
  const known = asset(`${name}.js`) ? name : 'loopback'
  const text = asset(`${known}.js`)?.toString('latin1')
  if (!contexts || text === undefined) throw new Error(`this Node cannot start ${known}`)
  const script = new contexts.ContextifyScript(
    text,
    known,
    0,
    0,
    asset(`${known}.cache`),
    false,
    undefined,
    Symbol(known),
  )
  if (script.cachedDataRejected) process.emitWarning(`the code cache of ${known} was rejected`)
  const run = script.runInContext(null, -1, true, false, false) as (load: NodeJS.Require) => void
  run(require)
}

/** At once, as entry.ts does. */
function exit(status: number): never {
  return (process as unknown as { reallyExit(status: number): never }).reallyExit(status)
}

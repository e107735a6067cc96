import { start } from '../start.js'
import { exercise } from './exercise.js'
import { type InspectorBinding, inspect } from './inspect.js'

// heap LANGUAGE FOLDER: the builder script of the saved heap that the binary starts from (a user-land startup snapshot of Node; save.ts runs it).
//
// Node's own saved heap holds all that its bootstrap made: module loaders, hundreds of errors, URLs, streams, warnings, and the code of
// whatever ran. Putting that together anew is a third of a start. A call of a plugin needs of it node:fs, Buffer and some bindings, so this
// script lets go of the rest's roots: V8 saves what can still be reached. `start` then runs in place of Node's own preparation.
//
// The contract is the pinned Node's. What is lost by mistake throws in `exercise` at the build, which also starts every plugin; and all
// conformance tests run on the outcome.

const { Buffer, process } = globalThis

type Call = (...values: never[]) => unknown
type Binding = Record<string, (...values: unknown[]) => unknown>

/** Modules that --expose-internals shows, as far as they are used here. */
interface Internals {
  'internal/test/binding': { internalBinding(name: string): Binding }
  'internal/v8/startup_snapshot': {
    namespace: { addSerializeCallback(body: () => void): void; addDeserializeCallback(body: () => void): void }
  }
}

function internal<Name extends keyof Internals>(name: Name): Internals[Name] {
  return process.getBuiltinModule(name) as unknown as Internals[Name]
}

const { internalBinding } = internal('internal/test/binding')
const { addSerializeCallback, addDeserializeCallback } = internal('internal/v8/startup_snapshot').namespace
const fs = require('node:fs') as typeof import('node:fs')
const { env } = process
const { patchProcessObject, reallyExit, abort } = internalBinding('process_methods')
const { now } = internalBinding('performance')
const { runMicrotasks } = internalBinding('task_queue')

/** Bindings as they are asked for. What Node has loaded once must not be loaded again. */
const loaded: Record<string, unknown> = { contextify: internalBinding('contextify') }
let load: (name: string) => unknown

function binding(name: string): unknown {
  loaded[name] ??= load(name)
  return loaded[name]
}

/** What a start runs. */
function main(): void {
  const whole = {} as { argv: [string] }
  patchProcessObject?.(whole)
  const slim = {
    argv0: whole.argv[0],
    env,
    reallyExit,
    abort,
    emitWarning: (text: string) => fs.writeSync(2, `warning: ${text}\n`),
    getBuiltinModule: () => ({ internalBinding: binding }),
  }
  Object.assign(globalThis, { process: slim })
  start((() => fs) as unknown as NodeJS.Require)
  runMicrotasks?.()
}

/** Has V8 compile what `main` goes through, to be saved with the heap: it gets as far as a binary that has no scripts. */
function rehearse(): void {
  const real = load
  load = () => ({ getAsset: () => undefined })
  try {
    main()
    throw new Error('a start without scripts succeeded')
  } catch (thrown) {
    if (!(thrown as Error).message.includes('cannot start')) throw thrown
  }
  load = real
  delete loaded['sea']
  Reflect.deleteProperty(globalThis, 'process')
}

/** An error's stack, as V8 writes it where nobody asks to. */
function stackOf(_context: unknown, error: unknown, frames: unknown): string {
  return [String(error), ...(frames as unknown[])].join('\n    at ')
}

/** Stands where Node's C++ would call what holds on to its modules, at events that a plugin's life does not have. */
function never(): void {}

function replaceCallbacks(): void {
  const replace = (name: string, setter: string, ...callbacks: unknown[]) =>
    internalBinding(name)[setter]?.(...callbacks)
  replace('timers', 'setupTimers', never, never)
  replace('task_queue', 'setTickCallback', never)
  replace('task_queue', 'setPromiseRejectCallback', never)
  replace('async_wrap', 'setCallbackTrampoline', undefined)
  replace('errors', 'setPrepareStackTraceCallback', stackOf)
  replace('errors', 'setGetSourceMapErrorSource', never)
  replace('errors', 'setMaybeCacheGeneratedSourceMap', never)
  replace('errors', 'setEnhanceStackForFatalException', never, never)
  replace('module_wrap', 'setImportModuleDynamicallyCallback', never)
  replace('module_wrap', 'setInitializeImportMetaObjectCallback', never)
  replace('messaging', 'setDeserializerCreateObjectFunction', never)
  replace('process_methods', 'setEmitWarningSync', never)
  replace('inspector', 'setConsoleExtensionInstaller', never)
  replace('inspector', 'registerAsyncHook', never, never)
  replace('trace_events', 'setTraceCategoryStateUpdateHandler', never)
  replace('builtins', 'setInternalLoaders', never, never)
}

function empty(table: object): void {
  for (const key of Reflect.ownKeys(table)) Reflect.deleteProperty(table, key)
}

/** Of the global object's names only those in `language` stay. */
function letGo(language: Set<PropertyKey>, folder: string): void {
  const { variable, collectGarbage, close } = inspect(internalBinding('inspector') as unknown as InspectorBinding)
  const { _linkedBinding, features } = process as unknown as { _linkedBinding: Call; features: object }
  const modules = variable<{ map: Map<string, { exports: Record<string, unknown> }>; prototype: object }>(
    process.getBuiltinModule,
    'BuiltinModule',
  )
  const exportsOf = (id: string) => modules.map.get(id)?.exports ?? {}
  load = variable(_linkedBinding, 'getInternalBinding')
  const tables = [
    variable<object>(variable<Call>(internalBinding, 'internalBinding'), 'bindingObj'),
    variable<object>(_linkedBinding, 'bindingObj'),
    exportsOf('internal/process/per_thread'),
    exportsOf('internal/errors')['codes'] as object,
    features,
    modules.prototype,
    modules,
    process,
  ]
  const lists = [
    variable<unknown[]>(addDeserializeCallback, 'deserializeCallbacks'),
    variable<unknown[]>(addSerializeCallback, 'serializeCallbacks'),
    variable<unknown[]>(addSerializeCallback, 'afterUserSerializeCallbacks'),
  ]
  // The registry of freed channels would have work left, and V8 saves no heap with such work.
  const channels = variable<Map<string, unknown> & { incRef(name: string): void }>(
    exportsOf('diagnostics_channel')['channel'] as Call,
    'channels',
  )
  for (const name of channels.keys()) channels.incRef(name)

  replaceCallbacks()
  modules.map.clear()
  for (const name of Reflect.ownKeys(globalThis)) {
    if (!language.has(name) && name !== 'process') Reflect.deleteProperty(globalThis, name)
  }
  for (const [name, value] of Object.entries({ Buffer, performance: { now } })) {
    Object.defineProperty(globalThis, name, { value })
  }

  // All code is thrown away, that of functions which ran at Node's bootstrap; `exercise` and `rehearse` make anew what a start wants.
  const { setFlagsFromString: setFlag } = internalBinding('v8')
  for (const flag of ['--flush-bytecode', '--stress-flush-code']) setFlag?.(flag)
  collectGarbage()

  // Node's own preparations for saving still need the process; these come after them.
  addSerializeCallback(() => {
    for (const flag of ['--no-stress-flush-code', '--no-flush-bytecode']) setFlag?.(flag)
    close()
    for (const object of [Object.getPrototypeOf(process), process]) Object.setPrototypeOf(object, null)
    for (const table of tables) empty(table)
    for (const list of lists) list.length = 0
    Reflect.deleteProperty(globalThis, 'process')
    // V8 sets the limit at a start and must not find one.
    for (const name of ['prepareStackTrace', 'stackTraceLimit']) Reflect.deleteProperty(Error, name)
    exercise(fs, folder)
    rehearse()
  })
}

const [language = '[]', folder = ''] = process.argv.slice(2)
exercise(fs, folder)
letGo(new Set(JSON.parse(language)), folder)
internalBinding('mksnapshot')['setDeserializeMainFunction']?.(main)

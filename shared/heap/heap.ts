import { hasRecord, once, start } from '../start.js'
import { type Libc, loadLibc } from '../system/libc.js'
import { readAll } from '../system/standard.js'
import { exercise } from './exercise.js'
import { type Call, type InspectorBinding, inspect } from './inspect.js'

// heap LANGUAGE FOLDER: the builder script of the saved heap that the binary starts from (a user-land startup snapshot
// of Node; save.ts runs it).
//
// Node's own saved heap holds all that its bootstrap made: module loaders, hundreds of errors, URLs, streams, warnings,
// and the code of whatever ran. Putting that together anew is a third of a start. A call of a plugin needs of it
// node:fs, Buffer and some bindings, so this script lets go of the rest's roots: V8 saves what can still be reached.
// `start` then runs in place of Node's own preparation.
//
// The contract is the pinned Node's. What is lost by mistake throws in `exercise` at the build, which also starts every
// plugin; and all conformance tests run on the outcome.

const { Buffer, process } = globalThis

type Native = (...values: unknown[]) => unknown

/** Modules that --expose-internals shows, as far as they are used here. */
interface Internals {
  'internal/test/binding': { internalBinding(name: string): Record<string, Native> }
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
const { arch, env } = process
const patchProcessObject = native('process_methods', 'patchProcessObject')
const reallyExit = native('process_methods', 'reallyExit')
const abort = native('process_methods', 'abort')
const now = native('performance', 'now')
const runMicrotasks = native('task_queue', 'runMicrotasks')
const setFlag = native('v8', 'setFlagsFromString')

/** A function of a binding, which a Node without it stops the build for. */
function native(binding: string, name: string): Native {
  const found = internalBinding(binding)[name]
  if (!found) throw new Error(`this Node's ${binding} has no ${name}`)
  return found
}

/** Bindings as they are asked for. What Node has loaded once must not be loaded again. */
const loaded: Record<string, unknown> = {
  contextify: internalBinding('contextify'),
  process_methods: { _kill: native('process_methods', '_kill') },
}
let load: (name: string) => unknown

function binding(name: string): unknown {
  loaded[name] ??= load(name)
  return loaded[name]
}

/**
 * Ends the process by the C library: nothing is left to write, and Node's own way takes its threads, handles and V8
 * apart first, about a millisecond. Where C cannot be called that is the way.
 */
function endProcess(libc: Libc | undefined, status: number): void {
  libc?._exit(status)
  reallyExit(status)
}

/** What a start runs. */
function main(): void {
  const whole = {} as { argv: [string] }
  patchProcessObject(whole)
  const libc = once(loadLibc)
  const slim = {
    argv0: whole.argv[0],
    arch,
    env,
    reallyExit: (status: number) => endProcess(libc(), status),
    abort,
    emitWarning: (text: string) => fs.writeSync(2, `warning: ${text}\n`),
    getBuiltinModule: () => ({ internalBinding: binding }),
  }
  Object.assign(globalThis, { process: slim })
  start((() => fs) as unknown as NodeJS.Require, libc)
  runMicrotasks()
}

/**
 * Has V8 compile what `main` goes through, to be saved with the heap: the start of a plugin that does nothing, and the
 * end of one.
 */
function rehearse(): void {
  const real = load
  const whole = Buffer.concat([Buffer.alloc(24), Buffer.from('(function(){})')])
  const place = Buffer.from(Uint32Array.of(24, whole.length - 24).buffer)
  const getAsset = (name: string) =>
    name === 'all'
      ? whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length)
      : name.endsWith('.js')
        ? place.buffer
        : undefined
  const end = new Error('the end')
  let isEnding = false
  const getFunction = () => () => {
    if (isEnding) throw end
    return 0n
  }
  const ffi = {
    DynamicLibrary: class {
      getFunction = getFunction
    },
    getRawPointer: never,
    kSbSharedBuffer: Symbol(),
  }
  load = (name) => (name === 'ffi' ? ffi : { getAsset })
  main()
  readAll()
  hasRecord('', () => '{}')
  const libc = loadLibc()
  libc?.socket(0, 0, 0)
  libc?.setsockopt(0, 0, 0, 0n, 0)
  libc?.send(0, 0n, 0n, 0)
  libc?.setns(0, 0)
  libc?.flock(0, 0)
  isEnding = true
  try {
    Reflect.apply(Reflect.get(globalThis.process, 'reallyExit'), undefined, [0])
  } catch (thrown) {
    if (thrown !== end) throw thrown
  }
  load = real
  for (const name of ['sea', 'ffi']) delete loaded[name]
  Reflect.deleteProperty(globalThis, 'process')
}

/** An error's stack, as V8 writes it where nobody asks to. */
function stackOf(_context: unknown, error: unknown, frames: unknown): string {
  return [String(error), ...(frames as unknown[])].join('\n    at ')
}

/** Stands where Node's C++ would call what holds on to its modules, at events that a plugin's life does not have. */
function never(): void {}

/** What to tell Node's C++ instead of the functions it holds: binding, setter, and what the setter is given. */
const callbacks: readonly [binding: string, setter: string, ...values: unknown[]][] = [
  ['timers', 'setupTimers', never, never],
  ['task_queue', 'setTickCallback', never],
  ['task_queue', 'setPromiseRejectCallback', never],
  ['async_wrap', 'setCallbackTrampoline', undefined],
  ['errors', 'setPrepareStackTraceCallback', stackOf],
  ['errors', 'setGetSourceMapErrorSource', never],
  ['errors', 'setMaybeCacheGeneratedSourceMap', never],
  ['errors', 'setEnhanceStackForFatalException', never, never],
  ['module_wrap', 'setImportModuleDynamicallyCallback', never],
  ['module_wrap', 'setInitializeImportMetaObjectCallback', never],
  ['messaging', 'setDeserializerCreateObjectFunction', never],
  ['process_methods', 'setEmitWarningSync', never],
  ['inspector', 'setConsoleExtensionInstaller', never],
  ['inspector', 'registerAsyncHook', never, never],
  ['trace_events', 'setTraceCategoryStateUpdateHandler', never],
  ['builtins', 'setInternalLoaders', never, never],
]

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
  const deserializeCallbacks = variable<unknown[]>(addDeserializeCallback, 'deserializeCallbacks')
  // The registry of freed channels would have work left, and V8 saves no heap with such work.
  const channels = variable<Map<string, unknown> & { incRef(name: string): void }>(
    exportsOf('diagnostics_channel')['channel'] as Call,
    'channels',
  )
  for (const name of channels.keys()) channels.incRef(name)

  for (const [name, setter, ...values] of callbacks) native(name, setter)(...values)
  for (const name of Reflect.ownKeys(globalThis)) {
    if (!language.has(name) && name !== 'process') Reflect.deleteProperty(globalThis, name)
  }
  for (const [name, value] of Object.entries({ Buffer, performance: { now } })) {
    Object.defineProperty(globalThis, name, { value })
  }

  // All code is thrown away, that of functions which ran at Node's bootstrap; `exercise` and `rehearse` make anew what
  // a start wants.
  for (const flag of ['--flush-bytecode', '--stress-flush-code']) setFlag(flag)
  collectGarbage()

  // Node's own preparations for saving still need the process; these come after them.
  addSerializeCallback(() => {
    for (const flag of ['--no-stress-flush-code', '--no-flush-bytecode']) setFlag(flag)
    close()
    for (const object of [Object.getPrototypeOf(process), process]) Object.setPrototypeOf(object, null)
    for (const table of tables) empty(table)
    deserializeCallbacks.length = 0
    Reflect.deleteProperty(globalThis, 'process')
    Reflect.deleteProperty(Error, 'prepareStackTrace')
    exercise(fs, folder)
    rehearse()
  })
}

const [language = '[]', folder = ''] = process.argv.slice(2)
exercise(fs, folder)
letGo(new Set(JSON.parse(language)), folder)
native('mksnapshot', 'setDeserializeMainFunction')(main)

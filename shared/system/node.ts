// All that a start and a call ask of Node below its public modules. V8's flags at a start (shared/heap/flags.ts) make
// it refuse the code that Node carries of its modules, so each is compiled anew: node:child_process takes 3 to 5 ms a
// start, node:ffi, node:vm and node:sea 2.5, the bindings they stand on nothing.
//
// Needs --expose-internals, which the binary is made with. The contract is the pinned Node's: the build starts every
// plugin, and spawn.test.ts and conformance/netlink watch what is called. `make build PLAIN=1` has node.plain.ts in the
// place of this file.

/** A script that has been compiled; `run` is its value, a function. */
export interface Compiled<Run> {
  readonly cachedDataRejected: boolean | undefined
  readonly createCachedData: () => Buffer
  readonly run: Run
}

/** @throws where this Node does not show its bindings */
export function compile<Run>(text: string, name: string, cache?: Buffer): Compiled<Run> {
  const contexts = internalBinding<Contexts>('contextify')
  if (!contexts) throw new Error(`this Node cannot start ${name}: it does not show its bindings`)
  const script = new contexts.ContextifyScript(text, name, 0, 0, cache, false, undefined, Symbol(name))
  return {
    cachedDataRejected: script.cachedDataRejected,
    createCachedData: () => script.createCachedData(),
    run: script.runInContext(null, -1, true, false, false) as Run,
  }
}

/** A file that the binary carries, in place: its name tells where in the one that has all (packing/assets.ts). */
export function asset(name: string): Buffer | undefined {
  const assets = internalBinding<Assets>('sea')
  const [place, all] = [assets?.getAsset(name), assets?.getAsset('all')]
  if (!place || !all) return undefined
  const numbers = Buffer.from(place)
  const start = numbers.readUInt32LE(0) + Buffer.from(all, 16, 1).readUInt8(0)
  return Buffer.from(all, start, numbers.readUInt32LE(4))
}

/** What a process is started with. */
export interface Program {
  readonly file: string
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Nothing to read where it is absent. */
  readonly stdin?: string | undefined
  /** Descriptors from 3 on: a text is to be read, null is for output. */
  readonly pipes: readonly (string | null)[]
  /** Descriptors behind those. */
  readonly fds: readonly number[]
  /** Then it is killed; such a process leads a group. */
  readonly milliseconds?: number | undefined
  /** It is killed when it prints more, on any of its streams. */
  readonly mostBytes: number
}

/** How it ended. */
export interface Ended {
  /** 0 when it could not be started. */
  readonly pid: number
  readonly status: number | null
  readonly signal: string | null
  /** What came out of each of its descriptors, "" of those it read. */
  readonly output: readonly string[]
  /** Of starting it, or of listening to it; 0 where nothing failed. */
  readonly errno: number
}

/**
 * Runs a process to its end. The time is libuv's: it waits for the child in a loop of its own, so no event loop is
 * needed.
 */
export function spawn({ file, argv, env, stdin, pipes, fds, milliseconds, mostBytes }: Program): Ended {
  processes ??= internalBinding<Processes>('spawn_sync')
  if (!processes) throw new Error('Node does not show its bindings: start it with --expose-internals')
  const { pid, status, signal, output, error } = processes.spawn({
    file,
    args: [...argv],
    maxBuffer: mostBytes,
    killSignal: SIGKILL,
    ...(milliseconds === undefined ? {} : { timeout: milliseconds, detached: true }),
    envPairs: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    stdio: [
      stdin === undefined ? { type: 'ignore' } : pipe(true, Buffer.from(stdin)),
      pipe(false),
      pipe(false),
      ...pipes.map((text) => (text === null ? pipe(false) : pipe(true, Buffer.from(text)))),
      ...fds.map((fd) => ({ type: 'fd', fd })),
    ],
  })
  return { pid, status, signal, output: (output ?? []).map((one) => one?.toString() ?? ''), errno: -(error ?? 0) }
}

/** Kills the processes of a group; false when there are none. */
export function killGroup(leader: number): boolean {
  const kill = internalBinding<{ _kill(pid: number, signal: number): number }>('process_methods')?._kill
  return kill?.(-leader, SIGKILL) === 0
}

/** What node:ffi stands on. */
export interface ForeignFunctions {
  readonly DynamicLibrary: new (path: string | null) => { getFunction(name: string, signature: object): unknown }
  readonly getRawPointer: (bytes: Buffer) => bigint
  /**
   * Stands in a function that Node could not make code for: it looks for its arguments in memory that only node:ffi
   * knows.
   */
  readonly kSbSharedBuffer: symbol
}

/** Undefined where this Node cannot call C. */
export function foreignFunctions(): ForeignFunctions | undefined {
  return internalBinding<ForeignFunctions>('ffi')
}

/** Ends the process without exit handlers. */
export function endProcess(status: number): never {
  return (process as unknown as { reallyExit(status: number): never }).reallyExit(status)
}

// --- internal

const SIGKILL = 9

/** What node:vm, node:sea and node:child_process stand on. */
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
interface Assets {
  getAsset(name: string): ArrayBuffer | undefined
}
interface Processes {
  spawn(options: object): {
    readonly pid: number
    readonly status: number
    readonly signal: string | null
    readonly output: (Buffer | null)[] | null
    readonly error?: number
  }
}

let processes: Processes | undefined

function pipe(readable: boolean, input?: Buffer): object {
  return { type: 'pipe', readable, writable: !readable, ...(input ? { input } : {}) }
}

/** Undefined where this Node does not show its bindings. */
function internalBinding<T>(name: string): T | undefined {
  const shown = process.getBuiltinModule('internal/test/binding') as unknown as Shown | undefined
  return shown?.internalBinding(name) as T | undefined
}

interface Shown {
  internalBinding(name: string): unknown
}

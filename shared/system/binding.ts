/**
 * One of the bindings that Node's public modules stand on. V8's flags at a start (shared/heap/flags.ts) make it refuse
 * the code that Node carries of these modules, so each is compiled anew: node:ffi, node:vm and node:sea take 2.5 ms a
 * start, their bindings nothing.
 *
 * Needs --expose-internals, which the binary is made with. The contract is the pinned Node's: the build starts every
 * plugin, and spawn.test.ts and conformance/netlink watch what is called. Undefined where this Node does not show its
 * bindings.
 */
export function internalBinding<T>(name: string): T | undefined {
  const shown = process.getBuiltinModule('internal/test/binding') as unknown as Shown | undefined
  return shown?.internalBinding(name) as T | undefined
}

// --- internal

interface Shown {
  internalBinding(name: string): unknown
}

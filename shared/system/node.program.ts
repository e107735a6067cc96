import type { ForeignFunctions } from './node.js'

export * from './node.plain.js'

// In the place of node.ts in the program `podwire`: Node's public modules, which also call C.

/** Undefined where this Node has no node:ffi. That it is experimental is said to nobody: the version is pinned. */
export function foreignFunctions(): ForeignFunctions | undefined {
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    const ffi = process.getBuiltinModule('node:ffi') as unknown as Omit<ForeignFunctions, 'kSbSharedBuffer'> | undefined
    return ffi && { DynamicLibrary: ffi.DynamicLibrary, getRawPointer: ffi.getRawPointer, kSbSharedBuffer }
  } finally {
    process.emitWarning = emitWarning
  }
}

// --- internal

/** Stands in no function: node:ffi itself makes code for all. */
const kSbSharedBuffer = Symbol('kSbSharedBuffer')

/** Modules the bundler makes from the folders (shared/bundling); nothing is registered by hand. */
declare module 'podwire:plugins' {
  import type { AnyPlugin } from '../program/plugin.js'
  /** Of all plugins; those that are none of `plugins` have another script. */
  export const names: readonly string[]
  /** Those that hand out addresses. */
  export const ipams: readonly string[]
  export const plugins: Readonly<Record<string, () => Promise<{ default: AnyPlugin }>>>
}
declare module 'podwire:shapes' {
  import type { Shape } from '../values/shape.js'
  export const shapes: Readonly<Record<string, Shape>> & Readonly<Record<'result.A' | 'result.B' | 'result.C', Shape>>
}
declare module 'podwire:schemas' {
  import type { z } from 'zod'
  /** The schemas themselves, for the program `podwire`: plugins have shapes. `ipam`: it is an IPAM plugin's. */
  export const schemas: Readonly<Record<string, { readonly schema: z.ZodType; readonly ipam: boolean }>>
}
declare module 'podwire:tools' {
  import type { Definition } from '../../tools/frame/command.js'
  /** Every command of the program `podwire`. */
  export const commands: readonly Definition[]
}
declare module 'podwire:version' {
  export const version: string
  /** Of the source, as git knows it. */
  export const commit: string
}

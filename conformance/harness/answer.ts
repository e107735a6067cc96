import { z } from 'zod'
import type { Finished } from './process.js'

const route = z.looseObject({ dst: z.string(), gw: z.string().optional() })

const resultSchema = z.strictObject({
  cniVersion: z.string(),
  interfaces: z
    .array(z.looseObject({ name: z.string(), mac: z.string().optional(), sandbox: z.string().optional() }))
    .optional(),
  ips: z
    .array(z.looseObject({ address: z.string(), gateway: z.string().optional(), interface: z.int().optional() }))
    .optional(),
  ip4: z.looseObject({ ip: z.string() }).optional(),
  ip6: z.looseObject({ ip: z.string() }).optional(),
  routes: z.array(route).optional(),
  dns: z.looseObject({}).optional(),
})

// Strict on purpose: the specification has these members and no others, and callers decode nothing else.
const errorSchema = z.strictObject({
  cniVersion: z.string().optional(),
  code: z.int().nonnegative(),
  msg: z.string().min(1),
  details: z.string().optional(),
})

export type Result = z.infer<typeof resultSchema>
export type CniError = z.infer<typeof errorSchema>

/** The result a successful ADD printed; throws with everything that is known when it is not exactly one result. */
export function resultOf(finished: Finished): Result {
  if (finished.status !== 0) throw new Error(`no result: ${describe(finished)}`)
  return parse(resultSchema, finished)
}

/** The error object of a failed call: exit status 1 and exactly one error object on stdout, or this throws. */
export function errorOf(finished: Finished): CniError {
  if (finished.status !== 1) throw new Error(`no error: ${describe(finished)}`)
  return parse(errorSchema, finished)
}

/** Throws unless the call succeeded in silence, as DEL, CHECK, STATUS and GC do. */
export function succeedSilently(finished: Finished): void {
  if (finished.status !== 0 || finished.stdout !== '') throw new Error(`no silent success: ${describe(finished)}`)
}

function parse<T>(schema: z.ZodType<T>, finished: Finished): T {
  let document: unknown
  try {
    document = JSON.parse(finished.stdout)
  } catch (error) {
    throw new Error(`stdout is not exactly one JSON document (${String(error)}): ${describe(finished)}`)
  }
  const parsed = schema.safeParse(document)
  if (parsed.success) return parsed.data
  throw new Error(`${z.prettifyError(parsed.error)}: ${describe(finished)}`)
}

function describe({ status, signal, stdout, stderr }: Finished): string {
  return `exit ${status ?? signal}\nstdout: ${stdout}\nstderr: ${stderr}`
}

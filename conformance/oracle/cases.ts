import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { z } from 'zod'
import type { Conflist } from '../harness/chain.js'
import { repository } from '../harness/locations.js'

const features = ['vlan_filtering', 'ipvlan', 'vlan', 'dummy', 'vrf'] as const

/** What a kernel may lack. */
export type Feature = (typeof features)[number]

const caseSchema = z.strictObject({
  /** What is special here, in words. */
  what: z.string(),
  /** How many containers join, one after the other. */
  containers: z.int().default(1),
  /** CNI_ARGS. */
  args: z.string().optional(),
  capabilityArgs: z.record(z.string(), z.unknown()).optional(),
  /** MAC addresses that are asked for, and therefore compared. */
  knownMacs: z.array(z.string()).optional(),
  /** Commands run in the host first. */
  prepare: z.array(z.array(z.string())).default([]),
  /** A feature of the kernel without which the case cannot run. */
  needs: z.enum(features).optional(),
  /** Why CHECK of the official plugin fails on its own result. */
  officialCheckFails: z.string().optional(),
  /** What v1.9.1 of the official suite does otherwise than the newer one: such a case is compared with it, too. */
  formerly: z
    .strictObject({
      what: z.string(),
      /** Its ADD fails, with this in its answer. */
      refusal: z.string().optional(),
      /** Why its CHECK fails on its own result. */
      checkFails: z.string().optional(),
    })
    .optional(),
  list: z.strictObject({
    cniVersion: z.string(),
    name: z.string(),
    plugins: z.array(z.looseObject({ type: z.string() })).min(1),
  }),
})

/** A configuration that is run through both suites, from conformance/cases/NAME.json. */
export interface Case extends Omit<z.infer<typeof caseSchema>, 'list'> {
  name: string
  list: Conflist
}

/** Reads all cases; a mistake in one of them is an error here, not a test that passes. */
export function readCases(): Case[] {
  const directory = join(repository, 'conformance/cases')
  return readdirSync(directory).map((file) => {
    const parsed = caseSchema.safeParse(JSON.parse(readFileSync(join(directory, file), 'utf8')))
    if (!parsed.success) throw new Error(`${file}: ${z.prettifyError(parsed.error)}`)
    return { ...parsed.data, list: parsed.data.list as Conflist, name: basename(file, '.json') }
  })
}
